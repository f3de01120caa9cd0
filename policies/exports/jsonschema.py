"""Clauses, and what is asked for, as JSON Schema (2020-12): written from the vocabulary, for whoever has to read or write them."""

import re
from collections.abc import Collection, Iterable
from typing import Any

from policies.answers import DAYS
from policies.clauses import COUNT, ID, MEMBERS, RATES, RATES_OF, REQUIRED
from policies.duties import DELETE, LONGEST_PROCESSOR, REGION, USES
from policies.purposes import PURPOSES
from policies.requests import GIFT, LONGEST_WHY, MOST_GIFTS, MOST_PURPOSES
from policies.roster import ROSTER
from policies.slices import CATEGORY, LONGEST_CATEGORY, SELF, SITE
from policies.times import DURATION, INSTANT
from policies.vocabulary import ANSWERS, CHANNELS, FIELDS, HIDDEN, KINDS, ONWARD, SENSITIVE, SITE_CLASSES

Schema = dict[str, Any]


def pattern(form: re.Pattern[str]) -> str:
    """Return a pattern of ours as JSON Schema has it: in the words of ECMA-262, for the whole text."""
    return f"^(?:{form.pattern})$"


def text(form: re.Pattern[str]) -> Schema:
    """Return the schema of a text of this form."""
    return {"type": "string", "pattern": pattern(form)}


def one_of(words: Iterable[str]) -> Schema:
    """Return the schema of one word of a vocabulary."""
    return {"type": "string", "enum": list(words)}


def closed(properties: Schema, required: Collection[str] = ()) -> Schema:
    """Return the schema of an object with these members and no other."""
    return {"type": "object", "properties": properties, "required": [name for name in properties if name in required], "additionalProperties": False}


def _several(one: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": one, "uniqueItems": True, **more}


def _fields(*, hidden: bool) -> Schema:
    return closed({name: one_of(level for level in about.levels if hidden or level != HIDDEN) for name, about in FIELDS.items()})


def _duties() -> Schema:
    length = text(DURATION)
    uses: Schema = {name: {"type": "boolean"} for name in USES}
    return {
        "retention": length, "on_end": {"type": "string", "pattern": f"^{DELETE}(?:{DURATION.pattern})$"}, "breach_notice": length, "onward": one_of(ONWARD),
        "processors": _several({"type": "string", "maxLength": LONGEST_PROCESSOR}), **uses, "storage": _several(text(REGION)),
    }  # fmt: skip


def _members(action: str, *, hidden: bool) -> Schema:
    """Return the schema of each member that clauses of an action have."""
    moment, length = text(INSTANT), text(DURATION)
    rates = {name: {"type": "string", "pattern": f"^{COUNT}/{RATES[name][0]}$"} for name in RATES_OF[action]}
    path = {**text(CATEGORY), "maxLength": LONGEST_CATEGORY}
    every: Schema = {
        "base": one_of(ROSTER),
        "purposes": _several(one_of(PURPOSES), minItems=1),
        "kinds": _several(one_of(KINDS), minItems=1),
        "sites": _several({"anyOf": [one_of(("*", SELF)), text(SITE)]}),
        "classes": _several(one_of(("*", *SITE_CLASSES))),
        "sensitive": _several(one_of(SENSITIVE)),
        "categories": _several({"anyOf": [one_of("*"), path]}),
        "form": one_of(("rows", "answers")),
        "answers": _several(one_of(ANSWERS)),
        "fields": _fields(hidden=hidden),
        "window": closed({"max_age": length, "min_age": length, "after": moment, "before": moment}),
        "rate": closed(rates),
        "duties": closed(_duties()),
        "channels": _several(one_of(CHANNELS)),
        "validity": closed({"from": moment, "until": moment, "max": length}),
    }
    return {name: every[name] for name in MEMBERS[action]}


def clause(action: str = "read") -> Schema:
    """Return the schema of a clause in its canonical form, which has every member that its action uses."""
    own: Schema = {"id": text(ID), "action": one_of((action,)), **_members(action, hidden=False)}
    return closed(own, tuple(own))


def asked(action: str = "read") -> Schema:
    """Return the schema of one item of a request, without its id."""
    members = _members(action, hidden=True)
    first = {name: {**members[name], **({"maxItems": MOST_PURPOSES} if name == "purposes" else {})} for name in REQUIRED[action]}
    part = {name: member for name, member in members.items() if name not in ("base", *REQUIRED[action])}
    least = {name: member for name, member in members.items() if name != "base"}
    why: Schema = {"type": "string", "minLength": 1, "maxLength": LONGEST_WHY}
    gifts: Schema = {"type": "array", "items": closed({"kind": text(GIFT), "text": why}, ("kind", "text")), "maxItems": MOST_GIFTS}
    own: Schema = {
        "action": one_of((action,)), **first, "why": why,
        "roster_accepts": _several(one_of(ROSTER)), "want": closed(part), "minimum": closed(least), "gives": gifts,
    }  # fmt: skip
    return closed(own, ("action", *REQUIRED[action], "why", "want"))


def bucket() -> Schema:
    """Return the schema of an amount that was made coarser: from, and to where there is an end."""
    amount = {"type": "integer", "minimum": 0}
    properties = {"currency": {"type": "string", "pattern": "^[A-Z]{3}$"}, "from_minor": amount, "to_minor": {"type": ["integer", "null"], "minimum": 0}}
    return closed(properties, tuple(properties))


def answers() -> Schema:
    """Return the schema of answers in place of rows (F9)."""
    days = [*map(str, range(DAYS[-1][0])), *(name for _, name in reversed(DAYS))]
    every = {
        "frequency": one_of(days), "recency": {"type": ["integer", "null"], "minimum": 0},
        "monetary": {"type": "object", "additionalProperties": bucket()},
    }  # fmt: skip
    return closed({name: every[name] for name in ANSWERS})
