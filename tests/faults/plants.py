"""Defects to be planted into a forked server: each must make an oracle report what it would otherwise never see."""

import threading
import time
from typing import Any

from flask import current_app, g
from sqlalchemy import bindparam, literal, select

from broker import writer
from broker.db import Prepared, transaction, upsert
from broker.events import api
from broker.grants import actions as grant_actions
from broker.grants import queries as grant_queries
from broker.grants.models import use
from broker.oauth import queries as oauth_queries

LATE = 0.04
STALE = 0.5


def answers_before_commit() -> None:
    """The writer answers its callers when their jobs have run, and commits a little later."""

    def commit(self: writer.Writer, group: list[Any]) -> None:
        self._connection = self._connection or self._engine.connect()
        with transaction(self._connection):
            for waiting in group:
                self._run_one(self._connection, waiting)
                waiting.done.set()
            threading.Event().wait(LATE)

    writer.Writer._commit = commit  # type: ignore[method-assign]


def bytes_before_entry() -> None:
    """A read is answered at once, and entered into the ledger a little later."""
    enter = api._enter

    def later(*args: Any) -> None:
        app, request_id = current_app._get_current_object(), g.request_id  # type: ignore[attr-defined]

        def entered() -> None:
            with app.app_context():
                g.request_id = request_id
                enter(*args)

        timer = threading.Timer(LATE, entered)
        timer.daemon = True
        timer.start()

    api._enter = later


def stale_look_up() -> None:
    """What stands behind a token is remembered for half a second."""
    by_token = oauth_queries.by_token
    known: dict[bytes, tuple[float, Any]] = {}

    def remembered(tx: Any, credential: Any) -> Any:
        at, row = known.get(credential.hash, (0.0, None))
        if time.monotonic() - at > STALE:
            at, row = time.monotonic(), by_token(tx, credential)
            known[credential.hash] = (at, row)
        return row

    oauth_queries.by_token = remembered


def no_second_check() -> None:
    """The grant is not looked at again in the transaction that enters a read."""
    grant_queries.still_live = lambda *_: (select(literal(1)), {})  # type: ignore[assignment]


def counts_after_the_look() -> None:
    """A read is counted without looking at the rate once more: what was left when it was decided is believed."""
    grant_actions._COUNT = Prepared(
        upsert(use).on_conflict_do_update(
            index_elements=list(use.primary_key.columns),
            set_={"reads": use.c.reads + 1, "rows": use.c.rows + bindparam("more")},
            where=(use.c.reads + 1 <= bindparam("most_reads") + 10_000) & (use.c.rows + bindparam("more") <= bindparam("most_rows") + 1_000_000),
        )
    )
