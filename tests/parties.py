"""A vendor's client at any authorization server, over real HTTP: it does everything right, but for what it is told to do wrong."""

import base64
import hashlib
import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx2
from joserfc import jws
from joserfc.jwk import ECKey
from proofs import Prover

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True)
class Place:
    """One authorization server and the resource its tokens open: paths, what a good request there holds, and who says yes."""

    origin: str
    par: str
    authorize: str
    token: str
    revoke: str
    asks: Mapping[str, str]
    resource: str
    consent: Callable[[str], dict[str, str]]
    # The path of what a token opens, from the token answer.
    opens: Callable[[Mapping[str, Any]], str]


@dataclass
class Party:
    """A client of `place`, its key and its proofs; `tokens` are those of its last grant."""

    place: Place
    client_id: str
    redirect_uri: str
    key: ECKey = field(repr=False)
    http: httpx2.Client = field(repr=False)
    prover: Prover = field(init=False, repr=False)
    nonces: list[str] = field(default_factory=list)
    verifier: str = ""
    tokens: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.prover = self.stranger()

    def stranger(self) -> Prover:
        """Somebody with another key, who knows the nonce."""
        return Prover(lambda: self.nonces[-1] if self.nonces else None, origin=self.place.origin)

    def described(self) -> dict[str, Any]:
        """What the server must know of it."""
        return {"client_id": self.client_id, "redirect_uri": self.redirect_uri, "key": self.key.as_dict(private=False)}

    def another(self) -> "Party":
        """The same client with a grant of its own, connected anew."""
        made = copy(self)
        made.connect()
        return made

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Those of a fresh client assertion; `changes` replace or (as None) remove some."""
        now = int(time.time())
        full = {"iss": self.client_id, "sub": self.client_id, "aud": self.place.origin, "exp": now + 50, "iat": now, "jti": secrets.token_hex(16), **changes}
        return {name: value for name, value in full.items() if value is not None}

    def assertion(self, *, key: Any = None, header: dict[str, Any] | None = None, **changes: Any) -> str:
        """A fresh client assertion, signed by `key` as `header` has it; ES256 by its own key unless told otherwise."""
        header = header or {"alg": "ES256", "kid": "k1"}
        return jws.serialize_compact(header, json.dumps(self.claims(**changes)).encode(), key or self.key, algorithms=[header["alg"]])

    def send(self, method: str, path: str, *, headers: Mapping[str, Any] | None = None, **kwargs: Any) -> httpx2.Response:
        """One call; a nonce that comes with the answer is used from then on. A header of None is left out."""
        shown = [(name, value) for name, value in (headers or {}).items() if value is not None]
        answer = self.http.request(method, self.place.origin + path, headers=shown, **kwargs)
        if answer.headers.get("DPoP-Nonce"):
            self.nonces.append(answer.headers["DPoP-Nonce"])
        return answer

    def signed(self, data: Mapping[str, Any]) -> dict[str, str]:
        """The members of a form with the client's assertion, but for those that are None."""
        full = {"client_id": self.client_id, "client_assertion_type": ASSERTION_TYPE, "client_assertion": self.assertion(), **data}
        return {name: value for name, value in full.items() if value is not None}

    def post(self, path: str, data: Mapping[str, Any] | str, headers: Mapping[str, Any] | None = None) -> httpx2.Response:
        """A form (or, as text, any body), with a proof except at revocation."""
        proof = {} if path == self.place.revoke else {"DPoP": self.prover.proof("POST", path)}
        body = data if isinstance(data, str) else urlencode(self.signed(data))
        return self.send("POST", path, content=body.encode(), headers={**FORM, **proof, **(headers or {})})

    def asked(self, **changes: Any) -> dict[str, Any]:
        """The parameters of a good request, with a verifier of its own."""
        self.verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        data = {
            "response_type": "code", "redirect_uri": self.redirect_uri, "code_challenge": challenge, "code_challenge_method": "S256", "state": "s-1",
        }  # fmt: skip
        return {**data, **self.place.asks, **changes}

    def push(self, *, headers: Mapping[str, Any] | None = None, **changes: Any) -> httpx2.Response:
        """Push a request (RFC 9126)."""
        return self.post(self.place.par, self.asked(**changes), headers)

    def given(self, **changes: Any) -> dict[str, str]:
        """Push, and let the person say yes; the parameters of the redirect."""
        pushed = self.push(**changes)
        assert pushed.status_code == 201, pushed.text
        query = urlencode({"client_id": self.client_id, "request_uri": pushed.json()["request_uri"]})
        return self.place.consent(f"{self.place.origin}{self.place.authorize}?{query}")

    def redeem(self, code: str, *, headers: Mapping[str, Any] | None = None, **changes: Any) -> httpx2.Response:
        """Turn a code into tokens."""
        data = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri, "code_verifier": self.verifier, **changes}
        return self.post(self.place.token, data, headers)

    def connect(self, **changes: Any) -> None:
        """The whole way to tokens of a new grant."""
        answer = self.redeem(self.given(**changes)["code"])
        assert answer.status_code == 200, answer.text
        self.tokens = answer.json()

    def refresh(self, *, headers: Mapping[str, Any] | None = None, **changes: Any) -> httpx2.Response:
        """Ask for another access token."""
        data = {"grant_type": "refresh_token", "refresh_token": self.tokens["refresh_token"], **changes}
        return self.post(self.place.token, data, headers)

    def revoke(self, token: str, **changes: Any) -> httpx2.Response:
        """Hand a token back (RFC 7009)."""
        return self.post(self.place.revoke, {"token": token, **changes})

    def opened(self) -> str:
        """The path that its token opens."""
        return self.place.opens(self.tokens)

    def call(self, token: str | None = None, *, headers: Mapping[str, Any] | None = None, **kwargs: Any) -> httpx2.Response:
        """Call what the token opens."""
        shown = self.tokens["access_token"] if token is None else token
        return self.send("GET", self.opened(), headers={**self.prover.headers("GET", self.opened(), shown), **(headers or {})}, **kwargs)


def outcome(answer: httpx2.Response) -> str:
    """Status and OAuth error of an answer, from its body or its challenge; an error that is no OAuth error is none."""
    body = answer.json() if "json" in answer.headers.get("Content-Type", "") and answer.content else {}
    challenged = re.search(r'error="([a-z_]+)"', answer.headers.get("WWW-Authenticate", ""))
    error = body.get("error") if isinstance(body, dict) else None
    return f"{answer.status_code} {error or (challenged[1] if challenged else '')}".strip()


def at_once(number: int, job: Callable[[], httpx2.Response]) -> list[str]:
    """The outcomes of one job done by many threads at the same moment, best first."""
    barrier, found = threading.Barrier(number), []

    def one() -> None:
        barrier.wait()
        found.append(outcome(job()))

    threads = [threading.Thread(target=one) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == number
    return sorted(found)
