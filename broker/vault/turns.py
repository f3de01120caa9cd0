"""Turns: one process at a time renews or destroys keys, and one thread of it; and a data directory is served, or put back, but never both."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]


class Turns:
    """A lock on a file for processes, and one in memory for threads; whoever has the turn may take it again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = threading.RLock()
        self._depth = 0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for the turn, and have it. Elsewhere than on POSIX there is one process alone."""
        with self._threads, ExitStack() as stack:
            self._depth += 1
            stack.callback(self._end)
            if self._depth == 1 and fcntl is not None:
                file = stack.enter_context(os.fdopen(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)))
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _end(self) -> None:
        self._depth -= 1


def hold(folder: Path, *, alone: bool) -> Callable[[], None]:
    """Hold a directory together with others, or `alone`, until what is returned is called; `BlockingIOError` where that cannot be now.

    It is the directory itself that is held: whoever moves its files away does not take this with them. Elsewhere than on POSIX nothing is held.
    """
    if fcntl is None:
        return lambda: None
    held = [os.open(folder, os.O_RDONLY)]

    def release() -> None:
        while held:
            os.close(held.pop())

    try:
        fcntl.flock(held[0], (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError:
        release()
        raise
    return release
