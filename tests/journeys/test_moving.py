"""Moving from one broker to another: everything comes out, comes in, and comes out again bit for bit (K107); no grant lives on, no token works."""

import dataclasses
import datetime as dt
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from exporting import export, exported, files_in, lines, resealed, zipped
from flask import Flask
from makers import Browser, Clock, Extension, Shop, everything, page_visit, purchase, settings_in
from moving import ended, take_in, tried
from signing_in import PASSWORD
from sqlalchemy import delete, insert, select

from broker import close_app, create_app, verifying
from broker.__main__ import main
from broker.db import metadata
from broker.exports import actions as exports
from broker.grants import queries as grants
from broker.ledger import queries as ledger
from broker.ledger import verifier
from broker.people import actions as people
from broker.terms import actions as terms
from broker.terms import queries as terms_of
from policies.terms import DEFAULT_TERMS


@pytest.fixture
def other(tmp_path: Path, clock: Clock) -> Iterator[Flask]:
    """Another broker, with keys of its own."""
    app = create_app(settings_in(tmp_path / "other"), clock)
    people.add(app.extensions["broker"], "alice", PASSWORD)
    app.extensions["broker"].vault.add_recovery_key()
    yield app
    close_app(app)


@pytest.fixture
def life(alice: Browser, bookshop: Shop, otherstore: Shop, clock: Clock) -> Browser:
    """Alice with events of every field, two versions of terms, a live grant that was narrowed, an ended one, one nobody signed, and her extension."""
    broker, start = alice.app.extensions["broker"], clock() - dt.timedelta(days=5)
    alice.store(*everything(start), purchase(start, "A Study in Ink"), {**page_visit(start, title="Höhle 😀"), "referrer": "find.example"})
    left = purchase(start, "Left in the cart")
    alice.store({**{name: left[name] for name in ("id", "time", "site", "items", "total")}, "kind": "cart_abandoned"})
    for number in range(2):
        document = {**DEFAULT_TERMS.to_json(), "deny": [{"id": f"planted-{number}", "sites": ["never.example"]}]}
        terms.set_terms(broker, alice.person_id, document)
    bookshop.connect(alice)
    assert bookshop.read().status_code == 200
    path = f"/grants/{bookshop.tokens['grant_id']}"
    form = alice.get(f"{path}/narrow").text
    version = form.split('name="version" value="')[1].split('"')[0]
    narrowed = alice.post(f"{path}/narrow", {**fields_of(form), "version": version, "c1.field.price": "hidden"}, page=f"{path}/narrow")
    assert narrowed.status_code == 303, narrowed.text[-3000:]
    otherstore.connect(alice)
    other = f"/grants/{otherstore.tokens['grant_id']}"
    assert alice.post(f"{other}/revoke", page=other).status_code == 303
    Shop.register(alice.app, "late.example").connect(alice, sign=False)
    Extension.connect(alice)
    return alice


def fields_of(form: str) -> dict[str, str]:
    """What the form for narrowing holds as it stands."""
    found = dict(re.findall(r'<input type="(?:hidden|text|date|number)"[^>]*name="([^"]+)"[^>]*value="([^"]*)"', form))
    for name, body in re.findall(r'<select [^>]*name="([^"]+)"[^>]*>(.*?)</select>', form, re.DOTALL):
        chosen = re.search(r'<option value="([^"]*)" selected', body) or re.search(r'<option value="([^"]*)"', body)
        found[name] = chosen[1] if chosen else ""
    found |= dict(re.findall(r'<input type="checkbox"[^>]*name="([^"]+)"[^>]*value="([^"]*)"[^>]*checked', form))
    return found


