"""What is left out of a stored body comes back, and no judge looks at more than it says."""

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import page_visit, purchase

from broker.events import actions, stored
from policies.slices import Slice

NOW = dt.datetime(2026, 11, 22, 10, 0, 5, tzinfo=dt.UTC)
HOSTS = ("shop.example", "www.shop.example", "m.shop.example", "www.com", "bank.example", "github.io", "me.github.io")
TAILS = ("", "/", "/a/b", ":8443/x", "/http", "/a?b=https://x.example")


def unpacked(event: dict[str, Any]) -> dict[str, Any]:
    return stored.unpacked(event["kind"], stored.packed(event, "origin", NOW))


@given(host=st.sampled_from(HOSTS), tail=st.sampled_from(TAILS), scheme=st.sampled_from(("http", "https")), title=st.text(max_size=20))
def test_a_stored_event_comes_back_whole(host: str, tail: str, scheme: str, title: str) -> None:
    event = actions.place_of({"id": "x", "time": "2026-11-20T10:00:00.000Z", "kind": "page_visit", "site": host, "url": f"{scheme}://{host}{tail}", "title": title})
    assert unpacked(event) == {**event, "origin": "origin", "received": "2026-11-22T10:00:05.000Z"}


def test_the_usual_event_is_stored_short() -> None:
    event = actions.place_of(page_visit(NOW, "https://www.plain.example/page"))
    body = stored.packed(event, "o", NOW)
    assert b'"url":"/page"' in body
    assert not [name for name in ("kind", "host", "domain", "class") if f'"{name}"'.encode() in body]


@pytest.mark.parametrize("sites", [["*"], ["shop.example"]])
@pytest.mark.parametrize("fields", [{"time": "day", "price": "band"}, {"site": "domain", "total": "exact"}, {"site": "class"}, {"site": "host", "url": "path1"}])
def test_what_is_read_for_a_judge_is_all_it_needs(sites: list[str], fields: dict[str, str]) -> None:
    part = Slice.parse({"kinds": ["purchase"], "sites": sites, "fields": fields, "window": {}}).at(NOW)
    compiled = part.compiled().of_kind["purchase"]
    for site in ("www.shop.example", "shop.example", "other.example"):
        event = actions.place_of({**purchase(NOW - dt.timedelta(days=1)), "site": site, "url": f"https://{site}/p/1"})
        read = stored.decoder("purchase", compiled.members, compiled.item_members)(stored.packed(event, "o", NOW))
        assert compiled.judge(read, str) == compiled.judge(event, str) == (part.trim(event, str) if part.covers(event) else None)
        assert compiled.members is not None
        assert set(read) <= compiled.members | {"id", "site", "host", "domain", "class"}
