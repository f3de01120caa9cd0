"""The consent page's choices: what the controls of each proposed clause offer, and the clause that a filled-in form chooses.

The form is never trusted: whatever it says, a chosen clause must satisfy `chosen & proposed == chosen`.
"""

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from werkzeug.datastructures import MultiDict

from broker.errors import BadRequest, Unprocessable
from broker.events.actions import HIDEABLE
from broker.events.queries import Preview
from broker.events.sites import is_site
from broker.oauth.standing import Outlook
from broker.words import joined
from policies.clauses import Clause
from policies.documents import Malformed
from policies.negotiate import Proposal
from policies.purposes import PURPOSES
from policies.requests import Item
from policies.times import read_duration, write_duration
from policies.vocabulary import ANSWERS, FIELDS, KINDS, SENSITIVE_CLASSES, SITE_CLASSES

DEPTHS: Final = ("P7D", "P30D", "P90D", "P180D", "P365D")
READS: Final = (1, 4, 12, 24)
CONTROLS: Final = ("give", "without", "without_class", "without_answer", "form", "sensitive", "field", "max_age", "reads", "sites")
WITHOUT: Final = ("without", "without_class", "without_answer")


@dataclass(frozen=True, slots=True)
class Seen:
    """What one read would show now: to what purpose ("" where all purposes show the same), the rows, and what is said where there are none.

    `period` is what has to be over before a row of it comes (F3): "month", "day", or "" for no such wait.
    """

    why: str
    preview: Preview
    outlook: Outlook
    period: str


@dataclass(slots=True)
class Choice:
    """One proposed clause on the page: what is said about it, its controls, and what the person has chosen so far."""

    number: int
    proposed: Clause
    chosen: Clause
    ticked: bool
    item: Item | None
    below_minimum: bool
    left_out: frozenset[str]
    sites: str
    narrowed: list[str] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    cuts: list[str] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    answers: list[tuple[str, list[str]]] = field(default_factory=list)
    controls: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The proposal's name for the clause."""
        return self.proposed.id

    @property
    def purpose(self) -> str:
        """What it may be used for, in our words."""
        return joined((PURPOSES[each].label for each in sorted(self.proposed.purposes)), "or")


def name(number: int, control: str) -> str:
    """The form name of one control."""
    return f"{number}.{control}"


def controls(number: int, proposed: Clause, chosen: Clause) -> dict[str, Any]:
    """What can be narrowed in a clause, as (value, label) pairs and the value chosen; nothing reaches further than the proposal."""
    part, ages = proposed.slice, proposed.slice.window.max_age
    fields = [
        (field_name, FIELDS[field_name].noun, _levels(field_name, level, proposed.action), chosen.slice.fields.get(field_name, "hidden"))
        for field_name, level in part.fields.items()
        if proposed.action == "read" or field_name in HIDEABLE
    ]
    depths = [each for each in DEPTHS if ages is None or read_duration(each, "") < ages] if proposed.action == "read" else []
    reads = [each for each in READS if each < proposed.rate.get("reads", 0)]
    return {
        "kinds": [(kind, KINDS[kind].label) for kind in KINDS if kind in part.kinds] if len(part.kinds) > 1 else [],
        "classes": [each for each in SITE_CLASSES if each not in SENSITIVE_CLASSES and _in(each, part.classes)],
        "sensitive": sorted(part.sensitive),
        "fields": fields,
        "depths": [(each, f"the last {read_duration(each, '') // 24} days") for each in depths],
        "depth": write_duration(chosen.slice.window.max_age) if chosen.slice.window.max_age else "",
        "reads": reads,
        "answers": [(each, ANSWERS[each]) for each in sorted(part.answers)] if part.form == "rows" or len(part.answers) > 1 else [],
        "forms": part.form == "rows" and bool(part.answers),
        "names": {control: name(number, control) for control in CONTROLS},
    }


def _in(value: str, values: frozenset[str]) -> bool:
    return "*" in values or value in values