@pytest.mark.accepts("K107")
def test_everything_comes_out_again_bit_for_bit(life: Browser, bookshop: Shop, other: Flask, clock: Clock) -> None:
    first = export(life)
    before = files_in(first)
    there = Browser.of(other, "alice")
    look = tried(there, first)
    page = there.get(look).text
    for said in ("Your terms, 2 versions", "4 grants, ended", "The ledger of", "page visits"):
        assert said in page, page
    with other.extensions["broker"].reading() as tx:
        assert grants.ids(tx, there.person_id) == set()
    done = take_in(there, look)
    assert "Taken in" in done

    after = exported(there)
    same = [name for name in before if name.startswith(("events/", "agreements/", "schemas/")) and not name.endswith(".csv")] + ["terms.json"]
    assert len(same) > 20
    for name in same:
        assert after[name] == before[name], name
    assert after["old-ledgers/1.zip"] == before["ledger.zip"]
    assert {name for name in after if name.startswith(("events/", "agreements/"))} == {name for name in before if name.startswith(("events/", "agreements/"))}

    here = {each["id"]: each for each in lines(after["grants.jsonl"])}
    for was in lines(before["grants.jsonl"]):
        now = here[was["id"]]
        assert now["status"] in {"revoked", "expired"}
        assert now["reason"] == ("moved" if was["status"] in {"active", "paused"} else was["reason"])
        unchanged = ("client", "given_at", "expires_at", "countersigned_at", "agreement", "clauses", "version")
        assert {name: now[name] for name in unchanged} == {name: was[name] for name in unchanged}
        assert now["ended_at"] == was["ended_at"] or was["ended_at"] is None
        assert {name: value for name, value in now["details"].items() if name != "moved"} == was["details"]

    found = verifying.ledger(other.extensions["broker"], there.person_id)
    assert found.code == 0, found.sentence
    report = verifier.check(verifier.Bundle(io.BytesIO(before["ledger.zip"])))
    with other.extensions["broker"].reading() as tx:
        entries = ledger.page(tx, there.ring).entries
        (entry,) = [each for each in entries if each["act"] == "import"]
        assert terms_of.version(tx, there.person_id) == 2
    assert entry["old_logs"] == [{name: log[name] for name in ("origin", "size", "root")} for log in report.logs]
    assert (entry["terms"], entry["grants"]) == (2, 4)
    assert "2 versions of your terms, 4 ended grants and the ledger of localhost:8440" in there.get("/ledger").text


def test_tokens_of_the_old_broker_do_nothing_in_the_new_one(life: Browser, bookshop: Shop, other: Flask) -> None:
    """And go on doing what they did in the old one, until they are ended there."""
    there = Browser.of(other, "alice")
    take_in(there, tried(there, export(life)))
    guest = dataclasses.replace(bookshop, app=other, client=other.test_client(), prover=Shop.register(other, "books.example").prover)
    assert guest.read().status_code == 401
    assert guest.call("GET").status_code == 401
    assert bookshop.read().status_code == 200


def test_every_page_of_what_came_is_shown(life: Browser, other: Flask) -> None:
    """Each grant's page and files, the lists, the batch with the old ledger; the vendor is asked about as one never met."""
    there = Browser.of(other, "alice")
    before = exported(life)
    batch = tried(there, export(life))
    take_in(there, batch)
    for grant in lines(before["grants.jsonl"]):
        page = there.get(f"/grants/{grant['id']}")
        assert page.status_code == 200
        assert "You brought it along with an import" in page.text
        assert "never read anything" not in page.text
        if grant["agreement"]:
            document = there.get(f"/grants/{grant['id']}/files/agreement.json")
            assert document.data == before[f"agreements/{grant['id']}.json"]
            for name in ("agreement.html", "consent-record.jsonld", "kantara.json", "odrl.jsonld", "changes.json"):
                assert there.get(f"/grants/{grant['id']}/files/{name}").status_code == 200
            assert "receipts.json" not in page.text
            assert there.get(f"/grants/{grant['id']}/files/receipts.json").status_code == 404
    for path in ("/grants", "/vendors", "/terms", "/activity", "/ledger", "/ledger/unused", "/", "/import"):
        assert there.get(path).status_code == 200, path
    page = there.get(batch).text
    assert "What was done in the broker you left" in page
    ledger_zip = there.post(f"{batch}/ledgers/1", page=batch)
    assert (ledger_zip.status_code, ledger_zip.mimetype) == (200, "application/zip")
    assert verifier.check(verifier.Bundle(io.BytesIO(ledger_zip.data))).code == 0
    assert "You took a copy of the ledger of a broker you left with you." in there.get("/ledger").text
    assert there.post(f"{batch}/ledgers/2", page=batch).status_code == 404

    shop = Shop.register(other, "books.example")
    assert "first request" in there.get(there.open(shop.ask())).text.lower()


def test_a_second_time_adds_nothing_and_undo_takes_the_events_back(life: Browser, other: Flask) -> None:
    there = Browser.of(other, "alice")
    raw = export(life)
    first = tried(there, raw)
    take_in(there, first)
    again = there.get(tried(there, raw)).text
    assert "There is nothing new in this file." in again
    assert "4 grants are here already" in again
    assert "You have terms of your own here" in again
    assert "kept here already" in again
    before = exported(there)
    assert there.post(f"{first}/undo", page=first).status_code == 303
    ended(there, first)
    after = exported(there)
    assert [name for name in after if name.startswith("events/")] == []
    for name in before:
        if name.startswith(("agreements/", "old-ledgers/")) or name in {"terms.json", "grants.jsonl"}:
            assert after[name] == before[name], name
    take_in(there, tried(there, raw))
    assert exported(there)["events/purchase.jsonl"] == before["events/purchase.jsonl"]


