"""Everything taken out: every planted thing is in it (K106), no cell is a formula (K55), nothing goes before it is entered, and nobody else gets it."""

import datetime as dt
import hashlib
import io
import json
import os
import re
import stat
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from click.testing import CliRunner, Result
from exporting import export, exported, files_in, lines, table
from flask import Flask
from makers import ORIGIN, Browser, Clock, Extension, Shop, everything, page_visit, purchase
from sqlalchemy import select, update
from test_isolation import PERSONAL

from broker import db
from broker.__main__ import main
from broker.config import Settings
from broker.db import metadata
from broker.events.models import events
from broker.exports import actions, packages, sheets
from broker.insights import actions as insights
from broker.insights.queries import Shop as Shop_
from broker.ledger import models as ledger_models
from broker.ledger import queries as ledger
from broker.ledger import verifier
from broker.terms import actions as terms
from policies.terms import DEFAULT_TERMS

KEYS = "keys: without them nothing opens, and they are the broker's"
SECRET = "would let somebody in"
# Where the rows of each table are in an export, or why they are not. A new table has to be decided about here.
WHERE = {
    "agreements": "agreements/",
    "codes": f"not: {SECRET}",
    "consent_changes": "agreements/*.changes.jsonl",
    "event_counts": "not: counts of what is in events/",
    "event_totals": "not: sums of what is in events/",
    "events": "events/",
    "forgotten_events": "not: blind tags of what is forgotten; nothing of it can be read",
    "grant_answers": "not: worked out from the events, and kept for a day",
    "grant_use": "recipients.csv",
    "grants": "grants.jsonl",
    "import_batches": "events/*.csv, as came_by",
    "ledger_entries": "ledger.zip",
    "ledger_heads": "ledger.zip",
    "ledger_rows": "sent.jsonl",
    "notices": "not: each tells of an entry in ledger.zip",
    "old_ledgers": "old-ledgers/",
    "passkeys": f"not: {SECRET}",
    "people": "settings.json; passwords and codes not",
    "person_keys": f"not: {KEYS}",
    "person_wraps": f"not: {KEYS}",
    "recovery_codes": f"not: {SECRET}",
    "requests": "not: what waits for an answer is the vendor's; what was answered is in ledger.zip",
    "retention": "settings.json",
    "retired_keys": f"not: {KEYS}",
    "sessions": f"not: {SECRET}",
    "shop_periods": "settings.json",
    "shreds": "not: what is being destroyed",
    "stale_totals": "not: which sums are to be made",
    "terms_versions": "terms.json",
    "tokens": f"not: {SECRET}",
}


@pytest.fixture
def life(alice: Browser, bookshop: Shop, otherstore: Shop, clock: Clock) -> Browser:
    """Alice with one of everything."""
    broker = alice.app.extensions["broker"]
    start = clock() - dt.timedelta(days=5)
    alice.store(*everything(start), purchase(start, "Needle of an import"))
    document = {**DEFAULT_TERMS.to_json(), "deny": [{"id": "planted-rule", "sites": ["never.example"]}]}
    terms.set_terms(broker, alice.person_id, document)
    insights.keep_shop(broker, alice.person_id, Shop_("shop.example", 30, 24, "Planted note"))
    bookshop.connect(alice)
    assert bookshop.read().status_code == 200
    grant = bookshop.tokens["grant_id"]
    assert alice.post(f"/grants/{grant}/pause", page=f"/grants/{grant}").status_code == 303
    otherstore.connect(alice)
    other = otherstore.tokens["grant_id"]
    assert alice.post(f"/grants/{other}/revoke", page=f"/grants/{other}").status_code == 303
    extension = Extension.connect(alice)
    assert extension.upload(page_visit(start, url="https://www.sent.example/x", title="Needle of the extension")).status_code == 200
    actions.keep_for(broker, alice.person_id, "search", 366)
    return alice


