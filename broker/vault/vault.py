"""The vault of one broker: ROOT and the epochs' keys while a slot has opened them, the host's own secrets, and keyrings by person.

With no slot open the broker is sealed: it hands out no keyring, only what is needed to append to ledgers.
"""

import contextlib
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from sqlalchemy import ColumnElement, Connection, delete, select, update

from broker.clock import running
from broker.db import DatabaseFailed, Store, lots
from broker.errors import Busy, Conflict, Sealed, Unsealable
from broker.vault import derive, epochs, slots
from broker.vault.envelope import WRAPS, OpenKey, new_key_pair
from broker.vault.keys import Appender, Appending, Keyring, OtherEpoch, renewed, wrap_place
from broker.vault.models import host_keys, person_keys, person_wraps
from broker.vault.processes import Member
from broker.vault.slots import NoKey, Slot
from broker.vault.turns import Turns

log = logging.getLogger(__name__)
LOCK: Final = "keys.lock"
KEYRING_SECONDS: Final = 300.0
KEYRINGS: Final = 1000
# A sealed process looks no more often than this whether another one was unlocked.
LOOK_SECONDS: Final = 0.5
LEAST_SLOTS: Final = 2
_HOST: Final = ("route", "pepper", "cookie", "cursor", "nonce")


def _of_month(person_id: bytes, kind: str, month: str) -> ColumnElement[bool]:
    keys = person_keys.c
    return (keys.person_id == person_id) & (keys.kind == kind) & (keys.month == month) & (keys.role == "data")


def _now() -> int:
    """Seconds that this machine has run, the same for every process and whatever its clock is set to."""
    return int(running().total_seconds())


