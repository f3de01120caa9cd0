"""What a person looks for in their own events by opening them: words in them, and prices over time. Never for a vendor."""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from sqlalchemy import Connection

from broker.events.queries import LAST_DAY, Wanted, own_rows
from broker.events.stored import Event, Opener
from broker.vault.keys import Keyring

# So many are opened at most, the newest of those that the other filters leave.
MOST: Final = 2000
SHOWN: Final = 50
LONGEST_TEXT: Final = 200
_OF_EVENT: Final = ("site", "title", "query", "url", "merchant", "coupon")
_OF_ITEM: Final = ("product", "brand", "variant", "sku", "gtin", "category")


@dataclass(frozen=True, slots=True)
class Found:
    """The newest events with the words, at most 50; how many of those looked at have them; and whether there were more to look at."""

    events: list[Event]
    number: int
    looked: int
    more: bool


def _opened(tx: Connection, ring: Keyring, wanted: Wanted) -> Iterator[Event]:
    opened = Opener(ring)
    for row in own_rows(tx, ring, wanted, wanted.last or LAST_DAY):
        event = opened(*row)
        event["tag"] = row.event_tag.hex()
        yield event


def _text(event: Event) -> str:
    parts = [event.get(name) for name in _OF_EVENT]
    for item in event.get("items", []):
        parts += [item.get(name) for name in _OF_ITEM]
    return "\n".join(each for each in parts if isinstance(each, str)).casefold()


def find(tx: Connection, ring: Keyring, wanted: Wanted, text: str) -> Found:
    """Events that hold each of the words, in any letters and anywhere in a word."""
    words = text.casefold().split()
    rows = _opened(tx, ring, wanted)
    looked, found = 0, []
    for event in islice(rows, MOST):
        looked += 1
        words_of = _text(event)
        if all(word in words_of for word in words):
            found.append(event)
    found.sort(key=lambda event: (event["time"], event["tag"]), reverse=True)
    return Found(found[:SHOWN], len(found), looked, next(rows, None) is not None)


@dataclass(frozen=True, slots=True)
class Priced:
    """A product and what it cost each time, the oldest first: (moment, minor units). One site, one currency."""

    name: str
    site: str
    currency: str
    seen: tuple[tuple[dt.datetime, int], ...]

    @property
    def lowest(self) -> int:
        """The lowest price, in minor units."""
        return min(minor for _, minor in self.seen)

    @property
    def change(self) -> int:
        """By how much the last price is above the first, in minor units."""
        return self.seen[-1][1] - self.seen[0][1]


def prices(tx: Connection, ring: Keyring, wanted: Wanted) -> list[Priced]:
    """Products with a price more than once among the newest 2,000 events that match, those seen last first."""
    seen: dict[tuple[str, str, str], list[tuple[dt.datetime, int]]] = {}
    names: dict[tuple[str, str, str], str] = {}
    for event in islice(_opened(tx, ring, wanted), MOST):
        at = dt.datetime.fromisoformat(event["time"])
        for item in event.get("items", []):
            name = _identity(item)
            if name and "price" in item:
                key = (name, event["site"], item["price"]["currency"])
                seen.setdefault(key, []).append((at, item["price"]["amount_minor"]))
                # Of several names for one thing the newest.
                names.setdefault(key, item.get("product") or name)
    found = [Priced(names[key], key[1], key[2], tuple(sorted(each))) for key, each in seen.items() if len(each) > 1]
    return sorted(found, key=lambda each: each.seen[-1][0], reverse=True)


def _identity(item: Mapping[str, object]) -> str:
    return next((str(item[name]) for name in ("gtin", "sku", "product") if item.get(name)), "")
