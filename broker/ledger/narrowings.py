"""What a narrowing took out of a grant, in words: from what to what, part by part."""

from collections.abc import Mapping, Sequence
from typing import Any

from policies import explain
from policies.clauses import Clause, dimensions

Forms = Sequence[Mapping[str, Any]]


def sentences(before: Forms, after: Forms, name: str) -> list[str]:
    """Say how the clauses `after` (canonical forms) are less than those `before`; `name` is the other side's."""
    left = {form["id"]: form for form in after}
    found: list[str] = []
    for number, form in enumerate(before, 1):
        if form["id"] not in left:
            could = explain.clause_sentences(Clause.parse(form), name)[0].replace(" may ", " could ", 1)
            found.append(f"Part {number} was taken away whole. Before, {could}")
            continue
        part = f"Part {number}. " if len(before) > 1 else ""
        old, new = dimensions(form), dimensions(left[form["id"]])
        found += [f"{part}{explain.lessened(dim, old[dim], new.get(dim))}" for dim in _in_order(old) if old[dim] != new.get(dim)]
    return found


def _in_order(form: Mapping[str, Any]) -> list[str]:
    """What is given first, the end last, as a clause's own sentences have it."""
    return sorted(form, key=lambda dim: (dim == "validity", not dim.startswith("fields."), dim.partition(".")[0] == "duties"))
