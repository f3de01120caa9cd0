"""What is left of what was bought when what was sent back is taken away: pure."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from broker.insights.totals import identity, name_of


@dataclass(frozen=True, slots=True)
class Known:
    """A purchase or a return, with its event's tag as hex."""

    tag: str
    event: Mapping[str, Any]


@dataclass(slots=True)
class Thing:
    """A line of a purchase: how many pieces were bought and how many are left, and the price of each as it is kept."""

    time: str
    tag: str
    place: int
    site: str
    domain: str
    identity: str
    name: str
    order_id: str
    bought: int
    left: int
    price: Mapping[str, Any] | None

    @property
    def key(self) -> tuple[str, str, int]:
        """What lists are ordered and paged by."""
        return self.time, self.tag, self.place

    @property
    def at(self) -> dt.datetime:
        """When it was bought."""
        return dt.datetime.fromisoformat(self.time)

    @property
    def day_only(self) -> bool:
        """Whether no more than the day is known."""
        return self.time.endswith("T00:00:00.000Z")


def _price(event: Mapping[str, Any], item: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The price of one piece; of a single thing without one, what the order cost."""
    if "price" in item:
        found: Mapping[str, Any] = item["price"]
        return found
    alone = len(event["items"]) == 1 and item.get("quantity", 1) == 1
    return event.get("total") if alone else None


def _lines(known: Known) -> list[Thing]:
    event = known.event
    return [
        Thing(
            event["time"], known.tag, place, event["site"], event["domain"], identity(item), name_of(item), event.get("order_id", ""),
            item.get("quantity", 1), item.get("quantity", 1), _price(event, item),
        )
        for place, item in enumerate(event["items"])
    ]  # fmt: skip


def things(known: Sequence[Known]) -> tuple[list[Thing], int]:
    """What is left of purchases, newest first; and how many pieces were sent back.

    A return takes from its own order, where that has the thing, and else from the newest purchase of the same thing at the same shop before it.
    """
    bought = sorted((line for each in known if each.event["kind"] == "purchase" for line in _lines(each)), key=lambda line: line.key, reverse=True)
    by_thing: dict[tuple[str, str], list[Thing]] = {}
    for line in bought:
        by_thing.setdefault((line.domain, line.identity), []).append(line)
    returned = 0
    back = sorted((line for each in known if each.event["kind"] == "return" for line in _lines(each)), key=lambda line: line.key)
    for line in back:
        candidates = by_thing.get((line.domain, line.identity), []) if line.identity else []
        own = [each for each in candidates if line.order_id and each.order_id == line.order_id]
        others = (each for each in candidates if each.time <= line.time and not (line.order_id and each.order_id == line.order_id))
        for each in chain(own, others):
            taken = min(each.left, line.left)
            each.left -= taken
            line.left -= taken
            returned += taken
            if not line.left:
                break
    return [line for line in bought if line.left], returned
