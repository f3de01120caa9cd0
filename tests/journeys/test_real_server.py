"""The proof of the spine over real HTTP: real history in, a consented vendor read out, revoked, and all of it on the ledger."""

import csv
import gzip
import html
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest
from proffer_vendor import Ask, Connection, GrantEnded, MemoryStore, SigningKey, Vendor
from servers import Server, running
from visitors import Page, chosen, give, signed_up

CUSTOMER = "13047.0"
TERMS = {
    "type": "Terms", "version": 1, "vocabulary": 1, "base": "SD-BASE", "requests": "AgentAllowsRequests", "auto_accept": "never",
    "allow": [
        {
            "id": "history", "label": "What I did, to recommend", "vendors": ["*"], "action": "read", "purposes": ["dpv:ProvideProductRecommendations"],
            "kinds": ["purchase", "page_visit", "search"], "form": "rows",
            "fields": {"time": "exact", "site": "domain", "product": "exact", "category": "leaf", "total": "exact", "quantity": "exact", "query": "exact"},
            "window": {"max_age": "P50Y", "min_age": "P1D"}, "rate": {"reads": "100/P1D", "rows": "10000/P1D"},
        }
    ],
    "deny": [],
}  # fmt: skip


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path, BROKER_RATE_UNAUTHENTICATED="1000/minute") as started:
        yield started


@pytest.fixture
def closing_later() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def unpacked(source: Path, target: Path) -> Path:
    target.write_bytes(gzip.decompress(source.read_bytes()))
    return target


def one_customer(shared_data: Path, target: Path) -> tuple[int, Decimal]:
    """The rows of one customer as a file of their own; how many orders that were not cancelled, and what they cost."""
    with gzip.open(shared_data / "uci_online_retail" / "online_retail_customers_hash8.csv.gz", "rt", newline="") as source:
        rows = [row for row in csv.DictReader(source) if row["CustomerID"] == CUSTOMER]
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    bought = [row for row in rows if not row["InvoiceNo"].startswith("C")]
    return len({row["InvoiceNo"] for row in bought}), sum((int(row["Quantity"]) * Decimal(row["UnitPrice"]) for row in bought), Decimal(0))


def take_in(page: Page, file: Path, columns: dict[str, str] | None = None) -> str:
    """Upload, answer the mapping step if asked, wait for the dry run, take in, wait for the end; returns the dry run's page."""
    answer = page.send("/import", {}, page="/import", files={"file": (file.name, file.read_bytes())})
    assert answer.status_code == 200, answer.text
    path = str(answer.url.path)
    if columns is not None:
        answer = page.send(f"{path}/columns", {**chosen(answer.text), **columns, "then": "try"}, page=path)
        assert answer.status_code == 200, answer.text
    dry = page.until(path, "Take in ")
    page.send(f"{path}/take", {}, page=path)
    page.until(path, "Taken in")
    return dry


def connect(page: Page, connection: Connection, vendor: Vendor, asks: list[Ask], **narrowed: Any) -> None:
    """The vendor asks, the person looks at the page, narrows, ticks and gives; the vendor redeems the code."""
    pending = vendor.begin(asks)
    connection.complete(pending, dict(httpx2.URL(give(page, pending.url, **narrowed)).params))


def imported(page: Page, server: Server, tmp_path: Path, shared_data: Path) -> tuple[Path, int, Decimal]:
    """A browser's history and one customer's orders, and terms that let them be asked for: the history file, how many orders, and their sum."""
    # 84 visits, with their exact times; a second import adds nothing.
    history = unpacked(shared_data / "browser_history" / "hindsight_chrome10_History.sqlite.gz", tmp_path / "History")
    assert "84 page visits" in take_in(page, history)
    assert json.loads(server.command("import", str(history), "--json"))["added"] == 0

    orders, revenue = one_customer(shared_data, tmp_path / "orders.csv")
    columns = {
        "shop": "www.giftshop.example", "time": "InvoiceDate", "order_id": "InvoiceNo", "product": "Description", "sku": "StockCode", "quantity": "Quantity",
        "unit_price": "UnitPrice", "currency": "GBP", "zone": "Europe/London", "cancelled_prefix": "C", "line_total": "", "currency_column": "",
    }  # fmt: skip
    take_in(page, tmp_path / "orders.csv", columns)

    (tmp_path / "terms.json").write_text(json.dumps(TERMS))
    assert "Version 1" in server.command("terms", "set", str(tmp_path / "terms.json"))
    return history, orders, revenue


