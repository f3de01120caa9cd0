"""Terms: the standing conditions a person proffers; rules that allow, and denies that beat them."""

import re
from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from policies import documents
from policies.clauses import MEMBERS, REQUIRED, Clause, read_action, read_clause, read_id, refuse_hollow, rule_defaults
from policies.documents import MOST_INTEGER, refuse
from policies.purposes import PURPOSES, hit
from policies.roster import ROSTER
from policies.slices import CARVE_READERS, CarveOut, Words
from policies.vocabulary import DERIVED_FROM

REQUESTS = ("AgentAllowsRequests", "AgentAllowsRequestsOnlyKnownParty", "AgentAllowsRequestsOnlyPriorAgreementParty", "AgentDisallowsRequests")
"""From whom the person takes requests (IEEE 7012)."""

_VENDOR = re.compile(r"\*|known|prior-agreement|(class|member):[a-z0-9-]{1,64}|(https?://|urn:)[!-~]{1,300}")


@dataclass(frozen=True, slots=True)
class VendorFacts:
    """What the broker, its directory or the person says of a vendor, never the vendor itself.

    `domains` are its verified ones; `classes` are `known`, `prior-agreement`, `class:…`, `member:…`.
    """

    id: str
    domains: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset()

    def is_among(self, vendors: Collection[str]) -> bool:
        """Say whether ids, classes or `*` name this vendor."""
        return "*" in vendors or self.id in vendors or any(name in vendors for name in self.classes)


@dataclass(frozen=True, slots=True)
class Rule:
    """One allow rule: what a clause for these vendors may hold at most."""

    id: str
    label: str
    vendors: frozenset[str]
    clause: Clause

    @classmethod
    def read(cls, value: object, pointer: str, base: str) -> "Rule":
        """Read a rule; `base` is that of the terms."""
        action = read_action(value, pointer)
        allowed = ("id", "label", "vendors", "action", *MEMBERS[action])
        found = documents.members(value, pointer, allowed, ("id", "vendors", *REQUIRED[action]))
        default = replace(rule_defaults(action), base=base if "base" in MEMBERS[action] else "")
        id_ = read_id(*found["id"])
        clause = read_clause(found, default, id_)
        refuse_hollow(clause, pointer)
        label = documents.prose(*found["label"], 200) if "label" in found else ""
        return cls(id_, label, _read_vendors(*found["vendors"]), clause)


def _read_vendors(value: object, pointer: str) -> frozenset[str]:
    form = "*, known, prior-agreement, class:…, member:… or a vendor's address such as https://books.example"
    return documents.some_words(value, pointer, lambda entry, at: documents.text(entry, at, _VENDOR, form))


_DENY_READERS: Mapping[str, Words] = {
    "vendors": _read_vendors,
    "actions": partial(documents.some_words, one=documents.one_of(MEMBERS)),
    "purposes": partial(documents.some_words, one=documents.one_of(PURPOSES)),
    **CARVE_READERS,
}


@dataclass(frozen=True, slots=True)
class Deny:
    """What nobody gets: None is any; no fields is the whole event. A deny beats every allow (O5)."""

    id: str
    vendors: frozenset[str] | None = None
    actions: frozenset[str] | None = None
    purposes: frozenset[str] | None = None
    kinds: frozenset[str] | None = None
    sites: frozenset[str] | None = None
    classes: frozenset[str] | None = None
    categories: frozenset[str] | None = None
    fields: frozenset[str] | None = None

    def speaks_of(self, vendor: VendorFacts, action: str) -> bool:
        """Say whether it names the vendor and the action, or leaves them open."""
        return (self.vendors is None or vendor.is_among(self.vendors)) and (self.actions is None or action in self.actions)

    def hits(self, purpose: str | None) -> bool:
        """Say whether it reaches a purpose (U1); a write has none, so only an open deny does."""
        return self.purposes is None or (purpose is not None and hit(purpose, self.purposes))

    @property
    def is_of_any_event(self) -> bool:
        """Whether it does not depend on the event."""
        return self.kinds is None and self.sites is None and self.classes is None and self.categories is None and self.fields is None

    @property
    def is_of_one_part(self) -> bool:
        """Whether it takes whole values out of a clause, of its purposes, its kinds or its fields; other denies stay standing."""
        of_events = self.sites is self.classes is self.categories is None
        return of_events and (self.kinds is None or self.fields is None)

    @property
    def kinds_hit(self) -> frozenset[str] | None:
        """Its kinds, with those that tell of them: a cart that was left tells of cart, checkout and missing purchase (E2)."""
        return self.kinds and self.kinds | {kind for kind, sources in DERIVED_FROM.items() if sources & self.kinds}

    @property
    def carve_out(self) -> CarveOut | None:
        """What it takes out of a slice, or None where it does not depend on the event."""
        if self.is_of_any_event:
            return None
        return CarveOut(**{name: getattr(self, name) for name in CARVE_READERS} | {"kinds": self.kinds_hit})

    @property
    def is_whole(self) -> bool:
        """Whether it takes everything from those it speaks of: any action, purpose and event."""
        return self.actions is None and self.purposes is None and self.is_of_any_event

    @classmethod
    def parse(cls, value: object, pointer: str = "") -> "Deny":
        """Read a deny. Raises `Malformed`."""
        found = documents.members(value, pointer, ("id", *_DENY_READERS), ("id",))
        parts = {name: frozenset(read(*found[name])) for name, read in _DENY_READERS.items() if name in found}
        return cls(read_id(*found["id"]), **parts)

    def to_json(self) -> dict[str, Any]:
        """Return what is not open, sorted."""
        parts = {name: getattr(self, name) for name in _DENY_READERS}
        return {"id": self.id} | {name: sorted(part) for name, part in parts.items() if part is not None}


