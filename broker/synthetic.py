"""A made-up year of a made-up person: browsing, searches, product looks, carts and purchases, the same for the same seed.

Every shop and site ends in `.example` (RFC 2606) and every product is invented, so that nothing here is about anyone.
"""

import datetime as dt
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from broker.events import shape
from broker.imports.reports import visit_id

Event = dict[str, Any]
DAYS: Final = 365
SATURDAY: Final = 5
WEEK: Final = 7
ENGINE: Final = "www.lookfor.example"
CURRENCY: Final = "EUR"


@dataclass(frozen=True, slots=True)
class Product:
    """Something a shop sells; the price is in minor units of euro."""

    name: str
    brand: str
    category: str
    minor: int
    words: str

    @property
    def sku(self) -> str:
        """The shop's number for it."""
        return f"{sum(self.name.encode()) * 7919 % 900_000 + 100_000}"


@dataclass(frozen=True, slots=True)
class Shop:
    """A shop: how many orders a year, how many things an order holds at most and how many of each, how often one is sent back."""

    host: str
    title: str
    orders: int
    most: int
    pieces: int
    returned: float
    products: tuple[Product, ...]


_made_up = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
SHOPS: Final = tuple(Shop(**{**shop, "products": tuple(Product(*product) for product in shop["products"])}) for shop in _made_up["shops"])
FILMS: Final = (_made_up["films"]["host"], Product(*_made_up["films"]["product"]))
@dataclass(frozen=True, slots=True)
class Box:
    """Something that is sent and paid again and again: weekly on a weekday (`days` 7) or monthly on a day, dearer after a while, or ended."""

    host: str
    days: int
    on: int
    product: Product
    dearer: int
    after: float
    until: float

    def is_due(self, day: dt.date) -> bool:
        """Whether it is paid on this day."""
        return day.weekday() == self.on if self.days == WEEK else day.day == self.on


BOXES: Final = tuple(Box(**{**box, "product": Product(*box["product"])}) for box in _made_up["boxes"])
SITES: Final = tuple((host, tuple(titles), often) for host, titles, often in _made_up["sites"])
"""Host, what its pages are called, and how often it is opened."""
QUESTIONS: Final = tuple(_made_up["questions"])


def year(seed: int, until: dt.datetime, *, days: int = DAYS) -> list[Event]:
    """The events of the `days` days that end with `until` (aware, not rounded), oldest first; the same seed and `until` give the same events."""
    made = (*_Year(seed, until.date(), days).events(), *_Year(~seed, until.date(), days).boxes())
    found = [event for event in made if event["time"] <= shape.written(until)]
    return sorted(found, key=lambda event: (event["time"], event["id"]))


def price(product: Product, day: dt.date) -> int:
    """What a product costs on a day, the same wherever it stands: a tenth less in one month of the year."""
    return product.minor * 9 // 10 if int(product.sku) % 12 + 1 == day.month else product.minor