class Vault:
    """The vault of one broker, open or sealed."""

    def __init__(self, store: Store, key_file: Path) -> None:
        """Opens the vault with the key file, if it has a slot; makes key file, ROOT and first epoch at the very first start. Raises `NoKey`."""
        self._store = store
        self._key_file = key_file
        self._lock = threading.Lock()
        self._turns = Turns(store.path.parent / LOCK)
        self._rings: OrderedDict[bytes, Keyring] = OrderedDict()
        # Never seen outside the vault.
        self._root: bytes | None = None
        self._keks: dict[int, OpenKey] = {}
        self._looked = 0.0
        self._used = _now()
        with store.reading() as tx:
            # Whether this is the very first start.
            self.fresh = fresh = slots.count(tx) == 0
        secret = slots.read_key_file(key_file, make=fresh)
        with store.writing() as tx:
            if fresh and secret is not None:
                _begin(tx, secret)
            self._member = Member(tx)
            root = slots.opened(tx, slots.KEY_FILE, secret) if secret is not None else None
            kinds = {slot.kind for slot in slots.listed(tx)}
            host = {row.name: row.secret for row in tx.execute(select(host_keys))}
        self._refuse_other_file(secret, root, kinds)
        if root is not None:
            self._adopt(root)
        self.route_key: bytes = host["route"]
        self.cookie_key: bytes = host["cookie"]
        self.nonce_key: bytes = host["nonce"]
        self._pepper: bytes = host["pepper"]
        self.name_tag = derive.tagger(self._pepper, "sign-in name")
        # What the broker hands out at sign-in and must know again, without writing it down.
        self.challenge_tag = derive.tagger(self._pepper, "sign-in challenge")
        self.broker_id = _id_of(self._pepper)
        self._host = OpenKey(bytes(16), derive.subkey(self._pepper, "seal"))
        self._cursor = OpenKey(bytes(16), derive.subkey(host["cursor"], "seal"), WRAPS)

    def _refuse_other_file(self, secret: bytes | None, root: bytes | None, kinds: set[str]) -> None:
        """A key file that is missing or another one stops the start, unless another slot can open the vault later."""
        if root is not None or slots.KEY_FILE not in kinds or kinds - {slots.KEY_FILE}:
            return
        if secret is None:
            raise NoKey(f"The key file {self._key_file} is missing. Put it back from where you keep your copy; without it nothing here can be opened.")
        raise NoKey("The key file does not open this broker's keys. Put the key file back that belongs to this data directory.")

    def _adopt(self, root: bytes) -> None:
        with self._store.reading() as tx:
            self._keks = epochs.opened(tx, root)
        self._root = root

    @property
    def sealed(self) -> bool:
        """Whether no slot is open in this process."""
        if self._root is None and time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            self._look()
        return self._root is None

    def _look(self, *, always: bool = False) -> None:
        """Take ROOT from another process that has it, or has a newer one; `always` learn the epochs anew."""
        with self._store.reading() as tx:
            for root in (self._member.received(tx), self._root if always else None):
                if root is not None:
                    with contextlib.suppress(Unsealable):
                        self._keks, self._root = epochs.opened(tx, root), root
                        return

    def unlock(self, kind: str, secret: bytes | str) -> bool:
        """Open the vault in every process by one slot's secret; False where none of this kind fits."""
        with self._store.reading() as tx:
            root = slots.opened(tx, kind, secret)
        if root is None:
            return False
        self._adopt(root)
        self.used()
        with self._store.writing() as tx:
            # Another process may have made a new one since.
            self._member.hand_over(tx, self._newest(tx))
        return True

    def lock(self) -> None:
        """Forget ROOT and every key of this process; each process seals itself."""
        with self._store.writing() as tx:
            self._member.forget(tx)
        with self._lock:
            self._root, self._keks = None, {}
            self._rings.clear()

    def used(self) -> None:
        """Somebody is at a page."""
        self._used = _now()

    def lock_idle(self, minutes: int) -> None:
        """Seal the vault where nobody was at a page of any process for so many minutes; 0 is never. Called by the sweep."""
        # What another process handed over is fetched even where nobody comes, so that it does not lie there.
        if minutes and not self.sealed:
            with self._store.writing() as tx:
                used = self._member.last_used(tx, self._used, _now())
            if _now() - used > minutes * 60:
                self.lock()

    def close(self) -> None:
        """Leave the broker's processes; where that cannot be written, the next one that starts finds that this one has died."""
        try:
            with self._store.writing() as tx:
                self._member.leave(tx)
        except DatabaseFailed:
            log.exception("a process left without saying so")

    def share(self) -> None:
        """Hand ROOT to processes that came after it was opened; called by the sweep."""
        with self._store.reading() as tx:
            somebody_waits = self._root is not None and self._member.anybody_waits(tx)
        if somebody_waits:
            with self._store.writing() as tx:
                self._member.hand_over(tx, self._newest(tx))

    def slots(self) -> list[Slot]:
        """Every slot; works while sealed."""
        with self._store.reading() as tx:
            return slots.listed(tx)

    def add_passphrase(self, passphrase: str) -> str:
        """A slot for a passphrase, stretched as far as 150 ms allow; returns the slot's id."""
        params = slots.tuned()
        return self._add(slots.PASSPHRASE, slots.private_of(slots.PASSPHRASE, passphrase, params), params)

    def add_recovery_key(self) -> str:
        """A slot for a new recovery key; returns the key, to be shown once and written down."""
        made = slots.new_recovery_key()
        self._add(slots.RECOVERY_KEY, slots.private_of(slots.RECOVERY_KEY, slots.recovery_secret(made), {}))
        return made

    def add_key_file(self) -> str:
        """A slot for the key file, which is made where it is missing; returns the slot's id. `Conflict` where the file has a slot."""
        secret = slots.read_key_file(self._key_file, make=True)
        with self._store.reading() as tx:
            if secret is None or slots.opened(tx, slots.KEY_FILE, secret) is not None:
                raise Conflict("The key file opens this broker already.")
        return self._add(slots.KEY_FILE, slots.private_of(slots.KEY_FILE, secret, {}))

    def _add(self, kind: str, private: bytes, params: dict[str, object] | None = None) -> str:
        self._open()
        with self._store.writing() as tx:
            return slots.add(tx, kind, private, self._newest(tx), params)

    def remove_slot(self, slot_id: str) -> bool:
        """Take a slot away, and with it what it opens: ROOT and the epoch are new afterwards. `Conflict` where fewer than two would be left."""
        self._open()
        with self._store.writing() as tx:
            if slots.count(tx) <= LEAST_SLOTS:
                raise Conflict("Two keys must be left, or one that is lost loses everything. Add another one first.")
            if not slots.remove(tx, slot_id):
                return False
        self.rotate()
        return True

    def drop_slots(self, slot_ids: Sequence[str]) -> bool:
        """Take slots away that an older keys.db brought back; False, and nothing done, where no other would be left."""
        with self._store.writing() as tx:
            left = [slot for slot in slots.listed(tx) if slot.id not in slot_ids]
            for slot_id in slot_ids if left else ():
                slots.remove(tx, slot_id)
        return bool(left)

    def rotate(self, progress: Callable[[int, int], None] = lambda _done, _of: None, before_end: Callable[[], None] = lambda: None) -> int:
        """A new epoch, a new ROOT and a new key file, while everything goes on; returns the number of the new epoch.

        `before_end` runs when everything lies under the new epoch, and the old one can still be opened; what it raises leaves it so. Resumes what
        that, or a kill, left half done.
        """
        self._open()
        with self.turn():
            return self._rotate(progress, before_end)

    def _rotate(self, progress: Callable[[int, int], None], before_end: Callable[[], None]) -> int:
        number = epochs.begin(self._store, self._newest)
        self._look(always=True)
        epochs.move(self._store, self._keks, number, progress)
        before_end()
        self._root = epochs.finish(self._store, self._newest, number, self._member.hand_over)
        # Only now: a copy of keys.db from before opens by the old key file alone, which goes.
        slots.renew_key_file(self._store, self._key_file, self._newest)
        self._look(always=True)
        # The old keys are overwritten already; that the file is not written anew as well must not undo what is durable.
        with contextlib.suppress(*DatabaseFailed):
            self._store.vacuum()
        return number

    def opens(self, copy: Store) -> int:
        """How many people's keys this vault opens in a copy of keys.db; raises `Unsealable` where it is another broker's, or damaged. Raises `Sealed`."""
        self._open()
        with copy.reading() as tx:
            keks = epochs.opened(tx, self._root or b"")
            people = list(tx.execute(select(person_keys.c.person_id).where(person_keys.c.role == "person")).scalars())
        for person_id in people:
            Keyring(copy, keks.get, person_id, self.log_tag(person_id))
        return len(people)

    def turn(self) -> AbstractContextManager[None]:
        """One process at a time renews or destroys keys; the others wait."""
        return self._turns.taken()

    def _newest(self, tx: Connection) -> bytes:
        """ROOT as it is inside this transaction: what opens the epoch in force, and nothing else is ever wrapped under. Raises `Sealed` or `Busy`."""
        known = [root for root in (self._member.received(tx), self._root) if root is not None]
        for root in known:
            with contextlib.suppress(Unsealable):
                epochs.opened(tx, root)
                return root
        raise Busy(retry_after=1) if known else Sealed

    def _open(self) -> None:
        if self.sealed:
            raise Sealed

    def add_person(self, person_id: bytes) -> None:
        """Make a new person's own keys, durable at return."""
        ids = {role: os.urandom(16) for role in ("person", "index", "ledger")}
        person, index = os.urandom(32), os.urandom(32)
        private, public = new_key_pair()
        parent = OpenKey(ids["person"], person, WRAPS)
        below = f"key:{ids['person'].hex()}"
        self._known()
        with self._store.writing() as tx:
            epoch = epochs.active(tx)
            kek = self._keks.get(epoch)
            if kek is None:
                # Another process began a new epoch at this very moment.
                raise Busy(retry_after=1)
            wraps = [("person", f"epoch:{epoch}", kek, person), ("index", below, parent, index), ("ledger", below, parent, private)]
            for role, holder, key, secret in wraps:
                key_id = ids[role]
                made = {"person_id": person_id, "key_id": key_id, "role": role, "kind": "", "month": "", "state": "active", "seals": 0}
                tx.execute(person_keys.insert().values(**made, public=public if role == "ledger" else None))
                wrapped = key.seal(wrap_place(person_id, key_id, holder), secret)
                tx.execute(person_wraps.insert().values(person_id=person_id, key_id=key_id, holder=holder, wrapped=wrapped))

    def _known(self) -> None:
        """Know the epoch in force: another process may have begun it. Raises `Sealed`."""
        self._open()
        with self._store.reading() as tx:
            if epochs.active(tx) in self._keks:
                return
        self._look(always=True)

    def keyring(self, person_id: bytes) -> Keyring:
        """The person's keys, open for at most five minutes in this process; `Sealed` while no slot is open."""
        self._open()
        now = time.monotonic()
        with self._lock:
            ring = self._rings.get(person_id)
            if ring is not None and now - ring.opened < KEYRING_SECONDS:
                self._rings.move_to_end(person_id)
                return ring
        self._known()
        try:
            ring = self._opened(person_id)
        except OtherEpoch:
            # Their key was moved under a new epoch between the two looks.
            ring = self._opened(person_id)
        with self._lock:
            self._rings[person_id] = ring
            while len(self._rings) > KEYRINGS:
                self._rings.popitem(last=False)
        return ring

    def kek(self, epoch: int) -> OpenKey | None:
        """The key of an epoch; one that this process does not know yet was begun by another."""
        if epoch not in self._keks:
            self._look(always=True)
        return self._keks.get(epoch)

    def _opened(self, person_id: bytes) -> Keyring:
        return Keyring(self._store, self.kek, person_id, self.log_tag(person_id))

    def _drop(self, person_id: bytes) -> None:
        with self._lock:
            self._rings.pop(person_id, None)

    def appender(self, person_id: bytes) -> Appending:
        """What a person's ledger can be appended to with: their open keys, or while sealed the public one alone."""
        return Appender(self._store, person_id, self.log_tag(person_id)) if self.sealed else self.keyring(person_id)

    def retire(self, person_id: bytes, kind: str, month: str) -> list[bytes]:
        """The ids of the data keys of a month, none of which is sealed with any more; the next value gets a new one."""
        mine = _of_month(person_id, kind, month)
        with self._store.writing() as tx:
            tx.execute(update(person_keys).where(mine).values(state="retired"))
            return list(tx.execute(select(person_keys.c.key_id).where(mine)).scalars())

    def destroy(self, person_id: bytes, key_ids: Sequence[bytes] | None = None) -> None:
        """Destroy keys of a person, or all of them: their wraps go, and what they opened is closed for good. Durable at return."""
        for table in (person_wraps, person_keys):
            mine = table.c.person_id == person_id
            with self._store.writing() as tx:
                tx.execute(delete(table).where(mine if key_ids is None else mine & table.c.key_id.in_(key_ids)))
        self._drop(person_id)

    def renew_person(self, person_id: bytes) -> None:
        """A new key of a person's own, under which everything of theirs is wrapped anew: an old copy of keys.db opens nothing by the new one."""
        self._known()
        with self._store.writing() as tx:
            renewed(tx, self._keks, epochs.active(tx), person_id)
        self._drop(person_id)

    def keys_of(self, person_id: bytes) -> set[bytes]:
        """The ids of every key of a person."""
        with self._store.reading() as tx:
            return set(tx.execute(select(person_keys.c.key_id).where(person_keys.c.person_id == person_id)).scalars())

    def keys_of_month(self, person_id: bytes, kind: str, month: str) -> set[bytes]:
        """The ids of the data keys of a month."""
        with self._store.reading() as tx:
            return set(tx.execute(select(person_keys.c.key_id).where(_of_month(person_id, kind, month))).scalars())

    def with_keys(self, person_ids: Sequence[bytes]) -> list[bytes]:
        """Those of these people of whom anything could still be opened."""
        wanted = select(person_wraps.c.person_id).distinct()
        with self._store.reading() as tx:
            return [found for lot in lots(person_ids) for found in tx.execute(wanted.where(person_wraps.c.person_id.in_(lot))).scalars()]

    def has_keys(self, person_id: bytes) -> bool:
        """Whether anything of a person could still be opened."""
        with self._store.reading() as tx:
            return tx.execute(select(person_wraps.c.key_id).where(person_wraps.c.person_id == person_id)).first() is not None

    @property
    def epoch(self) -> int:
        """The number of the epoch in force."""
        with self._store.reading() as tx:
            return epochs.active(tx)

    def log_tag(self, person_id: bytes) -> Callable[[str], bytes]:
        """Blind tags of what ledger entries and notices are about, 16 bytes; under the host's key, since both are written while sealed."""
        return derive.tagger(self._pepper, "ledger", person_id)

    def host_seal(self, place: bytes, plaintext: bytes) -> bytes:
        """Seal what belongs to nobody yet, or must open while the vault is sealed (password hashes, pushed requests)."""
        return self._host.seal(place, plaintext)

    def host_unseal(self, place: bytes, envelope: bytes) -> bytes:
        """Open what `host_seal` sealed; raises `Unsealable`."""
        return self._host.unseal(place, envelope)

    def seal_cursor(self, place: bytes, plaintext: bytes) -> bytes:
        """A sealed cursor; the same content at the same place gives the same bytes (AES-GCM-SIV, RFC 8452, under a fixed nonce)."""
        return self._cursor.seal(place, plaintext, nonce=bytes(12))

    def unseal_cursor(self, place: bytes, envelope: bytes) -> bytes:
        """Open a cursor; raises `Unsealable` if it was altered or belongs elsewhere."""
        return self._cursor.unseal(place, envelope)


def _begin(tx: Connection, secret: bytes) -> None:
    """The very first start: ROOT with its key file slot, the first epoch, the host's secrets."""
    root = os.urandom(32)
    slots.add(tx, slots.KEY_FILE, slots.private_of(slots.KEY_FILE, secret, {}), root)
    epochs.add(tx, root, 1)
    tx.execute(host_keys.insert(), [{"name": name, "secret": os.urandom(32)} for name in _HOST])


def _id_of(pepper: bytes) -> bytes:
    """Whose keys these are: the same for as long as there is this broker, and of no use to anybody."""
    return derive.tagger(pepper, "broker")("id")


def id_in(store: Store) -> bytes:
    """The id of the broker that a keys.db is of, without opening anything."""
    with store.reading() as tx:
        return _id_of(tx.execute(select(host_keys.c.secret).where(host_keys.c.name == "pepper")).scalar_one())
