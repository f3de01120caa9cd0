"""Carving (K78): with every key the operator holds, tried at every byte of every file the broker ever wrote, what was erased does not open.

All files are copied at every stage, as a thief, or a backup, would have them; the keys are those that can be had at the end.
"""

import datetime as dt
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from makers import page_visit, settings_in

from broker.backups import copies
from broker.config import Settings
from broker.db import KEYS, Store
from broker.errors import Unsealable
from broker.events import actions as event_actions
from broker.events import queries, shape
from broker.exports import actions
from broker.ledger import actions as ledger
from broker.opening import Broker, opened
from broker.people import actions as people
from broker.vault import epochs, slots
from broker.vault.envelope import HEADER_BYTES, NONCE_BYTES, ROWS, TAG_BYTES, WRAPS, OpenKey
from broker.vault.keys import Keyring, wrap_place
from broker.vault.models import person_keys
from broker.vault.vault import Vault

PLANTED = 200
SURVIVORS = 20
LOOK = 600
WRAP = HEADER_BYTES + NONCE_BYTES + 32 + TAG_BYTES


@dataclass
class World:
    """A broker with planted events, copies of its files, and what the test alone remembers of the keys that were."""

    settings: Settings
    copies: Path
    person_id: bytes = b""
    recovery: str = ""
    secrets: list[bytes] = field(default_factory=list)
    wraps: list[bytes] = field(default_factory=list)

    def copy(self, name: str) -> None:
        """Every file as it is now; of backups those of the data, since of the keys one is kept and no other."""
        backups = Path(self.settings.backup_dir).glob("*-data.db") if self.settings.backup_dir else []
        for file in [*self.settings.data_dir.iterdir(), *backups, self.settings.key_file]:
            if file.is_file():
                shutil.copy(file, self.copies / f"{name}-{file.name}")

    @property
    def files(self) -> list[Path]:
        """Every file there is or was; a key file is no file of the broker's data."""
        places = [self.settings.data_dir, *([Path(self.settings.backup_dir)] if self.settings.backup_dir else [])]
        live = [each for place in places for each in place.iterdir() if each.is_file()]
        return [*live, *(each for each in self.copies.iterdir() if not each.name.endswith("-key"))]


def plant(broker: Broker, person_id: bytes, word: str, count: int, start: dt.datetime) -> list[queries.Wanted]:
    made = [page_visit(start + dt.timedelta(minutes=n), url=f"https://www.{word}.example/{word}/{n}", title=word) for n in range(count)]
    checked = [shape.check(each, now=broker.now(), own=True) for each in made]
    event_actions.take_in(broker, broker.keyring(person_id), checked, origin="test", within=None, entry=ledger.Entry("import", broker.now()))
    return [queries.Wanted(("page_visit",), site=f"{word}.example")]


def begun(where: Path, *, backed_up: bool = False) -> World:
    """Two hundred events to be forgotten among others that stay; `backed_up`: and a backup of them, in the directory where the broker makes its own."""
    if backed_up:
        (where / "shelf").mkdir(parents=True)
    world = World(settings_in(where / "home", backup_dir=str(where / "shelf") if backed_up else ""), where / "copies")
    world.copies.mkdir(parents=True)
    with opened(world.settings) as broker:
        world.recovery = broker.vault.add_recovery_key()
        world.person_id = people.add(broker, "alice", "correct horse battery staple")
        start = broker.now() - dt.timedelta(days=40)
        plant(broker, world.person_id, "planted", PLANTED, start)
        plant(broker, world.person_id, "kept", SURVIVORS, start + dt.timedelta(seconds=30))
        ring = broker.keyring(world.person_id)
        with broker.keys.reading() as tx:
            rows = tx.execute(ring._wraps().where(person_keys.c.kind == "page_visit")).all()
        world.secrets = [ring._unwrap(row) for row in rows]
        world.wraps = [wrap_place(world.person_id, row.key_id, row.holder) for row in rows]
        if backed_up:
            copies.make(broker, where / "shelf", None)
        world.copy("before")
    return world


