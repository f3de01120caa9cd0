"""Reads the times shops write into their exports."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_YEAR_FIRST = r"(?P<year>\d{4})(?P<mark>[-/.])(?P<month>\d{1,2})(?P=mark)(?P<day>\d{1,2})"
_YEAR_LAST = r"(?P<first>\d{1,2})(?P<mark>[-/.])(?P<second>\d{1,2})(?P=mark)(?P<year>\d{4}|\d{2})"
_CLOCK = (
    r"(?:(?:T|,?\s{1,2})(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<s>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"(?:\s?(?P<half>[AaPp])\.?[Mm]\.?)?(?:\s?(?P<zone>Z|UTC|GMT|[+-]\d{2}:?\d{2}))?)?"
)
_FORMS: Final = (re.compile(_YEAR_FIRST + _CLOCK, re.ASCII), re.compile(_YEAR_LAST + _CLOCK, re.ASCII))
_NOON = 12
_CENTURY_TURNS = 70


def zone_named(name: str) -> ZoneInfo:
    """The IANA time zone of that name. Raises ValueError for others."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"There is no time zone named {name!r}.") from error


@lru_cache(maxsize=4096)
def read(text: str, zone: str = "UTC", *, day_first: bool = False) -> datetime | None:
    """A time in UTC from text such as `2010-12-01 08:26:00`, `12/1/2010 8:26 PM` or `01.12.2010`; None if it is not one.

    Without an offset of its own it is local to `zone`. A bare date becomes noon, so that it stays that day in most zones. Days come
    before months where dots part them, or where `day_first` says so.
    """
    found = next((match for form in _FORMS if (match := form.fullmatch(text.strip()))), None)
    if found is None:
        return None
    parts = found.groupdict()
    try:
        local = datetime(*_date(parts, day_first=day_first), *_clock(parts), tzinfo=_zone(parts.get("zone"), zone))
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def has_clock(text: str) -> bool:
    """Whether a text that `read` accepts names a time of day."""
    return ":" in text


def _date(parts: dict[str, str | None], *, day_first: bool) -> tuple[int, int, int]:
    year = int(parts["year"] or 0)
    if len(parts["year"] or "") == 2:  # noqa: PLR2004 - a year of two digits
        year += 2000 if year < _CENTURY_TURNS else 1900
    if "month" in parts:
        return year, int(parts["month"] or 0), int(parts["day"] or 0)
    first, second = int(parts["first"] or 0), int(parts["second"] or 0)
    return (year, second, first) if day_first or parts["mark"] == "." else (year, first, second)


def _clock(parts: dict[str, str | None]) -> tuple[int, int, int, int]:
    if parts["hour"] is None:
        return _NOON, 0, 0, 0
    hour = int(parts["hour"])
    if half := parts["half"]:
        if not 1 <= hour <= _NOON:
            raise ValueError("not an hour of the twelve-hour clock")
        hour = hour % _NOON + (_NOON if half in "Pp" else 0)
    microseconds = int((parts["fraction"] or "0").ljust(6, "0")[:6])
    return hour, int(parts["minute"] or 0), int(parts["s"] or 0), microseconds


def _zone(offset: str | None, zone: str) -> timezone | ZoneInfo:
    if offset is None:
        return zone_named(zone)
    if offset[0] not in "+-":
        return UTC
    minutes = int(offset[1:3]) * 60 + int(offset[-2:])
    return timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))
