"""An event as it lies in its row: what the row or its other members tell already is left out, the rest is JSON, sealed at its place.

Left out are `kind` and `host`, a `domain` that is the site without `www.`, the class `other`, and the address's origin where that is the
site; the broker's time is kept in whole seconds. Read again it has all of them.
"""

import datetime as dt
from collections.abc import Callable
from functools import lru_cache
from types import GenericAlias
from typing import Any, Final, TypedDict

import msgspec
import orjson

from broker.events.shape import written
from broker.events.sites import OTHER
from broker.vault.envelope import HEADER_BYTES, Place
from broker.vault.keys import Keyring

Event = dict[str, Any]
DAY_CHARACTERS: Final = 10
TAG_BYTES: Final = 16
_BEFORE_DAY, _BEFORE_TAG = DAY_CHARACTERS.to_bytes(4), TAG_BYTES.to_bytes(4)
_DAY_AND_TAG: Final = len(_BEFORE_DAY) + DAY_CHARACTERS + len(_BEFORE_TAG) + TAG_BYTES
# Members that are made, or made whole, of what is stored.
_MADE: Final = frozenset({"host", "domain", "url"})


@lru_cache(maxsize=1024)
def _around(person_id: bytes, kind: str) -> tuple[bytes, bytes]:
    return Place(person_id, "events").around(kind, rest=_DAY_AND_TAG)


def _before_tag(day: dt.date | str) -> bytes:
    """With the tag behind it the same as `parts((day, event_tag))`."""
    return _BEFORE_DAY + str(day).encode() + _BEFORE_TAG


def place(person_id: bytes, kind: str, day: dt.date, event_tag: bytes) -> bytes:
    """Where an event's body is sealed."""
    head, tail = _around(person_id, kind)
    return head + _before_tag(day) + event_tag + tail


def packed(event: Event, origin: str, received: dt.datetime) -> bytes:
    """The stored body of a placed event that came by `origin` at `received`."""
    site = event["site"]
    kept = {name: value for name, value in event.items() if name not in {"kind", "host"}}
    if kept["domain"] == site.removeprefix("www."):
        del kept["domain"]
    if kept["class"] == OTHER:
        del kept["class"]
    if kept.get("url", "").startswith(f"https://{site}/"):
        kept["url"] = kept["url"].removeprefix(f"https://{site}")
    return orjson.dumps(kept | {"origin": origin, "received": int(received.timestamp())})


def _made(event: Event) -> Event:
    """Make what was left out, as far as `site` and `url` were read."""
    site = event["site"]
    event["host"] = site
    event.setdefault("domain", site.removeprefix("www."))
    if event.get("url", "").startswith("/"):
        event["url"] = f"https://{site}{event['url']}"
    event.setdefault("class", OTHER)
    return event


def unpacked(kind: str, plain: bytes) -> Event:
    """The whole event of a stored body."""
    event: Event = orjson.loads(plain)
    event["kind"] = kind
    event["received"] = written(dt.datetime.fromtimestamp(event["received"], dt.UTC))
    return _made(event)


@lru_cache(maxsize=200)
def decoder(kind: str, members: frozenset[str] | None, item_members: frozenset[str]) -> Callable[[bytes], Event]:
    """What reads a stored body no further than is looked at: `id`, `members` and those of items. Everything else is skipped, not made."""
    if members is None:
        return lambda plain: unpacked(kind, plain)
    wanted: dict[str, Any] = dict.fromkeys((members - {"host"}) | {"id"}, Any)
    if members & _MADE:
        wanted["site"] = Any
    if "items" in members:
        wanted["items"] = GenericAlias(list, (_record(dict.fromkeys(item_members, Any)),))
    decode: Callable[[bytes], Event] = msgspec.json.Decoder(_record(wanted)).decode
    if members & _MADE:
        return lambda plain: _made(decode(plain))

    def with_class(plain: bytes) -> Event:
        event = decode(plain)
        if "class" not in event:
            event["class"] = OTHER
        return event

    return with_class


def _record(members: dict[str, Any]) -> Any:
    made: Any = TypedDict
    return made("Record", members, total=False)


class Opener:
    """Opens event rows of one person; what rows of one kind under one key, or of one day, have in common is put together once."""

    def __init__(self, ring: Keyring) -> None:
        self._ring = ring
        self._known: dict[tuple[str, bytes], Callable[[bytes, bytes], bytes]] = {}
        self._day: dt.date | str = ""
        self._before = b""

    def plain(self, kind: str, day: dt.date | str, tag: bytes, body: bytes) -> bytes:
        """The stored body of a row; the day as a date or as its text."""
        if day != self._day:
            self._day, self._before = day, _before_tag(day)
        common = (kind, body[:HEADER_BYTES])
        unseal = self._known.get(common)
        if unseal is None:
            unseal = self._known[common] = self._ring.key_of(body).between(*_around(self._ring.person_id, kind))
        return unseal(self._before + tag, body)

    def __call__(self, kind: str, day: dt.date | str, tag: bytes, body: bytes) -> Event:
        """The whole event in a row."""
        return unpacked(kind, self.plain(kind, day, tag, body))
