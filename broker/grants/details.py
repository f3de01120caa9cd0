"""What vendors get to know of a grant: its clauses in the words of RFC 9396 (`identifier`, `actions`, `datatypes`), and where less was given than asked."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

import orjson

from policies.clauses import Clause
from policies.negotiate import differences
from policies.requests import Request
from policies.terms import VendorFacts
from policies.vocabulary import HIDDEN, rank

TYPE: Final = "personal_data_access"
# Answers that are kept worked out, each for exactly what it was made of.
KEPT: Final = 1024


def given(clauses: Sequence[Clause]) -> list[dict[str, Any]]:
    """What was really granted, as `authorization_details`."""
    found: list[dict[str, Any]] = []
    for clause in clauses:
        document = clause.to_json()
        head = {"type": TYPE, "identifier": document.pop("id"), "actions": [document.pop("action")]}
        kinds = document.pop("kinds", None)
        found.append({**head, **({"datatypes": kinds} if kinds is not None else {}), **document})
    return found


@lru_cache(maxsize=KEPT)
def given_json(clauses: tuple[Clause, ...]) -> bytes:
    """The same as JSON; worked out once for the same clauses."""
    return orjson.dumps(given(clauses))


@lru_cache(maxsize=KEPT)
def narrowed_json(request: bytes, ticked: tuple[str, ...], clauses: tuple[Clause, ...], given_at: dt.datetime) -> bytes:
    """What `narrowed` says, as JSON; `request` is the vendor's as JSON. Worked out once for the same request and clauses."""
    return orjson.dumps(narrowed(orjson.loads(request), ticked, clauses, given_at))


def narrowed(request: Mapping[str, Any], ticked: Sequence[str], clauses: Sequence[Clause], given_at: dt.datetime) -> list[dict[str, Any]]:
    """Where the clauses give less than the vendor's own request asked: clause, dim, asked, given, code, and never why (rule G11).

    It is worked out from the request and what is given alone, so that a cut by the person's terms and one by their hand look alike. `ticked` holds
    the proposal's names of the clauses that were given, `c1` first. Where one item became several clauses, what one of them lacks and another gives is
    no narrowing.
    """
    vendor_id = str(request["vendor"])
    asked = Request.parse(dict(request), VendorFacts(vendor_id, frozenset({vendor_id.removeprefix("https://")})))
    lines: list[dict[str, Any]] = []
    of_item = {f"c{number}": name.partition("~")[0] for number, name in enumerate(ticked, 1)}
    for item in asked.items:
        mine = [clause for clause in clauses if of_item.get(clause.id) == item.id]
        for clause in mine:
            found = differences(item.resolved(asked.facts.domains), clause, given_at)
            lines += [{"clause": clause.id, **line} for line in found if not _made_good(line, clause, mine)]
        if not mine:
            lines.append({"clause": item.id, "dim": "action", "asked": item.clause.action, "given": None, "code": "fewer"})
    return lines


def _made_good(line: Mapping[str, Any], clause: Clause, mine: Sequence[Clause]) -> bool:
    """Whether another clause of the same item gives what this line of `clause` misses."""
    dim = line["dim"]
    if dim == "kinds":
        return frozenset(line["asked"]) <= frozenset[str]().union(*(each.slice.kinds for each in mine))
    others = [each for each in mine if each is not clause and _covers(each, clause)]
    if dim == "form":
        return line["asked"] == "rows" and any(each.slice.form == "rows" for each in others)
    name = dim.removeprefix("fields.")
    return dim != name and any(rank(name, each.slice.fields.get(name, HIDDEN)) > rank(name, line["given"]) for each in others)


def _covers(other: Clause, clause: Clause) -> bool:
    """Whether `other` is about all that `clause` is about. Answers are made good by rows of their kinds: where those reach less far, their own lines say it."""
    if other.action != clause.action or not clause.purposes <= other.purposes:
        return False
    if clause.slice.form == "answers":
        return clause.slice.kinds <= other.slice.kinds
    shown = {name: getattr(other.slice, name) for name in ("form", "answers", "fields")}
    return replace(clause.slice, **shown).normal() <= other.slice