@pytest.mark.accepts("K106")
def test_every_planted_thing_is_in_it(life: Browser, bookshop: Shop, otherstore: Shop) -> None:
    """K106: events, terms, grants, agreements and their changes, recipients, settings, the ledger; the manifest fits."""
    files = exported(life)
    stored = [json.loads(line) for name, raw in files.items() if name.startswith("events/") and name.endswith(".jsonl") for line in raw.splitlines()]
    titles = {event.get("title") for event in stored} | {item.get("product") for event in stored for item in event.get("items", ())}
    assert {"Needle of an import", "Needle of the extension", "T"} <= titles
    assert {event["kind"] for event in stored} == {"purchase", "page_visit", "search", "subscription"}

    told = json.loads(files["terms.json"])
    assert told["in_force"] == 1
    assert [rule["id"] for rule in told["versions"][0]["terms"]["deny"]] == ["planted-rule"]

    grants = {grant["details"]["client"]["domain"]: grant for grant in lines(files["grants.jsonl"])}
    assert set(grants) == {"books.example", "other.example", ""}
    assert (grants["books.example"]["status"], grants["other.example"]["status"], grants[""]["status"]) == ("paused", "revoked", "active")
    for grant in (grants["books.example"], grants["other.example"]):
        start = f"agreements/{grant['id']}"
        document = files[f"{start}.json"]
        signed = json.loads(document)
        assert len(signed["signatures"]) == 2
        assert {"salt", "terms", "shown"} == set(json.loads(files[f"{start}.opening.json"]))
        assert len(lines(files[f"{start}.changes.jsonl"])) == 1
    assert files[f"agreements/{grants['books.example']['id']}.json"] == life.get(f"/grants/{grants['books.example']['id']}/files/agreement.json").data

    (read,) = table(files["recipients.csv"])
    assert (read["vendor"], read["purpose"], read["reads"], read["rows_sent"]) == ("https://books.example", "dpv:ProvideProductRecommendations", "1", "2")
    assert read["purpose_in_words"]
    assert read["first_read"] == read["last_read"]
    (sent,) = lines(files["sent.jsonl"])
    assert set(sent["ids"]) == {event["id"] for event in stored if event["kind"] == "purchase"}

    settings = json.loads(files["settings.json"])
    assert settings["shops"] == [{"shop": "shop.example", "return_days": 30, "warranty_months": 24, "note": "Planted note"}]
    assert (settings["name"], settings["kept_for_days"]["search"], settings["kept_for_days"]["purchase"]) == ("alice", 366, None)

    report = verifier.check(verifier.Bundle(io.BytesIO(files["ledger.zip"])))
    assert report.code == 0, report.sentence
    acts = [json.loads(line) for name, raw in files_in(files["ledger.zip"]).items() if name.endswith("entries.jsonl") for line in raw.splitlines()]
    assert acts[-1]["act"] == "export"
    assert acts[-1]["what"] == "everything"
    assert acts[-1]["by"] == {"role": "person"}

    manifest = json.loads(files["manifest.json"])
    assert manifest["format"] == "proffer-export/1"
    assert manifest["counts"]["events"] == {"page_visit": 2, "search": 1, "purchase": 2, "subscription": 1}
    assert manifest["counts"]["not_opened"] == {}
    assert {each["name"]: (each["bytes"], each["sha256"]) for each in manifest["files"]} == {
        name: (len(raw), hashlib.sha256(raw).hexdigest()) for name, raw in files.items() if name != "manifest.json"
    }
    assert list(files)[-1] == "manifest.json"
    readme = files["README.md"].decode()
    assert "2 page visits" in readme
    assert "broker import" in readme
    assert "could not be opened" not in readme


def test_lines_are_events_as_an_upload_gives_them(life: Browser, clock: Clock) -> None:
    """Nothing the broker derives stands in a line; each fits its schema; the sheet has one row for each item, and how it came."""
    files = exported(life)
    for name, raw in files.items():
        if not re.fullmatch(r"events/\w+\.jsonl", name):
            continue
        kind = name[7:-6]
        schema = json.loads(files[f"schemas/{kind}.schema.json"])
        found = lines(raw)
        assert found == sorted(found, key=lambda event: (event["time"], event["id"]))
        for event in found:
            assert not {"host", "domain", "class", "referrer_class", "received", "origin"} & set(event)
            jsonschema_rs.validate(schema, event)
        rows = table(files[f"events/{kind}.csv"])
        assert [row["id"] for row in rows] == [event["id"] for event in found for _ in event.get("items", [None])]
        assert all(row["received"].endswith("Z") and row["came_by"] for row in rows)
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.validate(schema, {**found[0], "host": "x"})
    bought = next(row for row in table(files["events/purchase.csv"]) if row["coupon"])
    assert (bought["total"], bought["total_currency"], bought["item_price"], bought["item_gtin"], bought["ship_to"]) == ("24.50", "EUR", "24.50", "40170725", "IE-CO")
    sent = next(row for row in table(files["events/page_visit.csv"]) if row["title"] == "Needle of the extension")
    assert sent["came_by"].startswith("your extension (grant ")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_cell_is_a_formula(start: str) -> None:
    """K55: the beginnings that OWASP names get an apostrophe; so do those of names that a person did not choose."""
    cell = f'{start}HYPERLINK("https://evil.example","x")'
    assert sheets.safe(cell) == f"'{cell}"
    assert sheets.safe(f"x{cell}") == f"x{cell}"


