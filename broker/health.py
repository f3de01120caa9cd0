"""Whether the broker is alive and can do its work: `/healthz`, `/readyz`, and what robots may do."""

import time
from typing import Final

from flask import Blueprint, Response
from sqlalchemy import text

from broker import current, errors, openapi
from broker.db import DatabaseFailed
from broker.ledger import checkpoints
from broker.openapi import Answer, Operation, Part

health: Final = Blueprint("health", __name__)
FRESH_SECONDS: Final = 10.0
_PLAIN: Final = "text/plain"


def _says(*words: str) -> dict[str, openapi.Json]:
    return {_PLAIN: {"type": "string", "enum": [f"{word}\n" for word in words]}}


PART: Final = Part(
    {
        "health.alive": Operation("metadata", {200: Answer("The process answers.", _says("ok"))}),
        "health.ready": Operation("metadata", {
            200: Answer("It can do its work.", _says("ready")),
            503: Answer("It cannot write, or a ledger does not continue what was signed.", _says("storage", "ledger")),
        }),
    }
)
_last_write = {"at": 0.0}


@health.get("/healthz")
def alive() -> Response:
    """The process answers."""
    return Response("ok\n", mimetype=_PLAIN)


@health.get("/readyz")
def ready() -> Response:
    """200 only if a durable write within the last ten seconds succeeded and every ledger continues what was signed; else 503 and one word."""
    broker = current.broker()
    if time.monotonic() - _last_write["at"] > FRESH_SECONDS:
        try:
            # A write transaction that writes nothing still needs the writer, the lock and the file.
            broker.write(lambda tx: tx.execute(text("SELECT 1")).scalar())
        except errors.BrokerError:
            return Response("storage\n", 503, mimetype=_PLAIN)
        _last_write["at"] = time.monotonic()
    try:
        with broker.reading() as tx:
            if checkpoints.alarmed(tx):
                return Response("ledger\n", 503, mimetype=_PLAIN)
    except DatabaseFailed:
        return Response("storage\n", 503, mimetype=_PLAIN)
    return Response("ready\n", mimetype=_PLAIN)


@health.get("/robots.txt")
def robots() -> Response:
    """Nothing here is for search engines."""
    return Response("User-agent: *\nDisallow: /\n", mimetype=_PLAIN)