class _Year:
    """One person's year in the making."""

    def __init__(self, seed: int, last: dt.date, days: int) -> None:
        # Seeded on purpose: a demonstration is the same each time.
        self._random = random.Random(seed)  # noqa: S311
        self._days = [last - dt.timedelta(days=back) for back in reversed(range(days))]

    def events(self) -> Iterator[Event]:
        orders = {day: [] for day in self._days}  # type: dict[dt.date, list[Shop]]
        for shop in SHOPS:
            for day in self._order_days(shop.orders * len(self._days) // DAYS or 1):
                orders[day].append(shop)
        for day in self._days:
            yield from self._everyday(day)
            for shop in orders[day]:
                yield from self._shopping(day, shop, buys=True)
            if self._random.random() < (0.5 if day.weekday() >= SATURDAY else 0.3):
                yield from self._shopping(day, self._random.choice(SHOPS), buys=False)
            if day.day == self._days[-1].day % 28 + 1:
                yield self._renewal(day)

    def boxes(self) -> Iterator[Event]:
        """Orders that come again and again, by chances of their own."""
        for box in BOXES:
            for place, day in enumerate(self._days):
                # A price changes with the month.
                share, of_month = place / len(self._days), (place - day.day) / len(self._days)
                if box.is_due(day) and share <= box.until:
                    line = self._line(box.product, day, 1)
                    line["price"] = {"amount_minor": box.product.minor + (box.dearer if of_month > box.after else 0), "currency": CURRENCY}
                    order = f"{box.product.sku}-{day:%y%m%d}"
                    yield self._made(self._at(day, 7), "purchase", box.host, payment="card", order_id=order, items=[line], total=_sum([line]))

    def _order_days(self, number: int) -> list[dt.date]:
        """Days spread evenly with some disorder, so that every quarter has orders."""
        step = len(self._days) / number
        return [self._days[min(len(self._days) - 1, int(step * place + self._random.random() * step))] for place in range(number)]

    def _at(self, day: dt.date, hour: int, spread: int = 90) -> dt.datetime:
        minutes = hour * 60 + self._random.randrange(spread)
        return dt.datetime.combine(day, dt.time(), dt.UTC) + dt.timedelta(minutes=minutes, milliseconds=self._random.randrange(60_000))

    def _everyday(self, day: dt.date) -> Iterator[Event]:
        """Working days have a morning, a noon and an evening; free days begin later and last longer."""
        free = day.weekday() >= SATURDAY
        for hour, most in ((9, 5), (14, 4), (19, 7)) if free else ((6, 3), (11, 2), (18, 6)):
            at = self._at(day, hour)
            for _ in range(self._random.randint(1, most)):
                yield from self._browsing(at)
                at += dt.timedelta(seconds=self._random.randint(20, 600))

    def _browsing(self, at: dt.datetime) -> Iterator[Event]:
        if self._random.random() < 0.12:  # noqa: PLR2004 - about every eighth time begins with a question
            yield self._search(at, self._random.choice(QUESTIONS))
            at += dt.timedelta(seconds=self._random.randint(5, 40))
        host, titles, _ = self._random.choices(SITES, [often for _, _, often in SITES])[0]
        title = self._random.choice(titles)
        page = {"url": f"https://{host}/{_slug(title)}", "title": title, "visit": self._visit()}
        yield self._made(at, "page_visit", host, dwell=self._random.randint(4, 420) * 1000, **page)

    def _shopping(self, day: dt.date, shop: Shop, *, buys: bool) -> Iterator[Event]:
        at = self._at(day, 17 if day.weekday() < SATURDAY else 10, 240)
        wanted = self._random.sample(shop.products, self._random.randint(1, min(shop.most, len(shop.products))))
        yield self._search(at, wanted[0].words)
        for product in wanted + self._random.sample(shop.products, 1 if buys else 2):
            at += dt.timedelta(seconds=self._random.randint(15, 180))
            yield from self._look(at, shop, product)
        lines = [self._line(product, at.date(), shop.pieces) for product in wanted]
        if buys or self._random.random() < 0.35:  # noqa: PLR2004 - about a third of the looks end in a cart that is left
            for line in lines:
                at += dt.timedelta(seconds=self._random.randint(5, 60))
                yield self._made(at, "cart", shop.host, action="add", url=f"https://{shop.host}/cart", items=[line], total=_sum([line]))
        if buys:
            yield from self._order(at, shop, lines)

    def _look(self, at: dt.datetime, shop: Shop, product: Product) -> Iterator[Event]:
        page = {"url": f"https://{shop.host}/p/{_slug(product.name)}-{product.sku}", "title": f"{product.name} | {shop.title}", "visit": self._visit()}
        yield self._made(at, "page_visit", shop.host, dwell=self._random.randint(8, 240) * 1000, **page)
        line = self._line(product, at.date(), 1)
        del line["quantity"]
        yield self._made(at, "product_view", shop.host, items=[line], **page)

    def _line(self, product: Product, day: dt.date, most: int) -> dict[str, Any]:
        return {
            "category": product.category, "brand": product.brand, "product": product.name, "sku": product.sku,
            "price": {"amount_minor": price(product, day), "currency": CURRENCY}, "quantity": self._random.randint(1, most),
        }  # fmt: skip

    def _order(self, at: dt.datetime, shop: Shop, lines: list[dict[str, Any]]) -> Iterator[Event]:
        at += dt.timedelta(seconds=self._random.randint(40, 200))
        yield self._made(at, "checkout", shop.host, action="start", url=f"https://{shop.host}/checkout", items=lines, total=_sum(lines))
        at += dt.timedelta(seconds=self._random.randint(40, 200))
        order = f"{shop.title[:2].upper()}-{self._random.randrange(10**6):06}"
        whole = {"order_id": order, "items": lines, "total": _sum(lines)}
        yield self._made(at, "purchase", shop.host, payment="card", url=f"https://{shop.host}/thanks", **whole)
        if self._random.random() < shop.returned:
            later = at + dt.timedelta(days=self._random.randint(4, 12), hours=-2)
            line = self._random.choice(lines)
            yield self._made(later, "return", shop.host, order_id=order, items=[line], total=_sum([line]))

    def _renewal(self, day: dt.date) -> Event:
        host, product = FILMS
        line = self._line(product, day, 1) | {"price": {"amount_minor": product.minor, "currency": CURRENCY}}
        return self._made(self._at(day, 3), "subscription", host, action="renew", period="P1M", items=[line], total=_sum([line]))

    def _search(self, at: dt.datetime, words: str) -> Event:
        return self._made(at, "search", ENGINE, engine=ENGINE, query=words, url=f"https://{ENGINE}/search", visit=self._visit())

    def _visit(self) -> str:
        return visit_id(self._random.randbytes(16))

    def _made(self, at: dt.datetime, kind: str, host: str, **fields: Any) -> Event:
        common = {"id": shape.uuid7(at, self._random.randbytes(10)), "kind": kind, "time": shape.written(at), "site": host}
        trade = kind not in {"page_visit", "search"}
        return common | {"detected_by": "jsonld" if trade else "url", "confidence": "high", "device": "desktop"} | fields


def _sum(lines: list[dict[str, Any]]) -> dict[str, Any]:
    return {"amount_minor": sum(line["price"]["amount_minor"] * line.get("quantity", 1) for line in lines), "currency": CURRENCY}


def _slug(words: str) -> str:
    return "-".join("".join(sign for sign in word if sign.isalnum()) for word in words.lower().split()).strip("-")
