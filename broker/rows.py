"""How an event, whole or trimmed, reads in a table: plain texts, whatever its precision."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from babel.numbers import format_currency, get_currency_precision

from broker.words import many
from policies.vocabulary import FIELDS, KINDS

Row = Mapping[str, Any]
ITEM_FIELDS: Final = tuple(name for name, about in FIELDS.items() if about.item)
EVENT_FIELDS: Final = ("kind", "action", *(name for name, about in FIELDS.items() if not about.item), "items")
NOUNS: Final = {
    "page_visit": ("page visit", "page visits"),
    "search": ("search", "searches"),
    "product_view": ("product look", "product looks"),
    "cart": ("cart change", "cart changes"),
    "checkout": ("checkout step", "checkout steps"),
    "purchase": ("purchase", "purchases"),
    "return": ("return", "returns"),
    "subscription": ("subscription change", "subscription changes"),
    "cart_abandoned": ("cart left", "carts left"),
}
_TIMES: Final = {"month": "Month (UTC)", "day": "Day (UTC)", "hour": "Hour (UTC)", "exact": "Time (UTC)"}
_LABELS: Final = {"kind": "What", "action": "How", "time": "When (UTC)", "items": "Items", "url": "Address", "site": "Site"}


def counted(counts: Mapping[str, int]) -> list[str]:
    """How many events of each kind, in words: `3 page visits`."""
    return [many(counts[kind], *NOUNS[kind]) for kind in KINDS if counts.get(kind)]


def money(amount: Mapping[str, Any]) -> str:
    """An exact amount, or the step or band it lies in."""
    currency = amount["currency"]

    def written(minor: int) -> str:
        return format_currency(minor / 10 ** get_currency_precision(currency), currency, locale="en_GB")

    if "amount_minor" in amount:
        return written(amount["amount_minor"])
    if amount["to_minor"] is None:
        return f"{written(amount['from_minor'])} or more"
    return f"{written(amount['from_minor'])} to {written(amount['to_minor'])}"


def text(value: Any) -> str:
    """One value as text."""
    if isinstance(value, Mapping):
        return money(value) if "currency" in value else ", ".join(f"{name} {text(each)}" for name, each in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "; ".join(text(each) for each in value)
    return str(value)


def moment(time: str) -> str:
    """A stored time without its zeros: the day alone where only the day is known."""
    if time.endswith("T00:00:00.000Z"):
        return time[:10]
    return time.replace("T", " ").removesuffix("Z").removesuffix(".000")


def item(row: Row) -> str:
    """One item in a line."""
    return " · ".join(f"{text(row[name])}{' ×' if name == 'quantity' else ''}" for name in ITEM_FIELDS if name in row)


def own_item(row: Row) -> str:
    """One item of the person's own event as a phrase: how many, what, and the price of each."""
    number = row.get("quantity", 1)
    name = next((text(row[each]) for each in ("product", "sku", "gtin", "category") if each in row), "something")
    more = ", ".join(text(row[each]) for each in ("brand", "variant") if each in row)
    price = f", {text(row['price'])}{' each' if number != 1 else ''}" if "price" in row else ""
    return f"{f'{number} × ' if number != 1 else ''}{name}{f' ({more})' if more else ''}{price}"


def summed_up(row: Row) -> str:
    """The person's own event with items in short: `£156.44 at gifts.example, 48 things`."""
    items = row["items"]
    things = many(sum(each.get("quantity", 1) for each in items), "thing")
    if "total" in row:
        return f"{text(row['total'])} at {row['site']}, {things}"
    return own_item(items[0]) if len(items) == 1 else f"{things} at {row['site']}"


def label(name: str) -> str:
    """A column's heading."""
    if name in _LABELS:
        return _LABELS[name]
    noun = FIELDS[name].noun
    return noun[0].upper() + noun[1:]


def cells(row: Row, precision: str = "") -> dict[str, str]:
    """Every field of a row as text, each item on a line; `precision` is the level of its time, where it was made coarser."""
    shown: dict[str, str] = {}
    for name in EVENT_FIELDS:
        if name not in row:
            continue
        if name == "items":
            shown[name] = "\n".join(item(each) for each in row["items"])
        elif name == "kind":
            shown[name] = NOUNS[row["kind"]][0]
        elif name == "time":
            shown[name] = row["time"][: len("2026-11")] if precision == "month" else moment(row["time"])
        else:
            shown[name] = text(row[name])
    return shown


def table(rows: Sequence[Row], precision: str = "") -> tuple[list[tuple[str, str]], list[dict[str, str]]]:
    """(columns as (key, heading), cells) of all fields that any of the rows has; `precision` is the level of their times, where it is one."""
    written = [cells(row, precision) for row in rows]
    headings = {"time": _TIMES.get(precision, _LABELS["time"])}
    columns = [(name, headings.get(name) or label(name)) for name in EVENT_FIELDS if any(name in each for each in written)]
    return columns, [{name: each.get(name, "") for name, _ in columns} for each in written]
