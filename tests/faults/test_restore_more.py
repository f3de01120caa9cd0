"""What an older copy must not undo either: pauses, narrowings, removed keys, what is still to be shredded; and what is no restore at all (K69, K95)."""

import datetime as dt
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from makers import Browser, purchase
from restoring import KEPT, World

from broker import close_app, create_app, migrations
from broker.db import KEYS, Store
from broker.exports import actions as exports
from broker.grants import actions as grant_actions
from broker.grants import queries as grants
from broker.keys import actions as keys
from broker.ledger import checkpoints
from broker.people import actions as people
from broker.restores import actions as restores
from broker.restores import checks
from broker.vault import heads, slots
from broker.vault.backups import BackupRefused
from broker.vault.slots import NoKey


def copied(world: World) -> None:
    """Copy the stores as they are now, in the place of the older copy."""
    shutil.rmtree(world.before)
    world.before.mkdir()
    for name, store in zip(KEPT, (world.broker.data, world.broker.keys, world.broker.heads), strict=True):
        store.copy_to(world.before / name)
    shutil.copy(world.settings.key_file, world.before / "key")


def live_id(world: World) -> bytes:
    return grants.to_bytes(str(world.live.tokens["grant_id"]))


def narrowed(world: World) -> None:
    with world.broker.reading() as tx:
        grant = grants.one(tx, world.alice.ring, live_id(world))
    parts = [clause.starting(world.clock()) for clause in grant.clauses]
    shorter = [type(part).parse({**part.to_json(), "window": {"max_age": "P2D"}}) for part in parts]
    grant_actions.narrow(world.broker, world.ids["alice"], live_id(world), shorter, version=grant.version)


def paused(world: World) -> None:
    world.broker.vault.lock()
    assert grant_actions.pause(world.broker, world.ids["alice"], live_id(world))


@pytest.mark.accepts("K69")
@pytest.mark.parametrize(("act", "then"), [(narrowed, ("revoked", "restored")), (paused, ("paused", "restored"))], ids=["narrowed", "paused while sealed"])
def test_what_lessened_a_grant_stays(world: World, act: Callable[[World], None], then: tuple[str, str]) -> None:
    """No entry of it was signed yet: heads.db knows the grant's version. What it was narrowed to is lost, so that it ends."""
    world.start()
    checkpoints.sweep(world.broker)
    copied(world)
    act(world)
    close_app(world.app)
    world.put_back("data.db")
    world.start()
    assert world.status(world.live) == then
    world.live.refresh()
    assert world.live.read().status_code in {401, 403}
    close_app(world.app)
    world.start()
    assert not restores.settle(world.broker), "and it is settled"


@pytest.mark.accepts("K69", "K110")
def test_what_was_forgotten_a_moment_ago_stays_so(world: World) -> None:
    """Before its keys are destroyed the event's tag stands in heads.db; what shares its month is kept."""
    world.start()
    alice = Browser.of(world.app, "alice")
    alice.store(*[{**purchase(world.clock() - dt.timedelta(days=1), title)} for title in ("Kept book", "Forgotten book")])
    copied(world)
    tag = next(part[:32] for part in alice.get("/activity/purchases").text.split("Forgotten book")[1].split('action="/activity/forget/')[1:2])
    assert alice.post(f"/activity/forget/{tag}", page="/activity").status_code == 303
    close_app(world.app)
    world.put_back("data.db", "keys.db", "key")
    world.start()
    text = Browser.of(world.app, "alice").get("/activity/purchases").text
    assert "Kept book" in text
    assert "Forgotten book" not in text
    exports.shred(world.broker)
    assert heads.forgotten_events(world.broker.heads) == {}
    again = Browser.of(world.app, "alice")
    assert "Kept book" in again.get("/activity/purchases").text


@pytest.mark.accepts("K80")
def test_a_removed_key_stays_removed(world: World) -> None:
    """It was lost or stolen: an older keys.db is not opened by it."""
    world.start()
    vault = world.broker.vault
    old = {slot.id for slot in vault.slots() if slot.kind == slots.RECOVERY_KEY}
    vault.add_recovery_key()
    for slot_id in old:
        keys.remove(world.broker, slot_id)
    close_app(world.app)
    world.put_back("data.db", "keys.db", "key")
    world.start()
    assert not world.broker.vault.unlock(slots.RECOVERY_KEY, slots.read_recovery_key(world.recovery) or b"")
    assert not old & {slot.id for slot in world.broker.vault.slots()}