def held(world: World) -> list[bytes]:
    """Every key of 32 bytes that can be had with what the operator holds now: the key file, ROOT, epochs, the host's, each person's."""
    with opened(world.settings) as broker:
        root = broker.vault._root or b""
        found = [world.settings.key_file.read_bytes(), slots.private_of(slots.KEY_FILE, world.settings.key_file.read_bytes(), {}), root]
        with broker.keys.reading() as tx:
            found += [row[0] for row in tx.exec_driver_sql("SELECT secret FROM host_keys")]
            ids = [row[0] for row in tx.exec_driver_sql("SELECT DISTINCT person_id FROM person_keys")]
        keks = broker.vault._keks.values()
        for person_id in ids:
            ring = broker.keyring(person_id)
            found += [ring._index, ring._ledger_private]
            with broker.keys.reading() as tx:
                rows = tx.execute(ring._wraps()).all()
            found += [ring._unwrap(row) for row in rows if row.role in {"data", "signing"}]
            above = next(row for row in rows if row.role == "person")
            found += [kek.unseal(wrap_place(person_id, above.key_id, above.holder), above.wrapped) for kek in keks]
        with broker.keys.reading() as tx:
            wrapped = tx.exec_driver_sql("SELECT epoch, wrapped_kek FROM epochs WHERE state != 'destroyed'").all()
        found += [OpenKey(bytes(16), root, WRAPS).unseal(slots.Place(b"", "epochs", "wrapped_kek").at(epoch), kek) for epoch, kek in wrapped]
    return found


def backed_up_keys(world: World) -> list[bytes]:
    """Every data key that the recovery key opens in the backups that lie there."""
    found: list[bytes] = []
    for path in Path(world.settings.backup_dir).glob("*-keys.db"):
        shutil.copy(path, world.copies / "opened-key")
        store = Store(world.copies / "opened-key", KEYS)
        with store.reading() as tx:
            root = slots.opened(tx, slots.RECOVERY_KEY, slots.read_recovery_key(world.recovery) or b"")
            keks = epochs.opened(tx, root or b"")
            ids = [row[0] for row in tx.exec_driver_sql("SELECT DISTINCT person_id FROM person_keys")]
        for person_id in ids:
            ring = Keyring(store, keks.get, person_id, lambda _word: b"")
            with store.reading() as tx:
                found += [ring._unwrap(row) for row in tx.execute(ring._wraps()).all() if row.role == "data"]
        store.close()
        (world.copies / "opened-key").unlink()
    return found


def carved(world: World, keys: list[bytes]) -> tuple[int, int, int]:
    """(planted rows, kept rows, keys of planted rows) that can be read, over every byte of every file."""
    rows = kept = secrets = 0
    for file in world.files:
        raw = file.read_bytes()
        secrets += sum(raw.count(secret) for secret in world.secrets)
        for start in places(raw, ROWS):
            plain = next((text for text in (streamed(raw, start, key) for key in keys) if text.startswith(b'{"')), b"")
            rows += b"/planted/" in plain
            kept += b"/kept/" in plain
        for start in places(raw, WRAPS):
            secrets += any(unwraps(raw[start : start + WRAP], key, world) for key in keys)
    return rows, kept, secrets


def places(raw: bytes, alg: int) -> list[int]:
    """Every offset at which an envelope of this kind may begin."""
    mark, found, start = bytes((1, alg)), [], -1
    while (start := raw.find(mark, start + 1)) >= 0:
        found.append(start)
    return [each for each in found if len(raw) - each > WRAP - 32]


def streamed(raw: bytes, start: int, key: bytes) -> bytes:
    """What AES-GCM would give there, whatever the place and length of the row: its key stream depends on neither (SP 800-38D section 6.5)."""
    nonce, body = raw[start + HEADER_BYTES : start + HEADER_BYTES + NONCE_BYTES], raw[start + HEADER_BYTES + NONCE_BYTES : start + LOOK]
    return Cipher(algorithms.AES(key), modes.CTR(nonce + b"\0\0\0\2")).decryptor().update(body)


def unwraps(envelope: bytes, key: bytes, world: World) -> bool:
    opener = OpenKey(envelope[2:HEADER_BYTES], key, WRAPS)
    for place in world.wraps:
        try:
            return opener.unseal(place, envelope) in world.secrets
        except Unsealable:
            continue
    return False


