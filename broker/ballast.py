"""The ballast: room on the disk that is kept for endings. When the disk is full it is let go, so that revoking works until somebody makes room."""

import logging
import os
import shutil
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)
NAME: Final = "ballast.bin"
BYTES: Final = 16 * 2**20
# With less than this left, whoever ends something gets the ballast's room first.
SHORT: Final = 4 * 2**20
# It is made only where it leaves as much again.
ROOM: Final = 2 * BYTES


def keep(folder: Path) -> bool:
    """Make the ballast where it is missing and there is room; whether it is there now."""
    path = folder / NAME
    if path.exists():
        return True
    fresh = path.with_suffix(".new")
    if shutil.disk_usage(folder).free < ROOM:
        return False
    try:
        with os.fdopen(os.open(fresh, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
            # Random, since some file systems keep no room for zeros.
            file.write(os.urandom(BYTES))
            file.flush()
            os.fsync(file.fileno())
        # Whole or not there; where two make it at once, one of them finds that the other was quicker.
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
    return path.exists()


def release(folder: Path) -> bool:
    """Let the ballast go; whether there was one."""
    path = folder / NAME
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    log.critical("the disk is full: the ballast was let go so that endings still work; make room")
    return True


def make_room(folder: Path) -> None:
    """Let the ballast go where the disk is nearly full."""
    if shutil.disk_usage(folder).free < SHORT:
        release(folder)