@pytest.mark.parametrize("lost", [False, True], ids=["beside heads.db", "with heads.db lost too"])
def test_older_keys_beside_newer_data_stop_the_start(world: World, tmp_path: Path, *, lost: bool) -> None:
    """What was kept since would be lost for good: nothing is changed, and with the right keys all is there."""
    world.start()
    world.clock.advance(days=40)
    people.add(world.broker, "dora", "correct horse battery staple")
    for name in ("dora", "alice"):
        Browser.of(world.app, name).store(purchase(world.clock() - dt.timedelta(days=1)))
    count = "SELECT count(*) FROM events"
    with world.broker.reading() as tx:
        before = tx.exec_driver_sql(count).scalar_one()
    close_app(world.app)
    for path in (world.settings.data_dir / "keys.db", world.settings.key_file):
        shutil.copy(path, tmp_path / path.name)
    world.put_back("keys.db", "key", *(["-heads.db"] if lost else []))
    for _ in range(2):
        with pytest.raises(NoKey, match=r"keys.db is older than data.db.*nothing was changed"):
            create_app(world.settings, world.clock)
    for path in (world.settings.data_dir / "keys.db", world.settings.key_file):
        shutil.copy(tmp_path / path.name, path)
    world.start()
    with world.broker.reading() as tx:
        assert tx.exec_driver_sql(count).scalar_one() == before
    assert world.has("alice")


def test_a_signature_during_an_erasure_is_no_restore(world: World) -> None:
    """The thread that signs comes between the note and the rows: no checkpoint of theirs is left to be missed."""
    world.start()
    charlie = Browser.of(world.app, "charlie").person_id
    real = exports.delete_rows

    def racing(broker: Any, person_id: bytes) -> None:
        checkpoints.sweep(broker)
        real(broker, person_id)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exports, "delete_rows", racing)
        exports.erase_person(world.broker, charlie)
    exports.shred(world.broker)
    close_app(world.app)
    world.start()
    assert world.live.read().status_code == 200
    assert world.verified() == 0


@pytest.mark.accepts("K95")
@pytest.mark.parametrize("killed", ["in the data", "before the mark"])
def test_an_upgrade_killed_half_way_is_no_restore(world: World, killed: str) -> None:
    """heads.db has its new form already, data.db not yet, or nothing more was done: the next start goes on as if nothing had been."""
    stores = {"heads.db": ("350daec7205f", [f"DROP TABLE {name}" for name in ("marks", "lessened_grants", "forgotten", "removed_slots", "times")])}
    gone = [f"DROP TABLE {name}" for name in ("old_ledgers", "event_totals", "stale_totals", "shop_periods")]
    stores["data.db"] = ("6accbace9f00", [*gone, "ALTER TABLE ledger_heads DROP COLUMN first", "ALTER TABLE ledger_heads DROP COLUMN closed"])
    for name, (revision, undo) in stores.items():
        store = sqlite3.connect(world.settings.data_dir / name)
        # Later forms of the store are taken back by hand as well, in the order that they came.
        for statement in (*undo, f"UPDATE alembic_version SET version_num = '{revision}'"):
            store.execute(statement)
        store.commit()
        store.close()
    heads_store = Store(world.settings.data_dir / "heads.db", KEYS)
    migrations.upgrade("heads", heads_store)
    heads_store.close()
    if killed == "before the mark":
        data = Store(world.settings.data_dir / "data.db", KEYS)
        migrations.upgrade("data", data)
        data.close()
    world.start()
    assert world.status(world.live) == ("active", "")
    assert world.live.read().status_code == 200
    assert world.verified() == 0


def test_nothing_is_put_back_under_a_broker_at_work(world: World, tmp_path: Path) -> None:
    """Its files were moved away, as the how-to says; the directory is still its own. And while something is put back nothing starts."""
    world.start()
    where = world.settings.data_dir
    for path in where.iterdir():
        if path.name != "heads.db":
            path.rename(tmp_path / path.name)
    with pytest.raises(BackupRefused, match="A broker runs on"), checks.alone(where):
        pass
    for path in tmp_path.iterdir():
        if path.is_file() and path.name != "key_file":
            path.rename(where / path.name)
    close_app(world.app)
    for path in where.iterdir():
        if path.name not in checks.STAYS:
            path.unlink()
    with checks.alone(where):
        with pytest.raises(NoKey, match="A backup is being put back"):
            create_app(world.settings, world.clock)
        code = "import sys; from broker.opening import opened; from test_restore_more import here; opened(here(sys.argv[1])).__enter__()"
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        other = subprocess.run([sys.executable, "-c", code, str(where)], env=env, capture_output=True, text=True, check=False)
        assert "A backup is being put back" in other.stderr
    for name in KEPT:
        shutil.copy(world.before / name, where / name)
    shutil.copy(world.before / "key", world.settings.key_file)
    world.start()


