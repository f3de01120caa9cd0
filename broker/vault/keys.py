"""The key hierarchy: slot → ROOT → KEK[epoch] → person key → data key per (person, kind, month), and the index and ledger keys beside them.

Keys are random and wrapped, not derived, so that a parent can change without touching what lies below. A data key is durable in keys.db
before the first row is sealed under it. Destroying a data key is deletion.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias, TypeVar

from sqlalchemy import Connection, Select, delete, select, update

from broker.db import AnyRow, Store
from broker.errors import Sealed, Unsealable
from broker.vault import derive
from broker.vault.envelope import HEADER_BYTES, WRAPS, OpenKey, Place, key_id_of, seal_to, unseal_with
from broker.vault.models import person_keys, person_wraps
from broker.vault.signing import SEED_BYTES, LogSigner, Signer

T = TypeVar("T")
REMEMBERED: Final = 300
SEALS_RESERVED: Final = 2**16
SEALS_BEFORE_NEW_KEY: Final = 2**28


def wrap_place(person_id: bytes, key_id: bytes, holder: str) -> bytes:
    """Where a person's key is wrapped for one holder."""
    return Place(person_id, "person_wraps", "wrapped").at(key_id, holder)


def _keep_for_ledger(
    tx: Connection, person_id: bytes, ledger: tuple[bytes, bytes], key_id: bytes, secret: bytes, month: str, seals: int
) -> None:  # fmt: skip
    """A new key for ledger entries, wrapped to the person's public key: entries can be written while nobody's private keys are open."""
    ledger_id, public = ledger
    holder = f"public:{ledger_id.hex()}"
    wrapped = seal_to(public, ledger_id, wrap_place(person_id, key_id, holder), secret)
    made = {"person_id": person_id, "key_id": key_id, "role": "data", "kind": "ledger", "month": month, "state": "active", "seals": seals}
    tx.execute(person_keys.insert().values(made))
    tx.execute(person_wraps.insert().values(person_id=person_id, key_id=key_id, holder=holder, wrapped=wrapped))


class OtherEpoch(Unsealable):
    """A person's key lies under an epoch that this process does not know yet."""


class Appender:
    """What a person's ledger can be appended to with while their keys are not open: sealing alone, to their public key."""

    def __init__(self, store: Store, person_id: bytes, log_tag: Callable[[str], bytes]) -> None:
        """Raises `Unsealable` where the person has no keys, or no longer."""
        self.person_id = person_id
        self.log_tag = log_tag
        self._store = store
        mine = (person_keys.c.person_id == person_id) & (person_keys.c.role == "ledger")
        with store.reading() as tx:
            row = tx.execute(select(person_keys.c.key_id, person_keys.c.public).where(mine)).first()
        if row is None:
            raise Unsealable
        self._ledger = (row.key_id, row.public)

    def key_for(self, kind: str, month: str, seals: int = 1) -> OpenKey:
        """A new key for ledger entries of this month, durable at return: those there are cannot be opened now. `Sealed` for any other kind."""
        if kind != "ledger":
            raise Sealed
        key_id, secret = os.urandom(16), os.urandom(32)
        with self._store.writing() as tx:
            _keep_for_ledger(tx, self.person_id, self._ledger, key_id, secret, month, seals)
        return OpenKey(key_id, secret)


def renewed(tx: Connection, keks: Mapping[int, OpenKey], epoch: int, person_id: bytes) -> None:
    """Give a person a new key of their own under this epoch, and wrap theirs that are left under it. Raises `OtherEpoch`."""
    mine = person_wraps.c.person_id == person_id
    joined = person_wraps.join(person_keys, (person_keys.c.person_id == person_wraps.c.person_id) & (person_keys.c.key_id == person_wraps.c.key_id))
    old = tx.execute(select(person_wraps).select_from(joined).where(mine, person_keys.c.role == "person")).one()
    kek = keks.get(int(old.holder.partition(":")[2]))
    if kek is None or epoch not in keks:
        raise OtherEpoch
    parent = OpenKey(old.key_id, kek.unseal(wrap_place(person_id, old.key_id, old.holder), old.wrapped), WRAPS)
    fresh_id, fresh = os.urandom(16), os.urandom(32)
    below, holder = OpenKey(fresh_id, fresh, WRAPS), f"key:{fresh_id.hex()}"
    for row in tx.execute(select(person_wraps).where(mine, person_wraps.c.holder == f"key:{old.key_id.hex()}")).all():
        secret = parent.unseal(wrap_place(person_id, row.key_id, row.holder), row.wrapped)
        tx.execute(delete(person_wraps).where(mine, person_wraps.c.key_id == row.key_id, person_wraps.c.holder == row.holder))
        wrapped = below.seal(wrap_place(person_id, row.key_id, holder), secret)
        tx.execute(person_wraps.insert().values(person_id=person_id, key_id=row.key_id, holder=holder, wrapped=wrapped))
    tx.execute(delete(person_wraps).where(mine, person_wraps.c.key_id == old.key_id))
    tx.execute(delete(person_keys).where(person_keys.c.person_id == person_id, person_keys.c.key_id == old.key_id))
    made = {"person_id": person_id, "key_id": fresh_id, "role": "person", "kind": "", "month": "", "state": "active", "seals": 0}
    tx.execute(person_keys.insert().values(made))
    above = f"epoch:{epoch}"
    wrapped = keks[epoch].seal(wrap_place(person_id, fresh_id, above), fresh)
    tx.execute(person_wraps.insert().values(person_id=person_id, key_id=fresh_id, holder=above, wrapped=wrapped))


