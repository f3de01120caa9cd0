"""Who the bookshop is to a broker: its address, its key, what it asks for, and what it makes of the answer."""

import os
import re
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from proffer_vendor import Ask, Cut, FileStore, SigningKey, Vendor

ASK = Ask(
    kinds=("purchase", "cart"),
    purpose="dpv:ProvideProductRecommendations",
    why="To suggest your next book",
    fields={"time": "day", "site": "domain", "category": "leaf", "price": "exact"},
    want={"categories": ["books"], "window": {"max_age": "P365D"}},
    minimum={"datatypes": ["purchase"], "fields": {"category": "leaf"}},
)


@dataclass(frozen=True)
class Book:
    """One book on the shelf; `category` is a path as brokers write it, such as books/crime."""

    title: str
    author: str
    category: str


SHELF = (
    Book("A Study in Ink", "R. Calder", "books/crime"),
    Book("The Quiet Alibi", "M. Oduya", "books/crime"),
    Book("Salt on the Causeway", "E. Brandt", "books/novel"),
    Book("A House With Two Doors", "L. Marchetti", "books/novel"),
    Book("Bread Without Hurry", "T. Okafor", "books/cooking"),
    Book("The Long Orbit", "J. Varga", "books/science-fiction"),
    Book("Rivers of the North", "S. Lindqvist", "books/travel"),
    Book("The Clock That Ran Back", "P. Amari", "books/fantasy"),
)


@dataclass(frozen=True)
class Shop:
    """The shop's settings, from BOOKSHOP_* in the environment; `folder` keeps its key and its tokens."""

    broker: str = "http://localhost:8440"
    port: int = 5001
    client_id: str = "bookshop"
    folder: Path = Path("bookshop-data")

    @classmethod
    def from_environment(cls) -> "Shop":
        """BOOKSHOP_BROKER, BOOKSHOP_PORT, BOOKSHOP_CLIENT_ID, BOOKSHOP_FOLDER; each may be left out."""
        told = {name: os.environ.get(f"BOOKSHOP_{name.upper()}", default) for name, default in cls().__dict__.items()}
        return cls(told["broker"].rstrip("/"), int(told["port"]), told["client_id"], Path(told["folder"]))

    @property
    def host(self) -> str:
        """The one Host the shop answers to. It is not `localhost`: cookies know no ports, and the broker lives there."""
        return f"127.0.0.1:{self.port}"

    @property
    def key(self) -> SigningKey:
        """The shop's key pair, made at first use."""
        return SigningKey.at(self.folder / "key.json")

    @property
    def secret(self) -> bytes:
        """What the visitors' cookies are signed with, made at first use: with another one, everybody would be a stranger after a restart."""
        path = self.folder / "cookie-key"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secrets.token_bytes(32))
        return path.read_bytes()

    def vendor(self) -> Vendor:
        """The shop as a client of its broker."""
        proof_key = SigningKey.at(self.folder / "proof-key.json")
        return Vendor(self.broker, self.client_id, self.key, f"http://{self.host}/callback", proof_key=proof_key)

    def store(self) -> FileStore:
        """Where the shop keeps tokens."""
        return FileStore(self.folder / "tokens")


def metadata(shop: Shop) -> dict[str, Any]:
    """What `broker client add` wants to know (RFC 7591 names)."""
    return {
        "client_id": shop.client_id,
        "client_name": "The Sample Bookshop",
        "domain": "bookshop.example",
        "address": "1 Quay, Cork, IE",
        "contact": "privacy@bookshop.example",
        "redirect_uris": [f"http://{shop.host}/callback"],
        "jwks": shop.key.jwks,
        "token_endpoint_auth_method": "private_key_jwt",
    }


def suggest(rows: Iterable[Mapping[str, Any]]) -> list[Book]:
    """Books of the categories that stand most often in `rows`, best first; empty if the rows say nothing about books."""
    liked = Counter(category for row in rows for category in categories(row))
    return sorted((book for book in SHELF if liked[book.category]), key=lambda book: -liked[book.category])


def categories(row: Mapping[str, Any]) -> list[str]:
    """The categories of one row's items, as far as the person let them be seen."""
    return [item["category"] for item in row.get("items", []) if "category" in item]


def prices(row: Mapping[str, Any]) -> list[str]:
    """The prices of one row's items in words: exact, or "20.00 to 30.00 EUR" where they were coarsened; "" if hidden."""
    return [_price(item["price"]) for item in row.get("items", []) if "price" in item]


def _price(price: Mapping[str, Any]) -> str:
    if "amount_minor" in price:
        return f"{price['amount_minor'] / 100:.2f} {price['currency']}"
    upper = price.get("to_minor")
    end = "more" if upper is None else f"{upper / 100:.2f}"
    return f"{price.get('from_minor', 0) / 100:.2f} to {end} {price['currency']}"


def time_level(grant: Mapping[str, Any]) -> str:
    """How exact the times of the rows are that a grant gives: "day", "month" and so on; "" where they are hidden."""
    shown = [clause["fields"].get("time", "") for clause in grant.get("authorization_details", ()) if clause.get("fields")]
    return str(shown[0]) if shown else ""


def when(row: Mapping[str, Any], level: str) -> str:
    """The time of a row, no finer than it was given: "September 2026", "20 September 2026", "20 September 2026, 14:00 UTC"; "hidden" without one."""
    told = str(row.get("time") or "hidden")
    try:
        moment = datetime.fromisoformat(told)
    except ValueError:
        return told
    month = f"{moment:%B %Y}"
    return month if level == "month" else f"{moment.day} {month}" if level == "day" else f"{moment.day} {month}, {moment:%H:%M} UTC"


_WORDS = {
    "validity": "How long", "rate reads": "How often", "rate rows": "How many rows", "categories": "Products", "sites": "Sites", "part i1": "Anything at all",
    "kind purchase": "What you bought", "kind cart": "What you put in a cart", "field time": "Time", "field site": "Site",
    "field category": "Category", "field price": "Price", "window max_age": "How far back", "form": "How it is told",
}  # fmt: skip
_LEVELS = {
    "leaf": "the category", "top": "the top category", "month": "the month", "day": "the day", "hour": "the hour", "class": "the kind of site",
    "domain": "the site", "host": "the site's full address", "band": "a rough range", "rows": "rows", "answers": "answers only",
}  # fmt: skip
_SHAPES = ((r"bucket:(\d+)", r"steps of \1"), (r"P(\d+)D", r"\1 days"))


def in_words(cut: Cut) -> str:
    """A difference for people, such as "How far back: we asked for 365 days, you gave 30 days"."""
    what = _WORDS.get(cut.what, cut.what.removeprefix("field "))
    if cut.what.startswith(("kind ", "part ")):
        return what
    asked, given = (_value(cut.what.removeprefix("field "), each) for each in (cut.asked, cut.given))
    return f"{what}: we asked for {asked}, you gave {given}"


def _value(of: str, value: str) -> str:
    if value == "exact":
        return f"the exact {of}"
    for shape, said in _SHAPES:
        value = re.sub(f"^{shape}$", said, value)
    return _LEVELS.get(value, value)
