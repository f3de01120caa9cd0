"""P15: what two clauses, grants, vendors or persons get to see of one thing has nothing in common: row ids, order aliases, ids of the person."""

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from makers import Browser

from broker.vault import derive, keys

DEEP = bool(os.environ.get("PROFFER_DEEP"))
MANY = settings(
    max_examples=50_000 if DEEP else 2000, derandomize=not DEEP, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
GRANTS = st.binary(min_size=16, max_size=16)
# Few letters, so that a grant's end and a clause's beginning could be taken for each other.
CLAUSES = st.text(st.sampled_from("c1~\x00"), min_size=1, max_size=3)
VIEWS = st.lists(st.tuples(st.sampled_from((0, 1)), GRANTS | st.just(bytes(16)), CLAUSES), min_size=2, max_size=4, unique=True)
IDS = st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=4, unique=True)


def share(rings: list[Any], views: list[tuple[int, bytes, str]], ids: list[str]) -> bool:
    """Whether two of the views show the same alias of anything, or one view the same for two things."""
    seen = [rings[person].alias(grant, clause)(value) for person, grant, clause in views for value in ids]
    assert all(len(each) == 32 for each in seen)
    return len(set(seen)) < len(seen)


@MANY
@given(views=VIEWS, ids=IDS)
def test_no_two_clauses_share_an_alias(alice: Browser, bob: Browser, views: list[tuple[int, bytes, str]], ids: list[str]) -> None:
    assert not share([alice.ring, bob.ring], views, ids)


@MANY
@given(vendors=st.lists(st.text(max_size=30), min_size=2, max_size=4, unique=True))
def test_no_two_vendors_know_a_person_by_one_id(alice: Browser, bob: Browser, vendors: list[str]) -> None:
    """Nor does a vendor's id of a person tell of an alias or a blind tag of the same text."""
    found = [ring.pairwise(vendor) for ring in (alice.ring, bob.ring) for vendor in vendors]
    found += [ring.tag("purchase", "events", "domain")(vendor) for ring in (alice.ring, bob.ring) for vendor in vendors]
    assert len({each[:16] for each in found}) == len(found)


def test_the_property_can_fail(alice: Browser, bob: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted defect: an alias that forgets which clause it is for."""
    subkey = derive.subkey
    assert not share([alice.ring], [(0, bytes(16), "c1"), (0, bytes(16), "c2")], ["e1"])
    monkeypatch.setattr(keys.derive, "subkey", lambda key, *parts: subkey(key, *parts[:2]))
    # Of another grant, since a keyring remembers what it made.
    assert share([alice.ring], [(0, b"g" * 16, "c1"), (0, b"g" * 16, "c2")], ["e1"])