class Keyring:
    """One person's keys while they are open in this process: sealing, opening, blind tags, aliases."""

    def __init__(self, store: Store, kek: Callable[[int], OpenKey | None], person_id: bytes, log_tag: Callable[[str], bytes]) -> None:
        """`kek` gives the key of an epoch. Raises `Unsealable` where the person has no keys, or no longer."""
        self.person_id = person_id
        self.log_tag = log_tag
        self._kek = kek
        self.opened = time.monotonic()
        self._store = store
        self._lock = threading.RLock()
        self._by_id: dict[bytes, OpenKey] = {}
        self._sealing: dict[tuple[str, str], tuple[OpenKey, int]] = {}
        with store.reading() as tx:
            rows = {row.role: row for row in tx.execute(self._wraps().where(person_keys.c.role.in_(("person", "index", "ledger"))))}
        if len(rows) != len(("person", "index", "ledger")):
            raise Unsealable
        self._parent = self._opened_parent(rows["person"])
        self._index = self._parent.unseal(self._place(rows["index"]), rows["index"].wrapped)
        self._ledger_private = self._parent.unseal(self._place(rows["ledger"]), rows["ledger"].wrapped)
        self._ledger_id: bytes = rows["ledger"].key_id
        self._ledger_public: bytes = rows["ledger"].public
        # Such as statements that hold this person's blind tags.
        self._remembered: dict[object, Any] = {}
        self.tag: Callable[[str, str, str], Callable[[str | bytes], bytes]] = lru_cache(maxsize=256)(self._tag)

    def _opened_parent(self, row: AnyRow) -> OpenKey:
        kek = self._kek(int(row.holder.partition(":")[2]))
        if kek is None:
            raise OtherEpoch
        return OpenKey(row.key_id, kek.unseal(self._place(row), row.wrapped), WRAPS)

    def _renew_parent(self, tx: Connection | None) -> None:
        """Open the person's own key again: another process, or thread, has renewed it since. Raises `Unsealable` where they have none any more."""
        wanted = self._wraps().where(person_keys.c.role == "person")
        if tx is not None:
            row = tx.execute(wanted).first()
        else:
            with self._store.reading() as fresh:
                row = fresh.execute(wanted).first()
        if row is None:
            raise Unsealable
        self._parent = self._opened_parent(row)

    def _place(self, row: AnyRow) -> bytes:
        return wrap_place(self.person_id, row.key_id, row.holder)

    def _wraps(self) -> Select[Any]:
        joined = person_keys.join(person_wraps, (person_wraps.c.person_id == person_keys.c.person_id) & (person_wraps.c.key_id == person_keys.c.key_id))
        return select(person_keys, person_wraps.c.holder, person_wraps.c.wrapped).select_from(joined).where(person_keys.c.person_id == self.person_id)

    def _tag(self, kind: str, table: str, column: str) -> Callable[[str | bytes], bytes]:
        return derive.tagger(self._index, "blind", kind, table, column)

    def alias(self, grant_id: bytes, clause_id: str) -> Callable[[str], str]:
        """What turns ids into row ids and aliases for one clause of one grant: HMAC-SHA-256 cut to 128 bits, as hex; unlinkable between clauses."""
        digest = self.remember(("alias", grant_id, clause_id), lambda: derive.keyed(derive.subkey(self._index, "alias", grant_id, clause_id)))
        return lambda value: digest(value.encode())[:16].hex()

    def remember(self, name: object, make: Callable[[], T]) -> T:
        """What `make` made of this person's keys or unsealed for them, and that never changes: kept as long as the keys are open, and no longer."""
        known: T | None = self._remembered.get(name)
        if known is None:
            if len(self._remembered) >= REMEMBERED:
                self._remembered.clear()
            known = self._remembered[name] = make()
        return known

    def pairwise(self, vendor_id: str) -> bytes:
        """The id under which one vendor knows this person, 16 bytes."""
        return self.remember(("pairwise", vendor_id), lambda: derive.tagger(self._index, "pairwise")(vendor_id))

    def signer(self, vendor_id: str) -> Signer:
        """The key with which this person signs what concerns one vendor; made, durably, at its first use. No two vendors see the same (rule S2)."""
        return self.remember(("signer", vendor_id), lambda: Signer(self._seed(derive.tagger(self._index, "signing")(vendor_id))))

    def log_signer(self, log_id: bytes) -> LogSigner:
        """The key that signs the checkpoints of one of this person's logs; made, durably, at its first use."""
        return self.remember(("log", log_id), lambda: LogSigner(self._seed(derive.tagger(self._index, "log")(log_id))))

    def _seed(self, key_id: bytes) -> bytes:
        wanted = self._wraps().where(person_keys.c.key_id == key_id, person_keys.c.role == "signing")
        # Whoever comes second, in another process too, waits for the first and finds its key.
        with self._store.writing() as tx:
            row = tx.execute(wanted).first()
            if row is not None:
                return self._unwrap(row, tx)
            seed = os.urandom(SEED_BYTES)
            self._keep(tx, key_id, seed, role="signing")
        return seed

    def import_key(self) -> bytes:
        """What this person's imports make their event ids with, 32 bytes: equal rows get equal ids, and nobody else can tell which."""
        return derive.subkey(self._index, "import")

    def key_for(self, kind: str, month: str, seals: int = 1) -> OpenKey:
        """The key to seal `seals` more values of this kind and month (`2026-11`) with; made, durably, where there is none."""
        with self._lock:
            key, left = self._sealing.get((kind, month), (None, 0))
            if key is None or left < seals:
                key, left = self._reserve(kind, month, seals)
            self._sealing[(kind, month)] = (key, left - seals)
            return key

    def seal_anew(self) -> None:
        """Look again which keys are in force, before anything more is sealed."""
        with self._lock:
            self._sealing.clear()

    def _reserve(self, kind: str, month: str, seals: int) -> tuple[OpenKey, int]:
        block = max(SEALS_RESERVED, seals)
        with self._store.writing() as tx:
            wanted = (person_keys.c.kind == kind) & (person_keys.c.month == month) & (person_keys.c.state == "active")
            row = tx.execute(self._wraps().where(wanted, person_keys.c.seals + block <= SEALS_BEFORE_NEW_KEY)).first()
            if row is None:
                key, secret = self._new(tx, kind, month, block)
                opened = OpenKey(key, secret)
            else:
                tx.execute(
                    update(person_keys)
                    .where(person_keys.c.person_id == self.person_id, person_keys.c.key_id == row.key_id)
                    .values(seals=person_keys.c.seals + block)
                )
                opened = OpenKey(row.key_id, self._unwrap(row, tx))
        self._by_id[opened.key_id] = opened
        return opened, block

    def _new(self, tx: Connection, kind: str, month: str, seals: int) -> tuple[bytes, bytes]:
        key_id, secret = os.urandom(16), os.urandom(32)
        self._keep(tx, key_id, secret, role="data", kind=kind, month=month, seals=seals)
        return key_id, secret

    def _keep(self, tx: Connection, key_id: bytes, secret: bytes, *, role: str, kind: str = "", month: str = "", seals: int = 0) -> None:
        """Write a new key of this person, wrapped."""
        if kind == "ledger":
            _keep_for_ledger(tx, self.person_id, (self._ledger_id, self._ledger_public), key_id, secret, month, seals)
            return
        above = (person_keys.c.person_id == self.person_id) & (person_keys.c.key_id == self._parent.key_id)
        if tx.execute(select(person_keys.c.key_id).where(above)).first() is None:
            # What would be wrapped under the old one could never be opened.
            self._renew_parent(tx)
        holder = f"key:{self._parent.key_id.hex()}"
        wrapped = self._parent.seal(wrap_place(self.person_id, key_id, holder), secret)
        tx.execute(person_keys.insert().values(person_id=self.person_id, key_id=key_id, role=role, kind=kind, month=month, state="active", seals=seals))
        tx.execute(person_wraps.insert().values(person_id=self.person_id, key_id=key_id, holder=holder, wrapped=wrapped))

    def _unwrap(self, row: AnyRow, tx: Connection | None = None) -> bytes:
        if row.holder.startswith("public:"):
            return unseal_with(self._ledger_private, self._place(row), row.wrapped)
        if row.holder != f"key:{self._parent.key_id.hex()}":
            self._renew_parent(tx)
        return self._parent.unseal(self._place(row), row.wrapped)

    def unseal(self, place: bytes, envelope: bytes) -> bytes:
        """The plaintext of one of this person's values; `Unsealable` if it was moved, altered, or its key is destroyed."""
        return self.key_of(envelope).unseal(place, envelope)

    def key_of(self, envelope: bytes) -> OpenKey:
        """The key that opens this envelope; `Unsealable` if it is not one of this person's, or destroyed."""
        return self._by_id.get(envelope[2:HEADER_BYTES]) or self._load(key_id_of(envelope))

    def _load(self, key_id: bytes) -> OpenKey:
        with self._store.reading() as tx:
            row = tx.execute(self._wraps().where(person_keys.c.key_id == key_id, person_keys.c.role == "data")).first()
        if row is None:
            raise Unsealable
        key = OpenKey(key_id, self._unwrap(row))
        self._by_id[key_id] = key
        return key


Appending: TypeAlias = Keyring | Appender
"""What ledger entries and notices are written with."""
