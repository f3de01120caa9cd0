"""What a grant's page says in words: its state, how it ended, what ends with it, and what its person made smaller."""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from broker.grants.queries import Grant
from broker.ledger import narrowings
from broker.words import joined, many
from policies import explain
from policies.clauses import Clause
from policies.negotiate import Narrowing
from policies.purposes import PURPOSES
from policies.times import read_duration
from policies.vocabulary import FIELDS, HIDDEN, KINDS, SENSITIVE_CLASSES, SITE_CLASSES

_STATES: Final = {"active": ("Live", "good"), "paused": ("Paused", "warn"), "revoked": ("Ended", "stop"), "expired": ("Ended", "stop")}
# What happened before its time is named, and what is said after.
_ENDINGS: Final = {
    "": ("You ended it", ""),
    "handed_back": ("{name} handed it back", ""),
    "code_replayed": ("The broker ended it", ", because its code was shown twice"),
    "restored": ("The broker ended it again", ", after an older copy of your data had come back"),
    "over": ("It reached its end date", ""),
    "uncollected": ("The broker ended it", ", because {name} never came to use it"),
    "moved": ("It came in ended", ", since you brought it from another broker. There it goes on until you end it there"),
    "unsigned": ("The broker ended it", ", because {name} did not sign the agreement within 24 hours"),
}


def state(grant: Grant, now: dt.datetime) -> tuple[str, str]:
    """The state as a word, and its tone."""
    return _STATES[grant.state(now)]


def ending(grant: Grant, now: dt.datetime) -> tuple[str, str]:
    """How an ended grant ended: what is said before the time, and after it."""
    reason = grant.reason or ("over" if grant.state(now) == "expired" else "")
    before, after = _ENDINGS.get(reason, ("It ended", ""))
    return before.format(name=grant.name), after.format(name=grant.name)


def parts(grant: Grant) -> list[list[str]]:
    """The sentences of each clause."""
    return [explain.clause_sentences(clause, grant.name) for clause in grant.clauses]


def in_short(grant: Grant, now: dt.datetime) -> str:
    """What it lets the other side do, in one sentence."""
    more = len(grant.clauses) - 1
    first = parts(grant)[0][0]
    if grant.state(now) in {"revoked", "expired"}:
        first = first.replace(" may ", " could ", 1)
    return f"{first} And {many(more, 'more part')}." if more else first


def purposes(grant: Grant) -> str:
    """Why it may be used."""
    named = {name for clause in grant.clauses for name in clause.purposes}
    return joined((about.label for name, about in PURPOSES.items() if name in named), "or")


def recipients(grant: Grant) -> str:
    """Who gets to know of the rows."""
    if grant.collects:
        return "Nobody: it adds to what you keep here."
    named = sorted({name for clause in grant.clauses for name in clause.duties.processors})
    passed = [clause for clause in grant.clauses if clause.duties.onward != "none"]
    if not passed:
        return f"{grant.domain}, and nobody else."
    helpers = joined(f"“{name}”" for name in named) if named else "nobody yet named"
    return f"{grant.domain}, and those who work for it: {helpers}."


def windows(grant: Grant) -> str:
    """How far back it reaches."""
    ages = {clause.slice.window.max_age for clause in grant.clauses}
    longest = None if None in ages else max(age for age in ages if age is not None)
    return "As far as your events reach" if longest is None else f"The last {_length(longest)}"


