"""Cedar, another policy language, agrees with us on which events a clause and standing denies let a vendor see."""

import json
import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

import cedarpy
import pytest

from policies import decide as deciding
from policies.decide import Asked, Denied, decide
from policies.purposes import PURPOSES
from policies.slices import Slice
from policies.terms import Deny
from tests.policies import oracle, worlds
from tests.policies.properties import clause_of, grant_of

SLICES, EVENTS = 500, 20
PURPOSE = "dpv:ProvideProductRecommendations"
SITES = ["shop.example", "=www.shop.example", "books.example", "clinic.example", "news.example"]
CLASSES = ["shop", "news", "health", "finance"]
Json = dict[str, Any]


def some(chance: random.Random, values: Iterable[str], most: int = 3) -> list[str]:
    values = sorted(values)
    return sorted(chance.sample(values, chance.randint(1, min(most, len(values)))))


def a_slice(chance: random.Random) -> Json:
    """A clause's part: mostly wide, so that events get through."""
    return {
        "kinds": sorted(worlds.KINDS) if chance.random() < 0.5 else some(chance, worlds.KINDS, 6),
        "sites": ["*"] if chance.random() < 0.6 else some(chance, SITES),
        "classes": ["*"] if chance.random() < 0.7 else some(chance, CLASSES),
        "sensitive": some(chance, ("health", "finance", "baby")) if chance.random() < 0.6 else [],
        "categories": ["*"] if chance.random() < 0.6 else some(chance, worlds.CATEGORIES),
        "fields": {"time": chance.choice(["month", "day", "hour", "exact"])},
        "window": {} if chance.random() < 0.5 else {"max_age": chance.choice(["P30D", "P90D", "PT36H"]), "min_age": chance.choice(["P0D", "P1D"])},
    }


def a_deny(chance: random.Random) -> Json:
    parts = {
        "vendors": lambda: some(chance, ("https://books.example", "class:bookshop", "class:other"), 1),
        "actions": lambda: some(chance, ("read", "write"), 1),
        "purposes": lambda: some(chance, worlds.PURPOSES, 2),
        "kinds": lambda: some(chance, worlds.KINDS, 2),
        "sites": lambda: some(chance, SITES, 2),
        "classes": lambda: some(chance, CLASSES, 1),
        "categories": lambda: some(chance, worlds.CATEGORIES, 2),
        "fields": lambda: ["price"],
    }
    return {name: parts[name]() for name in chance.sample(sorted(parts), chance.choice([1, 2, 2, 3]))}


def an_event(chance: random.Random, number: int) -> Json:
    kind = chance.choice(sorted(worlds.KINDS))
    host, domain, site_class = chance.choice(worlds.PLACES)
    at = worlds.NOW.timestamp() + 86400 * 2 - chance.randrange(100 * 86400)
    event: Json = {"id": f"e{number}", "kind": kind, "host": host, "domain": domain, "class": site_class, "time": f"{datetime.fromtimestamp(at, worlds.UTC):%Y-%m-%dT%H:%M:%S}.007Z"}
    if kind == "search":
        event["query"] = chance.choice(["crime book", "pills for pain", "zzz", "baby toys", "casino novel"])
    if worlds.KINDS[kind].items and chance.random() < 0.8:
        event["items"] = [{"category": path} if (path := chance.choice([*worlds.CATEGORY_PATHS, ""])) else {} for _ in range(chance.randint(1, 3))]
    return event


def written(values: Iterable[str]) -> str:
    return f"[{', '.join(json.dumps(value) for value in values)}]"


def either(conditions: Iterable[str]) -> str:
    return f"({' || '.join(conditions)})"


def permit(part: Json) -> str:
    """The clause as one Cedar policy, and what is sensitive and not listed as two that forbid."""
    after, before = (round(edge.timestamp() * 1000) for edge in oracle.window_at(part["window"], part["fields"]["time"], worlds.NOW))
    wanted = [f"{written(part['kinds'])}.contains(resource.kind)", f"resource.time >= {after}", f"resource.time < {before}"]
    wanted.append(f"{written(part['classes'] if part['classes'] != ['*'] else oracle.OPEN_SITES + oracle.SENSITIVE_SITES)}.contains(resource.class)")
    if part["sites"] != ["*"]:
        wanted.append(f"resource.sites.containsAny({written(part['sites'])})")
    if part["categories"] != ["*"]:
        wanted.append(f"resource.shown.containsAny({written(part['categories'])})")
    shut_sites = [name for name in oracle.SENSITIVE_SITES if name not in part["sensitive"]]
    shut_products = [name for name in oracle.SENSITIVE_PRODUCTS if name not in part["sensitive"]]
    return f"""
        permit (principal, action == Action::"read", resource) when {{ {' && '.join(wanted)} }};
        forbid (principal, action, resource) when {{ {written(shut_sites)}.contains(resource.class) }};
        forbid (principal, action, resource) when {{ resource.about.containsAny({written(shut_products)}) }};
    """


