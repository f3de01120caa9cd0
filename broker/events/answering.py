"""What a Permitted slice answers about a person's purchases; for vendors, and for the person before the yes."""

import datetime as dt
from typing import Any, Final

from sqlalchemy import Connection

from broker.events import queries
from broker.vault.keys import Keyring
from policies.answers import basis, work_out
from policies.slices import Slice

ROWS_AT_ONCE: Final = 1000


def answer(tx: Connection, ring: Keyring, *, within: Slice, today: dt.date) -> dict[str, Any]:
    """The answers of `within` as of a UTC day, from the same rows that a read would give, trimmed to what the answers need."""
    part = basis(within)
    rows: list[dict[str, Any]] = []
    start = None
    while True:
        # The ids never leave; rows only need some order.
        page = queries.read(tx, ring, within=part, alias=str, limit=ROWS_AT_ONCE, start=start)
        rows += page.rows
        start = page.next
        if start is None:
            return work_out(within.answers, rows, today)
