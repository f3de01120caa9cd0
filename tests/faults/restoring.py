"""A broker whose older files are put back: what it was, what must not be undone, and how it starts again."""

import datetime as dt
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from flask import Flask
from makers import Browser, Clock, Shop, page_visit, purchase

from broker import close_app, create_app, verifying
from broker.config import Settings
from broker.events import actions as event_actions
from broker.events import queries as event_queries
from broker.exports import actions as exports
from broker.grants import actions as grant_actions
from broker.grants import queries as grants
from broker.ledger import checkpoints
from broker.opening import Broker
from broker.vault import heads

KEPT = ("data.db", "keys.db", "heads.db")
FORGOTTEN = "https://www.forgotten.example/secret"


@dataclass
class World:
    """A broker and its files as they were before what must not be undone."""

    settings: Settings
    clock: Clock
    before: Path
    app: Flask
    alice: Browser
    revoked: Shop
    live: Shop
    recovery: str
    ids: dict[str, bytes] = field(default_factory=dict)

    @property
    def broker(self) -> Broker:
        found: Broker = self.app.extensions["broker"]
        return found

    def put_back(self, *files: str) -> None:
        """Put files from before in the place of those of after; `-heads.db` takes heads.db away."""
        for name in files:
            if name.startswith("-"):
                (self.settings.data_dir / name[1:]).unlink()
            elif name == "key":
                shutil.copy(self.before / name, self.settings.key_file)
            else:
                shutil.copy(self.before / name, self.settings.data_dir / name)
                (self.settings.data_dir / f"{name}-wal").unlink(missing_ok=True)
                (self.settings.data_dir / f"{name}-shm").unlink(missing_ok=True)

    def start(self) -> None:
        """Start again; the shops call the new one."""
        self.app = create_app(self.settings, self.clock)
        for shop in (self.revoked, self.live):
            shop.app, shop.client = self.app, self.app.test_client()
        client = self.app.test_client()
        for cookie in self.alice.client._cookies.values():
            client.set_cookie(cookie.key, cookie.value, domain="localhost")
        self.alice = Browser(self.app, "alice", self.ids["alice"], client)

    def status(self, shop: Shop) -> tuple[str, str]:
        with self.broker.reading() as tx:
            grant_id = grants.to_bytes(str(shop.tokens["grant_id"]))
            row = tx.exec_driver_sql("SELECT status, reason FROM grants WHERE person_id = ? AND grant_id = ?", (self.ids["alice"], grant_id)).first()
        return (row[0], row[1]) if row else ("gone", "")

    def has(self, name: str) -> bool:
        """Whether there is a row, or a key, of a person."""
        with self.broker.reading() as tx:
            rows = tx.exec_driver_sql("SELECT 1 FROM people WHERE person_id = ?", (self.ids[name],)).first()
        return rows is not None or self.broker.vault.has_keys(self.ids[name])

    def readable(self) -> list[str]:
        """The addresses of all of alice's visits that can be opened."""
        text = Browser.of(self.app, "alice").get("/activity?tab=page_visit").text
        return [word for word in ("forgotten.example", "kept.example") if word in text]

    def verified(self) -> int:
        return verifying.ledger(self.broker, self.ids["alice"]).code


def made(alice: Browser, bob: Browser, bookshop: Shop, settings: Settings, clock: Clock, tmp_path: Path) -> World:
    """Two grants, visits of two months, three people; a copy; then one grant ends, a visit is forgotten, bob erases everything. The broker is closed."""
    app = alice.app
    broker = app.extensions["broker"]
    live = Shop.register(app, "cinema.example")
    start = clock() - dt.timedelta(days=3)
    alice.store(purchase(start), page_visit(start, url=FORGOTTEN, title="forgotten.example"), page_visit(start + dt.timedelta(minutes=1), url="https://www.kept.example/", title="kept.example"))
    bob.store(purchase(start))
    for shop in (bookshop, live):
        shop.connect(alice)
        assert shop.read().status_code == 200
    world = World(settings, clock, tmp_path / "before", app, alice, bookshop, live, broker.vault.add_recovery_key())
    world.ids = {person.name: person.person_id for person in (alice, bob)}
    checkpoints.sweep(broker)
    world.before.mkdir()
    for name, store in zip(KEPT, (broker.data, broker.keys, broker.heads), strict=True):
        store.copy_to(world.before / name)
    shutil.copy(settings.key_file, world.before / "key")
    after(world)
    close_app(app)
    return world


def after(world: World) -> None:
    broker = world.broker
    grant_actions.revoke(broker, world.ids["alice"], grants.to_bytes(str(world.revoked.tokens["grant_id"])))
    with broker.reading() as tx:
        gone = event_queries.matching(tx, world.alice.ring, event_queries.Wanted(("page_visit",), site="forgotten.example"))
    assert event_actions.forget(broker, world.alice.ring, gone, {"kinds": ["page_visit"]}) == 1
    exports.erase_person(broker, world.ids["bob"])
    exports.shred(broker)
    checkpoints.sweep(broker)
    heads.note_epoch(broker.heads, broker.vault.epoch)
