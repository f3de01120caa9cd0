"""The vault of one broker: ROOT and the epoch's key while a slot has opened them, the host's own secrets, and keyrings by person."""

import os
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select

from broker.db import Store
from broker.errors import Sealed
from broker.vault import derive, slots
from broker.vault.envelope import WRAPS, OpenKey, Place, new_key_pair
from broker.vault.keys import FIRST_EPOCH, Keyring, wrap_place
from broker.vault.models import epochs, host_keys, person_keys, person_wraps

KEYRING_SECONDS: Final = 300.0
KEYRINGS: Final = 1000
_HOST: Final = ("route", "pepper", "cookie", "cursor", "nonce")
_KEK_PLACE: Final = Place(b"", "epochs", "wrapped_kek")


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
            wrapped = tx.execute(select(epochs.c.wrapped_kek).where(epochs.c.epoch == FIRST_EPOCH)).scalar_one()
            host = {row.name: row.secret for row in tx.execute(select(host_keys))}
        self._kek: OpenKey | None = OpenKey(bytes(16), OpenKey(bytes(16), root, WRAPS).unseal(_KEK_PLACE.at(FIRST_EPOCH), wrapped), WRAPS)
        self.route_key: bytes = host["route"]
        self.cookie_key: bytes = host["cookie"]
        self.nonce_key: bytes = host["nonce"]
        self._pepper: bytes = host["pepper"]
        self.name_tag = derive.tagger(self._pepper, "sign-in name")
        # What the broker hands out at sign-in and must know again, without writing it down.
        self.challenge_tag = derive.tagger(self._pepper, "sign-in challenge")
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
        wraps = [("person", f"epoch:{FIRST_EPOCH}", self._kek, person), ("index", below, parent, index), ("ledger", below, parent, private)]
        with self._store.writing() as tx:
            for role, holder, key, secret in wraps:
                key_id = ids[role]
                tx.execute(
                    person_keys.insert().values(
                        person_id=person_id, key_id=key_id, role=role, kind="", month="", state="active", seals=0, public=public if role == "ledger" else None
                    )
                )
                wrapped = key.seal(wrap_place(person_id, key_id, holder), secret)
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
    wrapped = OpenKey(bytes(16), root, WRAPS).seal(_KEK_PLACE.at(FIRST_EPOCH), os.urandom(32))
    tx.execute(epochs.insert().values(epoch=FIRST_EPOCH, state="active", wrapped_kek=wrapped))
    tx.execute(host_keys.insert(), [{"name": name, "secret": os.urandom(32)} for name in _HOST])
