"""Slots: what releases ROOT. A key file outside the data directory, a passphrase, or a recovery key on paper; each opens everything.

A slot's secret gives an X25519 pair, and ROOT is sealed to the public half (HPKE): a new ROOT needs nobody's passphrase.
"""

import base64
import binascii
import os
import secrets
import stat
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from sqlalchemy import Connection, delete, func, select, update

from broker.db import Store
from broker.errors import Unsealable
from broker.vault import derive
from broker.vault.envelope import Place, public_of, seal_to, unseal_with
from broker.vault.files import sync_folder
from broker.vault.models import slots

KEY_FILE, PASSPHRASE, RECOVERY_KEY = "key_file", "passphrase", "recovery_key"
KEY_FILE_BYTES: Final = 32
SHORTEST_PASSPHRASE: Final = 12
LONGEST_PASSPHRASE: Final = 256
# Argon2id (RFC 9106): where a new slot starts, what it must cost here, and what is never gone below.
START: Final[dict[str, int]] = {"memory": 64 * 1024, "passes": 3, "lanes": 4}
FLOOR: Final[dict[str, int]] = {"memory": 19 * 1024, "passes": 2, "lanes": 1}
LEAST_SECONDS: Final = 0.15
MOST_PASSES: Final = 64
# Crockford's base 32, without letters that look like digits; eight groups of four, the last two letters a check of the others.
_LETTERS: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_LOOKALIKES: Final = str.maketrans({"o": "0", "i": "1", "l": "1"})
_RANDOM_LETTERS: Final = 30
_GROUP: Final = 4
_PLACE: Final = Place(b"", "slots", "wrapped_root")


class NoKey(Exception):
    """The vault cannot be opened; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot as its operator sees it: `id` is how it is named, hex."""

    id: str
    kind: str


def read_key_file(path: Path, *, make: bool) -> bytes | None:
    """The key file's 32 bytes; made if `make` and absent, else None. `NoKey` if it is readable by others, or of another length."""
    if not path.exists():
        if not make:
            return None
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_key_file(path)
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise NoKey(f"The key file {path} can be read by others. Run: chmod 600 {path}")
    secret = path.read_bytes()
    if len(secret) != KEY_FILE_BYTES:
        raise NoKey(f"The key file {path} should hold {KEY_FILE_BYTES} bytes and holds {len(secret)}. Put the right one back.")
    return secret


def write_key_file(path: Path) -> None:
    """A new key file with mode 0600, durable with its name. Raises `FileExistsError`."""
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(os.urandom(KEY_FILE_BYTES))
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def put_in_place(fresh: Path, path: Path) -> None:
    """Put a new key file in the place of the old one, durably and at once."""
    fresh.replace(path)
    sync_folder(path.parent)


def new_recovery_key() -> str:
    """A recovery key of 150 random bits, to be written down."""
    letters = "".join(secrets.choice(_LETTERS) for _ in range(_RANDOM_LETTERS))
    whole = letters + _check(letters)
    return "-".join(whole[start : start + _GROUP] for start in range(0, len(whole), _GROUP))


