"""The how-to for registering a vendor, word by word: its scripts are run as they stand, with only hosts, ids and addresses replaced."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from flask import Flask
from makers import ORIGIN, Clock
from servers import Server, running
from visitors import give, signed_up
from webhosts import Hosts, hosting, said

from broker import close_app, create_app
from broker.config import Settings
from broker.vendors.actions import by_document

PAGE = Path(__file__).parents[2] / "broker" / "docs" / "how-to" / "register-a-vendor.md"
LOOPBACK = "http://127.0.0.1:9000/callback"


def run(folder: Path, heading: str, **replaced: str) -> str:
    """Run the script below a heading, its constants replaced as the page says; returns what it printed."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```", text[text.index(f"## {heading}") :], re.DOTALL)
    assert found
    script = found[1]
    for name, value in replaced.items():
        script, count = re.subn(rf'^{name} = ".*"$', f"{name} = {value!r}", script, flags=re.MULTILINE)
        assert count == 1, name
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path) as started:
        yield started


def test_by_an_invite(server: Server, tmp_path: Path) -> None:
    """Without a web host, on one's own computer: from nothing to the page that a person sees, and back with a code."""
    run(tmp_path, "Make a key", CALLBACK=LOOPBACK)
    invite = server.command("client", "invite", "shop.example").strip().splitlines()[-1]
    headers = {"Authorization": f"Bearer {invite}", "Content-Type": "application/json"}
    answer = httpx2.post(f"{server.origin}/oauth/register", headers=headers, content=(tmp_path / "registration.json").read_bytes())
    assert answer.status_code == 201, answer.text
    url = run(tmp_path, "Try it", BROKER=server.origin, CLIENT_ID=answer.json()["client_id"], CALLBACK=LOOPBACK)
    alice = signed_up(server)
    assert re.search(r"\bshop\.example\b", alice.get(url))
    assert give(alice, url).startswith(f"{LOOPBACK}?code=")
    alice.client.close()


def test_what_goes_wrong_is_named_on_the_page(server: Server, tmp_path: Path) -> None:
    """An id that nobody registered: the error that the page's table begins with."""
    run(tmp_path, "Make a key")
    with pytest.raises(AssertionError, match="InvalidClient"):
        run(tmp_path, "Try it", BROKER=server.origin, CLIENT_ID="shop-nobody")


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    with hosting(tmp_path) as made:
        yield made


@pytest.fixture
def app(settings: Settings, clock: Clock, hosts: Hosts) -> Iterator[Flask]:
    """A broker whose way out leads to the test's host."""
    made = create_app(settings, clock, hosts.fetcher())
    yield made
    close_app(made)


def test_by_a_document(app: Flask, hosts: Hosts, tmp_path: Path) -> None:
    """The file that the script makes is one that the broker takes, under its own address."""
    run(tmp_path, "Make a key", HOST="books.example", CALLBACK="https://books.example/callback")
    published = (tmp_path / "client.json").read_bytes()
    hosts.paths["/client.json"] = said(published)
    client_id = json.loads(published)["client_id"]
    assert client_id == "https://books.example/client.json"
    with app.test_request_context(base_url=ORIGIN):
        client = by_document(app.extensions["broker"], client_id)
    assert client is not None
    assert (client.domain, client.redirect_uris, client.public) == ("books.example", ("https://books.example/callback",), False)
    assert client.signing_key is not None
