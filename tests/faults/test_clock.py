"""The clock is set: by a day and by ten years, back and forth, while a broker works and while it stands still (K91, K7).

Nothing that was over comes alive, the ledger holds, and a clock that went ahead and came back shuts nobody out for ten years.
"""

import datetime as dt
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import proofs
import pytest
from faked import FAKETIME, Machine
from flask import Flask
from granted import READ, a_client, granted
from makers import ORIGIN, Browser, Clock, Extension, Shop, page_visit, purchase, purchases, settings_in
from processes import call

from broker import clock as clocks
from broker import close_app, create_app
from broker.config import Settings
from broker.exports import actions as exports
from broker.grants import queries as grants
from broker.ledger import queries as ledger
from broker.oauth import actions as oauth
from broker.people import actions as people
from broker.verifying import ledger as verify

DAY, DECADE = dt.timedelta(days=1), dt.timedelta(days=3652)
BACK = (DAY, DECADE)
STEPS, DEEP = 20, 200
READS = 3
SWEEPS_AN_HOUR = 120


@dataclass
class Scene:
    """A broker by a clock that is set, alice on it, and the bookshop; it can be stopped and started."""

    settings: Settings
    clock: Clock
    app: Flask
    alice: Browser
    shop: Shop

    @classmethod
    def begin(cls, settings: Settings) -> "Scene":
        clock = Clock()
        app = create_app(settings, clock)
        return cls(settings, clock, app, Browser.of(app, "alice"), Shop.register(app, "books.example"))

    @property
    def broker(self) -> Any:
        return self.app.extensions["broker"]

    def restart(self) -> None:
        """Stop, and start again on the same stores and clock; clients keep what they hold."""
        close_app(self.app)
        self.app = create_app(self.settings, self.clock)
        cookie = self.alice.client.get_cookie("session-8440", domain="localhost")
        assert cookie
        client = self.app.test_client()
        client.set_cookie("session-8440", cookie.value, domain="localhost")
        self.alice = replace(self.alice, app=self.app, client=client)
        self.shop = replace(self.shop, app=self.app, client=self.app.test_client(), prover=proofs.of_broker(self.broker, self.shop.prover.key))

    def over(self, **by: float) -> None:
        """Let time pass, and let the broker see it."""
        self.clock.advance(**by)
        self.broker.now()


@pytest.fixture
def scene(settings: Settings) -> Iterator[Scene]:
    made = Scene.begin(settings)
    yield made
    close_app(made.app)


# What tries a thing that is over: whether it still works. Each first makes it, sees it work where that does not use it up, and lets its time pass.
Try = Callable[[Scene], bool]


def a_grant(scene: Scene) -> Try:
    granted_, _ = _given(scene)
    scene.over(days=400)
    return lambda scene: scene.shop.read().status_code == 200 or scene.shop.refresh().status_code == 200 or granted_(scene) == "active"


def _given(scene: Scene) -> tuple[Callable[[Scene], str], dict[str, Any]]:
    scene.alice.store(purchase(scene.clock() - dt.timedelta(days=3)))
    tokens = scene.shop.connect(scene.alice)
    assert scene.shop.read().json["items"]
    grant_id = grants.to_bytes(tokens["grant_id"])

    def state(scene: Scene) -> str:
        with scene.broker.reading() as tx:
            return grants.one(tx, scene.alice.ring, grant_id).state(scene.broker.now())

    return state, tokens


def a_token(scene: Scene) -> Try:
    _given(scene)
    scene.over(seconds=301)
    return lambda scene: scene.shop.read().status_code == 200


def a_code(scene: Scene) -> Try:
    code = scene.alice.give(scene.shop.ask())["code"]
    scene.over(seconds=61)
    return lambda scene: scene.shop.redeem(code).status_code == 200


def a_request(scene: Scene) -> Try:
    address = scene.shop.ask()
    scene.over(seconds=91)
    return lambda scene: scene.alice.get(address).status_code == 303


def a_rate(scene: Scene) -> Try:
    """Used up today; yesterday it was not."""
    scene.alice.store(purchase(scene.clock() - dt.timedelta(days=30)))
    asked = purchases()
    scene.shop.connect(scene.alice, [{**asked, "want": {**asked["want"], "rate": {"reads": f"{READS}/P1D", "rows": "1000/P1D"}}}])
    # The grant began before yesterday, and had nothing left of today.
    scene.over(days=2)
    assert scene.shop.refresh().status_code == 200
    for _ in range(READS):
        assert scene.shop.read().status_code == 200
    assert scene.shop.read().status_code == 429

    def reads(scene: Scene) -> bool:
        # Yesterday's token is none.
        return scene.shop.refresh().status_code == 200 and scene.shop.read().status_code == 200

    return reads


