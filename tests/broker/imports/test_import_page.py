"""The pages of imports over HTTP: dry run, taking in, undo, the mapping of a shop's columns, refusals, and no plain byte on disk."""

import csv
import gzip
import io
import re
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from makers import ORIGIN, Browser, Clock
from sqlalchemy import select
from werkzeug.test import TestResponse

from broker import close_app, create_app
from broker.config import Settings
from broker.db import metadata
from broker.events import queries as event_queries
from broker.imports import actions, browsers, queries, rooms
from broker.people import queries as people_queries

CHROME = "browser_history/hindsight_chrome10_History.sqlite.gz"
CUSTOMER = "12748.0"


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place for rooms that no other process uses, so that what is left there is ours."""
    monkeypatch.setattr(rooms, "MEMORY", tmp_path / "memory")
    (tmp_path / "memory").mkdir()


def send(person: Browser, content: bytes, name: str = "History") -> TestResponse:
    """Upload a file, in a body of our own: werkzeug's would lie in a temporary file that nobody closes."""
    token = f'--cut\r\nContent-Disposition: form-data; name="csrf_token"\r\n\r\n{person.csrf("/import")}\r\n'
    file = f'--cut\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: application/octet-stream\r\n\r\n'
    body = token.encode() + file.encode() + content + b"\r\n--cut--\r\n"
    headers = {"Sec-Fetch-Site": "same-origin"}
    return person.client.post("/import", data=body, base_url=ORIGIN, headers=headers, content_type="multipart/form-data; boundary=cut")


def ended(person: Browser, path: str) -> str:
    """The page of a batch once the work on it is done."""
    work = person.app.extensions["imports"]
    assert work.wait(queries.to_bytes(path.rpartition("/")[2]), 30)
    return person.get(path).text


def tried(person: Browser, content: bytes, name: str = "History") -> str:
    answer = send(person, content, name)
    assert answer.status_code == 303, answer.text
    ended(person, answer.location)
    return str(answer.location)


def act(person: Browser, path: str, name: str, **data: Any) -> str:
    answer = person.post(f"{path}/{name}", data, page="/import")
    assert answer.status_code == 303, answer.text
    return ended(person, answer.location)


def totals(person: Browser) -> dict[str, int]:
    broker = person.app.extensions["broker"]
    with broker.reading() as tx:
        return event_queries.totals(tx, person.person_id)


def contents(app: Flask) -> dict[str, list[Any]]:
    with app.extensions["broker"].reading() as tx:
        return {name: tx.execute(select(table)).all() for name, table in metadata.tables.items() if name != "sessions"}


def test_a_history_is_tried_taken_in_and_undone(alice: Browser, real: Callable[[str], Path]) -> None:
    assert "You have imported nothing yet" in alice.get("/import").text
    content = real(CHROME).read_bytes()
    path = tried(alice, content)
    page = alice.get(path).text
    assert "84 page visits, 6 searches, 3 product looks" in page
    assert "Take in 93 events" in page
    assert totals(alice) == {}, "a dry run keeps nothing"
    page = act(alice, path, "take")
    assert "Taken in" in page
    assert totals(alice) == {"page_visit": 84, "search": 6, "product_view": 3}
    assert "93 events added" in alice.get("/import").text

    again = tried(alice, content)
    assert "There is nothing new in this file" in alice.get(again).text
    assert alice.post(f"{again}/discard", page="/import").status_code == 303
    assert alice.get(again).status_code == 404

    assert "93 events deleted" in act(alice, path, "undo")
    assert totals(alice) == {}
    act(alice, tried(alice, content), "take")
    assert totals(alice)["page_visit"] == 84, "an undone import may come again"


def test_a_stranger_sees_and_undoes_nothing(alice: Browser, bob: Browser, real: Callable[[str], Path]) -> None:
    path = tried(alice, real(CHROME).read_bytes())
    act(alice, path, "take")
    before = totals(alice)
    assert bob.get(path).status_code == 404
    for name in ("undo", "take", "discard", "columns"):
        assert bob.post(f"{path}/{name}", page="/import").status_code == 404
    assert path not in bob.get("/import").text
    assert totals(alice) == before
    assert bob.get("/import/zz").status_code == 404
    assert bob.get(f"/import/{'0' * 32}").status_code == 404