def test_what_was_forgotten_stays_away(life: Browser) -> None:
    """K110: an export from before brings nothing back into the broker it was forgotten in."""
    raw = export(life)
    done = life.post("/activity/forget", {"kind": "search", "site": "shop.example", "number": "1"}, page="/activity")
    assert done.status_code == 303, done.text[-2000:]
    page = life.get(tried(life, raw)).text
    assert "you forgot before, and stay away" in page
    assert "There is nothing new in this file." in page
    assert "events/search.jsonl" not in exported(life)


def test_into_the_same_broker_it_changes_nothing(life: Browser, bookshop: Shop) -> None:
    """Live grants stay live, the ledger that goes on is not kept as an old one, terms are left alone."""
    raw = export(life)
    page = life.get(tried(life, raw)).text
    assert "There is nothing new in this file." in page
    assert "is the one that goes on here" in page
    assert bookshop.read().status_code == 200


def test_somebody_else_in_the_household_cannot_take_it(life: Browser, bob: Browser) -> None:
    """The ledger in it is of a log that is Alice's here."""
    page = bob.get(tried(bob, export(life))).text
    assert "This export is of somebody else who has an account in this broker." in page
    assert json.loads(exported(bob)["manifest.json"])["counts"]["events"] == {}


def test_an_old_ledger_goes_with_its_person_and_a_damaged_one_is_counted(life: Browser, other: Flask) -> None:
    """A piece that is missing, or does not open, keeps nothing else from leaving; erasing leaves none of them."""
    broker, there = other.extensions["broker"], Browser.of(other, "alice")
    take_in(there, tried(there, export(life)))
    table = metadata.tables["old_ledgers"]
    mine = table.c.person_id == there.person_id
    with broker.reading() as tx:
        pieces = tx.execute(select(table).where(mine)).all()
    assert {row.piece for row in pieces} == {0, 1}
    assert not any(b"entries.jsonl" in row.body for row in pieces)
    broker.write(lambda tx: tx.execute(delete(table).where(mine, table.c.piece == 1)))
    files = exported(there)
    assert [name for name in files if name.startswith("old-ledgers/")] == []
    assert json.loads(files["manifest.json"])["counts"]["not_opened"] == {"old_ledgers": 1}
    assert "1 old ledger could not be opened" in files["README.md"].decode()
    assert files["events/purchase.jsonl"]
    exports.erase_person(broker, there.person_id)
    with broker.reading() as tx:
        assert tx.execute(select(table)).all() == []


def test_pieces_of_an_import_that_broke_off_do_not_stay(life: Browser, other: Flask) -> None:
    """They count for nothing, and go with the next import."""
    broker, there = other.extensions["broker"], Browser.of(other, "alice")
    table = metadata.tables["old_ledgers"]
    rest = {"person_id": there.person_id, "number": 7, "piece": 1, "body": b"x"}
    broker.write(lambda tx: tx.execute(insert(table).values(rest)))
    assert [name for name in exported(there) if name.startswith("old-ledgers/")] == []
    take_in(there, tried(there, export(life)))
    with broker.reading() as tx:
        assert [(row.number, row.piece) for row in tx.execute(select(table).order_by(table.c.piece)).all()] == [(1, 0), (1, 1)]


def test_terms_in_it_ask_for_a_fresh_sign_in(life: Browser, other: Flask, clock: Clock) -> None:
    """They may be looser than what everybody starts with; where none come, nothing is asked."""
    there = Browser.of(other, "alice")
    files = exported(life)
    batch = tried(there, export(life))
    clock.advance(minutes=6)
    asked = there.post(f"{batch}/take", page=batch)
    assert "Your terms would allow more than they do now." in asked.text
    assert "tried, not taken in" in there.get(batch).text
    without = resealed({name: raw for name, raw in files.items() if name != "terms.json"})
    assert "Taken in" in take_in(there, tried(there, without))
    there.sign_in_again()
    assert "Taken in" in take_in(there, batch)
    assert exported(there)["terms.json"] == files["terms.json"]


def test_another_person_cannot_reach_what_came(life: Browser, other: Flask) -> None:
    people.add(other.extensions["broker"], "bob", PASSWORD)
    there, stranger = Browser.of(other, "alice"), Browser.of(other, "bob")
    batch = tried(there, export(life))
    take_in(there, batch)
    for path in (batch, f"{batch}/take", f"{batch}/ledgers/1"):
        assert stranger.post(path, page="/import").status_code in {404, 405}, path
    assert stranger.get(batch).status_code == 404
    assert [name for name in exported(stranger) if name.startswith(("old-ledgers/", "agreements/", "events/"))] == []
    assert there.post(f"{batch}/ledgers/1", page=batch).status_code == 200