def a_session(scene: Scene) -> Try:
    assert scene.alice.get("/activity").status_code == 200
    scene.over(days=91)
    return lambda scene: scene.alice.get("/activity").status_code == 200


def a_link(scene: Scene) -> Try:
    link = people.make_link(scene.broker).text
    scene.over(minutes=16)
    return lambda scene: scene.app.test_client().get(f"/sign-up/{link}", base_url=ORIGIN).status_code == 200


def an_assertion(scene: Scene) -> Try:
    """Used once and forgotten by the sweep, as it is no good any more."""
    shown = scene.shop.assertion()
    data = {"token": "x", "client_assertion": shown}
    assert scene.shop.form("/oauth/revoke", data).status_code == 200
    assert scene.shop.form("/oauth/revoke", data).status_code == 401
    scene.over(minutes=3)
    oauth.sweep(scene.broker)
    return lambda scene: scene.shop.form("/oauth/revoke", data).status_code == 200


def a_proof(scene: Scene) -> Try:
    """Shown once with a refresh token, which lives on, and forgotten by the sweep."""
    device = Extension.connect(scene.alice)
    data = {"grant_type": "refresh_token", "client_id": "extension", "refresh_token": device.tokens["refresh_token"]}
    headers = {"DPoP": device.prover.proof("POST", "/oauth/token")}

    def refreshed(scene: Scene) -> bool:
        return scene.app.test_client().post("/oauth/token", data=data, base_url=ORIGIN, headers=headers).status_code == 200

    assert refreshed(scene)
    assert not refreshed(scene)
    scene.over(minutes=10)
    oauth.sweep(scene.broker)
    return refreshed


THINGS = {each.__name__: each for each in (a_grant, a_token, a_code, a_request, a_rate, a_session, a_link, an_assertion, a_proof)}


@pytest.mark.accepts("K7")
@pytest.mark.accepts("K91")
@pytest.mark.parametrize("name", THINGS)
def test_what_is_over_stays_over(scene: Scene, name: str) -> None:
    """Set back by a day and by ten years, while it works and while it stands still."""
    works = THINGS[name](scene)
    assert not works(scene), "it was not over before the clock was set"
    for back in BACK:
        before = scene.broker.now()
        scene.clock.ahead -= back
        assert scene.clock() < before, "the fault did not fire"
        assert not works(scene)
        scene.restart()
        assert scene.clock() < before
        assert not works(scene)
    assert verify(scene.broker, None).code == 0


def by_the_machine(patch: pytest.MonkeyPatch) -> None:
    """The planted defect: the highest time seen counts for nothing."""
    patch.setattr(clocks.Clock, "__call__", lambda self: self._told())