@pytest.mark.accepts("K55")
def test_formulas_stand_harmless_in_the_sheet_and_whole_in_the_lines(alice: Browser, clock: Clock) -> None:
    """K55 on the way out."""
    title = '=cmd|"/C calc"!A0'
    alice.store(page_visit(clock(), title=title), {**page_visit(clock(), title="x"), "offset": -60}, purchase(clock(), "@SUM(1+1)*cmd", site="www.shop.example"))
    files = exported(alice)
    cells = [cell for name, raw in files.items() if name.endswith(".csv") for row in table(raw) for cell in row.values()]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert {f"'{title}", "'@SUM(1+1)*cmd", "'-60"} <= set(cells)
    assert title in {event.get("title") for event in lines(files["events/page_visit.jsonl"])}


@pytest.mark.accepts("K106")
def test_every_table_is_decided_about() -> None:
    """K106: a new table of a person fails here until it says where it is in an export, or why not."""
    assert set(WHERE) == PERSONAL
    named = [where for where in WHERE.values() if not where.startswith("not: ")]
    assert all(any(where.startswith(name.split("*")[0].split(";")[0]) for name in packages.readme.FILES) for where in named), named


def test_nothing_that_lets_somebody_in_is_in_it(life: Browser, bookshop: Shop, settings: Settings) -> None:
    raw = b"\n".join(exported(life).values())
    broker = life.app.extensions["broker"]
    with broker.reading() as tx:
        secrets = [bytes(row.password) for row in tx.execute(select(metadata.tables["people"]))]
    assert bookshop.tokens["access_token"].encode() not in raw
    assert b"argon2" not in raw
    assert not any(secret in raw for secret in secrets)
    assert b'"bob"' not in raw


def test_another_person_gets_their_own(life: Browser, bob: Browser) -> None:
    files = exported(bob)
    assert not [name for name in files if name.startswith(("events/", "agreements/"))]
    assert json.loads(files["settings.json"])["name"] == "bob"
    assert b"Needle" not in b"".join(files.values())
    assert json.loads(files["manifest.json"])["counts"]["events"] == {}


def damaged(body: bytes) -> bytes:
    return body[:-1] + bytes([body[-1] ^ 1])


def newest(person: Browser) -> dict[str, Any]:
    with person.app.extensions["broker"].reading() as tx:
        return dict(ledger.page(tx, person.ring, limit=1).entries[0])


def test_it_is_entered_before_the_first_byte(life: Browser) -> None:
    """The entry is there while nothing of the body was asked for; the page of the ledger says it in words."""
    package = packages.take(life.app.extensions["broker"], life.person_id)
    assert (newest(life)["act"], newest(life)["what"]) == ("export", "everything")
    assert next(iter(packages.zipped(package))) is not None
    assert "You took a copy of everything of yours with you." in life.get("/ledger").text


def test_it_asks_for_a_fresh_sign_in(life: Browser, clock: Clock) -> None:
    before = newest(life)
    clock.advance(minutes=6)
    asked = life.post("/export", page="/export")
    assert asked.mimetype == "text/html"
    assert "You are about to take out everything of yours" in asked.text
    assert newest(life) == before
    life.sign_in_again()
    assert files_in(export(life))["manifest.json"]


