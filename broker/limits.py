"""How often something may be done in this process: the rates of `Settings`, counted in memory; the library `limits` reads how they are written."""

import math
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from limits import RateLimitItem, parse

from broker.config import Settings
from broker.errors import RateLimit

_RATES: Final = (
    "vendor_read", "par", "token", "fetch", "upload", "upload_events", "unauthenticated", "sign_in_name", "sign_in_address", "recovery", "invite", "unlock",
)  # fmt: skip
MOST_KEYS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a rate: `left` of the `quota` that there is in `window` seconds; in `reset` seconds all of it is there again."""

    name: str
    quota: int
    window: int
    left: int
    reset: int


class Limits:
    """One count per rate and key. These bound cost only; what a grant allows is counted in the ledger's transaction.

    The count is the generic cell rate algorithm: for each key only the moment at which everything it used is free again. A whole rate may
    come at once, and then flows back evenly. (The library's own counters start a thread for almost every call.)
    """

    def __init__(self, settings: Settings) -> None:
        self._items: dict[str, RateLimitItem] = {name: parse(getattr(settings, f"rate_{name}")) for name in _RATES}
        self._free_at: dict[tuple[str, str], float] = {}
        self._in_flight: Counter[str] = Counter()
        self._most_in_flight = settings.rate_client_in_flight
        self._lock = threading.Lock()

    def count(self, rate: str, key: str, cost: int = 1) -> None:
        """Count `cost` acts under `rate`; raises `RateLimit` with the seconds to wait, and then counts nothing."""
        now = time.monotonic()
        with self._lock:
            free_at, wait = self._after(rate, key, cost, now)
            if wait <= 0:
                if len(self._free_at) >= MOST_KEYS:
                    self._free_at = {known: at for known, at in self._free_at.items() if at > now}
                self._free_at[rate, key] = free_at
        if wait > 0:
            raise RateLimit(retry_after=math.ceil(wait))

    def check(self, rate: str, key: str) -> None:
        """Raise `RateLimit` if nothing is left under `rate`, without counting."""
        with self._lock:
            _, wait = self._after(rate, key, 1, time.monotonic())
        if wait > 0:
            raise RateLimit(retry_after=math.ceil(wait))

    def left(self, rate: str, key: str, name: str) -> Left:
        """What is left under `rate`, by the name that clients know it by."""
        item, now = self._items[rate], time.monotonic()
        period = item.get_expiry()
        with self._lock:
            used = max(self._free_at.get((rate, key), now) - now, 0)
        # As in `count`: sums of fractions of a second differ in their last digits.
        return Left(name, item.amount, period, math.floor((period - used) * item.amount / period + 1e-6), math.ceil(used))

    def _after(self, rate: str, key: str, cost: int, now: float) -> tuple[float, float]:
        """(when all would be free again after this, seconds until this much is free)."""
        item = self._items[rate]
        period = item.get_expiry()
        free_at = max(self._free_at.get((rate, key), now), now) + cost * period / item.amount
        # Sums of fractions of a second differ in their last digits.
        return free_at, free_at - now - period - 1e-6

    @contextmanager
    def in_flight(self, key: str) -> Iterator[None]:
        """Hold one of a client's few places while its request is worked on; raises `RateLimit` if all are taken."""
        with self._lock:
            if self._in_flight[key] >= self._most_in_flight:
                raise RateLimit("This client has too many requests under way at once.", retry_after=1)
            self._in_flight[key] += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_flight[key] -= 1
                if not self._in_flight[key]:
                    del self._in_flight[key]
