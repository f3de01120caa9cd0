"""How a value is made coarser: one function per level, each a function of every finer one."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from policies.topics import topics

MINOR_DIGITS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW"), 0),
    **dict.fromkeys(("PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}
"""Digits after the point in ISO 4217; 2 for all others."""

SCALES = {
    **dict.fromkeys(("CNY", "CZK", "DKK", "EGP", "HKD", "MXN", "MAD", "NOK"), 10),
    **dict.fromkeys(("PHP", "SEK", "THB", "TRY", "TWD", "UAH", "ZAR"), 10),
    **dict.fromkeys(("HUF", "INR", "ISK", "JPY", "KES", "RSD", "RUB"), 100),
    **dict.fromkeys(("CLP", "COP", "KRW", "XAF", "XOF"), 1000),
    **dict.fromkeys(("IDR", "VND"), 10000),
}
"""Major units that a bucket of 1 holds, so that buckets are worth about the same; 1 by default."""

BAND_EDGES = (0, 10, 50, 100, 200, 500, 1000, 5000)
DWELLS = ((300_000, "5+ min"), (60_000, "1-5 min"), (30_000, "30-60 s"), (10_000, "10-30 s"))
LEAST_DWELL = "0-10 s"
QUANTITIES = ((8, "8+"), (4, "4-7"), (2, "2-3"), (1, "1"))

Level = Callable[[Any], Any]


@lru_cache(maxsize=256)
def _unit(currency: str) -> int:
    """Return the minor units that a bucket of 1 holds in a currency."""
    return int(10 ** MINOR_DIGITS.get(currency, 2)) * SCALES.get(currency, 1)


def _least(money: dict[str, Any]) -> int:
    """Return the least amount that a value, exact or already coarse, can stand for."""
    least: int = money["amount_minor"] if "amount_minor" in money else money["from_minor"]
    return least


def _bucket(size: int) -> Level:
    def level(money: dict[str, Any]) -> dict[str, Any]:
        currency = money["currency"]
        width = size * _unit(currency)
        least = _least(money)
        start = least - least % width
        return {"currency": currency, "from_minor": start, "to_minor": start + width}

    return level


def _band(money: dict[str, Any]) -> dict[str, Any]:
    currency = money["currency"]
    unit, least = _unit(currency), _least(money)
    at = max(index for index, edge in enumerate(BAND_EDGES) if edge * unit <= least)
    end = BAND_EDGES[at + 1] * unit if at + 1 < len(BAND_EDGES) else None
    return {"currency": currency, "from_minor": BAND_EDGES[at] * unit, "to_minor": end}


def _steps(steps: tuple[tuple[int, str], ...], lowest: str) -> Level:
    def level(value: int | str) -> str:
        if isinstance(value, str):
            return value
        return next((name for least, name in steps if value >= least), lowest)

    return level


def _address(parts: int) -> Level:
    """Keep the first parts of an address: 3 are the origin, 4 the first segment of the path."""

    def level(url: str) -> str:
        return "/".join(_no_query(url).split("/", parts)[:parts])

    return level


def _no_query(url: str) -> str:
    return url.partition("#")[0].partition("?")[0]


def _exact(value: Any) -> Any:
    return value


_COARSE: dict[tuple[str, str], Level] = {
    ("time", "month"): lambda time: f"{time[:7]}-01T00:00:00.000Z",
    ("time", "day"): lambda time: f"{time[:10]}T00:00:00.000Z",
    ("time", "hour"): lambda time: f"{time[:13]}:00:00.000Z",
    ("url", "origin"): _address(3),
    ("url", "path1"): _address(4),
    ("url", "no_query"): _no_query,
    ("money", "band"): _band,
    ("money", "bucket:10"): _bucket(10),
    ("money", "bucket:5"): _bucket(5),
    ("money", "bucket:1"): _bucket(1),
    ("quantity", "bucket"): _steps(QUANTITIES, "1"),
    ("dwell", "bucket"): _steps(DWELLS, LEAST_DWELL),
    ("query", "topic"): lambda query: topics(query)[0],
    ("category", "top"): lambda path: path.partition("/")[0],
    ("coupon", "used"): bool,
    ("ship_to", "country"): lambda region: region[:2],
}

SITE_PARTS = {"class": "class", "domain": "domain", "host": "host"}
"""Level of `site` -> the member of the event that the broker has set for it."""


def coarse(order: str, level: str) -> Level:
    """Return the function that brings a value of an order to a level.

    It takes exact values and those of any finer level. `site`, whose levels are facts about the
    host, and `pairwise` (F7) are not here: they need more than the value.
    """
    return _COARSE.get((order, level), _exact)


def is_exact(order: str, level: str) -> bool:
    """Say whether a level gives the value as it is stored."""
    return (order, level) not in _COARSE
