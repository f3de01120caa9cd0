"""The stores that are measured: one person's 10^4 or 10^6 events over eight years, with the same 250 purchases in the last 90 days."""

import datetime as dt
import random
import shutil
import sqlite3
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from granted import READ, WRITE, Granted, a_client, a_person, granted
from makers import settings_in
from sqlalchemy import Connection, insert

from broker import close_app, create_app
from broker.config import Settings
from broker.db import utcnow
from broker.events import actions, models, shape
from broker.ledger import actions as ledger
from broker.opening import Broker
from broker.people import actions as people
from broker.vendors.actions import EXTENSION

Event = dict[str, Any]
DAYS = 8 * 365
RECENT = 250
JOB = 100_000
SHOPS = [f"www.shop{number}.example" for number in range(40)]
SITES = [f"www.site{number}.example" for number in range(300)]
CATEGORIES = ("books/crime", "books/novel", "food/dairy", "electronics/audio", "clothing/knitwear", "home/kitchen")
MIX = ("page_visit",) * 80 + ("search",) * 8 + ("product_view",) * 8 + ("cart",) * 3 + ("purchase",)


@dataclass(frozen=True)
class Store:
    """A built store, and the people in it; `count` is how many events it began with."""

    settings: Settings
    count: int
    person_id: bytes
    client_id: str
    vendor: Granted
    device: Granted
    session: str


def event(kind: str, at: dt.datetime, chance: random.Random) -> Event:
    """One event as `shape.check` would give it, of a usual size."""
    made = {"id": shape.uuid7(at, chance.randbytes(10)), "time": shape.written(at), "kind": kind, "device": "desktop", "detected_by": "datalayer"}
    if kind in {"page_visit", "search"}:
        site = chance.choice(SITES)
        made |= {"site": site, "url": f"https://{site}/{chance.choice(('articles', 'pages', 'news'))}/{chance.randrange(10**6)}"}
        more = {"title": f"A page about the matter number {chance.randrange(10**4)}", "dwell": chance.randrange(200_000)}
        return made | (more if kind == "page_visit" else {"query": f"where to find the matter {chance.randrange(1000)}"})
    site, price = chance.choice(SHOPS), {"amount_minor": chance.randrange(199, 20_000), "currency": "EUR"}
    category = chance.choice(CATEGORIES)
    item = {"category": category, "product": f"A well made thing no {chance.randrange(500)}", "brand": "Anything & Sons", "quantity": 1, "price": price}
    made |= {"site": site, "url": f"https://{site}/p/{chance.randrange(10**5)}", "items": [item]}
    if kind == "purchase":
        return made | {"order_id": f"A-{chance.randrange(10**8)}", "total": price, "payment": "card"}
    return made | ({"action": "add"} if kind == "cart" else {"title": item["product"]})


def events(number: int, now: dt.datetime, chance: random.Random) -> list[Event]:
    """`number` events in order of time."""
    window = 89 * 86_400
    found = [event("purchase", now - dt.timedelta(seconds=86_400 + chance.randrange(window)), chance) for _ in range(RECENT)]
    for _ in range(number - RECENT):
        at = now - dt.timedelta(seconds=chance.randrange(DAYS * 86_400))
        kind = chance.choice(MIX)
        # The window holds its 250 purchases and no other, however many events there are.
        found.append(event("page_visit" if kind == "purchase" and now - at < dt.timedelta(days=92) else kind, at, chance))
    return sorted(found, key=lambda each: each["time"])


def scattered(number: int, now: dt.datetime, chance: random.Random) -> list[Event]:
    """New events whose times lie anywhere in the eight years."""
    return [event(chance.choice(MIX), now - dt.timedelta(days=95, seconds=chance.randrange(DAYS * 86_400)), chance) for _ in range(number)]


def in_order(number: int, now: dt.datetime, chance: random.Random) -> list[Event]:
    """New events of the last hours, oldest first."""
    return [event(chance.choice(MIX), now - dt.timedelta(milliseconds=100 * (number - place)), chance) for place in range(number)]


def _fill(broker: Broker, person_id: bytes, found: list[Event]) -> None:
    """Seal and insert in big transactions: a hundred at a time would write most of the index by tag anew for each hundred."""
    ring, now = broker.keyring(person_id), broker.now()
    for start in range(0, len(found), JOB):
        placed = [actions.place_of(each) for each in found[start : start + JOB]]
        rows = [each.row for each in actions.seal(ring, placed, "bench", now)]
        broker.write(lambda tx, rows=rows: _insert(tx, person_id, rows))
    ledger.record(broker, person_id, ledger.Entry("import", now, about={"count": len(found)}))


def _insert(tx: Connection, person_id: bytes, rows: list[dict[str, Any]]) -> None:
    tx.execute(insert(models.events), rows)
    actions._count(tx, person_id, Counter((row["day"], row["kind"]) for row in rows))
    actions.outdate(tx, person_id, {(row["kind"], f"{row['day']:%Y-%m}") for row in rows})


def _build(where: Path, number: int) -> None:
    app = create_app(settings_in(where))
    broker: Broker = app.extensions["broker"]
    person_id = a_person(broker)
    a_client(broker)
    _fill(broker, person_id, events(number, utcnow(), random.Random(number)))
    close_app(app)
    with sqlite3.connect(where / "data" / "data.db") as closing:
        closing.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    closing.close()
    (where / "about.json").write_bytes(orjson.dumps({"person": person_id.hex(), "count": number, "day": utcnow().date().isoformat()}))


def opened(kept: Path, work: Path, number: int) -> Store:
    """A working copy of the store of this size, built if it is not kept from today, with fresh grants."""
    source, where = kept / str(number), work / str(number)
    about = source / "about.json"
    # A store of another day would have another window.
    if not about.exists() or orjson.loads(about.read_bytes())["day"] != utcnow().date().isoformat():
        shutil.rmtree(source, ignore_errors=True)
        _build(source, number)
    shutil.rmtree(where, ignore_errors=True)
    shutil.copytree(source, where)
    (where / "data").chmod(0o700)
    person_id = bytes.fromhex(orjson.loads(about.read_bytes())["person"])
    settings = settings_in(where)
    app = create_app(settings)
    broker = app.extensions["broker"]
    client_id = a_client(broker)
    vendor, device = granted(broker, person_id, client_id, READ)[0], granted(broker, person_id, EXTENSION, WRITE)[0]
    session = people.sign_in_as(broker, person_id).text
    close_app(app)
    return Store(settings, number, person_id, client_id, vendor, device, session)


def fresh_quota(store: Store) -> None:
    """Give today's reads back: the most a grant can allow is used up in seconds here."""
    with sqlite3.connect(store.settings.data_dir / "data.db", timeout=30) as connection:
        connection.execute("DELETE FROM grant_use")
    connection.close()