@dataclass(frozen=True, slots=True)
class Terms:
    """A version of a person's terms; `document` is what they wrote, and what is kept (O2)."""

    version: int
    base: str
    requests: str
    allow: tuple[Rule, ...]
    deny: tuple[Deny, ...]
    document: Mapping[str, Any] = field(repr=False, hash=False)

    @classmethod
    def parse(cls, value: object) -> "Terms":
        """Read terms. Raises `Malformed`: for strangers, for an id that is used twice (O4)."""
        allowed = ("type", "version", "vocabulary", "base", "requests", "auto_accept", "allow", "deny")
        found = documents.members(value, "", allowed, allowed)
        documents.choice(*found["type"], ("Terms",))
        documents.integer(*found["vocabulary"], 1, 1)
        documents.choice(*found["auto_accept"], ("never",))
        base = documents.choice(*found["base"], ROSTER)
        rules = [(Rule.read(*entry, base), entry[1]) for entry in documents.entries(*found["allow"])]
        denies = [(Deny.parse(*entry), entry[1]) for entry in documents.entries(*found["deny"])]
        ids = [(rule.id, pointer) for rule, pointer in rules] + [(deny.id, pointer) for deny, pointer in denies]
        for at, (id_, pointer) in enumerate(ids):
            if any(id_ == other for other, _ in ids[:at]):
                refuse(documents.below(pointer, "id"), "Give each rule an id of its own.")
        return cls(
            version=documents.integer(*found["version"], 0, MOST_INTEGER),
            base=base,
            requests=documents.choice(*found["requests"], REQUESTS),
            allow=tuple(rule for rule, _ in rules),
            deny=tuple(deny for deny, _ in denies),
            document=deepcopy(dict(value)) if isinstance(value, dict) else {},
        )

    def to_json(self) -> dict[str, Any]:
        """Return the document as it was written."""
        return deepcopy(dict(self.document))

    def hears(self, vendor: VendorFacts) -> bool:
        """Say whether the person takes requests from this vendor at all."""
        needed = {
            "AgentAllowsRequests": {"*"},
            "AgentAllowsRequestsOnlyKnownParty": {"known", "prior-agreement"},
            "AgentAllowsRequestsOnlyPriorAgreementParty": {"prior-agreement"},
        }
        return vendor.is_among(needed.get(self.requests, set()))

    def blocks(self, vendor: VendorFacts) -> bool:
        """Say whether a deny takes everything from this vendor, so that its requests are not even shown."""
        return any(deny.is_whole and (deny.vendors is None or vendor.is_among(deny.vendors)) for deny in self.deny)

    @property
    def rules(self) -> "dict[str, Rule | Deny]":
        """Every rule by its id, those that allow first."""
        return {**{rule.id: rule for rule in self.allow}, **{deny.id: deny for deny in self.deny}}

    @property
    def blocked(self) -> list[str]:
        """The ids of vendors that are blocked by name, sorted."""
        return sorted({name for deny in self.deny if deny.is_whole for name in deny.vendors or () if "://" in name})


DEFAULT_TERMS = Terms.parse(
    {
        "type": "Terms",
        "version": 1,
        "vocabulary": 1,
        "base": "SD-BASE",
        "requests": "AgentAllowsRequests",
        "auto_accept": "never",
        "allow": [
            {
                "id": "recommendations",
                "label": "Any shop, to recommend products",
                "vendors": ["*"],
                "action": "read",
                "purposes": ["dpv:ProvideProductRecommendations"],
                "kinds": ["purchase"],
                "form": "rows",
                "fields": {"category": "leaf", "price": "bucket:10", "time": "day"},
                "window": {"max_age": "P90D", "min_age": "P1D"},
            }
        ],
        "deny": [
            {"id": "no-ads", "actions": ["read"], "purposes": ["dpv:Advertising", "dpv:SellDataToThirdParties", "dpv:SellInsightsFromData"]},
            {"id": "no-words", "fields": ["query", "title"]},
        ],
    }
)
"""The terms of a new person (section 2). They only bound what may be proposed."""
