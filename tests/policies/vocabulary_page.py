"""Writes the reference of the vocabulary from the code: `python -m tests.policies.vocabulary_page`; a test compares."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from policies.answers import NEEDS
from policies.clauses import MEMBERS, RATES, RATES_OF, rule_defaults
from policies.decide import CHECKS, PROBLEMS
from policies.duties import Duties
from policies.negotiate import CODES
from policies.precision import BAND_EDGES, MINOR_DIGITS, SCALES
from policies.purposes import PURPOSES
from policies.roster import ROSTER
from policies.sentences import CAUSES, REASONS
from policies.terms import REQUESTS
from policies.topics import TOPICS
from policies.vocabulary import (
    ANSWERS,
    CATEGORIES,
    CHANNELS,
    DIMENSIONS,
    FIELDS,
    KINDS,
    ONWARD,
    REGIONS,
    SENSITIVE_CATEGORIES,
    SENSITIVE_CLASSES,
    SITE_CLASSES,
)

QUOTE = '"'
PAGE = Path(__file__).resolve().parents[2] / "broker/docs/reference/vocabulary.md"


def table(head: str, rows: Iterable[Iterable[object]]) -> str:
    names = head.split(" | ")
    lines = [f"| {head} |", f"|{' --- |' * len(names)}", *(f"| {' | '.join(str(cell) for cell in row)} |" for row in rows)]
    return "\n".join(lines)


def listed(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words) or "-"


def kinds() -> str:
    rows = ((f"`{name}`", about.label, f"`{about.dpv}`", listed(about.actions), "yes" if about.items else "no") for name, about in KINDS.items())
    return f"""## Kinds of event

`cart_abandoned` is made by the broker alone; a rule must name it, and a deny of cart, checkout or purchase hits it too.

{table("kind | in words | DPV | actions | items", rows)}"""


def fields() -> str:
    rows = (
        (f"`{name}`", "; ".join(f"`{level}` {about.label(level)}" for level in about.levels[1:]), "all" if about.kinds == set(KINDS) else listed(each for each in KINDS if each in about.kinds), "item" if about.item else "event")
        for name, about in FIELDS.items()
    )  # fmt: skip
    return f"""## Fields and how exactly they show

Levels from coarse to exact; every field can also be `hidden`. A coarse value is a function of any finer one. With `site` below `host` the page's address is hidden, with the address below
`no_query` its title, and without `product` the barcode, the shop's number and the variant. `kind` and `action` always show; a row's id is made for one clause of one grant.

{table("field | levels | kinds that carry it | of", rows)}"""


def money() -> str:
    scales = sorted({scale: [code for code, each in SCALES.items() if each == scale] for scale in SCALES.values()}.items())
    digits = sorted({number: [code for code, each in MINOR_DIGITS.items() if each == number] for number in MINOR_DIGITS.values()}.items())
    return f"""## Money

Bands begin at {", ".join(f"{edge:,}" for edge in BAND_EDGES)}; steps are of 10, 5 or 1. All are in major units, times a scale that makes them worth about the same: {"; ".join(f"{scale:,} for {listed(sorted(codes))}" for scale, codes in scales)}; 1 for
every other currency. Minor digits: {"; ".join(f"{number} for {listed(sorted(codes))}" for number, codes in digits)}; 2 for every other."""


def answers() -> str:
    rows = ((f"`{name}`", ANSWERS[name], listed(f"{field}: {level}" for field, level in NEEDS[name].items())) for name in sorted(ANSWERS))
    return f"""## Answers

Given in place of rows, or beside them, and worked out from purchases alone, at most once a UTC day. A deny of a field that an answer needs leaves nothing to answer from.

{table("answer | in words | worked out from", rows)}"""


def purposes() -> str:
    rows = ((f"`{name}`", about.label, listed(about.parents), "yes" if about.named_only else "") for name, about in PURPOSES.items())
    return f"""## Purposes

Those of DPV 2.3 that can be asked for. A purpose is covered when it is named, or when *all* its parents are covered; a deny hits it when *any* of its ancestors is denied. One that must be named is covered by nothing wider.

{table("purpose | they may use it to | parents | must be named", rows)}"""


def sites() -> str:
    return f"""## Kinds of site and topics

A site has exactly one kind: {listed(name for name in SITE_CLASSES if name not in SENSITIVE_CLASSES)}, and the sensitive {listed(SENSITIVE_CLASSES)}.

Products have a top category, which is also the topic of a search: {listed(name for name in CATEGORIES if name not in SENSITIVE_CATEGORIES)}, and the sensitive {listed(SENSITIVE_CATEGORIES)}.

What is sensitive is never inside `*`, and naming the site is not enough: `sensitive` must list it, in the rule and in the request.

