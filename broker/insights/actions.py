"""Adding up months whose events have changed, and keeping what a person says of a shop."""

import logging
import time
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, delete, insert, select

from broker.db import upsert
from broker.errors import Unsealable
from broker.events.actions import KeyRetired, refuse_retired
from broker.events.models import stale, totals
from broker.insights import queries
from broker.insights.models import shop_periods
from broker.insights.queries import Shop
from broker.insights.totals import Tally
from broker.opening import Broker
from broker.vault.keys import Keyring

log = logging.getLogger(__name__)
# So long one sweep adds up; what is left waits for the next.
SECONDS: Final = 5.0


def add_up(broker: Broker) -> int:
    """Work out the totals of months that have changed, the newest first; returns how many were kept. Raises `Sealed`."""
    with broker.reading() as tx:
        due = tx.execute(select(stale).order_by(stale.c.month.desc())).all()
    began, kept = time.monotonic(), 0
    for row in due:
        try:
            kept += _add_up(broker, broker.keyring(bytes(row.person_id)), row.kind, row.month, row.mark)
        except Unsealable:
            log.exception("the totals of a month cannot be worked out")
        except KeyRetired:
            # The month is being shredded; the next sweep seals under the key that follows.
            broker.keyring(bytes(row.person_id)).seal_anew()
        if time.monotonic() - began > SECONDS:
            break
    return kept


def _add_up(broker: Broker, ring: Keyring, kind: str, month: str, mark: bytes) -> bool:
    """Add one month up in chunks, and keep it if nothing of it changed meanwhile; whether it was kept."""
    found, after, damaged = Tally(kind), None, 0
    while True:
        with broker.reading() as tx:
            after, lost = queries.add(tx, ring, found, kind, month, after)
        damaged += lost
        if after is None:
            break
    if damaged:
        log.error("%d events of a month that is added up do not open", damaged)
    rows = _sealed(ring, kind, month, found)
    mine = (stale.c.person_id == ring.person_id) & (stale.c.kind == kind) & (stale.c.month == month) & (stale.c.mark == mark)

    def job(tx: Connection) -> bool:
        if not tx.execute(delete(stale).where(mine)).rowcount:
            return False
        refuse_retired(tx, ring.person_id, (row["body"] for row in rows))
        old = (totals.c.person_id == ring.person_id) & (totals.c.kind == kind) & (totals.c.month == month)
        tx.execute(delete(totals).where(old))
        if rows:
            tx.execute(insert(totals), rows)
        return True

    return broker.write(job, size=sum(len(row["body"]) for row in rows))


def _sealed(ring: Keyring, kind: str, month: str, found: Tally) -> list[dict[str, Any]]:
    bodies = found.bodies()
    if not bodies:
        return []
    key, tag = ring.key_for(kind, month, len(bodies)), ring.tag(kind, "event_totals", "domain")
    tagged = sorted((tag(site), body) for site, body in bodies.items())
    return [
        {
            "person_id": ring.person_id, "kind": kind, "month": month, "domain_tag": each,
            "body": key.seal(queries.place_of(ring.person_id, kind, month, each), body),
        }
        for each, body in tagged
    ]  # fmt: skip


def keep_shop(broker: Broker, person_id: bytes, shop: Shop) -> None:
    """Keep what a person says of a shop; nothing said takes it away."""
    ring = broker.keyring(person_id)
    tag = queries.shop_tag(ring, shop.domain)
    if shop == Shop(shop.domain):
        mine = (shop_periods.c.person_id == person_id) & (shop_periods.c.domain_tag == tag)
        broker.write(lambda tx: tx.execute(delete(shop_periods).where(mine)))
        return
    key = ring.key_for("insights", f"{broker.now():%Y-%m}")
    body = key.seal(queries.shop_place(person_id, tag), msgspec.json.encode(shop))
    keep = upsert(shop_periods).values(person_id=person_id, domain_tag=tag, body=body)
    changed = keep.on_conflict_do_update(index_elements=list(shop_periods.primary_key.columns), set_={"body": keep.excluded.body})
    broker.write(lambda tx: tx.execute(changed))
