"""What any authorization server can be put to: the calls that the tables of cases are made of, each right but for what it is told to do wrong."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx2
from parties import FORM, Party, outcome

SAME = "https://books.example/callback"


@dataclass
class Stage:
    """Two clients of one authorization server, the first with a grant that the cases leave alive; `group` is the server's process group."""

    books: Party
    other: Party
    group: int


Answer = httpx2.Response | str
Do = Callable[[Stage], Answer]
Changes = Callable[[Party], dict[str, Any]] | dict[str, Any]


def of(changes: Changes, party: Party) -> dict[str, Any]:
    return changes(party) if callable(changes) else changes


def push(changes: Changes) -> Do:
    """A pushed request with some parameters changed."""
    return lambda at: at.books.push(**of(changes, at.books))


def raw(where: str, more: str) -> Do:
    """A good call of PAR or of the token endpoint, and `more` at the end of its body."""

    def do(at: Stage) -> Answer:
        party = at.books
        data = party.asked() if where == "par" else {"grant_type": "refresh_token", "refresh_token": party.tokens["refresh_token"]}
        return party.post(getattr(party.place, where), urlencode(party.signed(data)) + more)

    return do


def asserting(changes: Changes) -> Do:
    """A refresh with an assertion that is good but for some claims, or its header or key."""
    return lambda at: at.books.refresh(client_assertion=at.books.assertion(**of(changes, at.books)))


def refreshing(changes: Changes) -> Do:
    """A refresh with some parameters changed."""
    return lambda at: at.books.refresh(**of(changes, at.books))


def proving(changes: Changes) -> Do:
    """A refresh with a proof that is good but for some claims, or members of its header."""

    def do(at: Stage) -> Answer:
        party = at.books
        return party.refresh(headers={"DPoP": party.prover.proof("POST", party.place.token, **of(changes, party))})

    return do


def showing(changes: Changes) -> Do:
    """A call of the API with a proof that is good but for some claims, or members of its header."""

    def do(at: Stage) -> Answer:
        party = at.books
        return party.call(headers={"DPoP": party.prover.proof("GET", party.opened(), party.tokens["access_token"], **of(changes, party))})

    return do


def redeeming(changes: Changes) -> Do:
    """A fresh code, redeemed with some parameters changed."""
    return lambda at: at.books.redeem(at.books.given()["code"], **of(changes, at.books))


def method(name: str, where: str) -> Do:
    """The same endpoint by another method."""
    return lambda at: at.books.send(name, getattr(at.books.place, where), headers={**FORM, "DPoP": at.books.prover.proof(name, getattr(at.books.place, where))})


def now() -> int:
    """Seconds, as claims have them."""
    return int(time.time())


def tried(cases: Mapping[str, tuple[Do, str]], at: Stage) -> dict[str, str]:
    """The outcome of every case, by its name."""
    found = {}
    for name, (do, _) in cases.items():
        answer = do(at)
        found[name] = answer if isinstance(answer, str) else outcome(answer)
    return found
