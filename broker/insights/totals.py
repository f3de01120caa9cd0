"""What is added up of one kind of event in one month, by registrable domain: pure, and the same whether it is kept or worked out for a page."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from broker.words import joined

# Of an order with more different things only how many they are is kept: that is a basket, and none of them a charge of its own.
MOST_LINES: Final = 3
CHARGED: Final = frozenset({"start", "renew"})
# The classes below hold no cycles (`gc=False`): without them a page of thousands makes the collector walk everything the broker holds.
MEMBERS: Final = {
    "page_visit": frozenset({"domain", "class", "dwell"}),
    "purchase": frozenset({"domain", "total", "items"}),
    "return": frozenset({"domain", "total", "items"}),
    "subscription": frozenset({"domain", "total", "items", "action", "period"}),
}
"""What is read of an event of each kind."""
ITEM_MEMBERS: Final = frozenset({"gtin", "sku", "product", "category", "price", "quantity"})


class Visits(msgspec.Struct, gc=False):
    """Page visits at a site: how many, how long in milliseconds, and of how many that is known; of a site's further classes the same by class.

    Nearly every site has one class, and a page reads thousands of these, so that one stands by itself.
    """

    site: str
    number: int
    first: str
    last: str
    site_class: str
    dwell: int = 0
    known: int = 0
    others: dict[str, list[int]] | None = None

    def classes(self) -> Iterator[tuple[str, int, int, int]]:
        """(class, visits, milliseconds, of how many visits those are known) of each class."""
        further = (self.others or {}).items()
        yield self.site_class, self.number - sum(spell[0] for _, spell in further), self.dwell, self.known
        for site_class, (visits, dwell, known) in further:
            yield site_class, visits, dwell, known


class Line(msgspec.Struct, array_like=True, gc=False):
    """A thing of an order: a digest of what tells it from others (empty where nothing does), its name, what all of its pieces cost (no currency: not known)."""

    what: str
    name: str
    minor: int
    currency: str


class Order(msgspec.Struct, array_like=True, gc=False):
    """An order or a charge: its day, what it cost, a digest of the things in it, how many different ones, their names; the things of two or three."""

    day: str
    minor: int
    currency: str
    shape: str
    things: int
    name: str
    lines: list[Line] | None = None
    action: str = ""
    period: str = ""

    def parts(self) -> list[Line]:
        """Its things, where they are few."""
        return [Line(self.shape, self.name, self.minor, self.currency)] if self.things == 1 else self.lines or []


class Trade(msgspec.Struct, gc=False):
    """Purchases, returns or charges at a shop: how many, how many pieces, of how many no price is known, and sums by currency in minor units."""

    site: str
    number: int
    first: str
    last: str
    pieces: int = 0
    unpriced: int = 0
    sums: dict[str, int] = {}
    orders: list[Order] = []


class Sums(msgspec.Struct, gc=False):
    """`Trade` without its orders, which only a look for what comes again and again needs."""

    site: str
    number: int
    first: str
    last: str
    pieces: int = 0
    unpriced: int = 0
    sums: dict[str, int] = {}


Body = Visits | Trade | Sums
Event = Mapping[str, Any]


def identity(item: Mapping[str, Any]) -> str:
    """What tells a thing from others of its shop; empty where nothing does."""
    return next((str(item[name]) for name in ("gtin", "sku", "product") if item.get(name)), "")


def name_of(item: Mapping[str, Any]) -> str:
    """What to call a thing."""
    return next((str(item[name]) for name in ("product", "sku", "gtin", "category") if item.get(name)), "something")


def paid(event: Event) -> dict[str, int]:
    """What an event cost by currency: its total, else the prices of its items; empty where no price is known."""
    if "total" in event:
        return {event["total"]["currency"]: event["total"]["amount_minor"]}
    found: Counter[str] = Counter()
    for item in event["items"]:
        if "price" in item:
            found[item["price"]["currency"]] += item["price"]["amount_minor"] * item.get("quantity", 1)
    return dict(found)


def shape_of(items: Sequence[Mapping[str, Any]]) -> str:
    """A digest of what is in an order, whatever the order and number of its things; empty where one of them cannot be told from others."""
    return digest({identity(item) for item in items})


def digest(identities: set[str]) -> str:
    """A digest of what tells things apart, the same for one thing and for an order of nothing else."""
    return "" if "" in identities else hashlib.sha256("\n".join(sorted(identities)).encode()).hexdigest()[:16]


def _line(item: Mapping[str, Any]) -> Line:
    price = item.get("price")
    minor, currency = (price["amount_minor"] * item.get("quantity", 1), price["currency"]) if price else (0, "")
    return Line(digest({identity(item)}), name_of(item), minor, currency)


def order_of(day: str, event: Event) -> Order | None:
    """The order of an event; None where it is not known what it cost, or it cost several currencies."""
    cost, items = paid(event), event["items"]
    if len(cost) != 1 and "action" not in event:
        return None
    currency, minor = next(iter(cost.items())) if len(cost) == 1 else ("", 0)
    things = len({identity(item) for item in items})
    few = things <= MOST_LINES and len(items) <= MOST_LINES
    name = joined(dict.fromkeys(name_of(item) for item in items)) if few else f"The same {things} things"
    lines = [_line(item) for item in items] if few and things > 1 else None
    return Order(day, minor, currency, shape_of(items), things, name, lines, event.get("action", ""), event.get("period", ""))


class Tally:
    """Adds up the events of one kind and month, given in any order."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self.rows: dict[str, Any] = {}

    def add(self, day: str, event: Event) -> None:
        """One more event of this day."""
        site = event["domain"]
        row = self.rows.get(site)
        if row is None:
            of = Visits(site, 0, day, day, event["class"]) if self._kind == "page_visit" else Trade(site, 0, day, day, sums={}, orders=[])
            row = self.rows[site] = of
        row.number += 1
        row.first, row.last = min(row.first, day), max(row.last, day)
        if isinstance(row, Visits):
            self._visit(row, event)
        else:
            self._trade(row, day, event)

    def _visit(self, row: Visits, event: Event) -> None:
        dwell, known = event.get("dwell", 0), int("dwell" in event)
        if event["class"] == row.site_class:
            row.dwell += dwell
            row.known += known
            return
        row.others = row.others or {}
        spell = row.others.setdefault(event["class"], [0, 0, 0])
        for place, more in enumerate((1, dwell, known)):
            spell[place] += more

    def _trade(self, row: Trade, day: str, event: Event) -> None:
        row.pieces += sum(item.get("quantity", 1) for item in event["items"])
        order = order_of(day, event) if self._kind != "return" else None
        if order is not None:
            row.orders.append(order)
        if self._kind == "subscription" and event["action"] not in CHARGED:
            # A change or an end costs nothing by itself.
            return
        cost = paid(event)
        row.unpriced += not cost
        for currency, minor in cost.items():
            row.sums[currency] = row.sums.get(currency, 0) + minor

    def bodies(self) -> dict[str, bytes]:
        """By domain what is sealed."""
        return {site: msgspec.json.encode(row) for site, row in sorted(self.rows.items())}


def decoder(kind: str, *, orders: bool = False) -> msgspec.json.Decoder[Any]:
    """What reads a stored body of this kind."""
    return msgspec.json.Decoder(Visits if kind == "page_visit" else Trade if orders else Sums)
