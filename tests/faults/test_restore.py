"""Restoring older stores (K69, K110): whatever comes back, no ended grant, erased person, token or session lives, and every ledger says that there is a gap.

What is restored is files from before a revoke, a forget and an erasure, put in the place of those of after; the key file of that time comes with
its keys, as a careless operator would have kept it. The controls leave one protection out, and something lives again.
"""

import datetime as dt
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from makers import Browser, page_visit
from restoring import World

import broker as package
from broker import close_app, create_app, serving
from broker.events import actions as event_actions
from broker.events import queries as event_queries
from broker.exports import actions as exports
from broker.grants import actions as grant_actions
from broker.ledger import checkpoints
from broker.ledger import queries as entries
from broker.restores import actions as restores
from broker.vault import heads, slots
from broker.vault.slots import NoKey
from broker.vault.vault import Vault

RESTORED: dict[str, tuple[str, ...]] = {
    "both": ("data.db", "keys.db", "key"),
    "the data alone": ("data.db",),
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
    for step in serving.STEPS:
        step(world.broker)
    for shop in (world.revoked, world.live):
        assert shop.read().status_code == 401
    assert world.revoked.refresh().status_code in {400, 401}
    # Bound to its vendor's key, and of a grant that is paused: what it fetches opens nothing.
    assert world.live.refresh().status_code == (200 if knows else 400)
    assert world.live.read().status_code == (403 if knows else 401)
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
    # The person resumes what they still want, where anything is left to use it with.
    resumed = again.post(f"/grants/{world.live.tokens['grant_id']}/resume", page="/grants")
    assert resumed.status_code == (303 if knows else 409)
    assert ("Resume" in grant) is knows
    assert world.live.read().status_code == (200 if knows else 401)
    assert world.status(world.live) == (("active", "") if knows else ("paused", "restored"))
    assert ("has to ask you again" in resumed.text) is not knows


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