def _length(hours: int) -> str:
    number, unit = (hours, "hour") if hours % 24 else (hours // 24, "day")
    return many(number, unit)


def _on_end(grant: Grant) -> int:
    return max((clause.duties.on_end for clause in grant.clauses if clause.action == "read"), default=0)


def if_ended(grant: Grant, last_read: dt.date | None) -> list[str]:
    """What happens when it ends."""
    if grant.collects:
        return ["Your extension can add nothing more from that moment. What it added stays yours, and you can forget it under My activity."]
    first = f"{grant.domain} can read nothing more from that moment."
    if last_read is None:
        return [first, "It has read nothing so far, so there is nothing it must delete."]
    again = "This grant cannot be begun again; they would have to ask you anew."
    return [first, f"What it read before, it must delete within {_length(_on_end(grant))}.", again]


def delete_by(grant: Grant, last_read: dt.date | None) -> dt.date | None:
    """The UTC day by which the other side must have deleted everything; None while the grant lives, or if it never read anything."""
    if last_read is None or grant.collects:
        return None
    # A row must be gone after its own time as well, whichever is first.
    kept = max(clause.duties.retention for clause in grant.clauses if clause.action == "read")
    by_age = dt.datetime.combine(last_read, dt.time(), dt.UTC) + dt.timedelta(days=1, hours=kept)
    ended = grant.ended_at or grant.expires_at
    return min(ended + dt.timedelta(hours=_on_end(grant)), by_age).date()


def narrowed(grant: Grant) -> list[str]:
    """What was asked and what the terms cut, for the parts that were given and for what got no part at all."""
    offered, ticked = grant.details["shown"]["offered"], grant.details["shown"]["ticked"]
    lines = [Narrowing(**line) for line in grant.details["narrowed"]]
    return [explain.narrowing(line) for line in lines if line.clause in ticked or line.clause not in offered]


def left(grant: Grant) -> int:
    """How many parts were offered and not given."""
    return len(grant.details["shown"]["offered"]) - len(grant.details["shown"]["ticked"])


def moved(grant: Grant) -> list[str]:
    """What the person gave less of than was proposed, each as a sentence."""
    lines = [line for line in grant.details["shown"]["moved"] if line["clause"] in grant.details["shown"]["ticked"]]
    return [sentence for line in lines for sentence in _moved(line["dim"], line["proposed"], line["chosen"])]


def _moved(dim: str, proposed: Any, chosen: Any) -> Iterator[str]:
    if dim == "fields":
        yield from _fields(proposed, chosen or {})
    elif dim == "kinds":
        yield f"You left out {joined(KINDS[kind].label for kind in proposed if kind not in chosen)}."
    elif dim == "classes":
        every = [each for each in SITE_CLASSES if each not in SENSITIVE_CLASSES] if "*" in proposed else proposed
        yield f"You left out sites of these kinds: {joined(each for each in every if each not in (chosen or ()))}."
    elif dim == "sensitive":
        yield f"You did not open {joined(each for each in proposed if each not in (chosen or ()))}."
    elif dim == "sites":
        yield f"You gave only {joined(site.removeprefix('=') for site in chosen)}."
    else:
        yield from _lengths(dim, proposed or {}, chosen or {})


def _fields(proposed: dict[str, str], chosen: dict[str, str]) -> Iterator[str]:
    for name, about in FIELDS.items():
        asked, given = proposed.get(name, HIDDEN), chosen.get(name, HIDDEN)
        if asked == given:
            continue
        yield f"You hid the {about.noun}." if given == HIDDEN else f"You gave {about.label(given)}, not {about.label(asked)}."


def _lengths(dim: str, proposed: dict[str, str], chosen: dict[str, str]) -> Iterator[str]:
    if dim == "window" and "max_age" in chosen:
        yield f"You gave only the last {_length(read_duration(chosen['max_age'], ''))}."
    elif dim == "rate" and proposed.get("reads") != chosen.get("reads"):
        count, before = (each["reads"].partition("/")[0] for each in (chosen, proposed))
        yield f"You let them look {many(int(count), 'time')} a day, not {before}."
    elif dim == "validity" and "until" in chosen:
        yield f"You set its end to {chosen['until'][:10]}."


_CHANGES: Final = {
    "paused": "You paused it.",
    "resumed": "You let it run again.",
    "narrowed": "You made it smaller.",
    "dpv:ConsentWithdrawn": "You ended it.",
    "dpv:ConsentRevoked": "It was ended, and not by you.",
}


def changed(chain: Iterable[Mapping[str, Any]], agreed: Sequence[Mapping[str, Any]], name: str) -> Iterator[tuple[dt.datetime, str, list[str]]]:
    """When something changed under an agreement, what, and from what to what, as its signed statements say; `agreed` are its clauses."""
    before = agreed
    for statement in chain:
        after = statement.get("clauses", before)
        yield dt.datetime.fromisoformat(statement["at"]), _CHANGES[statement["state"]], narrowings.sentences(before, after, name)
        before = after


def lesser(clause: Clause, name: str) -> list[tuple[str, str]]:
    """The levels a field can be narrowed to, from hidden up to as it is, each with its label: in the order of the consent page."""
    levels, level = FIELDS[name].levels, clause.slice.fields[name]
    if clause.action == "write":
        # What the person's own device adds is kept as it is, or not at all.
        return [(HIDDEN, "not kept"), (level, "kept")]
    return [(each, FIELDS[name].label(each) if each != HIDDEN else "not shown") for each in levels[: levels.index(level) + 1]]


def kinds(clause: Clause) -> list[tuple[str, str]]:
    """The kinds of a clause with their labels."""
    return [(kind, about.label) for kind, about in KINDS.items() if kind in clause.slice.kinds]


def noun(name: str) -> str:
    """A field's noun, as a label."""
    return FIELDS[name].noun.capitalize()
