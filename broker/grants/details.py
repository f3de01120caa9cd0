"""What vendors get to know of a grant: its clauses in the words of RFC 9396 (`identifier`, `actions`, `datatypes`), and where less was given than asked."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final

from policies.clauses import Clause
from policies.negotiate import differences
from policies.requests import Request
from policies.terms import VendorFacts

TYPE: Final = "personal_data_access"


def given(clauses: Sequence[Clause]) -> list[dict[str, Any]]:
    """What was really granted, as `authorization_details`."""
    found: list[dict[str, Any]] = []
    for clause in clauses:
        document = clause.to_json()
        head = {"type": TYPE, "identifier": document.pop("id"), "actions": [document.pop("action")]}
        kinds = document.pop("kinds", None)
        found.append({**head, **({"datatypes": kinds} if kinds is not None else {}), **document})
    return found


def narrowed(request: Mapping[str, Any], ticked: Sequence[str], clauses: Sequence[Clause], given_at: dt.datetime) -> list[dict[str, Any]]:
    """Where the clauses give less than the vendor's own request asked: clause, dim, asked, given, code, and never why (rule G11).

    It is worked out from the request and what is given alone, so that a cut by the person's terms and one by their hand look alike. `ticked` holds
    the proposal's names of the clauses that were given, `c1` first.
    """
    vendor_id = str(request["vendor"])
    asked = Request.parse(dict(request), VendorFacts(vendor_id, frozenset({vendor_id.removeprefix("https://")})))
    lines: list[dict[str, Any]] = []
    of_item = {f"c{number}": name.partition("~")[0] for number, name in enumerate(ticked, 1)}
    for item in asked.items:
        mine = [clause for clause in clauses if of_item.get(clause.id) == item.id]
        for clause in mine:
            lines += [{"clause": clause.id, **line} for line in differences(item.resolved(asked.facts.domains), clause, given_at)]
        if not mine:
            lines.append({"clause": item.id, "dim": "action", "asked": item.clause.action, "given": None, "code": "fewer"})
    return lines