def forbid(deny: Json) -> str:
    """A deny as a Cedar policy; one that hides fields forbids no event."""
    if "fields" in deny:
        return ""
    wanted = ["true"]
    if "kinds" in deny:
        derived = ["cart_abandoned"] if {"cart", "checkout", "purchase"} & set(deny["kinds"]) else []
        wanted.append(f"{written(deny['kinds'] + derived)}.contains(resource.kind)")
    if "vendors" in deny:
        wanted.append(either(f"principal in Vendor::{json.dumps(name)}" for name in deny["vendors"]))
    if "actions" in deny:
        wanted.append(either(f"action == Action::{json.dumps(name)}" for name in deny["actions"]))
    if "purposes" in deny:
        wanted.append(either(f"context.purpose in Purpose::{json.dumps(name)}" for name in deny["purposes"]))
    wanted += [f"resource.sites.containsAny({written(deny['sites'])})"] if "sites" in deny else []
    wanted += [f"{written(deny['classes'])}.contains(resource.class)"] if "classes" in deny else []
    wanted += [f"resource.about.containsAny({written(deny['categories'])})"] if "categories" in deny else []
    return f"forbid (principal, action, resource) when {{ {' && '.join(wanted)} }};"


def rows_of(event: Json) -> list[Json]:
    """An event as Cedar resources: one for each item, else one; covered if one of them may be read."""
    at = round(datetime.fromisoformat(event["time"]).timestamp() * 1000)
    place = {"kind": event["kind"], "time": at, "class": event["class"], "sites": [event["domain"], "=" + event["host"]]}
    if event.get("items"):
        paths = [prefixes(item.get("category")) for item in event["items"]]
        return [{**place, "shown": path, "about": path} for path in paths]
    return [{**place, "shown": [], "about": oracle.topics_of(event) if "query" in event else []}]


def prefixes(path: str | None) -> list[str]:
    steps = path.split("/") if path else []
    return ["/".join(steps[:length]) for length in range(1, len(steps) + 1)]


VENDORS = [{"uid": {"type": "Vendor", "id": name}, "attrs": {}, "parents": []} for name in ("class:bookshop", "class:other", "known", "https://books.example")]
CLIENT = {
    "uid": {"type": "Client", "id": "books-web"}, "attrs": {},
    "parents": [{"type": "Vendor", "id": name} for name in ("class:bookshop", "known", "https://books.example")],
}  # fmt: skip
PURPOSE_TREE = [
    {"uid": {"type": "Purpose", "id": name}, "attrs": {}, "parents": [{"type": "Purpose", "id": parent} for parent in about.parents]} for name, about in PURPOSES.items()
]


def cedar(policies: str, events: list[Json]) -> list[bool]:
    """Which events Cedar lets the bookshop read."""
    rows = [rows_of(event) for event in events]
    entities = [{"uid": {"type": "Row", "id": f"{at}-{each}"}, "attrs": row, "parents": []} for at, found in enumerate(rows) for each, row in enumerate(found)]
    requests = [
        {"principal": 'Client::"books-web"', "action": 'Action::"read"', "resource": f'Row::"{at}-{each}"', "context": {"purpose": {"__entity": {"type": "Purpose", "id": PURPOSE}}}}
        for at, found in enumerate(rows)
        for each in range(len(found))
    ]
    answers = iter(cedarpy.is_authorized_batch(requests, policies, [CLIENT, *VENDORS, *PURPOSE_TREE, *entities]))
    found = []
    for each in rows:
        mine = [next(answers) for _ in each]
        assert not any(answer.diagnostics.errors for answer in mine), mine[0].diagnostics.errors
        found.append(any(answer.allowed for answer in mine))
    return found


def ours(part: Json, denies: list[Json], events: list[Json]) -> list[bool]:
    clause = replace(clause_of(Slice.parse(part)), purposes=frozenset({PURPOSE}))
    standing = [Deny.parse({"id": f"d{at}", **deny}) for at, deny in enumerate(denies)]
    decision = decide(grant_of(clause), standing, Asked("books-web", purpose=PURPOSE), worlds.NOW)
    if isinstance(decision, Denied):
        assert set(decision.reasons) <= {"denied-by-terms", "out-of-slice"}
        return [False] * len(events)
    judge = decision.slice.compiled()
    found = [decision.slice.covers(event) for event in events]
    assert [judge(event) is not None for event in events] == found
    return found


def test_cedar_agrees_on_ten_thousand_cases() -> None:
    chance = random.Random(7012)
    allowed = 0
    for _ in range(SLICES):
        part, denies = a_slice(chance), [a_deny(chance) for _ in range(chance.choice([0, 0, 1, 1, 2]))]
        events = [an_event(chance, number) for number in range(EVENTS)]
        theirs = cedar("\n".join([permit(part), *map(forbid, denies)]), events)
        assert ours(part, denies, events) == theirs, (part, denies)
        allowed += sum(theirs)
    print(f"{SLICES * EVENTS} cases, {allowed} allowed")
    assert SLICES * EVENTS >= 10_000
    assert SLICES * EVENTS * 0.1 < allowed < SLICES * EVENTS * 0.9


def test_cedar_would_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted defect: a carve-out that is passed over."""
    event = {"id": "e", "kind": "purchase", "host": "shop.example", "domain": "shop.example", "class": "shop", "time": "2026-11-20T18:04:05.120Z"}
    part = {"kinds": ["purchase"], "sites": ["*"], "classes": ["*"], "sensitive": [], "categories": ["*"], "fields": {"time": "day"}, "window": {}}
    deny = {"sites": ["shop.example"]}
    assert cedar(permit(part), [event]) == ours(part, [], [event]) == [True]
    assert cedar(permit(part) + forbid(deny), [event]) == ours(part, [deny], [event]) == [False]
    deciding._meant.cache_clear()
    monkeypatch.setattr(deciding, "_carve_outs", lambda *_: frozenset())
    assert ours(part, [deny], [event]) == [True]
    deciding._meant.cache_clear()