def registered(server: Server, tmp_path: Path) -> Vendor:
    key = SigningKey.generate()
    metadata = {"client_name": "Books & Co", "domain": "books.example", "redirect_uris": ["http://127.0.0.1:1/callback"], "jwks": key.jwks}
    (tmp_path / "client.json").write_text(json.dumps(metadata))
    client_id = server.command("client", "add", str(tmp_path / "client.json")).strip()
    return Vendor(server.origin, client_id, key, "http://127.0.0.1:1/callback", proof_key=SigningKey.generate())


def test_the_spine(server: Server, tmp_path: Path, shared_data: Path, closing_later: ExitStack) -> None:
    page = signed_up(server)
    closing_later.callback(page.client.close)

    history, orders, revenue = imported(page, server, tmp_path, shared_data)
    vendor = registered(server, tmp_path)
    closing_later.callback(vendor.transport.close)

    # The visits' exact times, read as a vendor whom the person let see them.
    exact = Connection(vendor, MemoryStore(), "alice")
    connect(page, exact, vendor, [ask(["page_visit"], {"time": "exact", "site": "domain"})])
    visits = list(exact.read())
    assert sorted(visit["time"] for visit in visits) == times_in(history)
    assert len(visits) == 84
    assert "2013-06-27T04:23:14.176Z" in {visit["time"] for visit in visits}

    # The bookshop asks for much and gets purchases by day.
    shop = Connection(vendor, MemoryStore(), "alice-2")
    wanted = ask(["purchase", "search"], {"time": "exact", "total": "exact", "product": "exact"})
    connect(page, shop, vendor, [wanted], **{"1.without": "search", "1.field.time": "day", "1.field.product": "hidden"})
    rows = list(shop.read())
    assert len(rows) == orders
    assert {row["kind"] for row in rows} == {"purchase"}
    assert all(set(row) == {"id", "kind", "time", "total"} for row in rows)
    assert all(row["time"].endswith(("T00:00:00Z", "T00:00:00.000Z")) for row in rows)
    assert Decimal(sum(row["total"]["amount_minor"] for row in rows)) / 100 == revenue
    assert not {row["id"] for row in rows} & {visit["id"] for visit in visits}

    verified = server.command("verify")
    assert verified.startswith("The ledger holds: ")

    # Revoke from the grants page: one POST; the next call is refused.
    newest = re.findall(r'action="(/grants/[A-Za-z0-9_-]{22}/revoke)"', page.get("/grants"))[0]
    assert page.send(newest, {}, page="/grants").status_code == 200
    with pytest.raises(GrantEnded):
        list(shop.read())
    assert len(list(exact.read())) == 84

    # The ledger shows all: import, terms, give, read, revoke, and the refused read; offline verification still holds.
    ledger = html.unescape(re.sub(r"<[^>]+>", "", page.get("/ledger")))
    for sentence in ("You ended the grant of books.example", "asked to read and was refused", "books.example read", "You let books.example see events", "You imported"):
        assert sentence in ledger, ledger
    assert server.command("verify").startswith("The ledger holds: ")


def ask(kinds: list[str], fields: dict[str, str], **want: Any) -> Ask:
    return Ask(tuple(kinds), "dpv:ProvideProductRecommendations", "To suggest your next book", fields, {"window": {"max_age": "P50Y"}, **want})


def times_in(history: Path) -> list[str]:
    """The visits' own times in the browser's database: microseconds since 1601, cut to milliseconds."""
    with closing(sqlite3.connect(history)) as database:
        found = [datetime(1601, 1, 1, tzinfo=UTC) + timedelta(microseconds=row[0]) for row in database.execute("SELECT visit_time FROM visits")]
    return sorted(f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z" for at in found)
