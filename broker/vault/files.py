"""Files that hold keys: their names are made durable, what is in them is overwritten before it goes, and what is needed for a moment lies in one place."""

import contextlib
import logging
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from broker.vault.turns import hold

log = logging.getLogger(__name__)
# Folders that a kill can leave in the data directory, with copies of keys.db or data.db in them.
COPYING, CHECKING, RESTORING = "copying", "checking-", "restoring"
_PIECE: Final = 1024 * 1024
# Whoever can put a link here must not choose what is overwritten.
_ITSELF: Final = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable; elsewhere than on POSIX a folder cannot be opened."""
    if os.name == "posix":
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def wipe(path: Path) -> None:
    """Overwrite a file and take it away; what a flash disk keeps of it no program reaches. What is no file of its own is only taken away."""
    with held(path) as handle:
        if handle is not None:
            with contextlib.suppress(OSError):
                overwrite(handle, path)
    path.unlink(missing_ok=True)


@contextlib.contextmanager
def held(path: Path) -> Iterator[int | None]:
    """A file opened to be overwritten, also after its name is gone; None where it is a link, or cannot be opened."""
    handle = None
    with contextlib.suppress(OSError):
        handle = None if path.is_symlink() else os.open(path, _ITSELF)
    try:
        yield handle
    finally:
        if handle is not None:
            os.close(handle)


def overwrite(handle: int, path: Path, names: int = 1) -> None:
    """Overwrite an open file that has so many names left; one that has more is somebody else's too, and stays as it is."""
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        return
    if found.st_nlink > names:
        log.warning("%s has another name elsewhere, under which its content stays. Look for it, and destroy it: it may hold keys.", path)
        return
    left = found.st_size
    os.lseek(handle, 0, os.SEEK_SET)
    while left > 0:
        left -= os.write(handle, bytes(min(_PIECE, left)))
    os.fsync(handle)


def wipe_folder(folder: Path) -> None:
    """Take a folder away with all that is in it, overwriting what holds keys."""
    if folder.is_symlink():
        folder.unlink()
        return
    for path in folder.rglob("keys*"):
        if path.is_file() and not path.is_symlink():
            with contextlib.suppress(OSError):
                wipe(path)
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A private folder for what is needed for a moment, wiped at the end; `BlockingIOError` where another process has it.

    After a kill the next one that asks for it, or `wipe_left`, finds it.
    """
    release = _taken(folder)
    try:
        yield folder
    finally:
        wipe_folder(folder)
        release()


def _taken(folder: Path) -> Callable[[], None]:
    while True:
        folder.mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            before = folder.stat().st_ino
            release = hold(folder, alone=True)
            # Whoever had it takes it away at the end, and what is held then is nothing.
            if folder.exists() and folder.stat().st_ino == before:
                _empty(folder)
                return release
            release()


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            wipe_folder(path)
        else:
            wipe(path)


def wipe_left(where: Path) -> None:
    """Wipe what a kill left in a data directory, but not what somebody uses now."""
    for pattern in (COPYING, f"{CHECKING}*", RESTORING):
        for folder in where.glob(pattern):
            # Somebody uses it, or has just taken it away.
            with contextlib.suppress(OSError):
                release = hold(folder, alone=True)
                try:
                    wipe_folder(folder)
                finally:
                    release()