def forget(world: World) -> None:
    with opened(world.settings) as broker:
        ring = broker.keyring(world.person_id)
        with broker.reading() as tx:
            gone = queries.matching(tx, ring, queries.Wanted(("page_visit",), site="planted.example"))
        assert event_actions.forget(broker, ring, gone, {"kinds": ["page_visit"]}) == PLANTED
        world.copy("forgotten")


def test_what_was_forgotten_cannot_be_read(tmp_path: Path) -> None:
    """In no live file, and in no copy of any: before, between and after."""
    world = begun(tmp_path)
    rows, kept, secrets = carved(world, held(world))
    assert rows >= 2 * PLANTED, "the planted rows must be found before, in the file and in its copy"
    assert secrets > 0
    forget(world)
    with opened(world.settings) as broker:
        actions.shred(broker)
        world.copy("shredded")
    keys = held(world)
    rows, kept, secrets = carved(world, keys)
    assert (rows, secrets) == (0, 0)
    assert kept >= SURVIVORS
    with opened(world.settings) as broker, broker.reading() as tx:
        own = queries.own(tx, broker.keyring(world.person_id), queries.Wanted(("page_visit",))).events
    assert len(own) == SURVIVORS


def test_nor_in_any_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `BROKER_BACKUP_DIR`: in the backup of before, in the one that the erasure makes, and in copies from the middle of it."""
    world = begun(tmp_path, backed_up=True)
    rows, _, secrets = carved(world, held(world))
    assert rows >= 4 * PLANTED, "in the file and in the backup, and in the copies of both"
    assert secrets > 0
    forget(world)
    real = epochs.finish

    def finish(*args: Any) -> bytes:
        # The backup is made, and the old epoch still opens.
        world.copy("middle")
        return real(*args)

    monkeypatch.setattr(epochs, "finish", finish)
    due = months_of(world)
    with opened(world.settings) as broker:
        assert actions.shred(broker) == due
        world.copy("shredded")
    rows, kept, secrets = carved(world, [*held(world), *backed_up_keys(world)])
    assert (rows, secrets) == (0, 0)
    assert kept >= 2 * SURVIVORS, "the survivors are in the backup"
    assert len(list((tmp_path / "shelf").iterdir())) == 2


def test_a_person_who_erased_everything_cannot_be_read(tmp_path: Path) -> None:
    world = begun(tmp_path)
    with opened(world.settings) as broker:
        people.add(broker, "bob", "correct horse battery staple")
        actions.erase_person(broker, world.person_id)
        world.copy("erased")
        actions.shred(broker)
        world.copy("shredded")
    assert carved(world, held(world)) == (0, 0, 0)


def months_of(world: World) -> int:
    """How many months have something forgotten in them."""
    with opened(world.settings) as broker, broker.reading() as tx:
        return int(tx.exec_driver_sql("SELECT count(*) FROM shreds").scalar() or 0)


def nothing(*_args: object, **_kwargs: object) -> None:
    """What a control leaves out."""


CONTROLS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "rows deleted, keys kept": lambda patch: patch.setattr(actions, "shred", nothing),
    "keys not destroyed": lambda patch: patch.setattr(Vault, "destroy", nothing),
    "the person's key not renewed": lambda patch: patch.setattr(Vault, "renew_person", nothing),
    "survivors under the old key": lambda patch: (patch.setattr(actions, "_reseal", lambda *_args: 0), patch.setattr(Vault, "destroy", nothing))[0],
}


def test_the_carving_finds_the_keys_of_an_old_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of backups: one that is left beside the new one opens, by the recovery key, what a copy of the data of then holds."""
    world = begun(tmp_path, backed_up=True)
    forget(world)
    monkeypatch.setattr(copies, "_drop_older", nothing)
    with opened(world.settings) as broker:
        actions.shred(broker)
    rows, _, _ = carved(world, [*held(world), *backed_up_keys(world)])
    assert rows >= PLANTED


@pytest.mark.parametrize("control", CONTROLS)
def test_the_carving_can_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, control: str) -> None:
    """The controls that must fail: with one step left out, rows or their keys can be read in some copy."""
    world = begun(tmp_path)
    forget(world)
    CONTROLS[control](monkeypatch)
    with opened(world.settings) as broker:
        actions.shred(broker)
    rows, _, secrets = carved(world, held(world))
    assert rows + secrets > 0
