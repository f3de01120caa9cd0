"""The rates of section 9 of the reliability design, at their defaults; every 429 says how long to wait, and endings have no limit."""

import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from makers import ORIGIN, Browser, Extension, Shop
from werkzeug.test import TestResponse

from broker import close_app, create_app
from broker.config import Settings
from broker.errors import RateLimit
from broker.limits import Limits


@pytest.fixture
def app(household: Path, tmp_path: Path) -> Iterator[Flask]:
    """A broker with every rate at its default."""
    shutil.copytree(household, tmp_path / "home")
    (tmp_path / "home" / "data").chmod(0o700)
    made = create_app(Settings(data_dir=tmp_path / "home" / "data", key_file=tmp_path / "home" / "keys" / "key"))
    yield made
    close_app(made)


def test_pushed_requests(bookshop: Shop, otherstore: Shop) -> None:
    """Ten a minute and client; another client is not touched."""
    assert [bookshop.push().status_code for _ in range(10)] == [201] * 10
    limited = bookshop.push()
    assert (limited.status_code, limited.json["error"]) == (429, "temporarily_unavailable")
    assert 0 < int(limited.headers["Retry-After"]) <= 60
    assert otherstore.push().status_code == 201


def test_reads_of_a_grant(alice: Browser, bookshop: Shop) -> None:
    """The host's limit comes beside the clause's own rate (24 a day by default)."""
    bookshop.connect(alice)
    statuses = [bookshop.read().status_code for _ in range(61)]
    assert statuses == [200] * 24 + [429] * 37
    last = bookshop.read()
    assert 0 < int(last.headers["Retry-After"]) <= 60


def left(answer: TestResponse) -> dict[str, tuple[int, int, int, int]]:
    """By name: quota, window, what is left, and seconds until it is all there (draft-ietf-httpapi-ratelimit-headers)."""
    policies = re.findall(r'"([a-z]+)";q=(\d+);w=(\d+)(?:, |$)', answer.headers["RateLimit-Policy"])
    told = {name: (int(r), int(t)) for name, r, t in re.findall(r'"([a-z]+)";r=(\d+);t=(\d+)(?:, |$)', answer.headers["RateLimit"])}
    assert [name for name, *_ in policies] == list(told)
    return {name: (int(q), int(w), *told[name]) for name, q, w in policies}


def test_what_is_left_is_told(alice: Browser, bookshop: Shop) -> None:
    """The grant's rate and the host's limit are two policies; each counts what it really counts, down to nothing."""
    pushed = left(bookshop.push())
    assert pushed["host"][:3] == (10, 60, 9)
    assert 0 < pushed["host"][3] <= 6
    bookshop.connect(alice)
    first, refused, second = bookshop.read(), bookshop.read("?kind=search"), bookshop.read()
    assert left(first)["grant"][:3] == (24, 86400, 23)
    assert 0 < left(first)["grant"][3] <= 86400
    assert refused.status_code == 403
    assert set(left(refused)) == {"host"}
    assert left(second)["grant"][2] == 22
    assert left(first)["host"][:2] == (60, 60)
    assert left(second)["host"][2] <= left(first)["host"][2] - 2
    for _ in range(22):
        last = bookshop.read()
    assert (last.status_code, left(last)["grant"][2]) == (200, 0)
    over = bookshop.read()
    assert (over.status_code, left(over)["grant"][2]) == (429, 0)
    assert int(over.headers["Retry-After"]) == pytest.approx(left(over)["grant"][3], abs=1)
    while bookshop.call("GET").status_code != 429:
        pass
    over = bookshop.call("GET")
    assert left(over)["host"][2] == 0
    assert "RateLimit" not in bookshop.client.get("/healthz", base_url=ORIGIN).headers
    assert "Retry-After" not in first.headers


def test_uploads_of_an_install(alice: Browser) -> None:
    extension = Extension.connect(alice)
    assert [extension.upload().status_code for _ in range(30)] == [200] * 30
    limited = extension.upload()
    assert (limited.status_code, limited.json["type"]) == (429, "/problems/rate-limit")


def test_strangers(alice: Browser, bookshop: Shop) -> None:
    """Thirty refusals a minute and address; those who are known go on."""
    bookshop.connect(alice)
    client = alice.app.test_client()
    statuses = [client.get("/v1/events", base_url=ORIGIN, headers={"Authorization": "DPoP x"}).status_code for _ in range(31)]
    assert statuses == [401] * 30 + [429]
    assert bookshop.read().status_code == 200


def test_endings_have_no_limit(alice: Browser, bookshop: Shop) -> None:
    from broker.grants import actions, queries

    grant_id = queries.to_bytes(bookshop.connect(alice)["grant_id"])
    broker = alice.app.extensions["broker"]
    for _ in range(100):
        actions.revoke(broker, alice.person_id, grant_id)
    assert bookshop.read().status_code == 401


def test_requests_under_way(settings: Settings) -> None:
    """Four of one client at once; the fifth is told to come back, and a place is free again afterwards."""
    limits = Limits(Settings(data_dir=settings.data_dir, key_file=settings.key_file))
    entered, leave = threading.Semaphore(0), threading.Event()

    def one() -> None:
        with limits.in_flight("books"):
            entered.release()
            leave.wait()

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in threads:
        entered.acquire()
    with pytest.raises(RateLimit), limits.in_flight("books"):
        pass
    with limits.in_flight("other"):
        pass
    leave.set()
    for thread in threads:
        thread.join()
    with limits.in_flight("books"):
        pass


def test_refused_calls_fill_no_ledger(alice: Browser, bookshop: Shop) -> None:
    """A token without its key, at a hundred addresses: one entry and its repeats, and none where the caller comes too often."""
    from broker.ledger import queries

    bookshop.connect(alice)

    def entries() -> int:
        with alice.app.extensions["broker"].reading() as tx:
            return len(queries.page(tx, alice.ring).entries)

    before = entries()
    headers = {"Authorization": f"DPoP {bookshop.tokens['access_token']}", "DPoP": "x"}
    statuses = [bookshop.client.get(f"/v1/grants/{number}", base_url=ORIGIN, headers=headers).status_code for number in range(100)]
    assert statuses == [401] * 30 + [429] * 70
    assert entries() == before + 1


def test_replays_are_counted_like_strangers(alice: Browser, bookshop: Shop) -> None:
    """Whoever copied a call may show it again thirty times a minute, and is known to the person by one entry."""
    bookshop.connect(alice)
    headers = bookshop.prover.headers("GET", "/v1/events", bookshop.tokens["access_token"])
    statuses = [bookshop.client.get("/v1/events", base_url=ORIGIN, headers=headers).status_code for _ in range(33)]
    assert statuses == [200] + [401] * 30 + [429] * 2
