"""The key hierarchy: slot → ROOT → KEK[epoch] → person key → data key per (person, kind, month), and the index and ledger keys beside them.

Keys are random and wrapped, not derived, so that a parent can change without touching what lies below. A data key is durable in keys.db
before the first row is sealed under it. Destroying a data key is deletion.
"""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Select, select, update

from broker.db import AnyRow, Store
from broker.errors import Sealed, Unsealable
from broker.vault import derive, slots
from broker.vault.envelope import HEADER_BYTES, WRAPS, OpenKey, Place, key_id_of, new_key_pair, seal_to, unseal_with
from broker.vault.models import epochs, host_keys, person_keys, person_wraps
from broker.vault.signing import SEED_BYTES, Signer

T = TypeVar("T")
KEYRING_SECONDS: Final = 300.0
KEYRINGS: Final = 1000
REMEMBERED: Final = 300
SEALS_RESERVED: Final = 2**16
SEALS_BEFORE_NEW_KEY: Final = 2**28
_EPOCH: Final = 1
_HOST: Final = ("route", "pepper", "cookie", "cursor", "nonce")


def _wrap_place(person_id: bytes, key_id: bytes, holder: str) -> bytes:
    return Place(person_id, "person_wraps", "wrapped").at(key_id, holder)


_KEK_PLACE: Final = Place(b"", "epochs", "wrapped_kek")


class Keyring:
    """One person's keys while they are open in this process: sealing, opening, blind tags, aliases."""

    def __init__(self, store: Store, kek: OpenKey, person_id: bytes) -> None:
        """Raises `Unsealable` where the person has no keys, or no longer."""
        self.person_id = person_id
        self.opened = time.monotonic()
        self._store = store
        self._lock = threading.RLock()
        self._by_id: dict[bytes, OpenKey] = {}
        self._sealing: dict[tuple[str, str], tuple[OpenKey, int]] = {}
        with store.reading() as tx:
            rows = {row.role: row for row in tx.execute(self._wraps().where(person_keys.c.role.in_(("person", "index", "ledger"))))}
        if len(rows) != len(("person", "index", "ledger")):
            raise Unsealable
        self._parent = OpenKey(rows["person"].key_id, kek.unseal(self._place(rows["person"]), rows["person"].wrapped), WRAPS)
        self._index = self._parent.unseal(self._place(rows["index"]), rows["index"].wrapped)
        self._ledger_private = self._parent.unseal(self._place(rows["ledger"]), rows["ledger"].wrapped)
        self._ledger_id: bytes = rows["ledger"].key_id
        self._ledger_public: bytes = rows["ledger"].public
        # Such as statements that hold this person's blind tags.
        self._remembered: dict[object, Any] = {}
        self.tag: Callable[[str, str, str], Callable[[str | bytes], bytes]] = lru_cache(maxsize=256)(self._tag)

    def _place(self, row: AnyRow) -> bytes:
        return _wrap_place(self.person_id, row.key_id, row.holder)

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

    def _seed(self, key_id: bytes) -> bytes:
        wanted = self._wraps().where(person_keys.c.key_id == key_id, person_keys.c.role == "signing")
        # Whoever comes second, in another process too, waits for the first and finds its key.
        with self._store.writing() as tx:
            row = tx.execute(wanted).first()
            if row is not None:
                return self._unwrap(row)
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
                opened = OpenKey(row.key_id, self._unwrap(row))
        self._by_id[opened.key_id] = opened
        return opened, block

    def _new(self, tx: Connection, kind: str, month: str, seals: int) -> tuple[bytes, bytes]:
        key_id, secret = os.urandom(16), os.urandom(32)
        self._keep(tx, key_id, secret, role="data", kind=kind, month=month, seals=seals)
        return key_id, secret

    def _keep(self, tx: Connection, key_id: bytes, secret: bytes, *, role: str, kind: str = "", month: str = "", seals: int = 0) -> None:
        """Write a new key of this person, wrapped."""
        if kind == "ledger":
            # To the public key: entries can be written while nobody's private keys are open.
            holder = f"public:{self._ledger_id.hex()}"
            wrapped = seal_to(self._ledger_public, self._ledger_id, _wrap_place(self.person_id, key_id, holder), secret)
        else:
            holder = f"key:{self._parent.key_id.hex()}"
            wrapped = self._parent.seal(_wrap_place(self.person_id, key_id, holder), secret)
        tx.execute(person_keys.insert().values(person_id=self.person_id, key_id=key_id, role=role, kind=kind, month=month, state="active", seals=seals))
        tx.execute(person_wraps.insert().values(person_id=self.person_id, key_id=key_id, holder=holder, wrapped=wrapped))

    def _unwrap(self, row: AnyRow) -> bytes:
        if row.holder.startswith("public:"):
            return unseal_with(self._ledger_private, self._place(row), row.wrapped)
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


