"""The broker's time, which only goes forward: whatever the machine's clock is set to, it is never earlier than the highest time seen (threat 31)."""

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from broker.db import DatabaseFailed, Store
from broker.vault import heads

log = logging.getLogger(__name__)
# How far time goes on before it is written down again: what a kill can make it forget.
KEEP: Final = dt.timedelta(seconds=30)
_RUNNING: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def running() -> dt.timedelta:
    """How long the machine has run, asleep or awake where the system can tell. No setting of the clock moves it."""
    return dt.timedelta(microseconds=time.clock_gettime_ns(_RUNNING) // 1000)


class Clock:
    """Gives the present: what the machine's clock says, or the highest time seen and how long the machine has run since, whichever is later.

    The highest time lies in heads.db, so that it outlives a stop. It is only noted there: that it cannot be, or is damaged, stops nothing.
    """

    def __init__(self, told: Callable[[], dt.datetime], store: Store) -> None:
        self._told = told
        self._store = store
        self._lock, self._keeping = threading.Lock(), threading.Lock()
        seen = heads.reached(store, heads.SEEN)
        # When the machine started, by the highest time seen.
        self._start = (seen or told()) - running()
        self._kept = seen
        self()

    def __call__(self) -> dt.datetime:
        """The present, with its zone."""
        # In this order: what passes between the two must not be taken for time that the clock went ahead.
        start = self._told()
        runs = running()
        start -= runs
        with self._lock:
            self._start = max(self._start, start)
            now = self._start + runs
        if self._kept is None or now - self._kept >= KEEP:
            self.keep()
        return now

    @property
    def behind(self) -> dt.timedelta:
        """How far the machine's clock lies behind the broker's time."""
        return self._start + running() - self._told()

    def keep(self) -> None:
        """Note the highest time durably; what another process has seen counts here from then on."""
        if not self._keeping.acquire(blocking=False):
            return
        runs = running()
        now = self._start + runs
        try:
            seen = heads.reach(self._store, heads.SEEN, now)
            with self._lock:
                self._start = max(self._start, seen - runs)
        except DatabaseFailed:
            # On a full disk, say. An ending must not wait for it.
            log.warning("the highest time seen could not be noted; it is tried again")
        finally:
            self._kept = now
            self._keeping.release()

    def set_back(self) -> None:
        """Begin again from the machine's clock. For whoever has seen to it that nothing comes alive by that."""
        told = self._told()
        heads.set_back(self._store, told)
        with self._lock:
            self._start = told - running()
            self._kept = told
