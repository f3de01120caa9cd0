"""A small broker of the tests' own, on a real loopback port: it checks what it is sent and answers as authorization.md section 5 says."""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from agreed import CLAUSE, agreed, signed
from flask import Flask, Response, jsonify, request
from joserfc import jwt
from joserfc.jwk import OKPKey, import_key
from proffer_vendor import Ask, SigningKey, Vendor
from werkzeug.serving import make_server

ROWS = [{"id": f"row{n}", "kind": "purchase", "time": "2026-11-20T00:00:00Z", "items": [{"category": "books/crime"}]} for n in range(5)]
NARROWED = [
    {"clause": "c1", "dim": "kinds", "asked": ["cart", "purchase"], "given": ["purchase"], "code": "fewer"},
    {"clause": "c1", "dim": "fields.price", "asked": "exact", "given": "bucket:10", "code": "coarser"},
    {"clause": "c1", "dim": "fields.site", "asked": "domain", "given": "hidden", "code": "coarser"},
    {"clause": "c1", "dim": "window.max_age", "asked": "P365D", "given": "P90D", "code": "shorter"},
    {"clause": "i2", "dim": "action", "asked": "read", "given": None, "code": "fewer"},
]


def problem(status: int, slug: str, **headers: str) -> Response:
    """An RFC 9457 answer."""
    body = {"type": f"/problems/{slug}", "title": slug, "status": status, "detail": f"About {slug}.", "request_id": "req-1"}
    answer = Response(json.dumps(body), status, content_type="application/problem+json")
    answer.headers.update(headers)
    return answer


def oauth_error(status: int, error: str) -> Response:
    """An RFC 6749 section 5.2 answer."""
    answer: Response = jsonify(error=error, error_description=f"About {error}.")
    answer.status_code = status
    return answer


@dataclass
class FakeBroker:
    """What the broker knows and what it saw; tests set `says` to have the next reads refused, one entry for each read."""

    issuer: str = ""
    keys: list[dict[str, Any]] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)
    reads: list[dict[str, str]] = field(default_factory=list)
    says: list[Response] = field(default_factory=list)
    access: set[str] = field(default_factory=set)
    ended: bool = False
    named_issuer: str = ""
    person: OKPKey = field(default_factory=lambda: OKPKey.generate_key("Ed25519", private=True))
    agreement: dict[str, Any] | None = None
    signatures: list[dict[str, str]] = field(default_factory=list)
    narrowed: list[dict[str, Any]] = field(default_factory=lambda: NARROWED)
    issued: int = 0
    nonce: str = "nonce-1"
    proofs: set[str] = field(default_factory=set)
    answered: Any = field(default_factory=lambda: {"answers": {"recency": 3}, "as_of": "2026-12-03"})

    def answer_to(self, url: str) -> dict[str, str]:
        """What the person's browser brings back after a yes: the query of the callback."""
        assert parse_qs(urlsplit(url).query)["request_uri"] == ["urn:x:1"]
        return {"code": "code-1", "state": self.forms[-1]["state"], "iss": self.issuer}

    def unproved(self, error: Callable[[int, str], Response], *, token: str = "") -> Response | None:
        """Checks the proof of the call (RFC 9449 section 4.3) as far as a client can get it wrong; None if it is good."""
        header, _, _ = request.headers["DPoP"].split(".")
        jwk = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["jwk"]
        claims = jwt.decode(request.headers["DPoP"], import_key(jwk), algorithms=["Ed25519"]).claims
        if claims.get("nonce") != self.nonce:
            answer = error(401 if token else 400, "use-nonce" if token else "use_dpop_nonce")
            answer.headers["DPoP-Nonce"] = self.nonce
            return answer
        ath = base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode() if token else None
        good = claims["htm"] == request.method and claims["htu"] == self.issuer + request.path and claims.get("ath") == ath and "d" not in jwk
        fresh = claims["jti"] not in self.proofs and abs(claims["iat"] - time.time()) < 30
        self.proofs.add(claims["jti"])
        return None if good and fresh else error(401 if token else 400, "invalid-proof" if token else "invalid_dpop_proof")

    def form(self) -> Response | None:
        """Checks the client's assertion (authorization.md T14) and, but for a revocation, its proof; None if they are good."""
        form = request.form.to_dict()
        bad = None if request.path == "/oauth/revoke" else self.unproved(oauth_error)
        if bad:
            return bad
        self.forms.append(form)
        claims = jwt.decode(form["client_assertion"], OKPKey.import_key(self.keys[0]), algorithms=["Ed25519"]).claims
        good = claims["iss"] == claims["sub"] == form["client_id"] == "shop" and claims["aud"] == self.issuer and claims["exp"] - claims["iat"] <= 60
        return None if good and claims["jti"] else oauth_error(401, "invalid_client")

    def tokens(self) -> Response:
        """A fresh token answer; the refresh token is always the same."""
        self.issued += 1
        self.access.add(f"at-{self.issued}")
        answer = {"access_token": f"at-{self.issued}", "token_type": "DPoP", "expires_in": 300, "refresh_token": "rt-1"}
        return jsonify({**answer, "scope": "events:read", "grant_id": "g1", "authorization_details": [CLAUSE]})

    def agreement_now(self) -> dict[str, Any]:
        """The agreement with the vendor of these tests, made at its first look."""
        if self.agreement is None:
            vendor = {name: self.keys[0][name] for name in ("crv", "kty", "x")}
            self.agreement = signed(self.person, agreed(self.person, vendor))
        return self.agreement

    def refused(self) -> Response | None:
        """The next refusal set by the test, or that of a bad token."""
        if request.headers.get("Authorization", "").removeprefix("DPoP ") not in self.access or self.ended:
            return problem(401, "invalid-token")
        return self.says.pop(0) if self.says else None


