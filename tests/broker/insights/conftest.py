"""Events of trade with round numbers, and what totals come to when they are worked out by plain sums over the events themselves."""

import datetime as dt
from collections import Counter
from typing import Any

import pytest
from makers import Browser, page_visit, purchase
from sqlalchemy import select

from broker.events import queries as event_queries
from broker.events.actions import TOTALLED
from broker.events.models import stale, totals
from broker.events.queries import LAST_DAY, Wanted
from broker.events.stored import Opener
from broker.insights import queries
from broker.insights.queries import Loaded

Sums = dict[tuple[str, ...], Any]


class Trading:
    """Makes events, and looks behind the pages."""

    purchase = staticmethod(purchase)

    @staticmethod
    def returned(at: dt.datetime, product: str, **more: Any) -> dict[str, Any]:
        """A return of one thing."""
        made = purchase(at, product, **{name: more.pop(name) for name in ("site", "minor") if name in more})
        del made["order_id"]
        return {**made, "kind": "return", **more}

    @staticmethod
    def charged(at: dt.datetime, product: str, action: str = "renew", period: str = "P1M", **more: Any) -> dict[str, Any]:
        """A subscription's event."""
        made = purchase(at, product, **more)
        del made["order_id"]
        return {**made, "kind": "subscription", "action": action, **({"period": period} if period else {})}

    @staticmethod
    def visited(at: dt.datetime, host: str = "www.shop.example", dwell: int | None = None) -> dict[str, Any]:
        """A page visit, with or without its length in milliseconds."""
        return {**page_visit(at, f"https://{host}/x"), **({} if dwell is None else {"dwell": dwell})}

    @staticmethod
    def load(person: Browser, *kinds: str) -> Loaded:
        """All totals, kept ones and those worked out on the spot."""
        with person.app.extensions["broker"].reading() as tx:
            return queries.load(tx, person.ring, kinds or sorted(TOTALLED), orders=True)

    @staticmethod
    def kept(person: Browser) -> tuple[list[Any], list[Any]]:
        """The rows of totals, and of stale months, that lie in the database."""
        with person.app.extensions["broker"].reading() as tx:
            return tuple(tx.execute(select(table).where(table.c.person_id == person.person_id)).all() for table in (totals, stale))  # type: ignore[return-value]

    @staticmethod
    def sums(loaded: Loaded) -> Sums:
        """What totals say, flat: visits, time and known by month, site and class; number, pieces, unpriced and money by kind, month and site."""
        found: Sums = {}
        for row in loaded.rows:
            key = (row.kind, row.month, row.body.site)
            found[key] = (row.body.number, row.body.first, row.body.last)
            if row.kind == "page_visit":
                found |= {(*key, site_class): tuple(spell) for site_class, *spell in row.body.classes()}
            else:
                found |= {(*key, "pieces"): row.body.pieces, (*key, "unpriced"): row.body.unpriced}
                found |= {(*key, currency): minor for currency, minor in row.body.sums.items()}
        return found

    @staticmethod
    def from_scratch(person: Browser) -> Sums:
        """The same from the events, each opened whole."""
        opened = Opener(person.ring)
        days: dict[tuple[str, ...], list[str]] = {}
        numbers: Counter[tuple[str, ...]] = Counter()
        spells: dict[tuple[str, ...], list[int]] = {}
        with person.app.extensions["broker"].reading() as tx:
            events = [opened(*row) for row in event_queries.own_rows(tx, person.ring, Wanted(tuple(sorted(TOTALLED))), LAST_DAY)]
        for event in events:
            key = (event["kind"], event["time"][:7], event["domain"])
            days.setdefault(key, []).append(event["time"][:10])
            if event["kind"] == "page_visit":
                spell = spells.setdefault((*key, event["class"]), [0, 0, 0])
                for place, more in enumerate((1, event.get("dwell", 0), int("dwell" in event))):
                    spell[place] += more
                continue
            numbers[*key, "pieces"] += sum(item.get("quantity", 1) for item in event["items"])
            numbers[*key, "unpriced"] += 0
            if event.get("action") in {"change", "end"}:
                continue
            numbers[*key, event["total"]["currency"]] += event["total"]["amount_minor"]
        found: Sums = {key: (len(each), min(each), max(each)) for key, each in days.items()}
        return found | dict(numbers) | {key: tuple(spell) for key, spell in spells.items()}


@pytest.fixture
def trading() -> type[Trading]:
    """Makers and looks."""
    return Trading
