"""Two authorization servers as real processes, ours and npm oidc-provider, each with a person who says yes, two vendors and one grant."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
from blackbox import Stage
from joserfc.jwk import ECKey
from makers import UNLIMITED, purchases
from oracles import RESOURCE, consulted
from parties import Party, Place
from servers import Server, running
from visitors import give, signed_up

LIMITS = {f"BROKER_{name.upper()}": value for name, value in {**UNLIMITED, "rate_client_in_flight": "1000"}.items()}


def a_key() -> ECKey:
    return ECKey.generate_key("P-256", {"kid": "k1"}, private=True)


def connected(group: int, books: Party, other: Party) -> Stage:
    """Both have heard a nonce, and the first has a grant."""
    for party in (books, other):
        party.push()
        assert party.push().status_code == 201
    books.connect()
    return Stage(books, other, group)


@contextmanager
def our_stage(where: Path, **settings: str) -> Iterator[Stage]:
    """A real broker, a person, two registered vendors."""
    with running(where, **LIMITS, **settings) as server, httpx2.Client(timeout=30) as http, closing((page := signed_up(server)).client):

        def consent(url: str) -> dict[str, str]:
            return {name: values[0] for name, values in parse_qs(urlsplit(give(page, url)).query).items()}

        place = Place(
            server.origin, "/oauth/par", "/oauth/authorize", "/oauth/token", "/oauth/revoke", {"authorization_details": json.dumps([purchases()])},
            f"{server.origin}/v1", consent, lambda tokens: f"/v1/grants/{tokens['grant_id']}",
        )  # fmt: skip
        yield connected(server.process.pid, *(registered(server, place, where, domain, http) for domain in ("books.example", "other.example")))


def registered(server: Server, place: Place, where: Path, domain: str, http: httpx2.Client) -> Party:
    key, callback = a_key(), f"https://{domain}/callback"
    metadata = {"client_name": "Shop", "domain": domain, "redirect_uris": [callback], "jwks": {"keys": [key.as_dict(private=False)]}}
    (where / "client.json").write_text(json.dumps(metadata))
    return Party(place, server.command("client", "add", str(where / "client.json")).strip(), callback, key, http)


@contextmanager
def their_stage(node: str, *, lax: bool = False) -> Iterator[Stage]:
    """The oracle, with two clients of the same names."""
    names, keys = ("books.example", "other.example"), (a_key(), a_key())
    clients = [
        {"client_id": name, "redirect_uri": f"https://{name}/callback", "key": key.as_dict(private=False)} for name, key in zip(names, keys, strict=True)
    ]
    with consulted(node, clients, lax=lax) as oracle, httpx2.Client(timeout=30) as http:
        place = Place(
            oracle.origin, "/request", "/auth", "/token", "/token/revocation", {"scope": "openid offline_access"}, RESOURCE, oracle.consent, lambda _: "/me"
        )
        yield connected(oracle.process.pid, *(Party(place, name, f"https://{name}/callback", key, http) for name, key in zip(names, keys, strict=True)))