class Vault:
    """The open vault of one broker: host secrets, and keyrings by person. Without an open slot it is sealed and hands out no keyring."""

    def __init__(self, store: Store, key_file: Path) -> None:
        """Opens the vault with the key file, and makes key file, ROOT and epoch at the very first start. Raises `NoKey`."""
        self._store = store
        self._lock = threading.Lock()
        self._rings: OrderedDict[bytes, Keyring] = OrderedDict()
        with store.reading() as tx:
            fresh = tx.execute(select(epochs.c.epoch)).first() is None
        secret = slots.read_key_file(key_file, make=fresh)
        with store.writing() as tx:
            root = slots.open_with_key_file(tx, secret)
            if root is None:
                root = os.urandom(32)
                slots.add_key_file(tx, secret, root)
                _first_epoch(tx, root)
            wrapped = tx.execute(select(epochs.c.wrapped_kek).where(epochs.c.epoch == _EPOCH)).scalar_one()
            host = {row.name: row.secret for row in tx.execute(select(host_keys))}
        self._kek: OpenKey | None = OpenKey(bytes(16), OpenKey(bytes(16), root, WRAPS).unseal(_KEK_PLACE.at(_EPOCH), wrapped), WRAPS)
        self.route_key: bytes = host["route"]
        self.cookie_key: bytes = host["cookie"]
        self.nonce_key: bytes = host["nonce"]
        self._pepper: bytes = host["pepper"]
        self.name_tag = derive.tagger(self._pepper, "sign-in name")
        self._host = OpenKey(bytes(16), derive.subkey(self._pepper, "seal"))
        self._cursor = OpenKey(bytes(16), derive.subkey(host["cursor"], "seal"), WRAPS)

    def add_person(self, person_id: bytes) -> None:
        """Make a new person's own keys, durable at return."""
        if self._kek is None:
            raise Sealed
        ids = {role: os.urandom(16) for role in ("person", "index", "ledger")}
        person, index = os.urandom(32), os.urandom(32)
        private, public = new_key_pair()
        parent = OpenKey(ids["person"], person, WRAPS)
        below = f"key:{ids['person'].hex()}"
        wraps = [("person", f"epoch:{_EPOCH}", self._kek, person), ("index", below, parent, index), ("ledger", below, parent, private)]
        with self._store.writing() as tx:
            for role, holder, key, secret in wraps:
                key_id = ids[role]
                tx.execute(
                    person_keys.insert().values(
                        person_id=person_id, key_id=key_id, role=role, kind="", month="", state="active", seals=0, public=public if role == "ledger" else None
                    )
                )
                wrapped = key.seal(_wrap_place(person_id, key_id, holder), secret)
                tx.execute(person_wraps.insert().values(person_id=person_id, key_id=key_id, holder=holder, wrapped=wrapped))

    def keyring(self, person_id: bytes) -> Keyring:
        """The person's keys, open for at most five minutes in this process; `Sealed` while no slot is open."""
        if self._kek is None:
            raise Sealed
        now = time.monotonic()
        with self._lock:
            ring = self._rings.get(person_id)
            if ring is not None and now - ring.opened < KEYRING_SECONDS:
                self._rings.move_to_end(person_id)
                return ring
        ring = Keyring(self._store, self._kek, person_id)
        with self._lock:
            self._rings[person_id] = ring
            while len(self._rings) > KEYRINGS:
                self._rings.popitem(last=False)
        return ring

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


def _first_epoch(tx: Connection, root: bytes) -> None:
    wrapped = OpenKey(bytes(16), root, WRAPS).seal(_KEK_PLACE.at(_EPOCH), os.urandom(32))
    tx.execute(epochs.insert().values(epoch=_EPOCH, state="active", wrapped_kek=wrapped))
    tx.execute(host_keys.insert(), [{"name": name, "secret": os.urandom(32)} for name in _HOST])