def _levels(field_name: str, most: str, action: str) -> list[tuple[str, str]]:
    if action == "write":
        # What the person's own device adds stays with the person, so it is kept as it is or not at all.
        return [("hidden", "not kept"), (most, "kept")]
    levels = FIELDS[field_name].levels
    return [(level, "not shown" if level == "hidden" else FIELDS[field_name].label(level)) for level in levels[: levels.index(most) + 1]]


def read(proposal: Proposal, clauses: tuple[Clause, ...], form: MultiDict[str, str] | None) -> list[Choice]:
    """The choices of a page: at their start without a form, else as the form has them.

    Raises `BadRequest` for a clause that was not offered or a choice wider than offered, `Unprocessable` for what the person mistyped.
    """
    ticked = set(form.getlist("give")) if form is not None else set()
    if ticked - {clause.id for clause in clauses}:
        raise BadRequest("This form gives something that was not offered. Nothing was given; open the request again.")
    return [_choice(number, proposal, clause, clause.id in ticked, form) for number, clause in enumerate(clauses, 1)]


def without(form: MultiDict[str, str], mistaken: Collection[str]) -> MultiDict[str, str]:
    """The form less its mistaken fields; a name stands for all that begin with it and a dot, as `1.field` for `1.field.price`."""
    return MultiDict([each for each in form.items(multi=True) if not any(f"{each[0]}.".startswith(f"{wrong}.") for wrong in mistaken)])


def as_written(choice: Choice, form: MultiDict[str, str]) -> None:
    """Put into a choice's controls what the form said, mistakes too, so that nobody has to fill it in again."""
    number, chosen = choice.number, choice.controls
    choice.ticked = choice.id in form.getlist("give")
    choice.left_out, choice.sites = _left_out(number, form), form.get(name(number, "sites"), "")
    chosen["depth"] = form.get(name(number, "max_age"), "")
    chosen["fields"] = [(each, noun, levels, form.get(name(number, f"field.{each}"), level)) for each, noun, levels, level in chosen["fields"]]


def _left_out(number: int, form: MultiDict[str, str]) -> frozenset[str]:
    return frozenset(each for control in WITHOUT for each in form.getlist(name(number, control)))


def _choice(number: int, proposal: Proposal, clause: Clause, ticked: bool, form: MultiDict[str, str] | None) -> Choice:  # noqa: FBT001
    item = proposal.item_of(clause.id) if proposal.items else None
    chosen = _start(clause, item) if form is None else _chosen(number, clause, form)
    if chosen & clause != chosen:
        raise BadRequest("This form gives more than was offered. Nothing was given; open the request again.")
    return Choice(
        number=number, proposed=clause, chosen=chosen, ticked=ticked, item=item,
        below_minimum=item is not None and not item.is_reached_by(chosen),
        left_out=_left_out(number, form) if form else frozenset(),
        sites=form.get(name(number, "sites"), "") if form else "",
        controls=controls(number, clause, chosen),
    )  # fmt: skip


def _start(clause: Clause, item: Item | None) -> Clause:
    """Where the controls stand at first: fields at the vendor's minimum where it named one, sensitive classes off."""
    document = clause.to_json()
    if item is not None and "fields" in item.minimum:
        for field_name, level in item.minimum["fields"].items():
            if field_name in document.get("fields", {}) and level != "hidden":
                document["fields"][field_name] = level
    if document.get("sensitive"):
        document["sensitive"] = []
    start = Clause.parse(document)
    return start if start & clause == start else clause


def _chosen(number: int, clause: Clause, form: MultiDict[str, str]) -> Clause:
    document = clause.to_json()
    _narrow_sets(document, number, clause, form)
    _narrow_answers(document, number, clause, form)
    if document.get("form") != "answers":
        _narrow_fields(document, number, clause, form)
    depth = form.get(name(number, "max_age"), "")
    if depth:
        document["window"] = {**document["window"], "max_age": depth}
    reads = form.get(name(number, "reads"), "")
    if reads:
        document["rate"] = {**document["rate"], "reads": f"{reads}/P1D"}
    until = _until(form)
    if until is not None:
        document["validity"] = {**document["validity"], "until": min(until, document["validity"].get("until", until))}
    try:
        return Clause.parse(document)
    except Malformed as malformed:
        first = malformed.errors[0]
        if first["pointer"].startswith("/sites"):
            raise Unprocessable(
                errors=[{"pointer": f"/{name(number, 'sites')}", "detail": "Write domains such as shop.example, separated by commas."}]
            ) from None
        raise BadRequest("This form could not be read. Nothing was given; open the request again.") from None


