"""The load that a kill interrupts: uploads, reads and revokes over HTTP from several threads, and what was acknowledged to them."""

import datetime as dt
import hashlib
import json
import random
import threading
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from granted import Granted
from makers import page_visit, purchase
from processes import Server, call

from broker.db import utcnow

BATCH = 20
Event = dict[str, Any]


@dataclass(frozen=True)
class Read:
    """A read of which at least one byte arrived; `count` and `digest` are known if all of it did."""

    request: str
    count: int | None
    digest: str


@dataclass
class Heard:
    """What the clients were told: this is what must still be true afterwards."""

    uploads: list[list[Event]] = field(default_factory=list)
    unsure: list[list[Event]] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    revoked: list[Granted] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.uploads) + len(self.reads) + len(self.revoked)


@dataclass(frozen=True)
class Cast:
    """Who takes part: the extension's token, a vendor's, and the person's browser."""

    device: Granted
    vendor: Granted
    cookies: str
    csrf: str


def batch_of(number: int, chance: random.Random) -> list[Event]:
    """Purchases and page visits of the last two months, in no order."""
    now = utcnow()
    times = [now - dt.timedelta(days=2, seconds=chance.randrange(60 * 86400)) for _ in range(number)]
    return [purchase(at, site="www.shop.example") if chance.random() < 0.5 else page_visit(at) for at in times]


def upload(port: int, cast: Cast, events: list[Event]) -> dict[str, str] | None:
    """Each event's status, None without an answer."""
    document = {
        "schema": "events/1", "batch": str(UUID(int=random.getrandbits(128))), "client": {"version": "1", "browser": "test"}, "notice_version": "1",
        "collection_version": 1, "events": events,
    }  # fmt: skip
    headers = {**cast.device.headers("POST", "/v1/events"), "Content-Type": "application/json"}
    answer = call(port, "POST", "/v1/events", headers, json.dumps(document).encode())
    if answer is None or not answer.whole or answer.status != 200:
        return None
    return {each["id"]: each["status"] for each in json.loads(answer.body)["results"]}


class Load:
    """Five clients at work until the server is gone."""

    def __init__(self, server: Server, cast: Cast, ends: list[Granted], seed: int) -> None:
        self.heard = Heard()
        self._port, self._cast, self._ends, self._seed = server.port, cast, ends, seed
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=client, args=(number,)) for number, client in enumerate((self._send, self._send, self._read, self._read, self._end))]
        for thread in self._threads:
            thread.start()

    def stop(self) -> Heard:
        """What was heard, when the last client has noticed."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        return self.heard

    def _send(self, number: int) -> None:
        chance = random.Random(self._seed * 10 + number)
        while not self._stopping.is_set():
            events = batch_of(BATCH, chance)
            found = upload(self._port, self._cast, events)
            if found is None:
                self.heard.unsure.append(events)
                return
            self.heard.uploads.append(events)
            if set(found.values()) != {"accepted"}:
                self.heard.wrong.append(f"an upload was answered {sorted(set(found.values()))}")

    def _read(self, _number: int) -> None:
        while not self._stopping.is_set():
            answer = call(self._port, "GET", "/v1/events?limit=20", self._cast.vendor.headers("GET", "/v1/events"))
            if answer is None:
                return
            if answer.status == 200:
                count = len(json.loads(answer.body)["items"]) if answer.whole else None
                digest = "sha-256:" + urlsafe_b64encode(hashlib.sha256(answer.body).digest()).rstrip(b"=").decode()
                self.heard.reads.append(Read(answer.headers["request-id"], count, digest))

    def _end(self, _number: int) -> None:
        form = f"csrf_token={self._cast.csrf}".encode()
        headers = {"Cookie": self._cast.cookies, "Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}
        for grant in self._ends:
            answer = call(self._port, "POST", f"/grants/{grant.grant}/revoke", headers, form)
            if self._stopping.is_set() or answer is None:
                return
            if answer.status == 303:
                self.heard.revoked.append(grant)
            else:
                self.heard.wrong.append(f"a revoke was answered {answer.status}")
