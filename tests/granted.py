"""Grants with a token that lives a day, given without the consent page: for tests that need many, or that run for long."""

import datetime as dt
import os
from dataclasses import dataclass
from typing import Any

import proofs
from joserfc.jwk import ECKey, OKPKey
from makers import signature_of
from sqlalchemy import insert

from broker.grants import actions as grants
from broker.grants import agreed
from broker.grants.agreements import TYP, Background, b64
from broker.oauth.models import tokens
from broker.opening import Broker
from broker.people import actions as people
from broker.vault import credentials
from broker.vendors import queries as vendors
from broker.vendors.actions import EXTENSION, add_client
from policies.clauses import Clause
from policies.terms import DEFAULT_TERMS

DOMAIN = "books.example"
# The vendor's key: fixed, so that a process that was killed and started again still has it.
SEED = b64(bytes(range(32)))
PUBLIC = {"crv": "Ed25519", "kty": "OKP", "x": "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg"}
# The key that every token here is given to, fixed for the same reason.
PROOF_KEY = ECKey.import_key(
    {
        "kty": "EC", "crv": "P-256", "d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    }
)  # fmt: skip
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
    nonce_key: bytes

    def headers(self, method: str, path: str) -> dict[str, str]:
        """The token, and a fresh proof for one call."""
        return proofs.of_store(self.nonce_key, PROOF_KEY).headers(method, path, self.token)


def a_client(broker: Broker) -> str:
    """A registered vendor's client."""
    return add_client(broker, {"client_name": "Books", "domain": DOMAIN, "redirect_uris": [f"https://{DOMAIN}/callback"], "jwks": {"keys": [PUBLIC]}})


def granted(broker: Broker, person_id: bytes, client_id: str, document: dict[str, Any], number: int = 1) -> list[Granted]:
    """Give `number` grants of one clause, in one transaction."""
    ring, now = broker.keyring(person_id), broker.now()
    with broker.reading() as tx:
        client = vendors.client(tx, client_id)
    assert client
    details = {"client": {"domain": client.domain, "vendor": client.vendor_id}, "request": request_for(document), "shown": {"ticked": ["i1~any"]}}
    background = Background(details["request"], now, DEFAULT_TERMS.to_json(), details["shown"])
    clauses = [Clause.parse(document).starting(now)]
    given = [grants.give(broker, ring, client, clauses, background=background, details=details, now=now) for _ in range(number)]
    access = [credentials.mint(broker.vault.route_key, "at", person_id) for _ in given]
    # Without a refresh token the sweep would end the grant: nothing could use it for long.
    refresh = [credentials.mint(broker.vault.route_key, "rt", person_id) for _ in given]
    rows = [
        {
            "person_id": person_id, "hash": token.hash, "kind": token.kind, "client_id": client_id, "grant_id": each.grant_id,
            "jkt": PROOF_KEY.thumbprint(), "clauses": "", "expires_at": now + dt.timedelta(days=1), "last_used_at": now,
        }
        for each, token in [*zip(given, access, strict=True), *zip(given, refresh, strict=True)]
    ]  # fmt: skip

    def job(tx: Any) -> None:
        for each in given:
            each.insert(tx)
        tx.execute(insert(tokens), rows)

    broker.write(job)
    if client_id != EXTENSION:
        for each in given:
            countersign(broker, person_id, each.grant_id)
    return [Granted(each.grant_id, each.entry.grant or "", token.text, broker.vault.nonce_key) for each, token in zip(given, access, strict=True)]


def request_for(document: dict[str, Any]) -> dict[str, Any]:
    """What a vendor would have pushed to get this clause."""
    outer = ("id", "action", "kinds", "purposes", "base")
    item = {"id": "i1", "why": "To test", **{name: document[name] for name in outer[1:4] if name in document}}
    return {"vendor": f"https://{DOMAIN}", "items": [{**item, "want": {name: value for name, value in document.items() if name not in outer}}]}


def countersign(broker: Broker, person_id: bytes, grant_id: bytes) -> None:
    """What the vendor's SDK does before its first read."""
    with broker.reading() as tx:
        signed = agreed.agreement(tx, broker.keyring(person_id), grant_id)
    assert signed
    key = OKPKey.import_key({**PUBLIC, "d": SEED})
    grants.countersign(broker, person_id, grant_id, signature_of(key, b64(signed.payload), {"alg": "Ed25519", "kid": key.thumbprint(), "typ": TYP}))


def a_person(broker: Broker, name: str = "alice") -> bytes:
    """A new person whose password nobody knows."""
    return people.add(broker, name, os.urandom(16).hex())
