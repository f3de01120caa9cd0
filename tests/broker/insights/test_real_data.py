"""Insights against real orders and a real browser's history: the sums that their sources publish, by month and by shop to the penny."""

import csv
import datetime as dt
import gzip
import sqlite3
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from makers import Browser

from broker.imports import actions as imports
from broker.imports.purchases import Mapping
from broker.insights import figures
from broker.insights.actions import add_up

SHOPS = ("www.gifts.example", "www.cards.example")
EPOCH = dt.datetime(1601, 1, 1, tzinfo=dt.UTC)


def _gifts(site: str) -> Mapping:
    return Mapping(
        site=site, time="InvoiceDate", zone="Europe/London", order_id="InvoiceNo", product="Description", sku="StockCode", quantity="Quantity",
        unit_price="UnitPrice", currency="GBP", cancelled_prefix="C",
    )  # fmt: skip


def _split(shared_data: Path, folder: Path) -> tuple[list[Path], Counter[tuple[str, str, str]]]:
    """The rows in two files, by customer, as if of two shops; and by kind, month and shop what they come to in pence."""
    packed = shared_data / "uci_online_retail" / "online_retail_customers_hash8.csv.gz"
    with gzip.open(packed, "rt", newline="", encoding="utf-8") as source:
        rows = list(csv.DictReader(source))
    files, sums = [folder / f"{place}.csv" for place in range(len(SHOPS))], Counter[tuple[str, str, str]]()
    for place, file in enumerate(files):
        mine = [row for row in rows if int(float(row["CustomerID"])) % len(SHOPS) == place]
        with file.open("w", newline="", encoding="utf-8") as target:
            writer = csv.DictWriter(target, list(rows[0]))
            writer.writeheader()
            writer.writerows(mine)
        domain = SHOPS[place].removeprefix("www.")
        orders: Counter[tuple[str, str, str, str]] = Counter()
        exact: dict[tuple[str, str, str, str], Decimal] = {}
        for row in mine:
            kind = "return" if row["InvoiceNo"].startswith("C") else "purchase"
            key = (kind, row["InvoiceDate"][:7], domain, row["InvoiceNo"])
            exact[key] = exact.get(key, Decimal(0)) + abs(int(row["Quantity"])) * Decimal(row["UnitPrice"]) * 100
            orders[key] += 1
        for (kind, month, shop, _), pence in exact.items():
            sums[kind, month, shop] += round(pence)
    return files, sums


def test_money_of_a_real_shops_year(alice: Browser, trading: Any, shared_data: Path, tmp_path: Path) -> None:
    """UCI Online Retail, 577 customers: 1,507,564.81 spent and 1,458,140.80 of it left, by month and shop as the rows say."""
    broker = alice.app.extensions["broker"]
    files, sums = _split(shared_data, tmp_path)
    for site, file in zip(SHOPS, files, strict=True):
        imports.take_in_file(broker, alice.person_id, file, _gifts(site))
    while add_up(broker):
        pass
    rows, due = trading.kept(alice)
    assert due == []
    assert len(rows) == len(sums)
    loaded = trading.load(alice, "purchase", "return", "subscription")
    found = {(row.kind, row.month, row.body.site): row.body.sums["GBP"] for row in loaded.rows}
    assert found == dict(sums)
    (money,), unpriced = figures.money(loaded.rows)
    assert (money.currency, money.whole.spent, money.whole.left, unpriced) == ("GBP", 150_756_481, 145_814_080, {})
    assert sum(flow.left for _, flow in money.shops()) == sum(flow.left for _, flow in money.months()) == 145_814_080
    page = alice.get("/insights/money?year=all").text
    for said in ("£1,507,564.81", "£1,458,140.80", "£49,424.01"):
        assert said in page, said
    months = sorted({month for _, month, _ in sums})
    assert (months[0], months[-1]) == ("2010-12", "2011-12")
    for path in ("/insights", "/insights/owned", "/insights/subscriptions", "/insights/money", "/insights/money?year=2011"):
        assert len(alice.get(path).get_data()) < 60_000, path


def test_money_of_real_baskets(alice: Browser, trading: Any, shared_data: Path, tmp_path: Path) -> None:
    """84.51° Complete Journey: 47,243 baskets, 233,935.24 in all."""
    broker, file = alice.app.extensions["broker"], tmp_path / "baskets.csv"
    file.write_bytes(gzip.decompress((shared_data / "completejourney" / "transactions_sample.csv.gz").read_bytes()))
    mapping = Mapping(site="www.grocer.example", time="transaction_timestamp", order_id="basket_id", sku="product_id", line_total="sales_value", currency="USD")
    imports.take_in_file(broker, alice.person_id, file, mapping)
    assert "still being counted" in alice.get("/insights/money?year=all").text
    while add_up(broker):
        pass
    (money,), _ = figures.money(trading.load(alice).rows)
    assert (money.currency, money.whole.spent) == ("USD", 23_393_524)
    with gzip.open(shared_data / "completejourney" / "transactions_sample.csv.gz", "rt", newline="") as source:
        exact: Counter[str] = Counter()
        for row in csv.DictReader(source):
            exact[row["transaction_timestamp"][:7]] += round(Decimal(row["sales_value"]) * 100)
    # A basket lies in one month: that of its first line.
    assert {month: flow.spent for month, flow in money.months()}.keys() == exact.keys()
    assert sum(exact.values()) == money.whole.spent
    assert len(alice.get("/insights/money").get_data()) < 60_000


@pytest.mark.parametrize(("number", "visits"), [(10, 84), (20, 58)])
def test_time_of_a_real_browser(alice: Browser, trading: Any, shared_data: Path, tmp_path: Path, number: int, visits: int) -> None:
    """84 visits of Chrome 10, which noted no time, and 58 of Chrome 20, which did: the visits of each month, and the time where it is known."""
    broker, file = alice.app.extensions["broker"], tmp_path / "History"
    file.write_bytes(gzip.decompress((shared_data / "browser_history" / f"hindsight_chrome{number}_History.sqlite.gz").read_bytes()))
    imports.take_in_file(broker, alice.person_id, file)
    add_up(broker)
    history = sqlite3.connect(file)
    timed = "visit_duration" in {row[1] for row in history.execute("PRAGMA table_info(visits)")}
    rows = history.execute(f"SELECT visit_time, {'visit_duration' if timed else '0'} FROM visits").fetchall()
    history.close()
    found = figures.time(trading.load(alice, "page_visit").rows)
    assert found.whole.visits == len(rows) == visits
    months = Counter(f"{EPOCH + dt.timedelta(microseconds=at):%Y-%m}" for at, _ in rows)
    assert {month: spell.visits for month, spell in found.by_month.items()} == dict(months)
    assert sum(spell.visits for spell in found.by_site.values()) == visits
    # A duration below a millisecond is one that is not known, and an hour is the most that counts.
    known = [min(duration // 1000, 3_600_000) for _, duration in rows if duration >= 1000]
    assert (found.whole.known, found.whole.dwell) == (len(known), sum(known))
    assert bool(known) == timed
    page = alice.get("/insights/time").text
    assert f"Worked out from {visits} page visits" in page
    assert ("time, where it is known" in page, "not known" in page) == (True, not timed)
    assert trading.sums(trading.load(alice)) == trading.from_scratch(alice)