def _sites(number: int, form: MultiDict[str, str]) -> list[str]:
    """The sites that the person typed, such as can be met at all: the same check as that of the terms."""
    sites = form.get(name(number, "sites"), "").replace(",", " ").lower().split()
    wrong = next((site for site in sites if site in ("*", "self") or not is_site(site)), None)
    if wrong is not None:
        sentence = f"“{wrong}” is no site. Write domains such as shop.example, separated by commas; for one host alone write =www.shop.example."
        raise Unprocessable(errors=[{"pointer": f"/{name(number, 'sites')}", "detail": sentence}])
    return sorted(set(sites))


def _narrow_sets(document: dict[str, Any], number: int, clause: Clause, form: MultiDict[str, str]) -> None:
    without = set(form.getlist(name(number, "without")))
    document["kinds"] = [kind for kind in document["kinds"] if kind not in without]
    if not document["kinds"]:
        sentence = "You left out every kind of event. Keep one, or untick the whole part."
        raise Unprocessable(errors=[{"pointer": f"/{name(number, 'without')}", "detail": sentence}])
    classes = set(form.getlist(name(number, "without_class")))
    if classes:
        everything = sorted(set(SITE_CLASSES) - set(SENSITIVE_CLASSES)) if "*" in clause.slice.classes else document["classes"]
        document["classes"] = [each for each in everything if each not in classes] + form.getlist(name(number, "sensitive"))
    if clause.slice.sensitive:
        document["sensitive"] = form.getlist(name(number, "sensitive"))
    sites = _sites(number, form)
    if sites:
        document["sites"] = sites


def _narrow_answers(document: dict[str, Any], number: int, clause: Clause, form: MultiDict[str, str]) -> None:
    """Answers left out, and answers in place of rows where both were proposed."""
    if not clause.slice.answers:
        return
    without = set(form.getlist(name(number, "without_answer")))
    document["answers"] = [each for each in document["answers"] if each not in without]
    if form.get(name(number, "form")) == "answers":
        document |= {"form": "answers", "fields": {}}
    if document["form"] == "answers" and not document["answers"]:
        sentence = "You left out every answer. Keep one, or untick the whole part."
        raise Unprocessable(errors=[{"pointer": f"/{name(number, 'without_answer')}", "detail": sentence}])


def _narrow_fields(document: dict[str, Any], number: int, clause: Clause, form: MultiDict[str, str]) -> None:
    fields: dict[str, str] = {}
    for field_name, level in clause.slice.fields.items():
        wanted = form.get(name(number, f"field.{field_name}"), level)
        if wanted != "hidden":
            fields[field_name] = wanted
    document["fields"] = fields
    if clause.slice.fields and not fields:
        sentence = "You hid every field, so nothing would be left to see. Keep one, or untick the whole part."
        raise Unprocessable(errors=[{"pointer": f"/{name(number, 'field')}", "detail": sentence}])


def _until(form: Mapping[str, str]) -> str | None:
    """The earlier end that the person typed; the day they name still counts."""
    text = form.get("until", "").strip()
    if not text:
        return None
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        raise Unprocessable(errors=[{"pointer": "/until", "detail": "Write the end as a day, such as 2027-03-31."}]) from None
    return f"{day.isoformat()}T23:59:59Z"


def moved(choice: Choice) -> list[dict[str, Any]]:
    """Which dimensions the person moved, for the record of what was shown."""
    before, after = choice.proposed.to_json(), choice.chosen.to_json()
    return [
        {"clause": choice.id, "dim": dim, "proposed": before.get(dim), "chosen": after.get(dim)} for dim in sorted(before) if before.get(dim) != after.get(dim)
    ]
