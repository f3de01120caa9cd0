"""Which column of a shop's file is what: guessed from its header and first rows, answered in a form, checked, and tried on those rows."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from broker import errors
from broker.events import shape, sites, urls
from broker.imports import purchases, rooms, tables, times
from broker.imports.reports import Report

ROLES: Final = ("time", "order_id", "product", "sku", "quantity", "unit_price", "line_total", "currency_column", "category_column")
HEAD_ROWS: Final = 20
HEAD_CELL: Final = 300
PREFIX_MOST: Final = 10
# In lower case and without signs; the first that a header has wins, then the first that one begins with.
_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "time": ("orderdate", "invoicedate", "purchasedate", "datetime", "date", "time", "bestelldatum", "kaufdatum", "datum"),
    "order_id": ("orderid", "ordernumber", "orderno", "invoiceno", "invoicenumber", "invoice", "bestellnummer", "order"),
    "product": ("productname", "product", "description", "itemname", "item", "title", "artikel", "bezeichnung", "name"),
    "sku": ("sku", "stockcode", "articlenumber", "itemnumber", "productid", "artikelnummer"),
    "quantity": ("quantity", "qty", "menge", "anzahl", "pieces"),
    "unit_price": ("unitprice", "priceperunit", "itemprice", "einzelpreis", "price", "preis"),
    "line_total": ("linetotal", "total", "amount", "gesamtpreis", "gesamt", "betrag", "sum"),
    "currency_column": ("currency", "currencycode", "waehrung", "währung"),
    "category_column": ("category", "department", "kategorie"),
}
_MONTHS: Final = 12


def head(table: tables.Table) -> list[list[str]]:
    """The first rows of a file, for the form: at most 20, each cell cut at 300 characters. Raises `Unreadable`."""
    rows: list[list[str]] = []
    for row in table.rows():
        rows.append([cell[:HEAD_CELL] for cell in row[: len(table.header)]])
        if len(rows) == HEAD_ROWS:
            break
    return rows


def guess(header: Sequence[str], rows: Sequence[Sequence[str]], zone: str = "UTC") -> dict[str, str]:
    """The form's answers as far as the header and the first rows tell them; what is not known is empty."""
    found: dict[str, str] = {}
    for role in ROLES:
        taken = set(found.values())
        found[role] = _column(role, [name for name in header if name not in taken])
    if found["unit_price"]:
        found["line_total"] = ""
    place = {name: number for number, name in enumerate(header)}

    def cells(role: str) -> list[str]:
        return [row[place[found[role]]] for row in rows if found[role] and place[found[role]] < len(row)]

    prices = cells("unit_price") or cells("line_total")
    found |= {"zone": zone, "shop": "", "category": "", "cancelled_prefix": "", "decimal": _mark(prices), "days": _days(cells("time"))}
    found["currency"] = "EUR" if any("€" in cell for cell in prices) else "GBP" if any("£" in cell for cell in prices) else ""
    return found


def _column(role: str, header: Sequence[str]) -> str:
    plain = {"".join(sign for sign in name.casefold() if sign.isalnum()): name for name in header}
    exact = next((plain[name] for name in _NAMES[role] if name in plain), "")
    return exact or next((full for name in _NAMES[role] for bare, full in plain.items() if bare.startswith(name)), "")


def _mark(prices: Sequence[str]) -> str:
    """The decimal mark: whichever of dot and comma stands last in most prices."""
    commas = sum(cell.rfind(",") > cell.rfind(".") for cell in prices)
    return "," if 2 * commas > len(prices) else "."


def _days(cells: Sequence[str]) -> str:
    """`day` where a first number can be no month, else `month`."""
    firsts = [cell.strip().replace("-", "/").partition("/")[0] for cell in cells if "/" in cell or "-" in cell]
    return "day" if any(first.isdigit() and _MONTHS < int(first) <= 31 for first in firsts) else "month"  # noqa: PLR2004 - days of a month


