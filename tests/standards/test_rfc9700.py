"""Security best current practice (RFC 9700): what a credential is made of, and where none may be found (attack rows 64, 97, 107, 115)."""

import base64
import json
import logging
import re
import shutil
import sqlite3
import threading
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from flask import Flask
from listening import ISSUED, PLANTED, listening
from makers import ORIGIN, Browser, Clock, Extension, Shop, page_visit, purchase, settings_in
from proffer_vendor import Ask, Connection, MemoryStore, SigningKey, Vendor
from servers import Server, running
from visitors import PASSWORD, give, signed_up

from broker import close_app, create_app
from broker.people import actions as people
from broker.vault import credentials
from broker.vendors import actions as vendors

FORM = re.compile(r"pfr_([a-z]{2})_([A-Za-z0-9_-]{64})([0-9a-f]{8})")


def issued(person: Browser, shop: Shop) -> dict[str, str]:
    """One live credential of each kind: what a whole connection hands out, with a code and a request that nobody has used."""
    broker = person.app.extensions["broker"]
    shop.connect(person)
    tokens = shop.tokens
    uri = parse_qs(urlsplit(shop.ask()).query)["request_uri"][0]
    code = person.give(shop.ask())["code"]
    session = person.client.get_cookie("session-8440", domain="localhost")
    assert session
    return {
        "at": tokens["access_token"], "rt": tokens["refresh_token"], "ac": code, "ru": uri.rpartition(":")[2], "ss": session.value,
        "su": people.make_link(broker).text, "it": vendors.invite(broker, "books.example").text,
    }  # fmt: skip


def raw(text: str) -> bytes:
    """The 48 bytes of a credential."""
    form = FORM.fullmatch(text)
    assert form, text[:7]
    return base64.urlsafe_b64decode(form[2])


def test_what_a_credential_is_made_of(alice: Browser, bookshop: Shop) -> None:
    """Rows 64 and 115, RFC 6749 section 10.10: 256 random bits in each; no two of one person have a byte's run in common that another vendor could compare."""
    found = [text for _ in range(3) for text in issued(alice, bookshop).values()]
    assert {text[4:6] for text in found} == credentials.KINDS, "a kind was added: hand it out above"
    # The session is the same each time.
    parts = [raw(text) for text in set(found)]
    assert len(parts) == 3 * len(credentials.KINDS) - 2
    assert len({part[:16] for part in parts}) == len({part[16:] for part in parts}) == len(parts), "routes and secrets differ"
    assert not any(alice.person_id in part for part in parts)
    key = alice.app.extensions["broker"].vault.route_key
    for kind in sorted(credentials.KINDS):
        minted = [raw(credentials.mint(key, kind, alice.person_id).text) for _ in range(64)]
        # Each of the 256 bits is one half of the time or so; a bit that never changes is not random.
        for bit in range(256):
            ones = sum(int.from_bytes(each[16:]) >> bit & 1 for each in minted)
            assert 4 < ones < 60, (kind, bit)


def stolen(settings: Any, where: Path) -> bytes:
    """Every byte of a copy of the stores, with what stands in their logs."""
    shutil.copytree(settings.data_dir, where)
    return b"".join(path.read_bytes() for path in sorted(where.rglob("*")) if path.is_file())


