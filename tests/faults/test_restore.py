"""Restoring older stores (K69, K110): whatever comes back, no ended grant, erased person, token or session lives, and every ledger says that there is a gap.

What is restored is files from before a revoke, a forget and an erasure, put in the place of those of after; the key file of that time comes with
its keys, as a careless operator would have kept it. The controls leave one protection out, and something lives again.
"""

import datetime as dt
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from makers import Browser, Clock, Shop, page_visit, purchase

import broker as package
from broker import close_app, create_app, verifying
from broker.config import Settings
from broker.events import actions as event_actions
from broker.events import queries as event_queries
from broker.exports import actions as exports
from broker.grants import actions as grant_actions
from broker.grants import queries as grants
from broker.ledger import checkpoints
from broker.ledger import queries as entries
from broker.opening import Broker
from broker.restores import actions as restores
from broker.vault import heads, slots
from broker.vault.slots import NoKey
from broker.vault.vault import Vault

KEPT = ("data.db", "keys.db", "heads.db")
FORGOTTEN = "https://www.forgotten.example/secret"


@dataclass
class World:
    """A broker and its files as they were before what must not be undone."""

    settings: Settings
    clock: Clock
    before: Path
    app: Flask
    alice: Browser
    revoked: Shop
    live: Shop
    recovery: str
    ids: dict[str, bytes] = field(default_factory=dict)

    @property
    def broker(self) -> Broker:
        found: Broker = self.app.extensions["broker"]
        return found

    def put_back(self, *files: str) -> None:
        """Put files from before in the place of those of after; `-heads.db` takes heads.db away."""
        for name in files:
            if name.startswith("-"):
                (self.settings.data_dir / name[1:]).unlink()
            elif name == "key":
                shutil.copy(self.before / name, self.settings.key_file)
            else:
                shutil.copy(self.before / name, self.settings.data_dir / name)
                (self.settings.data_dir / f"{name}-wal").unlink(missing_ok=True)
                (self.settings.data_dir / f"{name}-shm").unlink(missing_ok=True)

    def start(self) -> None:
        """Start again; the shops call the new one."""
        self.app = create_app(self.settings, self.clock)
        for shop in (self.revoked, self.live):
            shop.app, shop.client = self.app, self.app.test_client()
        client = self.app.test_client()
        for cookie in self.alice.client._cookies.values():
            client.set_cookie(cookie.key, cookie.value, domain="localhost")
        self.alice = Browser(self.app, "alice", self.ids["alice"], client)

    def status(self, shop: Shop) -> tuple[str, str]:
        with self.broker.reading() as tx:
            grant_id = grants.to_bytes(str(shop.tokens["grant_id"]))
            row = tx.exec_driver_sql("SELECT status, reason FROM grants WHERE person_id = ? AND grant_id = ?", (self.ids["alice"], grant_id)).first()
        return (row[0], row[1]) if row else ("gone", "")

    def has(self, name: str) -> bool:
        """Whether there is a row, or a key, of a person."""
        with self.broker.reading() as tx:
            rows = tx.exec_driver_sql("SELECT 1 FROM people WHERE person_id = ?", (self.ids[name],)).first()
        return rows is not None or self.broker.vault.has_keys(self.ids[name])

    def readable(self) -> list[str]:
        """The addresses of all of alice's visits that can be opened."""
        text = Browser.of(self.app, "alice").get("/activity?tab=page_visit").text
        return [word for word in ("forgotten.example", "kept.example") if word in text]

    def verified(self) -> int:
        return verifying.ledger(self.broker, self.ids["alice"]).code


