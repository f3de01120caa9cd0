"""What is done in a process that may end at any moment, each act told before it begins and again once it is acknowledged; and the oracle of it."""

import datetime as dt
import hashlib
import random
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flask import Flask
from granted import READ, WRITE, Granted, a_client, a_person, granted
from loads import Event, Heard, Read
from makers import ORIGIN, Browser, Shop, page_visit, purchase, settings_in
from sqlalchemy import func, select
from verdicts import entries, losses, size

from broker import close_app, create_app, verifying
from broker.config import Settings
from broker.db import lots, utcnow
from broker.events import actions as events
from broker.events import queries, shape
from broker.events.models import events as events_table
from broker.events.models import retired_keys, shreds
from broker.exports import actions as exports
from broker.grants import queries as grants
from broker.grants.models import grants as grants_table
from broker.ledger import checkpoints
from broker.opening import Broker, opened
from broker.people import queries as people
from broker.vault import heads
from broker.vault.models import person_wraps
from broker.vendors.actions import EXTENSION

ENDS = 6
OTHERS = 2
Line = dict[str, Any]
# How often each is chosen.
WEIGHTS = {"upload": 6, "read": 4, "revoke": 2, "forget": 2, "sign": 2, "shred": 1, "rotate": 1, "erase": 1}


@dataclass
class Home:
    """One broker that is hurt again and again, and all that was ever acknowledged of it."""

    settings: Settings
    person_id: bytes
    client_id: str
    device: Granted
    vendor: Granted
    ends: list[Granted] = field(default_factory=list)
    tried: list[Granted] = field(default_factory=list)
    revoked: list[Granted] = field(default_factory=list)
    there: dict[str, Event] = field(default_factory=dict)
    # Sent, or about to be forgotten, without an answer: either is right.
    unsure: dict[str, Event] = field(default_factory=dict)
    gone: dict[str, Event] = field(default_factory=dict)
    # Other people, and those of them who erased everything.
    others: list[bytes] = field(default_factory=list)
    erased: list[bytes] = field(default_factory=list)
    signed: int = 0
    shredded: bool = False

    @classmethod
    def begin(cls, where: Path) -> "Home":
        """A new broker with a person, their extension and a vendor."""
        settings = settings_in(where)
        close_app(create_app(settings))
        with opened(settings) as broker:
            person_id, client_id = a_person(broker), a_client(broker)
            broker.vault.add_recovery_key()
            device, vendor = granted(broker, person_id, EXTENSION, WRITE)[0], granted(broker, person_id, client_id, READ)[0]
            home = cls(settings, person_id, client_id, device, vendor, others=[a_person(broker, f"person {number}") for number in range(OTHERS)])
            home.supply(broker)
        return home

    def supply(self, broker: Broker) -> None:
        """Grants to be revoked."""
        if len(self.ends) < ENDS // 2:
            self.ends += granted(broker, self.person_id, self.client_id, READ, ENDS - len(self.ends))

    def hear(self, lines: Iterable[Line], heard: Heard) -> None:
        """Take in what one process told; what it was told of reads, and what was wrong, is added to `heard`."""
        for line in lines:
            getattr(self, f"_heard_{line['act']}")(line, heard)

    def _heard_wrong(self, line: Line, heard: Heard) -> None:
        heard.wrong.append(line["what"])

    def _heard_upload(self, line: Line, _heard: Heard) -> None:
        for event in line["events"]:
            if line["done"]:
                self.unsure.pop(event["id"], None)
                self.there[event["id"]] = event
            elif event["id"] not in self.there:
                self.unsure[event["id"]] = event

    def _heard_forget(self, line: Line, _heard: Heard) -> None:
        for event_id in line["ids"]:
            self.shredded = False
            event = self.there.pop(event_id, None) or self.unsure.pop(event_id)
            (self.gone if line["done"] else self.unsure)[event_id] = event

    def _heard_read(self, line: Line, heard: Heard) -> None:
        if line["done"]:
            heard.reads.append(Read(line["request"], line["count"], line["digest"]))

    def _heard_revoke(self, line: Line, _heard: Heard) -> None:
        found = [each for each in self.ends if each.grant == line["grant"]]
        self.ends = [each for each in self.ends if each.grant != line["grant"]]
        self.tried = [*found, *self.tried]
        if line["done"]:
            self.revoked += [each for each in self.tried if each.grant == line["grant"]]

    def _heard_erase(self, line: Line, _heard: Heard) -> None:
        person_id = bytes.fromhex(line["person"])
        self.shredded = False
        if line["done"]:
            self.erased.append(person_id)
        else:
            self.others.remove(person_id)

    def _heard_sign(self, line: Line, _heard: Heard) -> None:
        self.signed = max(self.signed, line.get("size", 0))

    def _heard_shred(self, line: Line, _heard: Heard) -> None:
        self.shredded = line["done"]

    def _heard_rotate(self, _line: Line, _heard: Heard) -> None:
        """That the keys open is seen in everything else."""