def test_a_third_broker_has_both_ledgers(life: Browser, other: Flask, tmp_path: Path, clock: Clock) -> None:
    there = Browser.of(other, "alice")
    raw = export(life)
    first = files_in(raw)
    take_in(there, tried(there, raw))
    second = export(there)
    app = create_app(settings_in(tmp_path / "third"), clock)
    people.add(app.extensions["broker"], "alice", PASSWORD)
    try:
        third = Browser.of(app, "alice")
        take_in(third, tried(third, second))
        files = exported(third)
        assert files["old-ledgers/1.zip"] == first["ledger.zip"]
        assert files["old-ledgers/2.zip"] == files_in(second)["ledger.zip"]
        assert files["events/purchase.jsonl"] == first["events/purchase.jsonl"]
        assert {each["reason"] for each in lines(files["grants.jsonl"])} == {"moved", ""}
    finally:
        close_app(app)


def test_a_ledger_that_does_not_hold_is_kept_out(life: Browser, other: Flask) -> None:
    """Its first entry was altered; all else comes, and the finding is said."""
    files, there = exported(life), Browser.of(other, "alice")
    whole = files_in(files["ledger.zip"])
    name = next(name for name in whole if name.endswith("entries.jsonl"))
    altered = zipped({**whole, name: whole[name].replace(b'"act":"', b'"act":"x', 1)})
    page = take_in(there, tried(there, resealed({**files, "ledger.zip": altered})))
    assert "does not hold, so it is not kept here: " in page
    found = exported(there)
    assert [name for name in found if name.startswith("old-ledgers/")] == []
    assert found["events/purchase.jsonl"] == files["events/purchase.jsonl"]
    assert len(lines(found["grants.jsonl"])) == 4


@pytest.fixture
def run(other: Flask, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command against the other broker."""
    settings = other.extensions["broker"].settings
    monkeypatch.setenv("BROKER_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("BROKER_KEY_FILE", str(settings.key_file))
    return lambda *arguments: CliRunner().invoke(main, [*map(str, arguments)])


@pytest.mark.parametrize("way", ["folder", "zip"])
def test_the_command_takes_a_zip_or_a_folder(life: Browser, other: Flask, run: Callable[..., Result], tmp_path: Path, way: str) -> None:
    """A dry run says what would come; then it comes, and the ledger says that the operator did it."""
    files, path = exported(life), tmp_path / "out"
    if way == "folder":
        for name, raw in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(raw)
    else:
        path.write_bytes(zipped(files))
    look = run("import", path, "--dry-run")
    assert look.exit_code == 0, look.output
    for said in ("New: ", "Would come: the terms, 2 versions.", "Would come: 4 grants, ended.", "Would come: the ledger of localhost:8440"):
        assert said in look.stdout
    there = Browser.of(other, "alice")
    assert lines(exported(there)["grants.jsonl"]) == []
    done = json.loads(run("import", path, "--json", "--source", "proffer").stdout)
    assert (done["besides"]["terms"], done["besides"]["grants"], done["added"]) == (2, 4, done["found"] and sum(done["found"].values()))
    assert exported(there)["events/search.jsonl"] == files["events/search.jsonl"]
    with other.extensions["broker"].reading() as tx:
        entry = next(each for each in ledger.page(tx, there.ring).entries if each["act"] == "import")
    assert entry["by"] == {"role": "operator"}
    out = tmp_path / "again"
    assert run("export", "--to", out).exit_code == 0
    assert (out / "old-ledgers" / "1.zip").read_bytes() == files["ledger.zip"]
    assert run("verify", out / "old-ledgers" / "1.zip").exit_code == 0
    assert run("verify", out / "ledger.zip").exit_code == 0


def test_a_folder_with_a_link_in_it_is_refused(life: Browser, run: Callable[..., Result], tmp_path: Path) -> None:
    files, path = exported(life), tmp_path / "out"
    for name, raw in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(raw)
    (tmp_path / "secret").write_bytes(files["terms.json"])
    (path / "terms.json").unlink()
    (path / "terms.json").symlink_to(tmp_path / "secret")
    refused = run("import", path)
    assert refused.exit_code == 1
    assert "is no ordinary file" in refused.stderr
    (path / "terms.json").unlink()
    refused = run("import", path)
    assert "other files than its manifest.json lists" in refused.stderr
    (path / "manifest.json").unlink()
    assert "This is a folder, and no export" in run("import", path).stderr
