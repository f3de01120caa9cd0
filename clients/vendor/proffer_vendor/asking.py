"""What a vendor asks for (RFC 9396 `authorization_details`), and how what was given differs from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TYPE = "personal_data_access"


@dataclass(frozen=True)
class Ask:
    """One entry to ask for. `fields` maps a field to its wanted level; `want` holds further members of the broker's `want`.

    With `answers` (recency, frequency, monetary) it asks for what can be worked out from the rows, and for no row.

    `purpose` is a DPV term such as dpv:ProvideProductRecommendations; `why` is the vendor's own sentence, at most 200 characters.
    """

    kinds: tuple[str, ...]
    purpose: str
    why: str
    fields: Mapping[str, str]
    want: Mapping[str, Any] = field(default_factory=dict)
    minimum: Mapping[str, Any] = field(default_factory=dict)
    answers: tuple[str, ...] = ()

    def details(self) -> dict[str, Any]:
        """The entry as the broker wants it."""
        entry: dict[str, Any] = {
            "type": TYPE,
            "actions": ["read"],
            "datatypes": list(self.kinds),
            "purposes": [self.purpose],
            "why": self.why,
            "want": {**self.want, **({"form": "answers", "answers": list(self.answers)} if self.answers else {"form": "rows", "fields": dict(self.fields)})},
        }
        return {**entry, "minimum": dict(self.minimum)} if self.minimum else entry


@dataclass(frozen=True)
class Cut:
    """One thing that was asked for and not given, or not whole: `what` such as "field price", "kind cart" or "window max_age"; `given` may be "nothing"."""

    what: str
    asked: str
    given: str


def cuts(grant: Mapping[str, Any]) -> list[Cut]:
    """Where the person gave less than was asked, from `narrowed` of GET /v1/grants/<id>; an empty list: all was given.

    Why is not told: what the person's terms cut and what their hand cut look alike. What is asked in vain is seen by the person all the same, so
    an ask that names no more than is needed is the one that is given whole.
    """
    found: list[Cut] = []
    # A kind that another clause gives was given.
    kinds = {kind for clause in grant.get("authorization_details", ()) for kind in clause.get("datatypes", ())}
    for line in grant.get("narrowed", ()):
        dim, asked, given = line["dim"], line["asked"], line["given"]
        if dim == "kinds":
            found += [Cut(f"kind {kind}", "yes", "nothing") for kind in asked if kind not in given and kind not in kinds]
        elif dim == "action":
            found.append(Cut(f"part {line['clause']}", _said(asked), "nothing"))
        else:
            found.append(Cut(dim.replace("fields.", "field ").replace(".", " "), _said(asked), _said(given)))
    # Clauses of one part can lack the same.
    return list(dict.fromkeys(found))


def _said(value: Any) -> str:
    if value in (None, [], "hidden"):
        return "nothing"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
