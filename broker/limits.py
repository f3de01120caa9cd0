"""How often something may be done in this process: the rates of `Settings`, counted in memory by the `limits` library."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from broker.config import Settings
from broker.errors import RateLimit

_RATES: Final = ("vendor_read", "par", "token", "upload", "upload_events", "unauthenticated", "sign_in_name", "sign_in_address")


class Limits:
    """One counter per rate and key. These bound cost only; what a grant allows is counted in the ledger's transaction."""

    def __init__(self, settings: Settings) -> None:
        self._items: dict[str, RateLimitItem] = {name: parse(getattr(settings, f"rate_{name}")) for name in _RATES}
        self._window = MovingWindowRateLimiter(MemoryStorage())
        self._in_flight: Counter[str] = Counter()
        self._most_in_flight = settings.rate_client_in_flight
        self._lock = threading.Lock()

    def count(self, rate: str, key: str, cost: int = 1) -> None:
        """Count one act under `rate`; raises `RateLimit` with the seconds to wait."""
        item = self._items[rate]
        if cost and not self._window.hit(item, key, cost=cost):
            raise RateLimit(retry_after=self._wait(item, key))

    def check(self, rate: str, key: str) -> None:
        """Raise `RateLimit` if nothing is left under `rate`, without counting."""
        item = self._items[rate]
        if not self._window.test(item, key):
            raise RateLimit(retry_after=self._wait(item, key))

    def _wait(self, item: RateLimitItem, key: str) -> int:
        resets = self._window.get_window_stats(item, key).reset_time
        # The library counts by the system's clock, so the wait is told by the same.
        return max(1, min(int(resets - time.time()) + 1, item.get_expiry()))

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
