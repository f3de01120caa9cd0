"""What a vendor asks for (RFC 9396 `authorization_details`), and how what was given differs from it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

TYPE = "personal_data_access"


@dataclass(frozen=True)
class Ask:
    """One entry to ask for. `fields` maps a field to its wanted level; `want` holds further members of the broker's `want`.

    `purpose` is a DPV term such as dpv:ProvideProductRecommendations; `why` is the vendor's own sentence, at most 200 characters.
    """

    kinds: tuple[str, ...]
    purpose: str
    why: str
    fields: Mapping[str, str]
    want: Mapping[str, Any] = field(default_factory=dict)
    minimum: Mapping[str, Any] = field(default_factory=dict)

    def details(self) -> dict[str, Any]:
        """The entry as the broker wants it."""
        entry: dict[str, Any] = {
            "type": TYPE,
            "actions": ["read"],
            "datatypes": list(self.kinds),
            "purposes": [self.purpose],
            "why": self.why,
            "want": {**self.want, "form": "rows", "fields": dict(self.fields)},
        }
        return {**entry, "minimum": dict(self.minimum)} if self.minimum else entry


@dataclass(frozen=True)
class Cut:
    """One difference: `given` is "nothing" where the person left it out."""

    what: str
    asked: str
    given: str


def cuts(ask: Ask, clauses: Iterable[Mapping[str, Any]]) -> list[Cut]:
    """Where the given `clauses` are narrower than `ask`; with several clauses, each is compared. An empty list: all was given.

    Durations are compared as they are written, and a broker writes days ("P365D", not "P1Y").
    """
    wanted = {f"field {name}": level for name, level in ask.fields.items()} | _flat(ask.want)
    found = []
    for clause in clauses:
        given = {f"field {name}": level for name, level in clause.get("fields", {}).items()} | _flat(clause)
        kinds = [kind for kind in ask.kinds if kind not in clause.get("datatypes", ())]
        found += [Cut(f"kind {kind}", "yes", "nothing") for kind in kinds]
        found += [Cut(what, _said(asked), _said(given.get(what))) for what, asked in wanted.items() if given.get(what) != asked]
    return found


def _flat(members: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name in ("sites", "classes", "categories", "sensitive"):
        if name in members:
            flat[name] = members[name]
    for name in ("window", "rate", "duties", "validity"):
        flat |= {f"{name} {part}": value for part, value in members.get(name, {}).items()}
    return flat


def _said(value: Any) -> str:
    if value is None or value == []:
        return "nothing"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
