"""Rooms: folders that only we can enter, for the plain copy of a file while it is read; in memory where the system has a place for that."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a room in it is made by mkdtemp, with mode 0700
PREFIX: Final = "proffer-room-"
TO_SPARE: Final = 16 * 2**20
# A process may get the number of an earlier one, so the number alone does not tell whose a room is.
_TOKEN: Final = secrets.token_hex(4)


@contextmanager
def room(size: int = 0) -> Iterator[Path]:
    """A folder with mode 0700 for about `size` bytes, removed with all that is in it."""
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-{_TOKEN}-", dir=_place(size)) as folder:
        yield Path(folder)


def _place(size: int) -> Path | None:
    """Memory, unless it is too small: containers often give it 64 MiB."""
    try:
        free = shutil.disk_usage(MEMORY).free
    except OSError:
        return None
    return MEMORY if os.access(MEMORY, os.W_OK) and free >= 2 * size + TO_SPARE else None


def sweep() -> None:
    """Remove the rooms that ended processes of this account left behind."""
    for place in {MEMORY, Path(tempfile.gettempdir())}:
        for left in place.glob(f"{PREFIX}*-*-*"):
            process, token = left.name.removeprefix(PREFIX).split("-")[:2]
            if process.isdigit() and not _lives(int(process), token) and left.lstat().st_uid == os.getuid():
                shutil.rmtree(left, ignore_errors=True)


def _lives(process: int, token: str) -> bool:
    if process == os.getpid():
        return token == _TOKEN
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
