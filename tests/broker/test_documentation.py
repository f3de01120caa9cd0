"""The documentation is served from its folder and from nowhere else, and its pages are clean under the policy."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import Flask, g
from flask.testing import FlaskClient

from broker import documentation, headers, layout
from broker.config import Settings
from broker.errors import every_error


@pytest.fixture
def client() -> Iterator[FlaskClient]:
    app = Flask("broker")
    headers.setup(app, Settings())
    layout.setup(app, Settings())
    app.register_blueprint(documentation.documentation)
    with app.test_client() as client:
        yield client


def test_it_works(client: FlaskClient) -> None:
    answer = client.get("/docs")
    assert answer.status_code == 200
    assert "<title>Proffer - Proffer</title>" in answer.text
    assert '<a href="/docs/tutorials">Tutorials</a>' in answer.text


def test_every_page_opens_and_every_link_between_them_leads_somewhere(client: FlaskClient) -> None:
    for name in documentation.documents():
        page = client.get(f"/docs/{name}")
        assert page.status_code == 200, name
        assert page.text.count("<h1") == 1, name
        assert not re.search(r"\sstyle=|<style|\son[a-z]+=", page.text), name
        for href in set(re.findall(r'href="(/[^"#?]*)', page.text)) - {"/"}:
            with client.get(href) as answer:
                assert answer.status_code == 200, (name, href)


@pytest.mark.parametrize("path", ["../headers", "..%2f..%2fpyproject", "%2e%2e/config.py", "/etc/passwd", "index.md/../../x", "nothing", "%00"])
def test_no_address_leads_out_of_the_folder(client: FlaskClient, path: str) -> None:
    assert client.get(f"/docs/{path}").status_code in {404, 308}
    assert client.get(f"/docs/{path}", follow_redirects=True).status_code == 404


def test_every_problem_has_its_page(client: FlaskClient) -> None:
    assert [error.slug for error in every_error() if client.get(f"/problems/{error.slug}").status_code != 200] == []
    assert client.get("/problems/nothing").status_code == 404


def test_raw_html_and_script_links_stay_text(client: FlaskClient) -> None:
    with client.application.test_request_context():
        made = documentation.render("# A\n<script>x</script>\n\n[x](javascript:alert(1)) ![y](data:text/html,x)\n\n| a |\n| --: |\n| 1 |\n", "x")
    assert "<script" not in made
    assert 'href="javascript' not in made
    assert "style=" not in made
    assert '<td class="num">1' in made


def test_scripts_come_in_order_with_integrity_and_are_not_deferred(client: FlaskClient) -> None:
    # A deferred hx-csp may start after htmx and leave injected attributes alive.
    manifest = json.loads((Path(layout.VENDOR) / "manifest.json").read_text())["files"]
    known = {entry["path"].split("/")[-1]: entry["sha384"] for entry in manifest}
    answer = client.get("/docs")
    nonce = re.search(r"'nonce-([\w-]+)'", answer.headers["Content-Security-Policy"])
    assert nonce is not None
    tags = re.findall(r"<script [^>]*>", answer.text)
    assert [re.search(r"/([\w.-]+)\?v=", tag)[1] for tag in tags] == ["htmx.min.js", "hx-csp.min.js"]  # type: ignore[index]
    for tag, name in zip(tags, ("htmx.min.js", "hx-csp.min.js"), strict=True):
        assert f'integrity="{known[name]}"' in tag
        assert f'nonce="{nonce[1]}"' in tag
        assert "defer" not in tag
        assert "async" not in tag


def test_a_fragment_is_the_block_alone(client: FlaskClient) -> None:
    with client.application.test_request_context(headers={"HX-Request": "true"}):
        part = layout.page("docs.html", title="T", crumbs=[], listed=[], content="words")
    assert "words" in part.get_data(as_text=True)
    assert "<html" not in part.get_data(as_text=True)
    assert part.headers["Vary"] == "HX-Request"


def test_the_menu_shows_what_exists() -> None:
    app = Flask("broker")
    headers.setup(app, Settings())
    layout.setup(app, Settings())
    app.add_url_rule("/grants", "grants.listed", lambda: "")
    app.add_url_rule("/grants/<grant_id>", "grants.one", lambda grant_id: grant_id)
    with app.test_request_context("/grants/7"):
        assert [(title, [(line.label, line.href, line.current) for line in lines]) for title, lines in layout.menu()] == [
            ("Asking", [("Grants", "/grants", "true")])
        ]


def test_times_are_shown_in_the_zone_of_the_person() -> None:
    app = Flask("broker")
    layout.setup(app, Settings())
    with app.test_request_context():
        moment = datetime(2027, 3, 2, 23, 30, tzinfo=UTC)
        assert layout.local_time(moment) == "2 Mar 2027, 23:30"
        g.person = type("Person", (), {"time_zone": "Europe/Berlin", "language": "en_GB"})()
        assert layout.local_time(moment) == "3 Mar 2027, 00:30"
        assert layout.iso_time(moment) == "2027-03-02T23:30:00Z"
        assert layout.money({"amount_minor": 1299, "currency": "EUR"}) == "€12.99"
        assert layout.money({"amount_minor": 1299, "currency": "JPY"}) == "JP¥1,299"