def hashes(where: Path) -> list[bytes]:
    """Everything in the stolen stores that is as long as a secret or a credential."""
    found: list[bytes] = []
    for path in where.rglob("*.db"):
        with closing(sqlite3.connect(path)) as store:
            for (table,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                for row in store.execute(f'SELECT * FROM "{table}"'):
                    found += [value for value in row if isinstance(value, bytes) and len(value) in {16, 32, 48}]
    return sorted(set(found))


def forged(kind: str, body: bytes) -> str:
    """A credential of good form around 48 bytes of somebody's choice."""
    text = f"pfr_{kind}_{base64.urlsafe_b64encode(body).decode()}"
    return f"{text}{zlib.crc32(text.encode()):08x}"


def opens(app: Flask, shop: Shop, credential: str) -> bool:
    """Whether a credential opens anything, shown by somebody who has the vendor's keys as well."""
    kind = credential[4:6]
    client = app.test_client()
    if kind == "at":
        shop.tokens = {"access_token": credential}
        return shop.read().status_code != 401
    if kind == "rt":
        shop.tokens = {"refresh_token": credential}
        return shop.refresh().status_code == 200
    if kind == "ac":
        return shop.redeem(credential).status_code == 200
    if kind == "ru":
        uri = f"urn:ietf:params:oauth:request_uri:{credential}"
        return client.get(f"/oauth/authorize?client_id={shop.client_id}&request_uri={uri}", base_url=ORIGIN).status_code == 303
    if kind == "su":
        return client.get(f"/sign-up/{credential}", base_url=ORIGIN).status_code == 200
    if kind == "it":
        # An invite that is good is asked for what it needs; another is not.
        return client.post("/oauth/register", json={}, base_url=ORIGIN, headers={"Authorization": f"Bearer {credential}"}).status_code == 400
    client.set_cookie("session-8440", credential, domain="localhost")
    return client.get("/grants", base_url=ORIGIN).status_code == 200


def test_a_copy_of_the_database_opens_nothing(app: Flask, alice: Browser, bookshop: Shop, clock: Clock, tmp_path: Path) -> None:
    """Row 97, rule T3: no credential stands in it, and what stands there, shown as a credential, is none; the true ones then work."""
    alice.store(purchase(clock()))
    live = issued(alice, bookshop)
    everything = stolen(app.extensions["broker"].settings, tmp_path / "stolen")
    assert len(everything) > 100_000
    assert b"books.example" in everything, "what is plain can be found, so this search finds"
    for kind, text in live.items():
        for part in (text, FORM.fullmatch(text)[2], text.split("_", 2)[2][22:64]):  # type: ignore[index]
            assert part.encode() not in everything, kind
        assert raw(text) not in everything, kind
        assert raw(text)[16:] not in everything, kind
    assert ISSUED.search(everything.decode("latin-1")) is None
    found = hashes(tmp_path / "stolen")
    thirty_two = [value for value in found if len(value) == 32]
    assert len(thirty_two) >= len(live), "the hashes are there"
    for kind in live:
        # A hash as the secret, under a route of zeros and under the person's own id; or a row's 48 bytes as they are.
        bodies = [route + value for value in thirty_two[:40] for route in (bytes(16), alice.person_id)] + [value for value in found if len(value) == 48][:20]
        assert not any(opens(app, bookshop, forged(kind, body)) for body in bodies), kind
    for kind, text in live.items():
        assert opens(app, bookshop, text), kind


def test_a_stolen_database_in_another_broker(alice: Browser, bookshop: Shop, clock: Clock, tmp_path: Path) -> None:
    """Row 97: without the key file the copy starts sealed, and gives nothing to whoever holds a token of it."""
    alice.store(purchase(clock()))
    bookshop.connect(alice)
    settings = bookshop.app.extensions["broker"].settings
    mine = settings_in(tmp_path / "thief")
    shutil.copytree(settings.data_dir, mine.data_dir)
    mine.data_dir.chmod(0o700)
    stolen = create_app(mine, clock)
    assert stolen.extensions["broker"].vault.sealed
    there = Shop(stolen, bookshop.client_id, bookshop.domain, bookshop.key, stolen.test_client(), bookshop.prover, tokens=bookshop.tokens)
    assert there.read().status_code == 503
    assert Browser(stolen, "alice", alice.person_id, stolen.test_client()).get("/activity").status_code == 303
    close_app(stolen)
    mine.key_file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(settings.key_file, mine.key_file)
    mine.key_file.chmod(0o600)
    # With the key file, which never lies in the data directory, it is the same broker.
    whole = create_app(mine, clock)
    close_app(whole)


def test_the_listener_hears(alice: Browser) -> None:
    """Row 107 for the whole suite, with `--listen`: what it would fail by, in a message, an argument or a traceback."""
    text = people.make_link(alice.app.extensions["broker"]).text
    log = logging.getLogger(PLANTED)
    with listening() as listener:
        log.debug("made %s", text[:20])
        assert listener.leaks == []
        log.debug("made %s", {"link": text})
        try:
            int(text)
        except ValueError:
            log.exception("no")
    assert len(listener.leaks) >= 2
    assert {name for name, _ in listener.leaks} == {PLANTED}


@pytest.fixture
def loud(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Everything at DEBUG from before the broker is made: libraries look at the level once."""
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "sqlalchemy"):
        yield caplog


def test_a_whole_connection_in_this_process_logs_no_secret(loud: pytest.LogCaptureFixture, alice: Browser, bookshop: Shop, clock: Clock) -> None:
    """Row 107, rule A14: at DEBUG, whatever a library says; refusals, which show credentials too, among it."""
    alice.store(purchase(clock()))
    live = issued(alice, bookshop)
    extension = Extension.connect(alice)
    extension.upload(page_visit(clock()))
    bookshop.tokens = {"access_token": live["at"], "refresh_token": live["rt"]}
    clock.advance(seconds=61)
    assert bookshop.redeem(live["ac"]).status_code == 400
    assert bookshop.form("/oauth/revoke", {"token": live["at"]}).status_code == 200
    assert bookshop.read().status_code == 401
    assert bookshop.client_id in loud.text, "what is stored stands in the log, so this search finds"
    for kind, text in {**live, "extension": extension.tokens["access_token"]}.items():
        assert text not in loud.text, kind
        assert FORM.fullmatch(text)[2] not in loud.text, kind  # type: ignore[index]


class Heard:
    """A real broker at DEBUG, and every line it writes: read all the time, for a full pipe would stop it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.lines: list[str] = []
        self.done = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.server.process.stdout
        for line in self.server.process.stdout:
            self.lines.append(line)
            if " DEBUG markdown_it" in line:
                self.done.set()

    def text(self) -> str:
        """All so far: a page is asked for that its library talks about, and what was written before it is there when that is."""
        httpx2.get(f"{self.server.origin}/docs")
        assert self.done.wait(20), "nothing is heard at DEBUG"
        return "".join(self.lines)


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[Heard]:
    with running(tmp_path, BROKER_LOG_LEVEL="DEBUG", BROKER_RATE_UNAUTHENTICATED="1000/minute") as server:
        yield Heard(server)


def test_a_real_server_at_debug_logs_no_secret(heard: Heard, tmp_path: Path) -> None:
    """Row 107: sign-up, consent, tokens, a read, the end and refusals over HTTP; the sign-up link alone is printed, on purpose."""
    server = heard.server
    page = signed_up(server)
    key = SigningKey.generate()
    metadata = {"client_name": "Books", "domain": "books.example", "redirect_uris": ["http://127.0.0.1:1/callback"], "jwks": key.jwks}
    (tmp_path / "client.json").write_text(json.dumps(metadata))
    client_id = server.command("client", "add", str(tmp_path / "client.json")).strip()
    vendor = Vendor(server.origin, client_id, key, "http://127.0.0.1:1/callback", proof_key=SigningKey.generate())
    store = MemoryStore()
    connection = Connection(vendor, store, "alice")
    pending = vendor.begin([Ask(("purchase",), "dpv:ProvideProductRecommendations", "To suggest your next book", {"time": "day"}, {})])
    back = dict(httpx2.URL(give(page, pending.url)).params)
    connection.complete(pending, back)
    assert list(connection.read()) == []
    kept = store.load("alice")
    assert kept
    secrets = {kept.access_token, kept.refresh_token, *ISSUED.findall(pending.url), back["code"], *ISSUED.findall(str(dict(page.client.cookies)))}
    for shown in tuple(secrets):
        httpx2.get(f"{server.origin}/v1/events", headers={"Authorization": f"DPoP {shown}"})
        httpx2.get(f"{server.origin}/no/such/page", headers={"X": shown})
    assert {text[4:6] for text in secrets} == {"at", "rt", "ac", "ru", "ss"}
    connection.end()
    page.client.close()
    vendor.transport.close()
    text = heard.text()
    assert PASSWORD not in text
    for secret in secrets:
        assert secret not in text, secret[:7]
        assert secret.split("_", 2)[2][22:64] not in text, secret[:7]
