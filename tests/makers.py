"""Makers of people, shops and events for tests: sign-in, registration and stored events by the actions, everything else over HTTP."""

import base64
import datetime as dt
import hashlib
import json
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import proofs
from flask import Flask
from flask.testing import FlaskClient
from joserfc import jws
from joserfc.jwk import ECKey
from werkzeug.test import TestResponse

from broker.config import Settings
from broker.events import actions as event_actions
from broker.events import shape
from broker.ledger import actions as ledger
from broker.people import actions as people
from broker.people import queries as people_queries
from broker.vendors.actions import EXTENSION_REDIRECTS, add_client

ORIGIN = "http://localhost:8440"
UNLIMITED = {
    f"rate_{name}": "1000000/second"
    for name in ("vendor_read", "par", "token", "fetch", "upload", "upload_events", "unauthenticated", "sign_in_name", "sign_in_address", "recovery", "invite", "unlock")
}


def settings_in(where: Path, **more: Any) -> Settings:
    """Settings of a broker below `where`; rates are out of the way unless given."""
    return Settings(data_dir=where / "data", key_file=where / "keys" / "key", **{**UNLIMITED, "rate_client_in_flight": 1000, **more})


class Clock:
    """A clock that stands wherever a test puts it, and runs on from there."""

    def __init__(self) -> None:
        self.ahead = dt.timedelta()

    def __call__(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC) + self.ahead

    def advance(self, **by: float) -> None:
        """Move on."""
        self.ahead += dt.timedelta(**by)