def test_nothing_is_done_without_the_forms_token(alice: Browser, real: Callable[[str], Path]) -> None:
    content = real(CHROME).read_bytes()
    path = tried(alice, content)
    before = contents(alice.app)
    headers = {"Sec-Fetch-Site": "same-origin"}
    for where, data in [
        ("/import", {"file": (io.BytesIO(content), "History")}), ("/import", {"file": (io.BytesIO(content), "History"), "csrf_token": "wrong"}),
        ("/import/browser", {}), (f"{path}/take", {}), (f"{path}/undo", {}), (f"{path}/discard", {}), (f"{path}/columns", {}),
    ]:  # fmt: skip
        assert alice.client.post(where, data=data, base_url=ORIGIN, headers=headers).status_code == 403, where
    data = {"file": (io.BytesIO(content), "History"), "csrf_token": alice.csrf("/import")}
    assert alice.client.post("/import", data=data, base_url=ORIGIN, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert contents(alice.app) == before
    assert not list(rooms.MEMORY.glob(f"{rooms.PREFIX}*"))


def test_signed_out_nobody_uploads(app: Flask) -> None:
    data = {"file": (io.BytesIO(b"a,b\n1,2\n"), "a.csv")}
    answer = app.test_client().post("/import", data=data, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 403


def foreign() -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE contacts(name TEXT)")
    content: bytes = connection.serialize()
    connection.close()
    return content


def bomb() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("History", bytes(20 * 2**20))
    return packed.getvalue()


@pytest.mark.parametrize("kind", ["empty", "zip bomb", "foreign", "truncated", "gzip"])
def test_hostile_files_get_a_sentence_and_leave_nothing(alice: Browser, real: Callable[[str], Path], kind: str) -> None:
    whole = real(CHROME).read_bytes()
    content = {"empty": b"", "zip bomb": bomb(), "foreign": foreign(), "truncated": whole[: len(whole) // 2], "gzip": gzip.compress(bytes(2**20))}[kind]
    before = contents(alice.app)
    answer = send(alice, content)
    assert answer.status_code == 422
    assert "<title>Error: Import" in answer.text
    assert re.search(r'<a href="#f-file">[A-Z][^<]+\.</a>', answer.text)
    assert contents(alice.app) == before
    assert not (alice.app.extensions["broker"].settings.data_dir / "incoming").exists()
    assert not list(rooms.MEMORY.glob(f"{rooms.PREFIX}*"))


def test_a_file_without_a_name_and_two_files(alice: Browser) -> None:
    assert "Choose a file first" in send(alice, b"", "").text
    both = [(io.BytesIO(b"a,b\n1,2\n"), "a.csv"), (io.BytesIO(b"a,b\n1,2\n"), "b.csv")]
    assert alice.post("/import", {"file": both}, page="/import", content_type="multipart/form-data").status_code == 400


def test_a_file_over_the_limit_is_refused_before_it_is_read(settings: Settings) -> None:
    app = create_app(Settings(**{**{name: getattr(settings, name) for name in settings.__slots__}, "import_max_mib": 1}))
    alice = Browser.of(app, "alice")
    before = contents(app)
    answer = send(alice, b"a,b\n" + b"1,2\n" * 2**19)
    assert answer.status_code == 413
    assert "larger than 1 MiB" in answer.text
    assert contents(app) == before
    # Every other form keeps the small limit.
    assert alice.post("/import/browser", {"browser": "x" * 70_000}, page="/import").status_code == 413
    assert send(alice, b"a,b\n" + b"1,2\n" * 2**16, "orders.csv").status_code == 303
    close_app(app)


def customer(shared_data: Path) -> tuple[bytes, int, int]:
    """One customer's rows of a real shop as CSV, with what they paid and got back in pence."""
    with gzip.open(shared_data / "uci_online_retail" / "online_retail_customers_hash8.csv.gz", "rt", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    customers = sorted({row["CustomerID"] for row in rows})
    chosen = CUSTOMER if CUSTOMER in customers else max(customers, key=lambda each: sum(row["CustomerID"] == each for row in rows[:5000]))
    mine = [row for row in rows if row["CustomerID"] == chosen]
    written = io.StringIO()
    writer = csv.DictWriter(written, list(mine[0]))
    writer.writeheader()
    writer.writerows(mine)
    pence = [round(float(row["UnitPrice"]) * 1000) * int(row["Quantity"]) for row in mine]
    assert all(each % 10 == 0 for each in pence)
    return written.getvalue().encode(), sum(each for each in pence if each > 0) // 10, -sum(each for each in pence if each < 0) // 10


ANSWERS = {
    "shop": "https://www.gifts.example/", "category": "", "category_column": "", "time": "InvoiceDate", "days": "month", "zone": "Europe/London",
    "order_id": "InvoiceNo", "product": "Description", "sku": "StockCode", "quantity": "Quantity", "cancelled_prefix": "C", "unit_price": "UnitPrice",
    "line_total": "", "currency": "gbp", "currency_column": "", "decimal": ".",
}  # fmt: skip


def spent(person: Browser, kind: str) -> int:
    """What all events of a kind come to, in minor units."""
    found, below = 0, None
    while True:
        with person.app.extensions["broker"].reading() as tx:
            own = event_queries.own(tx, person.ring, event_queries.Wanted((kind,)), below)
        found += sum(event["total"]["amount_minor"] for event in own.events)
        below = own.older
        if below is None:
            return found


def test_a_shops_table_is_mapped_and_comes_out_to_the_penny(alice: Browser, shared_data: Path) -> None:
    content, paid, back = customer(shared_data)
    answer = send(alice, content, "my orders.csv")
    assert answer.status_code == 303
    path = answer.location
    page = alice.get(path).text
    assert "Which column is what" in page
    for name, column in (("time", "InvoiceDate"), ("quantity", "Quantity"), ("unit_price", "UnitPrice"), ("order_id", "InvoiceNo"), ("product", "Description")):
        select_of = re.search(rf'<select [^>]*name="{name}".*?</select>', page, re.DOTALL)
        assert select_of
        assert f'<option value="{column}" selected' in select_of[0], name

    wrong = alice.post(f"{path}/columns", {**ANSWERS, "shop": "nowhere", "currency": "", "zone": "Mars/Olympus"}, page="/import")
    assert wrong.status_code == 422
    assert "<title>Error: Which column is what" in wrong.text
    for name, value in (("shop", "nowhere"), ("zone", "Mars/Olympus")):
        assert f'<a href="#f-{name}">' in wrong.text
        assert f'value="{value}"' in wrong.text
    assert wrong.text.count('aria-invalid="true"') == 4
    # Of two of which one is needed, neither "may be left empty", and both say what is wrong.
    assert wrong.text.count('-error">Give one of the two: a currency for the whole file') == 2
    label = re.search(r'<label for="f-currency">.*?</label>', wrong.text)
    assert label
    assert "One of these two" in label[0]
    assert "left empty" not in label[0]
    assert '<option value="UnitPrice" selected' in wrong.text

    look = alice.post(f"{path}/columns", {**ANSWERS, "then": "look"}, page="/import")
    assert look.status_code == 200
    assert "The first rows, as they would be kept" in look.text
    assert "www.gifts.example" in look.text
    assert totals(alice) == {}

    page = act(alice, path, "columns", **ANSWERS)
    assert "Look before you take it in" in page
    assert "Columns left out" in page
    assert "CustomerID" in page
    assert "Change what the columns mean" in page
    assert 'value="https://www.gifts.example/"' in alice.get(f"{path}?columns=1").text
    act(alice, path, "take")
    assert {kind: spent(alice, kind) for kind in ("purchase", "return")} == {"purchase": paid, "return": back}
    assert paid > 0


def test_columns_cannot_be_changed_once_taken_in(alice: Browser, shared_data: Path) -> None:
    content, _, _ = customer(shared_data)
    path = send(alice, content, "orders.csv").location
    act(alice, path, "columns", **ANSWERS)
    act(alice, path, "take")
    for name in ("columns", "take", "discard"):
        assert alice.post(f"{path}/{name}", ANSWERS, page="/import").status_code == 409


def test_a_browser_of_this_computer_is_offered_and_read_in_place(
    alice: Browser, real: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = tmp_path / "person" / ".mozilla" / "firefox" / "abc.default"
    profile.mkdir(parents=True)
    real("browser_history/browserexport_firefox.sqlite.gz").rename(profile / "places.sqlite")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "person")
    monkeypatch.setattr(people_queries, "count", lambda _tx: 1)
    page = alice.get("/import").text
    assert "Browsers on this computer" in page
    assert "Choose a browser or a file above." in page
    assert str(profile) not in page
    chosen = re.search(r'name="browser" value="([0-9a-f]+)"', page)
    assert chosen
    for wrong in ("", "0" * 24, str(profile / "places.sqlite")):
        assert alice.post("/import/browser", {"browser": wrong}, page="/import").status_code == 422
    answer = alice.post("/import/browser", {"browser": chosen[1]}, page="/import")
    assert answer.status_code == 303
    assert "Firefox, profile abc.default" in ended(alice, answer.location)
    assert "Taken in" in act(alice, answer.location, "take")
    assert totals(alice)["page_visit"] > 0
    assert not (alice.app.extensions["broker"].settings.data_dir / "incoming").exists()


def test_where_no_browser_is_the_page_says_so(alice: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert "No browser was found" not in alice.get("/import").text, "in a household it does not look"
    monkeypatch.setattr(people_queries, "count", lambda _tx: 1)
    page = alice.get("/import").text
    assert "No browser was found on this computer." in page
    assert "Choose a file above." in page


def test_headings_without_rows_are_refused(alice: Browser) -> None:
    answer = send(alice, b"order,date,price\n\n", "orders.csv")
    assert answer.status_code == 422
    assert "This file has headings but no rows." in answer.text


def test_a_host_offers_no_browsers(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = browsers.Found("Firefox", "p", tmp_path / "places.sqlite", 1)
    monkeypatch.setattr(browsers, "installed", lambda _home: [found])
    monkeypatch.setattr(people_queries, "count", lambda _tx: 1)
    values = {name: getattr(settings, name) for name in settings.__slots__}
    app = create_app(Settings(**{**values, "host": "0.0.0.0", "origin": "http://localhost:8440"}))  # noqa: S104 - what is tested
    alice = Browser.of(app, "alice")
    assert "Browsers on this computer" not in alice.get("/import").text
    assert alice.post("/import/browser", {"browser": browsers.digest(found)}, page="/import").status_code == 422
    close_app(app)


def test_an_interrupted_import_says_so_and_goes_on(alice: Browser, clock: Clock, real: Callable[[str], Path]) -> None:
    path = tried(alice, real(CHROME).read_bytes())
    broker = alice.app.extensions["broker"]
    actions.claim(broker, alice.person_id, queries.to_bytes(path.rpartition("/")[2]))
    page = alice.get(path).text
    assert "0 of 93 events taken in" in page
    assert f'hx-get="{path}"' in page
    part = alice.client.get(path, base_url=ORIGIN, headers={"HX-Request": "true"})
    assert part.text.strip().startswith('<div id="progress"')
    assert "HX-Refresh" not in part.headers
    clock.advance(minutes=2)
    assert "Take in again" in alice.get(path).text
    assert "interrupted" in alice.get("/import").text
    assert "Taken in" in act(alice, path, "take")
    assert totals(alice)["page_visit"] == 84
    assert alice.client.get(path, base_url=ORIGIN, headers={"HX-Request": "true"}).headers["HX-Refresh"] == "true"


def test_no_planted_text_is_in_any_file(alice: Browser) -> None:
    planted = ("ZEBRAFINCH", "tangerine-quill", "moonlit-order-file")
    content = b"Date,Order,Product,Price,Note\n" + b"".join(
        b"2026-01-%02d,tangerine-quill-%d,ZEBRAFINCH lamp %d,12.50,x\n" % (number % 28 + 1, number, number) for number in range(3000)
    )
    data_dir = alice.app.extensions["broker"].settings.data_dir

    def search() -> None:
        files = [path for path in data_dir.rglob("*") if path.is_file()]
        assert files
        for path in files:
            found = path.read_bytes()
            for text in planted:
                assert text.encode() not in found, (path.name, text)
        assert not list(rooms.MEMORY.glob(f"{rooms.PREFIX}*"))

    path = send(alice, content, "moonlit-order-file.csv").location
    search()
    answers = {**ANSWERS, "time": "Date", "order_id": "Order", "product": "Product", "sku": "", "quantity": "", "unit_price": "Price"}
    act(alice, path, "columns", **answers)
    search()
    act(alice, path, "take")
    assert totals(alice) == {"purchase": 3000}
    search()
    assert not list((data_dir / "incoming").iterdir()), "the file is thrown away at the end"
    act(alice, path, "undo")
    search()


def test_a_refused_upload_never_touches_the_disk_as_plain_text(alice: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    # Where werkzeug would put the file; calling it would break.
    monkeypatch.setattr("werkzeug.formparser.SpooledTemporaryFile", None)
    assert send(alice, b"%PDF" + bytes(2**20)).status_code == 422
