"""What has happened since an agreement was made, for all formats alike.

`changes` are what its signed statements say, oldest first; the end says besides `by` whom: person, vendor or broker.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from policies import explain
from policies.clauses import Clause

Changes = Sequence[Mapping[str, Any]]


def left(agreement: Mapping[str, Any], changes: Changes) -> list[Clause]:
    """Return the clauses as they were last narrowed."""
    forms = [agreement["clauses"], *(change["clauses"] for change in changes if change["state"] == "narrowed")][-1]
    return [Clause.parse(form) for form in forms]


def end(changes: Changes) -> Mapping[str, Any] | None:
    """Return the change that ended it, if one did before its time was over."""
    return next((change for change in changes if "by" in change), None)


def ended(changes: Changes) -> str:
    """Say when it was ended, and by whom; empty while it was not."""
    last = end(changes)
    return f"The {last['by']} ended this on {explain.day(last['at'])}." if last else ""