@pytest.fixture
def world(app: Flask, alice: Browser, bob: Browser, bookshop: Shop, settings: Settings, clock: Clock, tmp_path: Path) -> Any:
    """Two grants, visits of two months, three people; a copy; then one grant ends, a visit is forgotten, bob erases everything."""
    broker = app.extensions["broker"]
    live = Shop.register(app, "cinema.example")
    start = clock() - dt.timedelta(days=3)
    alice.store(purchase(start), page_visit(start, url=FORGOTTEN, title="forgotten.example"), page_visit(start + dt.timedelta(minutes=1), url="https://www.kept.example/", title="kept.example"))
    bob.store(purchase(start))
    for shop in (bookshop, live):
        shop.connect(alice)
        assert shop.read().status_code == 200
    world = World(settings, clock, tmp_path / "before", app, alice, bookshop, live, broker.vault.add_recovery_key())
    world.ids = {person.name: person.person_id for person in (alice, bob)}
    checkpoints.sweep(broker)
    world.before.mkdir()
    for name, store in zip(KEPT, (broker.data, broker.keys, broker.heads), strict=True):
        store.copy_to(world.before / name)
    shutil.copy(settings.key_file, world.before / "key")
    after(world)
    close_app(app)
    yield world
    if world.app is not app:
        close_app(world.app)


def after(world: World) -> None:
    broker = world.broker
    grant_actions.revoke(broker, world.ids["alice"], grants.to_bytes(str(world.revoked.tokens["grant_id"])))
    with broker.reading() as tx:
        gone = event_queries.matching(tx, world.alice.ring, event_queries.Wanted(("page_visit",), site="forgotten.example"))
    assert event_actions.forget(broker, world.alice.ring, gone, {"kinds": ["page_visit"]}) == 1
    exports.erase_person(broker, world.ids["bob"])
    exports.shred(broker)
    checkpoints.sweep(broker)
    heads.note_epoch(broker.heads, broker.vault.epoch)


RESTORED: dict[str, tuple[str, ...]] = {
    "both": ("data.db", "keys.db", "key"),
    "the data alone": ("data.db",),
    "the keys alone": ("keys.db", "key"),
    "both, without heads.db": ("data.db", "keys.db", "key", "-heads.db"),
    "heads.db alone is lost": ("-heads.db",),
}


@pytest.mark.accepts("K69", "K110")
@pytest.mark.parametrize("what", RESTORED)
def test_nothing_that_ended_lives_again(world: World, what: str) -> None:
    world.put_back(*RESTORED[what])
    world.start()
    knows = "-heads.db" not in RESTORED[what]
    # Whatever heads.db knows, nothing can be read.
    for shop in (world.revoked, world.live):
        assert shop.read().status_code == 401
        assert shop.refresh().status_code in {400, 401}
    assert world.alice.get("/grants").status_code == 303, "sessions are over"
    assert world.status(world.live) == ("paused", "restored")
    if knows:
        assert world.status(world.revoked)[0] in {"revoked", "gone"}
        assert not world.has("bob")
        assert "forgotten.example" not in world.readable()
    else:
        assert world.status(world.revoked)[0] != "active"
    assert world.verified() == 14
    again = Browser.of(world.app, "alice")
    page = again.get("/ledger").text
    assert "There is a gap in your ledger: a backup was put back" in page
    assert "A backup was put back." in page
    assert "The broker paused" in page
    for path in {part.split('"')[0] for part in page.split('href="/ledger/')[1:]}:
        assert again.get(f"/ledger/{path}").status_code == 200, path
    grant = again.get(f"/grants/{world.live.tokens['grant_id']}").text
    assert "because an older copy of your data had come back" in grant
    # The person resumes what they still want; the vendor's tokens are not brought back by it.
    assert again.post(f"/grants/{world.live.tokens['grant_id']}/resume", page="/grants").status_code == 303
    assert world.live.read().status_code == 401
    assert world.status(world.live) == ("active", "")


@pytest.mark.parametrize("what", RESTORED)
def test_it_is_settled_once(world: World, what: str) -> None:
    """The next start finds nothing more to do, and the new log goes on."""
    world.put_back(*RESTORED[what])
    world.start()
    checkpoints.sweep(world.broker)
    with world.broker.reading() as tx:
        assert not checkpoints.alarmed(tx)
        logs = tx.exec_driver_sql("SELECT count(*), sum(closed IS NULL) FROM ledger_heads WHERE person_id = ?", (world.ids["alice"],)).one()
    assert tuple(logs) == (2, 1)
    close_app(world.app)
    world.start()
    assert restores.settle(world.broker) is False
    assert world.verified() == 14
    with world.broker.reading() as tx:
        assert tx.exec_driver_sql("SELECT count(*) FROM ledger_heads WHERE person_id = ?", (world.ids["alice"],)).scalar() == 2


