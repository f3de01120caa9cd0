"""Grants with a token that lives a day, given without the consent page: for tests that need many, or that run for long."""

import datetime as dt
import os
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert

from broker.grants import actions as grants
from broker.oauth.models import tokens
from broker.opening import Broker
from broker.people import actions as people
from broker.vault import credentials
from broker.vendors.actions import add_client
from policies.clauses import Clause

DOMAIN = "books.example"
READ: dict[str, Any] = {
    "id": "c1", "action": "read", "base": "PDC-INTENT", "purposes": ["dpv:ProvideProductRecommendations"], "kinds": ["purchase"], "form": "rows",
    "fields": {"time": "day", "category": "leaf", "price": "bucket:10", "quantity": "exact", "product": "exact"},
    "window": {"max_age": "P90D", "min_age": "P1D"}, "rate": {"reads": "10000/P1D", "rows": "1000000/P1D"},
}  # fmt: skip
WRITE: dict[str, Any] = {"id": "w1", "action": "write", "kinds": ["page_visit", "search", "product_view", "cart", "checkout", "purchase", "return", "subscription"]}


@dataclass(frozen=True)
class Granted:
    """A live grant and the access token that goes with it."""

    grant_id: bytes
    grant: str
    token: str


def a_client(broker: Broker) -> str:
    """A registered vendor's client."""
    return add_client(broker, {"client_name": "Books", "domain": DOMAIN, "redirect_uris": [f"https://{DOMAIN}/callback"], "jwks": {"keys": []}})


def granted(broker: Broker, person_id: bytes, client_id: str, document: dict[str, Any], number: int = 1) -> list[Granted]:
    """Give `number` grants of one clause, in one transaction."""
    ring, now = broker.keyring(person_id), broker.now()
    reads = document["action"] == "read"
    vendor = f"https://{DOMAIN}" if reads else ""
    details = {"client": {"domain": DOMAIN if reads else "", "vendor": vendor}}
    clauses = [Clause.parse(document).starting(now)]
    given = [
        grants.give(ring, client_id=client_id, vendor_id=vendor, clauses=clauses, expires_at=now + dt.timedelta(days=90), details=details, now=now)
        for _ in range(number)
    ]
    access = [credentials.mint(broker.vault.route_key, "at", person_id) for _ in given]
    # Without a refresh token the sweep would end the grant: nothing could use it for long.
    refresh = [credentials.mint(broker.vault.route_key, "rt", person_id) for _ in given]
    rows = [
        {
            "person_id": person_id, "hash": token.hash, "kind": token.kind, "client_id": client_id, "grant_id": each.grant_id, "jkt": "", "clauses": "",
            "expires_at": now + dt.timedelta(days=1), "last_used_at": now,
        }
        for each, token in [*zip(given, access, strict=True), *zip(given, refresh, strict=True)]
    ]  # fmt: skip

    def job(tx: Any) -> None:
        for each in given:
            each.insert(tx)
        tx.execute(insert(tokens), rows)

    broker.write(job)
    return [Granted(each.grant_id, each.entry.grant or "", token.text) for each, token in zip(given, access, strict=True)]


def a_person(broker: Broker, name: str = "alice") -> bytes:
    """A new person whose password nobody knows."""
    return people.add(broker, name, os.urandom(16).hex())