{table("topic | words of a search", ((f"`{name}`", ", ".join(sorted(words))) for name, words in TOPICS.items()))}"""


def dimensions() -> str:
    defaults = rule_defaults("read")
    written = {
        **dict.fromkeys(("sites", "classes", "categories"), "`*`"), "sensitive": "none", "form": f"`{defaults.slice.form}`", "answers": "none",
        **{f"window.{name}": f"`{value}`" for name, value in defaults.slice.window.to_json().items()},
        **{f"rate.{name}": f"`{count}/{RATES[name][0]}`" for name, count in defaults.rate.items()},
        **{f"duties.{name}": listed(value) if isinstance(value, list) else f"`{json.dumps(value).strip(QUOTE)}`" for name, value in Duties().to_json().items()},
        "base": "that of the terms", "validity": "`P180D` from the yes", "channels": listed(CHANNELS),
        **{f"rate.{name}": f"`{rule_defaults(action).rate[name]}/{RATES[name][0]}`" for action in ("contact", "ask") for name in RATES_OF[action]},
    }  # fmt: skip
    meets = {
        "kinds": "common to both", "sites": "common; a host within its domain", "classes": "common", "sensitive": "common", "categories": "the longer of two paths where one begins the other",
        "form": "rows only if both", "answers": "common", "window.max_age": "the shorter", "window.min_age": "the longer", "window.after": "the later", "window.before": "the earlier",
        "base": "the stricter, else nothing", "purposes": "what each side's purposes cover of the other's", "duties.onward": f"the first in {listed(ONWARD)}", "duties.processors": "common",
        "duties.storage": "common", "duties.portability": "required if either", "channels": "common", "validity": "the later start, the earlier end", "action": "equal, else nothing",
        **{f"duties.{name}": "allowed only if both" for name in ("profiling", "tracking", "ai_training")},
    }  # fmt: skip
    used = {dim: [action for action, members in MEMBERS.items() if dim.partition(".")[0] in (*members, "action")] for dim in DIMENSIONS}
    rates = {f"rate.{name}": [action for action, names in RATES_OF.items() if name in names] for _, names in RATES_OF.items() for name in names}
    rows = [(f"`{dim}`", label, listed({**used, **rates}[dim]), meets.get(dim, "the smaller"), written.get(dim, "-")) for dim, label in DIMENSIONS.items()]
    of_fields = [action for action, members in MEMBERS.items() if "fields" in members]
    # A dimension of its own for each field; to be written, it is one member.
    rows.insert(5, ("`fields`", "What is shown of each, field by field", listed(of_fields), "the coarser level of each field", "none: every field is hidden"))
    return f"""## The parts of a clause

Of two clauses each part meets as it says here; a rule that leaves a part out has the default. A request that leaves a part out asks for whatever the terms give, fields and sensitive subjects apart.
Regions are {listed(REGIONS)} and other ISO 3166-1 codes of two letters.

{table("part | in words | of actions | two meet in | a rule's default", rows)}"""


def roster() -> str:
    def yes(held: object) -> str:
        return "yes" if held else "no"

    rows = (
        (f"`{name}`", yes(row.analytics), yes(row.tracking), yes(row.profiling), yes(row.anonymised), "required" if row.portability else "optional", yes(row.ai_training), listed(sorted(row.purposes)))
        for name, row in ROSTER.items()
    )  # fmt: skip
    return f"""## Standard agreements

The IEEE 7012 agreements as DPV 2.3 lists them; that vocabulary is a draft. They cap what a clause may let the vendor do; third parties' analytics, tracking and profiling are prohibited in all. The purposes are our reading.
Requests are taken by {listed(REQUESTS)}.

{table("agreement | analytics | tracking | profiling | anonymised to third parties | portability | AI training | purposes", rows)}"""


def outcomes() -> str:
    codes = sorted({"fewer", *CODES.values()})
    checks = ((f"`{reason}`", re.sub(r" \([A-Z]\d\)", "", (check.__doc__ or "").partition(" ")[2]).rstrip("."), f"`{PROBLEMS.get(reason, 'not-granted')}`", REASONS[reason]) for check, reason in CHECKS)
    return f"""## What came out smaller, and why

How given differs from asked: {listed(codes)}. The vendor sees no cause.

{table("cause | in words", ((f"`{cause}`", words) for cause, words in CAUSES.items()))}

## Checks of a decision

In this order; each that fails is a reason.

{table("reason | holds if | the vendor is told | the person reads", checks)}"""


def page() -> str:
    """The whole page."""
    parts = (kinds, fields, money, answers, purposes, sites, dimensions, roster, outcomes)
    head = "# Vocabulary\n\nThe words of terms, requests and grants. Written from the code by `python -m tests.policies.vocabulary_page`; change the code, not this page."
    return "\n\n".join([head, *(part() for part in parts)]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
