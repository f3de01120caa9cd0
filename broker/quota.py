"""What is left of the limits of a call, for whoever calls: one function writes the fields (draft-ietf-httpapi-ratelimit-headers)."""

import datetime as dt
from typing import Final

from flask import Flask, Response, g

from broker import current
from broker.limits import Left

DAY: Final = 86400
HOST: Final = "host"
GRANT: Final = "grant"


def count(rate: str, key: str) -> None:
    """Count one call under a rate of the host, and tell what is left of it; raises `RateLimit`."""
    limits = current.broker().limits
    try:
        limits.count(rate, key)
    finally:
        _tell(limits.left(rate, key, HOST))


def of_grant(reads: int, used: int, now: dt.datetime) -> None:
    """Tell what is left of the reads that the clause of a call allows in a UTC day, that call counted."""
    _tell(Left(GRANT, reads, DAY, max(reads - used, 0), to_midnight(now)))


def to_midnight(now: dt.datetime) -> int:
    """Seconds until the UTC day is over."""
    return DAY - (now.hour * 3600 + now.minute * 60 + now.second)


def _tell(left: Left) -> None:
    g.quotas = {**g.get("quotas", {}), left.name: left}


def setup(app: Flask) -> None:
    """Write what was told into the fields of each answer."""

    @app.after_request
    def _write(response: Response) -> Response:
        told: list[Left] = [*g.get("quotas", {}).values()]
        if told:
            response.headers.add("RateLimit-Policy", ", ".join(f'"{each.name}";q={each.quota};w={each.window}' for each in told))
            response.headers.add("RateLimit", ", ".join(f'"{each.name}";r={each.left};t={each.reset}' for each in told))
        return response