def test_a_stranger_gets_nothing(app: Flask) -> None:
    client = app.test_client()
    assert client.get("/export", base_url=ORIGIN).status_code == 303
    assert client.post("/export", base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 403


def test_what_does_not_open_is_counted_and_the_rest_goes(life: Browser) -> None:
    """One damaged event, and one damaged grant: everything else is there, and the README says how many are not."""
    broker = life.app.extensions["broker"]
    grants = metadata.tables["grants"]
    with broker.reading() as tx:
        row = tx.execute(select(events).where(events.c.person_id == life.person_id, events.c.kind == "purchase")).first()
        grant = tx.execute(select(grants).where(grants.c.person_id == life.person_id, grants.c.status == "active")).first()
    broker.write(lambda tx: tx.execute(update(events).where(events.c.event_tag == row.event_tag).values(body=damaged(row.body))))
    broker.write(lambda tx: tx.execute(update(grants).where(grants.c.grant_id == grant.grant_id).values(details=damaged(grant.details))))
    files = exported(life)
    counts = json.loads(files["manifest.json"])["counts"]
    assert (counts["events"]["purchase"], counts["not_opened"], counts["grants"]) == (1, {"purchase": 1, "grants": 1}, 2)
    assert len(table(files["events/purchase.csv"])) == 1
    assert "Not all is here" in files["README.md"].decode()


def test_a_ledger_that_was_altered_leaves_too(life: Browser) -> None:
    """What is wrong must show, and nobody is kept from what is theirs by it."""
    broker = life.app.extensions["broker"]
    export(life)
    table_ = ledger_models.entries
    broker.write(lambda tx: tx.execute(update(table_).where(table_.c.person_id == life.person_id, table_.c.seq == 2).values(leaf_hash=b"x" * 32)))
    life.get("/ledger/verify")
    files = exported(life)
    assert verifier.check(verifier.Bundle(io.BytesIO(files["ledger.zip"]))).code != 0
    assert files["events/purchase.jsonl"]


def test_memory_stays_flat(alice: Browser, clock: Clock) -> None:
    """Ten times as many events take hardly more memory."""
    broker, start = alice.app.extensions["broker"], clock() - dt.timedelta(days=300)

    def peak() -> int:
        tracemalloc.start()
        for _ in packages.zipped(packages.take(broker, alice.person_id)):
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    def more(number: int) -> None:
        for lot in range(number):
            alice.store(*[page_visit(start + dt.timedelta(days=lot, minutes=n), title="A title " * 10) for n in range(100)])

    more(10)
    peak()
    small = peak()
    more(90)
    assert peak() < 2 * small + 2**20


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command against the household."""
    monkeypatch.setenv("BROKER_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("BROKER_KEY_FILE", str(settings.key_file))
    return lambda *arguments: CliRunner().invoke(main, ["export", *map(str, arguments)])


def test_the_command_writes_the_same_files(life: Browser, run: Callable[..., Result], tmp_path: Path) -> None:
    """Into a directory nobody else can enter; entered as the operator's."""
    page = exported(life)
    where = tmp_path / "out"
    done = run("--person", "alice", "--to", where, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["directory"], said["events"]["purchase"], said["grants"], said["not_opened"]) == (str(where), 2, 3, {})
    files = {path.relative_to(where).as_posix(): path.read_bytes() for path in where.rglob("*") if path.is_file()}
    assert set(files) == set(page)
    assert len(files) == said["files"]
    changed = {name for name in files if files[name] != page[name]}
    assert changed in ({"ledger.zip", "README.md", "manifest.json"}, {"ledger.zip", "manifest.json"})
    assert {stat.S_IMODE(path.stat().st_mode) for path in [where, *where.rglob("*")] if path.is_dir()} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in where.rglob("*") if path.is_file()} == {0o600}
    entry = newest(life)
    assert (entry["act"], entry["by"]) == ("export", {"role": "operator"})
    words = run("--person", "alice", "--to", tmp_path / "words")
    assert "README.md says what each is" in words.stdout
    assert "in plain words" in words.stderr


def test_the_command_overwrites_nothing(life: Browser, run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    before = newest(life)
    refused = run("--person", "alice", "--to", tmp_path / "full")
    assert refused.exit_code == 2
    assert "is not empty" in refused.stderr
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]
    assert run("--person", "nobody", "--to", tmp_path / "other").exit_code == 1
    assert not (tmp_path / "other").exists()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    assert run("--person", "alice", "--to", tmp_path / "link").exit_code == 2
    assert newest(life) == before


def test_half_an_export_does_not_stay(life: Browser, run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk: what was written goes again."""
    real = os.open

    def full(path: Any, *rest: Any, **more: Any) -> int:
        if str(path).endswith("settings.json"):
            raise OSError(28, "No space left on device")
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", full)
    failed = run("--person", "alice", "--to", tmp_path / "out")
    assert failed.exit_code == 1
    assert "No space left" in failed.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_a_zip_reads_as_any_zip(life: Browser) -> None:
    raw = export(life)
    with zipfile.ZipFile(io.BytesIO(raw)) as file:
        assert {each.compress_type for each in file.infolist() if each.filename.endswith(".zip")} == {zipfile.ZIP_STORED}
        assert all(each.external_attr >> 16 == 0o600 for each in file.infolist())
    assert db.metadata is metadata
