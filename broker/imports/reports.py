"""What an import says about itself: why a file cannot be read, what was seen and skipped, and ids that stay the same next time."""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

from broker.events import shape

if TYPE_CHECKING:
    from datetime import datetime


class Unreadable(Exception):
    """A file that cannot be imported; the message is for the person and says what is wrong and what to do."""


@dataclass
class Report:
    """Counts of one run, none of its content: rows `seen`, events `made` by kind, rows `skipped` by reason, and `noted` oddities of kept rows."""

    seen: int = 0
    made: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)
    dropped_columns: tuple[str, ...] = ()
    """Columns that were left out on purpose: addresses, gift and payment details."""
    ignored_columns: tuple[str, ...] = ()
    """Columns nobody knows."""


class Ids:
    """Makes the same id for the same row in every run; identical rows are told apart by counting them.

    The person's `key` (at most 64 bytes) keeps a thief of the database from confirming a guessed address by its hash.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._met: Counter[bytes] = Counter()

    def digest(self, *parts: str) -> bytes:
        """16 bytes for these parts, others for each further time they come."""
        # Lengths keep ("ab", "c") and ("a", "bc") apart.
        text = "".join(f"{len(part)}:{part}" for part in parts).encode("utf-8", "surrogatepass")
        first = blake2b(text, digest_size=16, key=self._key).digest()
        occurrence = self._met[first]
        self._met[first] += 1
        return blake2b(text + b"#%d" % occurrence, digest_size=16, key=self._key).digest()

    def event_id(self, at: datetime, *parts: str) -> str:
        """The UUIDv7 of an event."""
        return shape.uuid7(at, self.digest(*parts))


def visit_id(digest: bytes) -> str:
    """16 bytes as the `visit` of events."""
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