@dataclass
class Browser:
    """A person's browser, signed in, without JavaScript."""

    app: Flask
    name: str
    person_id: bytes
    client: FlaskClient = field(repr=False)

    @classmethod
    def of(cls, app: Flask, name: str) -> Self:
        """Sign a person in with a session of their own."""
        broker = app.extensions["broker"]
        with broker.reading() as tx:
            person_id = bytes(people_queries.by_name(broker, tx, name).person_id)
        client = app.test_client()
        client.set_cookie("session-8440", people.sign_in_as(broker, person_id).text, domain="localhost")
        return cls(app, name, person_id, client)

    def sign_in_again(self) -> None:
        """A new session in the same browser, for what needs a fresh one after time has passed."""
        self.client.set_cookie("session-8440", people.sign_in_as(self.app.extensions["broker"], self.person_id).text, domain="localhost")

    @property
    def ring(self) -> Any:
        """The person's keys, for looking behind the pages."""
        return self.app.extensions["broker"].keyring(self.person_id)

    def get(self, path: str, **kwargs: Any) -> TestResponse:
        """Ask for a page."""
        return self.client.get(path, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"}, **kwargs)

    def post(self, path: str, data: dict[str, Any] | None = None, *, page: str = "/requests", **kwargs: Any) -> TestResponse:
        """Send a form with the token that stands on `page`."""
        data = {"csrf_token": self.csrf(page), **(data or {})}
        return self.client.post(path, data=data, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"}, **kwargs)

    def csrf(self, page: str) -> str:
        """The form token on a page."""
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.get(page).text)
        assert found, f"no form on {page}"
        return found[1]

    def open(self, url: str) -> str:
        """Open a vendor's request; returns the path of its consent page."""
        parts = urlsplit(url)
        answer = self.client.get(f"{parts.path}?{parts.query}", base_url=ORIGIN)
        assert answer.status_code == 303, answer.text
        return answer.location

    def form(self, path: str) -> dict[str, Any]:
        """The consent form as it stands: hidden members, chosen levels, nothing ticked."""
        text = self.get(path).text
        assert '<form id="consent"' in text, text[-3000:]
        values: dict[str, Any] = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', text))
        for name, body in re.findall(r'<select [^>]*name="([^"]+)"[^>]*>(.*?)</select>', text, re.DOTALL):
            chosen = re.search(r'<option value="([^"]*)" selected', body) or re.search(r'<option value="([^"]*)"', body)
            values[name] = chosen[1] if chosen else ""
        values["offered"] = re.findall(r'name="give" value="([^"]+)"', text)
        return values

    def give(self, url: str, **narrowed: Any) -> dict[str, str]:
        """Open a request, tick everything, narrow as told, and give; returns the parameters of the redirect."""
        path = self.open(url)
        form = self.form(path)
        offered = form.pop("offered")
        answer = self.client.post(
            "/oauth/authorize/decision",
            data={**form, "give": offered, "answer": "give", **narrowed},
            base_url=ORIGIN,
            headers={"Sec-Fetch-Site": "same-origin"},
        )
        assert answer.status_code == 303, (answer.status_code, answer.text)
        return {name: values[0] for name, values in parse_qs(urlsplit(answer.location).query).items()}

    def store(self, *events: dict[str, Any], origin: str = "test") -> dict[str, str]:
        """Put events into the broker as an import would."""
        broker = self.app.extensions["broker"]
        now = broker.now()
        checked = [shape.check(event, now=now, own=True) for event in events]
        return event_actions.take_in(broker, self.ring, checked, origin=origin, within=None, entry=ledger.Entry("import", now))


# The eight points of small order on Ed25519, and the other ways to write those that have some.
SMALL_ORDER = [
    bytes.fromhex(each)
    for each in (
        "01" + "00" * 31, "01" + "00" * 30 + "80", "00" * 32, "00" * 31 + "80", "ec" + "ff" * 30 + "7f", "ec" + "ff" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "ed" + "ff" * 30 + "7f", "ed" + "ff" * 31, "ee" + "ff" * 30 + "7f", "ee" + "ff" * 31,
    )
]  # fmt: skip


def weak(public: bytes) -> dict[str, str]:
    """A point as an Ed25519 key."""
    return {"crv": "Ed25519", "kty": "OKP", "x": base64.urlsafe_b64encode(public).rstrip(b"=").decode()}


def signature_of(key: Any, payload: str, header: dict[str, Any]) -> dict[str, str]:
    """A signature as a JWS in general form holds it."""
    raw = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    protected, _, signature = jws.serialize_compact(header, raw, key, algorithms=[header["alg"]]).split(".")
    return {"protected": protected, "signature": signature}


@dataclass
class Shop:
    """A vendor's server: authenticates, pushes, redeems, reads."""

    app: Flask
    client_id: str
    domain: str
    key: ECKey = field(repr=False)
    client: FlaskClient = field(repr=False)
    prover: proofs.Prover = field(repr=False)
    verifier: str = ""
    tokens: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def register(cls, app: Flask, domain: str) -> Self:
        """Register a client for `domain` and be it."""
        key = ECKey.generate_key("P-256", {"kid": "k1"}, private=True)
        metadata = {
            "client_name": domain.split(".", maxsplit=1)[0].title(),
            "domain": domain,
            "redirect_uris": [f"https://{domain}/callback"],
            "jwks": {"keys": [key.as_dict(private=False)]},
        }
        broker = app.extensions["broker"]
        return cls(app, add_client(broker, metadata), domain, key, app.test_client(), proofs.of_broker(broker))

    @property
    def redirect_uri(self) -> str:
        """Where codes are sent."""
        return f"https://{self.domain}/callback"

    def assertion(self, **claims: Any) -> str:
        """A fresh client assertion; `claims` replace or (as None) remove members."""
        now = int(self.app.extensions["broker"].now().timestamp())
        full = {"iss": self.client_id, "sub": self.client_id, "aud": ORIGIN, "exp": now + 50, "iat": now, "jti": secrets.token_hex(16), **claims}
        payload = json.dumps({name: value for name, value in full.items() if value is not None}).encode()
        return jws.serialize_compact({"alg": "ES256", "kid": "k1"}, payload, self.key)

    def form(self, path: str, data: dict[str, Any], **kwargs: Any) -> TestResponse:
        """Send a form to an OAuth endpoint, authenticated and proved unless told otherwise (a header of None is left out)."""
        signed = {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion": self.assertion()}
        full = {name: value for name, value in {**signed, **data}.items() if value is not None}
        headers = {**({} if path == "/oauth/revoke" else {"DPoP": self.prover.proof("POST", path)}), **kwargs.pop("headers", {})}
        return self.client.post(path, data=full, base_url=ORIGIN, headers={name: value for name, value in headers.items() if value is not None}, **kwargs)

    def push(self, details: list[dict[str, Any]] | None = None, *, headers: dict[str, Any] | None = None, **more: Any) -> TestResponse:
        """Push a request (RFC 9126)."""
        self.verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        data = {
            "response_type": "code", "redirect_uri": self.redirect_uri, "code_challenge": challenge, "code_challenge_method": "S256", "state": "s-1",
            "authorization_details": json.dumps(details or [purchases()]),
        }  # fmt: skip
        return self.form("/oauth/par", {**data, **more}, headers=headers or {})

    def ask(self, details: list[dict[str, Any]] | None = None, **more: Any) -> str:
        """Push a request and give the address the person's browser is sent to."""
        pushed = self.push(details, **more)
        assert pushed.status_code == 201, pushed.text
        return f"/oauth/authorize?client_id={self.client_id}&request_uri={pushed.json['request_uri']}"

    def redeem(self, code: str, *, headers: dict[str, Any] | None = None, **more: Any) -> TestResponse:
        """Turn a code into tokens."""
        data = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri, "code_verifier": self.verifier}
        answer = self.form("/oauth/token", {**data, **more}, headers=headers or {})
        if answer.status_code == 200:
            self.tokens = answer.json
        return answer

    def refresh(self, *, headers: dict[str, Any] | None = None, **more: Any) -> TestResponse:
        """Another access token."""
        answer = self.form("/oauth/token", {"grant_type": "refresh_token", "refresh_token": self.tokens["refresh_token"], **more}, headers=headers or {})
        if answer.status_code == 200:
            self.tokens = {**self.tokens, **answer.json}
        return answer

    def connect(self, person: Browser, details: list[dict[str, Any]] | None = None, *, sign: bool = True, **narrowed: Any) -> dict[str, Any]:
        """The whole way to a token, and to the right to read; returns the token answer."""
        answer = person.give(self.ask(details), **narrowed)
        redeemed = self.redeem(answer["code"])
        assert redeemed.status_code == 200, redeemed.text
        if sign:
            signed = self.countersign()
            assert signed.status_code == 204, signed.text
        return dict(redeemed.json)

    def call(self, method: str, path: str = "", **kwargs: Any) -> TestResponse:
        """Call a route of the own grant."""
        return self.send(method, f"/v1/grants/{self.tokens['grant_id']}{path}", **kwargs)

    def signature(self, payload: str | None = None, **header: Any) -> dict[str, str]:
        """Our signature over the agreement (or another payload, base64url); `header` replaces or (as None) removes members."""
        payload = payload or self.call("GET").json["agreement"]["payload"]
        full = {"alg": "ES256", "kid": self.key.thumbprint(), "typ": "consent-agreement+jws", **header}
        return signature_of(self.key, payload, {name: value for name, value in sorted(full.items()) if value is not None})

    def countersign(self, signature: dict[str, str] | None = None) -> TestResponse:
        """Send our signature."""
        return self.call("PUT", "/signature", json=signature or self.signature())

    def read(self, query: str = "", token: str | None = None) -> TestResponse:
        """Read events."""
        return self.send("GET", f"/v1/events{query}", token=token)

    def send(self, method: str, path: str, token: str | None = None, **kwargs: Any) -> TestResponse:
        """Call the API with a token, of its own unless told otherwise, and a proof."""
        headers = {**self.prover.headers(method, path, self.tokens["access_token"] if token is None else token), **kwargs.pop("headers", {})}
        return self.client.open(path, method=method, base_url=ORIGIN, headers=headers, **kwargs)

    def answers(self, query: str = "") -> TestResponse:
        """Ask for answers."""
        return self.send("GET", f"/v1/answers{query}")


def purchases(**want: Any) -> dict[str, Any]:
    """What the bookshop asks for: purchases, to recommend products."""
    return {
        "type": "personal_data_access", "actions": ["read"], "datatypes": ["purchase"], "purposes": ["dpv:ProvideProductRecommendations"],
        "why": "To suggest your next book",
        "want": {"form": "rows", "fields": {"time": "exact", "category": "leaf", "price": "exact"}, "window": {"max_age": "P2Y"}, **want},
    }  # fmt: skip


_serial = iter(range(10**9))


def purchase(
    at: dt.datetime, product: str = "A Study in Ink", *, site: str = "www.shop.example", category: str = "books/crime", minor: int = 2450
) -> dict[str, Any]:
    """A purchase of one thing."""
    money = {"amount_minor": minor, "currency": "EUR"}
    return {
        "id": shape.uuid7(at, next(_serial).to_bytes(10, "big")), "kind": "purchase", "time": shape.written(at), "site": site, "order_id": f"A-{minor}",
        "total": money, "items": [{"category": category, "product": product, "quantity": 1, "price": money}],
        "detected_by": "datalayer", "confidence": "medium",
    }  # fmt: skip


def page_visit(at: dt.datetime, url: str = "https://www.shop.example/books", title: str = "Books") -> dict[str, Any]:
    """A page visit."""
    host = urlsplit(url).hostname
    return {"id": shape.uuid7(at, next(_serial).to_bytes(10, "big")), "kind": "page_visit", "time": shape.written(at), "site": host, "url": url, "title": title}


def everything(at: dt.datetime) -> list[dict[str, Any]]:
    """Four events in which every field of the vocabulary stands."""
    shared = {"visit": "A" * 22, "device": "phone", "confidence": "high", "url": "https://www.shop.example/a?b=c", "offset": 60}
    one, other = purchase(at), purchase(at)
    item = {**one["items"][0], "brand": "B", "variant": "V", "gtin": "40170725", "sku": "S", "availability": "other"}
    sums = {name: one["total"] for name in ("tax", "shipping", "discount")}  # noqa: C420 - no two share one
    bought = {**one, **shared, **sums, "coupon": "X", "payment": "card", "ship_to": "IE-CO", "items": [item]}
    seen = {**page_visit(at, shared["url"], "T"), **shared, "referrer": "find.example", "dwell": 1000}
    sought = {**page_visit(at, shared["url"]), **shared, "kind": "search", "query": "crime book", "engine": "find.example"}
    paid = {**other, **shared, "kind": "subscription", "action": "renew", "period": "P1M"}
    del sought["title"], paid["order_id"]
    return [bought, seen, sought, paid]


@dataclass
class Extension:
    """The person's own extension, connected by its public client."""

    app: Flask
    client: FlaskClient = field(repr=False)
    prover: proofs.Prover = field(repr=False)
    tokens: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def connect(cls, person: Browser, **narrowed: Any) -> Self:
        """Push, consent, redeem, as an install does."""
        made = cls(person.app, person.app.test_client(), proofs.of_broker(person.app.extensions["broker"]))
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        redirect_uri = EXTENSION_REDIRECTS[0]
        pushed = made.client.post(
            "/oauth/par",
            data={
                "client_id": "extension", "response_type": "code", "redirect_uri": redirect_uri, "code_challenge": challenge, "code_challenge_method": "S256",
                "scope": "events:write", "state": "x",
            },
            base_url=ORIGIN, headers={"DPoP": made.prover.proof("POST", "/oauth/par")},
        )  # fmt: skip
        assert pushed.status_code == 201, pushed.text
        code = person.give(f"/oauth/authorize?client_id=extension&request_uri={pushed.json['request_uri']}", **narrowed)["code"]
        data = {"grant_type": "authorization_code", "client_id": "extension", "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier}
        answer = made.client.post("/oauth/token", data=data, base_url=ORIGIN, headers={"DPoP": made.prover.proof("POST", "/oauth/token")})
        assert answer.status_code == 200, answer.text
        made.tokens = dict(answer.json)
        return made

    def upload(self, *events: Any, **envelope: Any) -> TestResponse:
        """Send a batch."""
        batch = {
            "schema": "events/1", "batch": "0195d0c2-7a10-7c3e-9b41-5d1f0a2b3c4d", "client": {"version": "1.0.0", "browser": "chromium"},
            "notice_version": "2027-1", "collection_version": 1, "events": list(events), **envelope,
        }  # fmt: skip
        return self.client.post("/v1/events", json=batch, base_url=ORIGIN, headers=self.headers("POST"))

    def headers(self, method: str) -> dict[str, str]:
        """The token and a proof for one call of `/v1/events`."""
        return self.prover.headers(method, "/v1/events", self.tokens["access_token"])