@pytest.mark.parametrize("name", THINGS)
def test_the_control_is_noticed(scene: Scene, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the broker goes by the machine's clock, each of them comes alive."""
    by_the_machine(monkeypatch)
    works = THINGS[name](scene)
    assert not works(scene)
    scene.clock.ahead = DAY if name == "a_rate" else dt.timedelta()
    # A process remembers the proofs that it took, whatever the time.
    scene.restart()
    assert works(scene)


@pytest.mark.parametrize("name", ["a_session", "a_grant"])
def test_forgetting_it_at_a_stop_is_noticed(scene: Scene, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control for the restart: a highest time that does not outlive it."""
    monkeypatch.setattr(clocks.heads, "reached", lambda *_: None)
    works = THINGS[name](scene)
    scene.clock.ahead = dt.timedelta()
    assert not works(scene)
    scene.restart()
    assert works(scene)


def test_time_goes_on_where_the_clock_stands_behind(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set back by ten years, time goes on by what the machine has run: nothing lives ten years longer."""
    scene.alice.store(purchase(scene.clock() - dt.timedelta(days=3)))
    scene.shop.connect(scene.alice)
    scene.clock.ahead -= DECADE
    assert scene.shop.read().status_code == 200
    monkeypatch.setattr(clocks, "running", lambda runs=clocks.running: runs() + dt.timedelta(seconds=301))
    assert scene.shop.read().status_code == 401


def test_what_another_process_has_seen_counts(scene: Scene) -> None:
    other = create_app(scene.settings, Clock())
    scene.over(days=40)
    far = scene.broker.now()
    theirs = other.extensions["broker"].now
    assert theirs() < far - dt.timedelta(days=39)
    theirs.keep()
    assert theirs() > far - dt.timedelta(seconds=5)
    close_app(other)


def test_a_highest_time_that_cannot_be_noted_or_read_stops_nothing(scene: Scene) -> None:
    with scene.broker.heads.engine.connect() as connection:
        connection.exec_driver_sql("UPDATE times SET at = 'soon'")
    scene.restart()
    assert scene.alice.get("/activity").status_code == 200
    with scene.broker.heads.engine.connect() as connection:
        connection.exec_driver_sql("DROP TABLE times")
    scene.over(days=1)
    assert scene.alice.get("/activity").status_code == 200


def _ahead(scene: Scene) -> Try:
    """Ten years ahead by mistake, seen by everything that a broker does by itself; and back."""
    state, _ = _given(scene)
    scene.alice.store(*[page_visit(scene.clock() - dt.timedelta(days=5 + 20 * n)) for n in range(18)])
    exports.keep_for(scene.broker, scene.alice.person_id, "page_visit", 366)
    assert exports.expire(scene.broker) == 0
    scene.over(days=DECADE.days)
    return lambda scene: state(scene) == "active" or scene.shop.read().status_code == 200


def _kept(scene: Scene) -> int:
    with scene.broker.reading() as tx:
        return int(tx.exec_driver_sql("SELECT count(*) FROM events WHERE kind = 'page_visit'").scalar_one())


@pytest.mark.accepts("K91")
def test_ten_years_ahead_and_back_erases_next_to_nothing(scene: Scene) -> None:
    """What is kept for a year is not erased because a clock leapt: retention follows by a day an hour, and the log says so."""
    before = clocks.heads.reached(scene.broker.heads, clocks.heads.KEPT) or scene.clock()
    _ahead(scene)
    for _ in range(SWEEPS_AN_HOUR):
        exports.expire(scene.broker)
    assert _kept(scene) == 18
    reached = clocks.heads.reached(scene.broker.heads, clocks.heads.KEPT)
    assert reached
    assert DAY <= reached - before < DAY + dt.timedelta(minutes=5)
    scene.clock.ahead = dt.timedelta()
    scene.restart()
    exports.expire(scene.broker)
    assert _kept(scene) == 18


def test_without_the_slow_retention_the_leap_is_noticed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "LEAP", 2 * DECADE)
    _ahead(scene)
    assert exports.expire(scene.broker) == 18


def test_retention_is_not_put_off_by_a_clock_that_went_back(scene: Scene) -> None:
    _ahead(scene)
    scene.clock.ahead = -DECADE
    exports.keep_for(scene.broker, scene.alice.person_id, "page_visit", 31)
    assert exports.expire(scene.broker) > 0


def test_two_months_without_the_broker_are_caught_up_with(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slowly, here by a day a sweep, and the last week at once."""
    monkeypatch.setattr(exports, "FOLLOWS", DAY)
    scene.alice.store(*[page_visit(scene.clock() - dt.timedelta(days=n)) for n in range(31, 62)])
    exports.keep_for(scene.broker, scene.alice.person_id, "page_visit", 92)
    exports.expire(scene.broker)
    before = _kept(scene)
    scene.over(days=62)
    assert exports.expire(scene.broker) == 0
    for _ in range(62 - 5):
        exports.expire(scene.broker)
    reached = clocks.heads.reached(scene.broker.heads, clocks.heads.KEPT)
    assert reached
    assert scene.clock() - reached < dt.timedelta(minutes=1)
    assert _kept(scene) < before


@pytest.mark.accepts("K91")
def test_ten_years_ahead_and_back_shuts_nobody_out(scene: Scene) -> None:
    """The person signs in and ends grants at once; after `broker clock --set-back` everything works by the right time, and nothing that was over lives."""
    works = _ahead(scene)
    oauth.sweep(scene.broker)
    scene.clock.ahead = dt.timedelta()
    scene.restart()
    assert not works(scene)
    assert scene.alice.get("/activity").status_code == 303
    scene.alice.sign_in_again()
    assert scene.alice.get("/activity").status_code == 200
    # A vendor goes by its own clock, which is right: nothing of it is taken.
    right = proofs.of_store(scene.broker.vault.nonce_key, scene.shop.prover.key)
    headers = right.headers("GET", "/v1/events", scene.shop.tokens["access_token"])
    assert scene.app.test_client().get("/v1/events", base_url=ORIGIN, headers=headers).status_code == 401
    oauth.void(scene.broker)
    people.void(scene.broker)
    scene.broker.now.set_back()
    scene.restart()
    assert abs(scene.broker.now() - scene.clock()) < dt.timedelta(seconds=5)
    assert not works(scene)
    assert scene.alice.get("/activity").status_code == 303
    scene.alice.sign_in_again()
    assert "The operator set the broker" in scene.alice.get("/ledger").text
    scene.shop.connect(scene.alice)
    assert scene.shop.read().status_code == 200
    assert verify(scene.broker, None).code == 0


def test_time_is_not_set_back_where_a_grant_does_not_end(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    _given(scene)
    scene.over(days=400)
    monkeypatch.setattr(oauth.grant_actions, "expire", lambda *_: False)
    with pytest.raises(oauth.Conflict):
        oauth.void(scene.broker)


def _act(scene: Scene, chance: random.Random) -> str:
    """Something that makes an entry, whatever the time is: what is over is given anew."""
    if scene.alice.get("/activity").status_code != 200:
        scene.alice.sign_in_again()
        return "sign in"
    if scene.shop.read().status_code == 200:
        return "read"
    if scene.shop.refresh().status_code != 200:
        scene.alice.sign_in_again()
        scene.shop.connect(scene.alice)
        return "give"
    if chance.random() < 0.5:
        assert scene.alice.post(f"/grants/{scene.shop.tokens['grant_id']}/revoke", page=f"/grants/{scene.shop.tokens['grant_id']}").status_code == 303
        return "revoke"
    return "refresh"


@pytest.mark.accepts("K91")
def test_the_ledger_holds_through_all(scene: Scene, chance: random.Random, *, deep: bool) -> None:
    """Any steps, with work and restarts between: entries stand in order, their times never go back, and `verify` holds."""
    _given(scene)
    done: Counter[str] = Counter()
    backs = 0
    for _ in range(DEEP if deep else STEPS):
        told = scene.clock()
        step = chance.choice([DAY, -DAY, DECADE, -DECADE, -DECADE])
        if abs(scene.clock.ahead + step) > 3 * DECADE:
            step = -step
        scene.clock.ahead += step
        backs += scene.clock() < told
        if chance.random() < 0.3:
            scene.restart()
        done.update(_act(scene, chance) for _ in range(2))
        assert verify(scene.broker, None).code == 0
    print(f"{backs} steps back, {dict(done)}, now {scene.broker.now():%Y-%m-%d}")
    assert backs >= STEPS // 4
    # Denials that come again are counted, and entered later with the time of the last.
    times = [entry["at"] for entry in _entries(scene) if entry["outcome"] != "denied"]
    assert times == sorted(times)
    assert times[-1] > times[0]


def _entries(scene: Scene) -> list[dict[str, Any]]:
    """All entries, in the order of seq."""
    found: list[dict[str, Any]] = []
    below = None
    with scene.broker.reading() as tx:
        while True:
            page = ledger.page(tx, scene.alice.ring, below=below, limit=ledger.SCAN)
            found += page.entries
            below = page.older
            if below is None:
                return found[::-1]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A computer whose clock is set: libfaketime, where it is installed."""
    if FAKETIME is None:
        if os.environ.get("CI"):
            pytest.fail("libfaketime is not installed (package faketime).")
        pytest.skip("libfaketime is not installed here (package faketime).")
    made = Machine(tmp_path)
    yield made
    made.stop()


@pytest.mark.accepts("K91")
def test_a_real_process_is_not_fooled(machine: Machine, tmp_path: Path) -> None:
    """The true command under a false clock: a token that was over stays over, while it runs and after a kill; and the command that sets time back."""
    settings = settings_in(tmp_path)
    app = create_app(settings)
    person_id = people.add(app.extensions["broker"], "alice", "correct horse battery staple")
    reader = granted(app.extensions["broker"], person_id, a_client(app.extensions["broker"]), READ)[0]
    close_app(app)

    def read() -> int:
        answer = call(machine.port, "GET", "/v1/events", reader.headers("GET", "/v1/events"))
        assert answer is not None
        return answer.status

    machine.start(settings)
    assert read() == 200
    for ahead in (DAY + dt.timedelta(hours=1), DECADE):
        machine.set(ahead)
        assert machine.told() > dt.datetime.now(dt.UTC) + ahead - dt.timedelta(minutes=5), "the fault did not fire"
        assert read() == 401
        machine.set(dt.timedelta())
        assert machine.told() < dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)
        assert read() == 401
        machine.kill()
        machine.start(settings)
        assert read() == 401
    machine.kill()
    assert "ahead of this computer's clock" in machine.command(settings, "clock")
    machine.command(settings, "clock", "--set-back")
    assert "ahead" not in machine.command(settings, "clock")
    machine.start(settings)
    assert read() == 401
