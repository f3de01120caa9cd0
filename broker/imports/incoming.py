"""Uploaded files between their dry run and their end: kept only sealed, in `incoming/` of the data directory, for at most a day."""

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from broker.opening import Broker
from broker.vault.envelope import Place
from broker.vault.keys import Keyring

CHUNK: Final = 2**20
SECONDS: Final = 24 * 3600.0
_LENGTH_BYTES: Final = 4


class Gone(Exception):
    """The file is no longer here, or not whole."""


def _path(broker: Broker, batch_id: bytes) -> Path:
    return broker.settings.data_dir / "incoming" / f"{batch_id.hex()}.sealed"


def _place(ring: Keyring, batch_id: bytes, number: int, *, last: bool) -> bytes:
    # The last chunk says that it is the last, so that a file cut off between two chunks does not pass for a whole one.
    return Place(ring.person_id, "import_files").at(batch_id, number, int(last))


def keep(broker: Broker, ring: Keyring, batch_id: bytes, stream: BinaryIO, size: int) -> None:
    """Seal what `stream` holds (`size` bytes) in chunks of at most 1 MiB; durable at return."""
    key = ring.key_for("imports", f"{broker.now():%Y-%m}", size // CHUNK + 1)
    path = _path(broker, batch_id)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    try:
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as kept:
            for number, (chunk, last) in enumerate(_chunks(stream)):
                envelope = key.seal(_place(ring, batch_id, number, last=last), chunk)
                kept.write(len(envelope).to_bytes(_LENGTH_BYTES, "big") + envelope)
            kept.flush()
            os.fsync(kept.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _chunks(stream: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    chunk = stream.read(CHUNK)
    while True:
        following = stream.read(CHUNK)
        yield chunk, not following
        if not following:
            return
        chunk = following


def size(broker: Broker, batch_id: bytes) -> int:
    """How many bytes the sealed file has; 0 if there is none."""
    try:
        return _path(broker, batch_id).stat().st_size
    except FileNotFoundError:
        return 0


def unseal(broker: Broker, ring: Keyring, batch_id: bytes, target: Path) -> None:
    """Write the plain file to `target`, which lies in a room. Raises `Gone`, or `Unsealable` if the file was altered."""
    try:
        kept = _path(broker, batch_id).open("rb")
    except FileNotFoundError:
        raise Gone from None
    with kept, target.open("wb") as plain:
        envelope = _next(kept)
        for number in itertools.count():
            following = _next(kept)
            plain.write(ring.unseal(_place(ring, batch_id, number, last=not following), envelope))
            if not following:
                return
            envelope = following


def _next(kept: BinaryIO) -> bytes:
    return kept.read(int.from_bytes(kept.read(_LENGTH_BYTES), "big"))


def drop(broker: Broker, batch_id: bytes) -> None:
    """Throw the file away; nothing happens if there is none."""
    _path(broker, batch_id).unlink(missing_ok=True)


def sweep(broker: Broker) -> None:
    """Throw away what is older than a day."""
    for path in (broker.settings.data_dir / "incoming").glob("*.sealed"):
        if time.time() - path.stat().st_mtime > SECONDS:
            path.unlink(missing_ok=True)