class Acts:
    """The acts of one process on an open broker; `say` tells a line."""

    def __init__(self, app: Flask, home: Home, chance: random.Random, say: Callable[[Line], None]) -> None:
        self.broker: Broker = app.extensions["broker"]
        self._app, self._home, self._chance, self._say = app, home, chance, say
        self.shop: Shop | None = None
        self._alice = Browser.of(app, "alice")
        self._client = app.test_client()
        self._csrf = self._alice.csrf("/requests")

    def again(self) -> Iterator[str]:
        """What was acknowledged, or not answered, is done once more; every answer that is not as it should be."""
        unsure, gone = list(self._home.unsure.values())[-9:], list(self._home.gone.values())[-3:]
        for sent, allowed in ((unsure, {"accepted", "duplicate", "forgotten"}), (list(self._home.there.values())[-3:], {"duplicate"}), (gone, {"forgotten"})):
            found = self._upload(sent) if sent else {}
            if not set(found.values()) <= allowed:
                yield f"sent again: {found}, allowed {allowed}"
        for each in self._home.revoked[-2:]:
            answer = self._client.get("/v1/events", headers=each.headers("GET", "/v1/events"), base_url=ORIGIN)
            if answer.status_code != 401:
                yield f"a revoked grant is answered {answer.status_code}"
            self._post(f"/grants/{each.grant}/revoke")

    def one(self, act: str | None = None) -> str:
        """One act by chance, or this one; returns its name."""
        act = act or self._chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        getattr(self, act)()
        return act

    def new(self) -> list[Event]:
        """Some purchases and visits, half of them old enough to need a month's key of their own."""
        found = []
        for _ in range(self._chance.randint(1, 6)):
            at = utcnow() - dt.timedelta(days=2, seconds=self._chance.randrange(86400 * self._chance.choice((60, 700))))
            event = purchase(at, site="www.shop.example") if self._chance.random() < 0.5 else page_visit(at)
            found.append({**event, "id": shape.uuid7(at, self._chance.randbytes(10))})
        return found

    def _upload(self, sent: list[Event]) -> dict[str, str]:
        document = {
            "schema": "events/1", "batch": "0195d0c2-7a10-7c3e-9b41-5d1f0a2b3c4d", "client": {"version": "1", "browser": "test"}, "notice_version": "1",
            "collection_version": 1, "events": sent,
        }  # fmt: skip
        answer = self._client.post("/v1/events", json=document, headers=self._home.device.headers("POST", "/v1/events"), base_url=ORIGIN)
        if answer.status_code != 200:
            raise Refused(answer.status_code, answer.text)
        return {each["id"]: each.get("reason", each["status"]) for each in answer.json["results"]}

    def upload(self) -> None:
        sent = self.new()
        self._say({"act": "upload", "done": False, "events": sent})
        found = self._upload(sent)
        if set(found.values()) != {"accepted"}:
            self._say({"act": "wrong", "what": f"an upload was answered {found}"})
        self._say({"act": "upload", "done": True, "events": sent})

    def read(self) -> None:
        answer = self._client.get("/v1/events?limit=20", headers=self._home.vendor.headers("GET", "/v1/events"), base_url=ORIGIN)
        if answer.status_code != 200:
            raise Refused(answer.status_code, answer.text)
        digest = "sha-256:" + urlsafe_b64encode(hashlib.sha256(answer.data).digest()).rstrip(b"=").decode()
        self._say({"act": "read", "done": True, "request": answer.headers["Request-Id"], "count": len(answer.json["items"]), "digest": digest})

    def _post(self, path: str) -> None:
        answer = self._alice.client.post(path, data={"csrf_token": self._csrf}, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"})
        if answer.status_code != 303:
            raise Refused(answer.status_code, answer.text)

    def revoke(self) -> None:
        if not self._home.ends:
            return
        each = self._home.ends[0]
        self._say({"act": "revoke", "done": False, "grant": each.grant})
        self._post(f"/grants/{each.grant}/revoke")
        self._say({"act": "revoke", "done": True, "grant": each.grant})

    def forget(self) -> None:
        if not self._home.there:
            return
        event_id = self._chance.choice(sorted(self._home.there))
        tag = events.tag_of(self.broker.keyring(self._home.person_id), event_id)
        self._say({"act": "forget", "done": False, "ids": [event_id]})
        self._post(f"/activity/forget/{tag.hex()}")
        self._say({"act": "forget", "done": True, "ids": [event_id]})

    def erase(self) -> None:
        if not self._home.others:
            return
        person_id = self._home.others[0]
        self._say({"act": "erase", "done": False, "person": person_id.hex()})
        exports.erase_person(self.broker, person_id)
        self._say({"act": "erase", "done": True, "person": person_id.hex()})

    def connect(self) -> None:
        """A vendor asks, is given, redeems and signs; whichever of these calls is refused ends it."""
        self.shop = self.shop or Shop.register(self._app, "other.example")
        self.shop.connect(self._alice)

    def ready(self) -> None:
        """What watches the broker asks whether it is."""
        answer = self._client.get("/readyz", base_url=ORIGIN)
        if answer.status_code != 200:
            raise Refused(answer.status_code if answer.text == "storage\n" else 0, answer.text)

    def sign(self) -> None:
        checkpoints.sign(self.broker, self._home.person_id)
        sizes = [each.size for each in heads.checkpoints_of(self.broker.heads, self._home.person_id).values()]
        self._say({"act": "sign", "done": True, "size": max(sizes)})

    def shred(self) -> None:
        exports.shred(self.broker)
        self._say({"act": "shred", "done": True})

    def rotate(self) -> None:
        self.broker.vault.rotate()
        self._say({"act": "rotate", "done": True})


class Refused(Exception):
    """An answer that is not the one hoped for: its status and text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text[:500]}")
        self.status = status
        self.text = text


def judged(home: Home, heard: Heard, start: int) -> list[str]:
    """Everything ever acknowledged that is not there, everything ended or erased that is, and every store that does not hold."""
    try:
        with opened(home.settings) as broker:
            found = judge(broker, home, heard, start)
            home.supply(broker)
            return found
    except Exception as error:
        return [*heard.wrong, f"the broker does not open, or a part of it: {error!r}"]


def judge(broker: Broker, home: Home, heard: Heard, start: int) -> list[str]:
    """The same of a broker that is open."""
    everything = Heard(uploads=[[*home.there.values()]], reads=heard.reads, wrong=heard.wrong)
    found = losses(broker, home.person_id, everything, start)
    held = verifying.ledger(broker, home.person_id)
    if held.code:
        found.append(held.sentence)
    ring = broker.keyring(home.person_id)
    ended = {grant_id for _, grant_id in heads.ended(broker.heads)}
    with broker.reading() as tx:
        back = queries.kept(tx, ring, [events.tag_of(ring, each) for each in home.gone])
        found += [f"event {event['id']} is back" for event in back]
        queries.kept(tx, ring, [events.tag_of(ring, each) for each in home.unsure])
        found += [f"grant {each.grant} lives after its revoke" for each in home.revoked if grants.is_live(tx, home.person_id, each.grant_id)]
        found += [
            f"grant {each.grant} ended by itself" for each in (*home.ends, home.vendor, home.device) if not grants.is_live(tx, home.person_id, each.grant_id)
        ]
        waiting = tx.execute(select(shreds.c.kind, shreds.c.month)).all()
        retired = list(tx.execute(select(retired_keys.c.key_id)).scalars())
    found += [*_halves(broker, home.person_id), *_wrongly_erased(broker, home)]
    found += [f"heads.db does not know that {each.grant} ended" for each in home.revoked if each.grant_id not in ended]
    if home.shredded and waiting:
        found.append("a shredding that was done is to be done again")
    if not waiting:
        found += _still_wrapped(broker, retired)
    sizes = [each.size for each in heads.checkpoints_of(broker.heads, home.person_id).values()]
    if home.signed > max(sizes, default=0):
        found.append(f"the log was signed at {home.signed} entries, and heads.db says {sizes}")
    return found


def _halves(broker: Broker, person_id: bytes) -> Iterator[str]:
    """Where the ledger and what it tells of are not the same."""
    with broker.reading() as tx:
        told = list(entries(tx, broker.keyring(person_id), 0).values())
        rows = tx.execute(select(func.count()).select_from(events_table).where(events_table.c.person_id == person_id)).scalar_one()
        given = {grants.to_text(bytes(row[0])) for row in tx.execute(select(grants_table.c.grant_id).where(grants_table.c.person_id == person_id))}
        ended = {grants.to_text(bytes(row[0])) for row in tx.execute(select(grants_table.c.grant_id).where(grants_table.c.status == "revoked"))}
    taken = sum(entry.get("count", 0) for entry in told if entry["act"] == "upload") - sum(entry["count"] for entry in told if entry["act"] == "forget")
    if taken != rows:
        yield f"by the ledger there are {taken} events, and there are {rows}"
    entered = {entry["grant"] for entry in told if entry["act"] == "revoke"}
    if {entry["grant"] for entry in told if entry["act"] == "give"} != given:
        yield "the grants are not those that the ledger says were given"
    if entered != ended:
        yield f"by the ledger {entered - ended} ended and are alive, and {ended - entered} ended without an entry"


def _wrongly_erased(broker: Broker, home: Home) -> Iterator[str]:
    """Who erased everything and is there, and who did not and is not."""
    noted = heads.erased(broker.heads)
    with broker.reading() as tx:
        there = people.existing(tx, [*home.erased, *home.others])
    for person_id in home.erased:
        if person_id in there or person_id not in noted or (home.shredded and broker.vault.has_keys(person_id)):
            yield f"of {person_id.hex()}, who erased everything, something is there, or heads.db does not know it"
    for person_id in home.others:
        if person_id not in there or person_id in noted or not broker.vault.has_keys(person_id):
            yield f"{person_id.hex()} erased nothing and is not there"


def _still_wrapped(broker: Broker, retired: list[bytes]) -> Iterator[str]:
    with broker.keys.reading() as tx:
        for lot in lots(retired):
            for key_id in tx.execute(select(person_wraps.c.key_id).where(person_wraps.c.key_id.in_(lot))).scalars():
                yield f"the destroyed key {bytes(key_id).hex()} is there"


def ledger_size(home: Home) -> int:
    """How many entries there are now."""
    with opened(home.settings) as broker:
        return size(broker, home.person_id)
