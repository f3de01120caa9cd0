"""A made-up year of a made-up person: browsing, searches, product looks, carts and purchases, the same for the same seed.

Every shop and site ends in `.example` (RFC 2606) and every product is invented, so that nothing here is about anyone.
"""

import datetime as dt
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from broker.events import shape
from broker.imports.reports import visit_id

Event = dict[str, Any]
DAYS: Final = 365
SATURDAY: Final = 5
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
    """A shop: how many orders a year, how many things an order holds, how often one is sent back."""

    host: str
    title: str
    orders: int
    most: int
    returned: float
    products: tuple[Product, ...]


def _of(category: str, *lines: tuple[str, str, int, str]) -> tuple[Product, ...]:
    return tuple(Product(name, brand, category, minor, words) for name, brand, minor, words in lines)


BOOKS: Final = Shop(
    "www.leafandspine.example", "Leaf & Spine", 22, 3, 0.04,
    (
        *_of("books/crime", ("The Ferryman's Ledger", "Harrow Press", 1290, "crime novel harbour"), ("Eleven Steps Down", "Harrow Press", 1199, "crime novel set in vienna"),
             ("A Quiet Poisoning", "Inkwell", 1450, "classic detective novel"), ("The Salt Witness", "Inkwell", 2290, "new nordic crime novel")),
        *_of("books/novel", ("The Orchard Year", "Inkwell", 2400, "family novel orchard"), ("Letters from the Lock House", "Harrow Press", 1390, "novel in letters")),
        *_of("books/cooking", ("Bread, Slowly", "Table & Page", 2950, "sourdough book"), ("One Pot, Four Seasons", "Table & Page", 2499, "one pot cookbook")),
        *_of("books/science-fiction", ("The Lantern Fleet", "Parallax", 1699, "space opera novel"),),
        *_of("books/travel", ("Night Trains of the North", "Table & Page", 2199, "night train travel book"),),
    ),
)  # fmt: skip
GROCERIES: Final = Shop(
    "www.greenbasket.example", "Green Basket", 46, 9, 0.0,
    (
        *_of("food/dairy", ("Oat drink 1 l", "Haverly", 219, "oat drink"), ("Mountain cheese 300 g", "Almhof", 549, "mountain cheese"), ("Plain yoghurt 500 g", "Almhof", 129, "yoghurt")),
        *_of("food/fruit", ("Apples 1.5 kg", "Green Basket", 399, "apples"), ("Bananas 1 kg", "Green Basket", 189, "bananas"), ("Clementines 1 kg", "Green Basket", 299, "clementines")),
        *_of("food/bakery", ("Rye loaf 750 g", "Old Mill", 429, "rye bread"), ("Spelt flour 1 kg", "Old Mill", 259, "spelt flour")),
        *_of("food/pantry", ("Spaghetti 500 g", "Filo", 149, "spaghetti"), ("Peeled tomatoes 400 g", "Filo", 119, "tomatoes"), ("Olive oil 750 ml", "Collina", 1149, "olive oil")),
        *_of("drinks/coffee", ("Espresso beans 1 kg", "Kettle Lane", 1790, "espresso beans"),),
    ),
)  # fmt: skip
ELECTRONICS: Final = Shop(
    "www.voltandwire.example", "Volt & Wire", 9, 2, 0.12,
    (
        *_of("electronics/audio", ("Headphones H40", "Auralis", 14_900, "headphones noise cancelling"), ("Kitchen radio R2", "Auralis", 8_900, "kitchen radio")),
        *_of("computers/accessories", ("USB-C dock 9 in 1", "Portway", 6_990, "usb c dock"), ("Quiet keyboard K3", "Portway", 7_900, "quiet keyboard"), ("Webcam 1080p", "Portway", 4_490, "webcam")),
        *_of("phones/accessories", ("Charger 45 W", "Nimbus", 2_490, "usb c charger 45w"), ("Phone case, cork", "Nimbus", 1_990, "cork phone case")),
    ),
)  # fmt: skip
HOME: Final = Shop(
    "www.hearthware.example", "Hearthware", 11, 3, 0.05,
    (
        *_of("home/kitchen", ("Cast-iron pan 28 cm", "Forge & Co", 5_900, "cast iron pan"), ("Dough scraper", "Forge & Co", 690, "dough scraper"), ("Storage jars, set of 6", "Hearthware", 2_450, "storage jars")),
        *_of("home/textiles", ("Linen towels, set of 3", "Weaver's", 2_700, "linen towels"),),
        *_of("garden/plants", ("Rosemary in a pot", "Hearthware", 590, "rosemary plant"), ("Potting soil 20 l", "Hearthware", 799, "potting soil")),
    ),
)  # fmt: skip
CLOTHES: Final = Shop(
    "www.plainthread.example", "Plain Thread", 10, 3, 0.3,
    (
        *_of("clothing/knitwear", ("Merino jumper", "Plain Thread", 7_950, "merino jumper"), ("Cotton cardigan", "Plain Thread", 5_900, "cotton cardigan")),
        *_of("clothing/basics", ("T-shirt, pack of 2", "Plain Thread", 2_990, "organic t-shirt"), ("Socks, pack of 5", "Plain Thread", 1_490, "cotton socks")),
        *_of("shoes/walking", ("Walking shoes Fell", "Stride", 11_900, "walking shoes waterproof"),),
    ),
)  # fmt: skip
SHOPS: Final = (BOOKS, GROCERIES, ELECTRONICS, HOME, CLOTHES)
FILMS: Final = ("www.filmlantern.example", Product("Film Lantern, standard", "Film Lantern", "film", 1199, "film lantern"))