def _check(letters: str) -> str:
    number = zlib.crc32(letters.encode())
    return _LETTERS[number % 32] + _LETTERS[number // 32 % 32]


def recovery_secret(key: str) -> bytes:
    """The secret of a recovery key as `new_recovery_key` writes it."""
    return key.replace("-", "")[:_RANDOM_LETTERS].encode()


def read_recovery_key(text: str) -> bytes | None:
    """The secret of a recovery key as somebody typed it; None where a letter is wrong or missing."""
    plain = "".join(letter for letter in text.casefold().translate(_LOOKALIKES) if letter in _LETTERS)
    whole = len(plain) == _RANDOM_LETTERS + 2 and plain[_RANDOM_LETTERS:] == _check(plain[:_RANDOM_LETTERS])
    return recovery_secret(plain) if whole else None


def tuned() -> dict[str, Any]:
    """The parameters of a new passphrase slot: as many passes as take 150 ms on this machine, and a fresh salt."""
    salt, passes = os.urandom(16), START["passes"]
    while passes < MOST_PASSES:
        began = time.perf_counter()
        _stretched("", salt, {**START, "passes": passes})
        took = time.perf_counter() - began
        if took >= LEAST_SECONDS:
            break
        passes = min(MOST_PASSES, max(passes + 1, int(passes * LEAST_SECONDS / took) + 1))
    return {**START, "passes": passes, "salt": base64.b64encode(salt).decode()}


def _stretched(passphrase: str, salt: bytes, cost: Mapping[str, int]) -> bytes:
    made = Argon2id(salt=salt, length=32, iterations=cost["passes"], lanes=cost["lanes"], memory_cost=cost["memory"])
    return made.derive(passphrase.encode())


def private_of(kind: str, secret: bytes | str, params: Mapping[str, Any]) -> bytes:
    """The X25519 private key of a slot's secret: the bytes of a key file or recovery key, or the text of a passphrase.

    Raises `Unsealable` for parameters below the floor: nobody may make a passphrase cheap to guess by editing its row.
    """
    if isinstance(secret, str):
        if any(params.get(name, 0) < least for name, least in FLOOR.items()):
            raise Unsealable
        try:
            secret = _stretched(secret, base64.b64decode(params["salt"], validate=True), {name: params[name] for name in FLOOR})
        except (KeyError, ValueError, binascii.Error):
            raise Unsealable from None
    return derive.subkey(secret, "slot", kind)


def add(tx: Connection, kind: str, private: bytes, root: bytes, params: Mapping[str, Any] | None = None) -> str:
    """Wrap ROOT to the public key of a slot's secret; returns the slot's id."""
    slot_id, public = os.urandom(16), public_of(private)
    row = {"slot_id": slot_id, "kind": kind, "params": dict(params or {}), "public": public}
    tx.execute(slots.insert().values(**row, wrapped_root=seal_to(public, slot_id, _PLACE.at(slot_id), root)))
    return slot_id.hex()


def opened(tx: Connection, kind: str, secret: bytes | str) -> bytes | None:
    """ROOT by the slot of this kind that `secret` fits, or None."""
    for row in tx.execute(select(slots).where(slots.c.kind == kind)).all():
        try:
            return unseal_with(private_of(kind, secret, row.params or {}), _PLACE.at(row.slot_id), row.wrapped_root)
        except Unsealable:
            continue
    return None


def rewrap(tx: Connection, root: bytes) -> None:
    """Wrap a new ROOT for every slot there is."""
    for row in tx.execute(select(slots.c.slot_id, slots.c.public)).all():
        wrapped = seal_to(row.public, row.slot_id, _PLACE.at(row.slot_id), root)
        tx.execute(update(slots).where(slots.c.slot_id == row.slot_id).values(wrapped_root=wrapped))


def listed(tx: Connection) -> list[Slot]:
    """Every slot, in a fixed order."""
    return [Slot(row.slot_id.hex(), row.kind) for row in tx.execute(select(slots.c.slot_id, slots.c.kind).order_by(slots.c.kind, slots.c.slot_id))]


def count(tx: Connection) -> int:
    """How many slots there are."""
    return tx.execute(select(func.count()).select_from(slots)).scalar_one()


def remove(tx: Connection, slot_id: str) -> bool:
    """Take a slot away; False where there is none."""
    return tx.execute(delete(slots).where(slots.c.slot_id == bytes.fromhex(slot_id))).rowcount > 0


def renew_key_file(store: Store, path: Path, root: Callable[[Connection], bytes]) -> None:
    """A new secret in the key file, where it has a slot: an old copy of keys.db opens by the old one alone. At every moment one of the two opens."""
    known = read_key_file(path, make=False)
    with store.reading() as tx:
        fits = known is not None and opened(tx, KEY_FILE, known) is not None
        old = [slot for slot in listed(tx) if slot.kind == KEY_FILE]
    if not fits:
        return
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    write_key_file(fresh)
    with store.writing() as tx:
        add(tx, KEY_FILE, private_of(KEY_FILE, fresh.read_bytes(), {}), root(tx))
    put_in_place(fresh, path)
    with store.writing() as tx:
        for slot in old:
            remove(tx, slot.id)