def test_what_is_newest_starts_as_it_was(world: World) -> None:
    """The other side of the same check: with nothing put back, nothing is closed, and the live grant is read."""
    world.start()
    assert world.live.read().status_code == 200
    assert world.revoked.read().status_code == 401
    assert world.verified() == 0
    assert world.alice.get("/grants").status_code == 200


def test_it_works_while_sealed(world: World) -> None:
    """The key file was renewed since, so the broker that came back starts sealed; what ended stays so, and the rest opens by the recovery key."""
    world.put_back("data.db", "keys.db")
    world.start()
    assert world.broker.vault.sealed
    assert world.status(world.live) == ("paused", "restored")
    assert world.status(world.revoked)[0] == "revoked"
    assert not world.has("bob")
    assert world.live.read().status_code == 401
    assert world.broker.vault.unlock(slots.RECOVERY_KEY, slots.read_recovery_key(world.recovery) or b"")
    assert world.verified() == 14
    checkpoints.sweep(world.broker)
    assert world.readable() == []


class Cut(Exception):
    """The process ends here."""


def forget_something(world: World) -> None:
    """One of two visits of a month is forgotten; its keys are still to be destroyed."""
    broker, alice = world.broker, Browser.of(world.app, "alice")
    at = world.clock() - dt.timedelta(days=70)
    alice.store(*[page_visit(at + dt.timedelta(minutes=n), url=f"https://www.more.example/{n}", title="more") for n in range(2)])
    with broker.reading() as tx:
        gone = event_queries.matching(tx, alice.ring, event_queries.Wanted(("page_visit",), site="more.example"))
    assert event_actions.forget(broker, alice.ring, gone[:1], {"kinds": ["page_visit"]}) == 1


def renewed(world: World) -> None:
    heads.note_epoch(world.broker.heads, world.broker.vault.rotate())


def grown(world: World) -> None:
    Browser.of(world.app, "alice")
    checkpoints.sweep(world.broker)


def half_destroyed(world: World) -> None:
    """Keys are noted as destroyed, and are there."""
    forget_something(world)

    def dying(*_args: Any) -> None:
        raise Cut

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Vault, "destroy", dying)
        with pytest.raises(Cut):
            exports.shred(world.broker)


# What another process does just before this is read.
MEANWHILE: dict[str, tuple[str, Callable[[World], None]]] = {
    "renews the keys": ("newest_epoch", renewed),
    "enters and signs": ("signed_heads", grown),
    "is about to destroy keys": ("destroyed", half_destroyed),
}


