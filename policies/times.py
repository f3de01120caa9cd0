"""Durations, instants, and the UTC periods that window edges are rounded to."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from policies.documents import refuse

_HOURS = {"Y": 365 * 24, "M": 30 * 24, "W": 7 * 24, "D": 24}
DURATION = re.compile(r"P(?:([0-9]{1,5})([YMWD])|T([0-9]{1,6})H)")
INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{3})?Z")
_EARLIEST, _LATEST = 1970, 2200
LONGEST = 100 * _HOURS["Y"]
"""The longest duration that can be written: 100 years, in hours."""


def read_duration(value: object, pointer: str) -> int:
    """Read `PnY`, `PnM`, `PnW`, `PnD` or `PTnH`; return whole hours (Y = 365, M = 30 days)."""
    match = DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        refuse(pointer, "Give a duration with one unit, such as P90D or PT12H.")
    number, unit, hours = match.groups()
    length = int(hours) if hours else int(number) * _HOURS[unit]
    if length > LONGEST:
        refuse(pointer, "Give a duration of at most 100 years.")
    return length


def write_duration(hours: int) -> str:
    """Return the canonical form: days, or hours where days do not divide."""
    return f"PT{hours}H" if hours % 24 else f"P{hours // 24}D"


def read_instant(value: object, pointer: str) -> datetime:
    """Read an RFC 3339 time in UTC with `Z`, in seconds or milliseconds."""
    text = value if isinstance(value, str) and INSTANT.fullmatch(value) else ""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        refuse(pointer, "Give a time in UTC, such as 2027-05-30T09:30:00Z.")
    if not _EARLIEST <= instant.year <= _LATEST:
        refuse(pointer, f"Give a time between the years {_EARLIEST} and {_LATEST}.")
    return instant


def write_instant(at: datetime) -> str:
    """Return RFC 3339, UTC: in seconds, or in milliseconds where there are some."""
    moment = at.astimezone(UTC).replace(tzinfo=None)
    return f"{moment.isoformat(timespec='milliseconds' if at.microsecond else 'seconds')}Z"


@lru_cache(maxsize=1024)
def event_time(at: datetime) -> str:
    """Return the form of an event's `time`, with exactly 3 digits, so that strings compare."""
    return f"{at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def period_start(at: datetime, level: str) -> datetime:
    """Return the start of the UTC period that holds `at`.

    `level` is a level of the time order; `hidden` counts as a month (F3), `exact` is milliseconds.
    """
    at = at.astimezone(UTC)
    if level == "exact":
        return at.replace(microsecond=at.microsecond // 1000 * 1000)
    if level == "hour":
        return at.replace(minute=0, second=0, microsecond=0)
    return at.replace(day=at.day if level == "day" else 1, hour=0, minute=0, second=0, microsecond=0)


def next_period(at: datetime, level: str) -> datetime:
    """Return the first start of a UTC period at or after `at`."""
    start = period_start(at, level)
    if start == at:
        return start
    return period_start(start + _LONGEST_PERIOD[level], level)


# No month is longer than 31 days, so its start plus 32 days lies in the next month.
_MONTH = timedelta(days=32)
_LONGEST_PERIOD = {"exact": timedelta(milliseconds=1), "hour": timedelta(hours=1), "day": timedelta(days=1), "month": _MONTH, "hidden": _MONTH}