def oauth_routes(app: Flask, broker: FakeBroker) -> None:
    """Metadata, pushed requests, tokens, revocation."""

    @app.get("/.well-known/oauth-authorization-server")
    def metadata() -> Response:
        paths = {"authorization": "authorize", "token": "token", "pushed_authorization_request": "par", "revocation": "revoke"}
        endpoints = {f"{name}_endpoint": f"{broker.issuer}/oauth/{path}" for name, path in paths.items()}
        return jsonify(endpoints | {"issuer": broker.named_issuer or broker.issuer, "a_new_member": 1})

    @app.post("/oauth/par")
    def par() -> tuple[Response, int] | Response:
        return broker.form() or (jsonify(request_uri="urn:x:1", expires_in=90), 201)

    @app.post("/oauth/token")
    def token() -> Response:
        bad = broker.form()
        form = broker.forms[-1]
        if bad is None and form["grant_type"] == "authorization_code":
            asked = next(one for one in reversed(broker.forms) if "code_challenge" in one)
            made = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
            if form["code"] != "code-1" or made != asked["code_challenge"] or form["redirect_uri"] != asked["redirect_uri"]:
                bad = oauth_error(400, "invalid_grant")
        if bad is None and form["grant_type"] == "refresh_token" and (form["refresh_token"] != "rt-1" or broker.ended):
            bad = oauth_error(400, "invalid_grant")
        return bad or broker.tokens()

    @app.post("/oauth/revoke")
    def revoke() -> Response:
        bad = broker.form()
        broker.ended = broker.ended or (bad is None and broker.forms[-1]["token"] == "rt-1")
        return bad or Response(status=200)


def api_routes(app: Flask, broker: FakeBroker) -> None:
    """Events and the grant."""

    @app.before_request
    def proved() -> Response | None:
        token = request.headers.get("Authorization", "").removeprefix("DPoP ")
        return broker.unproved(problem, token=token) if request.path.startswith("/v1") and token in broker.access else None

    @app.get("/v1/events")
    def events() -> Response:
        broker.reads.append(request.args.to_dict())
        bad = broker.refused()
        if bad:
            return bad
        start, limit = int(request.args.get("cursor", "0")), int(request.args["limit"])
        more = start + limit < len(ROWS)
        return jsonify(items=ROWS[start : start + limit], **({"next": str(start + limit)} if more else {}))

    @app.get("/v1/answers")
    def answers() -> Response:
        broker.reads.append(request.args.to_dict())
        return broker.refused() or jsonify(broker.answered)

    @app.get("/v1/grants/g1")
    def grant() -> Response:
        bad = broker.refused()
        agreement = broker.agreement_now()
        return bad or jsonify(id="g1", status="active", authorization_details=[CLAUSE], narrowed=broker.narrowed, agreement=agreement, changes=[])

    @app.put("/v1/grants/g1/signature")
    def signature() -> Response:
        broker.signatures.append(request.get_json())
        broker.agreement_now()["signatures"].append(request.get_json())
        return Response(status=204)


@pytest.fixture
def broker() -> Iterator[FakeBroker]:
    broker, app = FakeBroker(), Flask("fake")
    oauth_routes(app, broker)
    api_routes(app, broker)
    server = make_server("127.0.0.1", 0, app)
    broker.issuer = f"http://127.0.0.1:{server.port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield broker
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def vendor(broker: FakeBroker, tmp_path: Path) -> Iterator[Vendor]:
    vendor = Vendor(broker.issuer, "shop", SigningKey.at(tmp_path / "key.json"), "http://127.0.0.1:5001/callback", proof_key=SigningKey.generate())
    broker.keys = vendor.key.jwks["keys"]
    yield vendor
    vendor.transport.close()


@pytest.fixture
def ask() -> Ask:
    return Ask(
        ("purchase", "cart"),
        "dpv:ProvideProductRecommendations",
        "To suggest your next book",
        {"time": "day", "site": "domain", "category": "leaf", "price": "exact"},
        want={"window": {"max_age": "P1Y"}},
    )