@pytest.mark.parametrize("what", MEANWHILE)
def test_a_broker_at_work_is_not_taken_for_a_restored_one(world: World, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Whoever starts while another process goes on, in the worst moment of it, finds nothing that came back."""
    world.start()
    name, act = MEANWHILE[what]
    real, acted = getattr(heads, name), []

    def read(*args: Any) -> Any:
        if not acted:
            acted.append(1)
            act(world)
        return real(*args)

    monkeypatch.setattr(heads, name, read)
    assert restores._why(world.broker) == ""
    assert acted


def test_keys_that_went_while_one_looked_are_gone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The note of a shredding goes after its keys: who saw these, and then no note, looks once more."""
    world.start()
    half_destroyed(world)
    real, acted = Vault.keys_of, []

    def read(vault: Vault, person_id: bytes) -> set[bytes]:
        found = real(vault, person_id)
        if not acted:
            acted.append(1)
            exports.shred(world.broker)
        return found

    monkeypatch.setattr(Vault, "keys_of", read)
    assert restores._why(world.broker) == ""
    assert acted


STEPS: dict[str, tuple[Any, str, int]] = {
    "before the first person": (restores, "_begin_again", 0),
    "between two people": (restores, "_begin_again", 1),
    "before the grants": (grant_actions, "pause_restored", 0),
    "before the end": (heads, "settle", 0),
}


@pytest.mark.parametrize("step", STEPS)
def test_it_goes_on_where_it_was_cut_off(world: World, step: str) -> None:
    where, name, after_calls = STEPS[step]
    world.put_back("data.db", "keys.db", "key")
    calls: list[int] = []
    real: Callable[..., Any] = getattr(where, name)

    def dying(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) > after_calls:
            raise Cut
        return real(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(where, name, dying)
        with pytest.raises(Cut):
            create_app(world.settings, world.clock)
    world.start()
    with world.broker.reading() as tx:
        logs = tx.exec_driver_sql("SELECT count(*) FROM ledger_heads GROUP BY person_id").all()
    assert {row[0] for row in logs} == {2}
    assert world.status(world.live) == ("paused", "restored")
    assert world.verified() == 14


def test_a_second_restore_keeps_the_first_gap(world: World) -> None:
    """Of a log that did not come back at all the next one says so too."""
    world.put_back("data.db", "keys.db", "key")
    world.start()
    Browser.of(world.app, "alice")
    checkpoints.sweep(world.broker)
    close_app(world.app)
    world.put_back("data.db", "keys.db", "key")
    world.start()
    assert world.verified() == 14
    with world.broker.reading() as tx:
        first = entries.page(tx, world.broker.keyring(world.ids["alice"]), entries.Wanted(act="restored")).entries[0]
    assert len(first["before"]) == 2
    assert [each["size"] for each in first["before"]][1] == 0


def test_a_closed_log_that_no_later_one_names_is_a_fork(world: World) -> None:
    """Nobody hides entries by calling a log closed."""
    world.start()
    world.broker.write(lambda tx: tx.exec_driver_sql("UPDATE ledger_heads SET closed = ?", (bytes(16),)))
    assert world.verified() == 12


def test_keys_of_nobody_here_stop_the_start(world: World, tmp_path: Path) -> None:
    """Another broker's keys.db, or none, would make everything unreadable for good: nothing is changed."""
    (world.settings.data_dir / "keys.db").rename(tmp_path / "keys.db")
    for heads_too in (False, True):
        if heads_too:
            (world.settings.data_dir / "heads.db").unlink()
        with pytest.raises(NoKey, match=r"keys.db is missing"):
            create_app(world.settings, world.clock)
    shutil.copy(tmp_path / "keys.db", world.settings.data_dir / "keys.db")
    world.start()
    assert world.has("alice")


def off(patch: pytest.MonkeyPatch, world: World) -> None:
    patch.setattr(package, "settle", lambda _broker: False)


def forgetful(patch: pytest.MonkeyPatch, world: World) -> None:
    patch.setattr(restores, "_why", lambda _broker: "")
    patch.setattr(grant_actions, "end_again", lambda _broker: 0)
    patch.setattr(exports, "erase_again", lambda _broker: 0)
    patch.setattr(checkpoints, "compare", lambda _broker: 0)


@pytest.mark.parametrize("control", [off, forgetful])
def test_the_control_revives(world: World, monkeypatch: pytest.MonkeyPatch, control: Callable[[pytest.MonkeyPatch, World], None]) -> None:
    """With the check off the vendor reads again, bob is back, and so is what was forgotten."""
    control(monkeypatch, world)
    world.put_back("data.db", "keys.db", "key")
    world.start()
    assert world.revoked.read().status_code == 200
    assert world.has("bob")
    assert "forgotten.example" in world.readable()
    assert world.verified() == 12


def test_each_table_that_lets_somebody_in_is_emptied(world: World) -> None:
    world.put_back("data.db", "keys.db", "key")
    world.start()
    with world.broker.reading() as tx:
        for table in (*restores.VOID, *restores.NOBODYS_VOID):
            assert tx.execute(table.select()).first() is None, table.name


def test_a_column_that_is_sealed_is_known(world: World) -> None:
    """Every column of bytes without a length is an envelope or said not to be."""
    names = {f"{table.name}.{column.name}" for table, column in restores.sealed_columns()}
    assert {"events.body", "grants.clauses", "agreements.document", "ledger_entries.body", "ledger_rows.body", "terms_versions.body"} <= names
    assert not names & restores.NOT_SEALED