def read(answers: Mapping[str, str], header: Sequence[str]) -> purchases.Mapping:
    """The mapping that a form's answers make; raises `Unprocessable` with a pointer to each field that is wrong."""
    given = {name: value.strip() for name, value in answers.items()}
    wrong = dict(_mistakes(given, header))
    if wrong:
        raise errors.Unprocessable("This does not fit the file.", errors=[{"pointer": f"/{name}", "detail": sentence} for name, sentence in wrong.items()])
    return purchases.Mapping(
        site=host_in(given["shop"]), time=given["time"], zone=given["zone"] or "UTC", day_first=given.get("days") == "day", decimal=given.get("decimal") or ".",
        currency=given["currency"].upper() or None, category=given["category"] or None, cancelled_prefix=given.get("cancelled_prefix", ""),
        **{role: given[role] or None for role in ROLES[1:]},
    )  # fmt: skip


def host_in(text: str) -> str:
    """The host of what a person writes for a shop: `shop.example`, or a whole address."""
    parts = urls.parse(text if "://" in text else f"https://{text}")
    return parts.host if parts else ""


def _mistakes(given: Mapping[str, str], header: Sequence[str]) -> Iterator[tuple[str, str]]:
    if sites.site_of_host(host_in(given["shop"])) is None:
        yield "shop", "Write the shop's address, such as www.shop.example."
    yield from _wrong_columns(given, header)
    if bool(given["unit_price"]) == bool(given["line_total"]):
        yield from ((each, "Choose one column with money: the price per piece or the total of the line.") for each in ("unit_price", "line_total"))
    if bool(given["currency"]) == bool(given["currency_column"]):
        yield from ((each, "Give one of the two: a currency for the whole file, or the column that names it.") for each in ("currency", "currency_column"))
    elif given["currency"] and given["currency"].upper() not in shape.EXPONENTS:
        yield "currency", "Write the currency as three letters, such as EUR."
    if given["category"] and given["category"].partition("/")[0] not in shape.TOPS:
        yield "category", "Choose one of the categories."
    try:
        times.zone_named(given["zone"] or "UTC")
    except ValueError:
        yield "zone", "Write a time zone as in Europe/Berlin, or UTC."
    if given.get("days", "month") not in {"day", "month"}:
        yield "days", "Choose one of the two."
    if given.get("decimal", ".") not in {".", ","}:
        yield "decimal", "Choose a dot or a comma."
    if len(given.get("cancelled_prefix", "")) > PREFIX_MOST:
        yield "cancelled_prefix", f"At most {PREFIX_MOST} characters."


def _wrong_columns(given: Mapping[str, str], header: Sequence[str]) -> Iterator[tuple[str, str]]:
    if not given["time"]:
        yield "time", "Choose the column that says when something was bought."
    names = [name.casefold() for name in header]
    used: dict[str, str] = {}
    for role in ROLES:
        if not (name := given[role]):
            continue
        if (number := names.count(name.casefold())) != 1:
            yield role, f"The file has {'no' if number == 0 else 'more than one'} column “{name[:80]}”."
        elif name in used:
            yield role, f"The column “{name}” has another meaning already."
        used[name] = role


def tried(header: Sequence[str], rows: Sequence[Sequence[str]], mapping: purchases.Mapping, now: datetime) -> tuple[list[dict[str, Any]], Report]:
    """What the first rows become under a mapping, by the very code that imports them, and why others were left out."""
    report = Report()
    with rooms.room() as room:
        path = room / "head.csv"
        with path.open("w", encoding="utf-8", errors="replace", newline="") as stream:
            csv.writer(stream).writerows([header, *rows])
        table = tables.Table(path, "utf-8", ",", tuple(header))
        # How certain an import is, and its ids, are the same in each row and say nothing here.
        made = purchases.events(table, mapping, report, now=now)
        return [{name: value for name, value in event.items() if name not in {"id", "confidence", "detected_by"}} for event in made], report