# Host, what its pages are called, and how often it is opened.
SITES: Final = (
    ("www.morninggazette.example", ("Front page", "City council opens new bridge", "What the harvest tells us", "Weekend: ten walks", "Trains: new timetable"), 9),
    ("www.skies.example", ("Weather today", "Seven days", "Rain radar"), 5),
    ("www.slowkitchen.example", ("Sourdough, step by step", "Tomato soup for four", "What to cook in November", "Apple cake"), 4),
    ("www.tinkerforum.example", ("New posts", "Which keyboard is quiet?", "Repairing an old radio"), 3),
    ("www.filmlantern.example", ("Tonight", "Keep watching", "New this week"), 4),
    ("www.townlibrary.example", ("Catalogue", "Opening hours", "Your loans"), 2),
    ("www.railways.example", ("Timetable", "Connections", "Delays now"), 2),
)
QUESTIONS: Final = (
    "how long does sourdough rise", "night train to the coast", "quiet keyboard for the office", "weather weekend", "library opening hours", "what is a good first crime novel",
    "repair kitchen radio", "tomato soup recipe", "when to repot rosemary", "museum opening hours", "best walks by train", "remove coffee stain linen",
)  # fmt: skip


def year(seed: int, until: dt.datetime, *, days: int = DAYS) -> list[Event]:
    """The events of the `days` days that end with `until` (aware, not rounded), oldest first; the same seed and `until` give the same events."""
    making = _Year(seed, until.date(), days)
    found = [event for event in making.events() if event["time"] <= shape.written(until)]
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
        yield self._made(at, "page_visit", host, url=f"https://{host}/{_slug(title)}", title=title, dwell=self._random.randint(4, 420) * 1000, visit=self._visit())

    def _shopping(self, day: dt.date, shop: Shop, *, buys: bool) -> Iterator[Event]:
        at = self._at(day, 17 if day.weekday() < SATURDAY else 10, 240)
        wanted = self._random.sample(shop.products, self._random.randint(1, min(shop.most, len(shop.products))))
        yield self._search(at, wanted[0].words)
        for product in wanted + self._random.sample(shop.products, 1 if buys else 2):
            at += dt.timedelta(seconds=self._random.randint(15, 180))
            yield from self._look(at, shop, product)
        lines = [self._line(product, at.date(), 2 if shop is GROCERIES else 1) for product in wanted]
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