def here(folder: str) -> Any:
    """The settings of a broker in a folder."""
    from makers import settings_in

    found = settings_in(Path(folder).parent)
    return type(found)(**{**{name: getattr(found, name) for name in type(found).__dataclass_fields__}, "data_dir": Path(folder)})


def test_what_a_process_left_half_done_in_heads_db_is_undone_first(world: World, tmp_path: Path) -> None:
    """It died inside a transaction: the journal stays beside the file, and what it was deleting is still known."""
    where = world.settings.data_dir
    code = (
        "import sqlite3, sys, os; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('PRAGMA journal_mode=delete'); "
        "c.execute('PRAGMA cache_size=1'); c.execute('PRAGMA cache_spill=1'); c.execute('BEGIN IMMEDIATE'); c.execute('DELETE FROM ended_grants'); "
        "c.execute('DELETE FROM checkpoints'); c.executemany('INSERT INTO removed_slots VALUES (?)', [(os.urandom(16),) for _ in range(20000)]); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(where / "heads.db")], check=False)
    assert (where / "heads.db-journal").exists()
    parts = tmp_path / "parts"
    parts.mkdir()
    for path in where.iterdir():
        if path.name not in checks.STAYS:
            path.rename(tmp_path / path.name)
    for name in ("data.db", "keys.db"):
        shutil.copy(world.before / name, parts / name)
    with checks.alone(where):
        checks.put_in_place(where, parts)
    store = Store(where / "heads.db", KEYS)
    assert heads.ended(store)
    assert heads.removed(store) == []
    store.close()


def test_a_backup_of_another_broker_is_refused_before_anything_is_placed(world: World, tmp_path: Path) -> None:
    """heads.db of a broker that was only tried here: it says so, and heads.db is as it was."""
    strange = tmp_path / "strange"
    strange.mkdir()
    from makers import settings_in

    app = create_app(settings_in(strange), world.clock)
    broker = app.extensions["broker"]
    parts = tmp_path / "parts"
    parts.mkdir()
    broker.data.copy_to(parts / "data.db")
    broker.keys.copy_to(parts / "keys.db")
    close_app(app)
    before = (world.settings.data_dir / "heads.db").read_bytes()
    with pytest.raises(BackupRefused, match=r"heads\.db in .* is of another broker"):
        checks.put_in_place(world.settings.data_dir, parts)
    assert (world.settings.data_dir / "heads.db").read_bytes() == before
    world.start()
    assert world.live.read().status_code == 200


def test_two_that_start_settle_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one looked before the first had finished, and waits for its turn before it looks."""
    world.put_back("data.db", "keys.db", "key")
    world.start()
    depth: list[int] = []
    real = restores._why
    monkeypatch.setattr(restores, "_why", lambda broker: (depth.append(broker.vault._turns._depth), real(broker))[1])
    assert not restores.settle(world.broker)
    assert depth == [1]


def test_a_log_that_is_only_hashes_hides_no_page(world: World) -> None:
    """After a second restore the first entry of a log between may have lost its key."""
    for _ in range(2):
        world.put_back("data.db", "keys.db", "key")
        world.start()
        Browser.of(world.app, "alice")
        checkpoints.sweep(world.broker)
        close_app(world.app)
    world.start()
    with world.broker.reading() as tx:
        logs = [row[0] for row in tx.exec_driver_sql("SELECT log_id FROM ledger_heads WHERE person_id = ? AND closed IS NOT NULL", (world.ids["alice"],))]
    for log_id in logs:
        empty = "UPDATE ledger_entries SET body = x'' WHERE person_id = ? AND log_id = ? AND seq = 0"
        world.broker.write(lambda tx, log_id=log_id, empty=empty: tx.exec_driver_sql(empty, (world.ids["alice"], log_id)))  # type: ignore[misc]
    assert Browser.of(world.app, "alice").get("/ledger").status_code == 200
    assert world.verified() == 14
