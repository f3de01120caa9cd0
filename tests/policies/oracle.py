"""A second, naive evaluator of slices: on plain JSON, row by row from the tables of the design."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from policies.topics import TOPICS

ALL = ["page_visit", "search", "product_view", "cart", "checkout", "purchase", "return", "subscription", "cart_abandoned"]
WITH_ITEMS = ALL[2:]
SENSITIVE_SITES = ["health", "finance", "adult", "religion", "politics", "union", "gambling", "dating", "children", "legal", "government", "mail", "sign-in"]
SENSITIVE_PRODUCTS = ["health", "adult", "religion", "gambling", "baby"]
OPEN_SITES = ["shop", "news", "search", "social", "video", "travel", "forum", "reference", "work", "other"]

# Field: levels from coarse to exact, kinds that carry it, whether it belongs to an item.
MONEY = ["hidden", "band", "bucket:10", "bucket:5", "bucket:1", "exact"]
PLAIN = ["hidden", "exact"]
FIELDS: dict[str, tuple[list[str], list[str], bool]] = {
    "time": (["hidden", "month", "day", "hour", "exact"], ALL, False),
    "site": (["hidden", "class", "domain", "host"], ALL, False),
    "url": (["hidden", "origin", "path1", "no_query", "exact"], [k for k in ALL if k not in ("return", "cart_abandoned")], False),
    "title": (PLAIN, ["page_visit", "product_view"], False),
    "referrer": (["hidden", "domain"], ["page_visit", "search", "product_view"], False),
    "device": (["hidden", "class"], ALL, False),
    "dwell": (["hidden", "bucket", "exact"], ["page_visit"], False),
    "engine": (PLAIN, ["search"], False),
    "query": (["hidden", "topic", "exact"], ["search"], False),
    "order_id": (["hidden", "pairwise"], ["purchase", "return"], False),
    "total": (MONEY, WITH_ITEMS[1:], False),
    "tax": (MONEY, ["purchase", "return"], False),
    "shipping": (MONEY, ["purchase", "return"], False),
    "discount": (MONEY, ["purchase", "return"], False),
    "coupon": (["hidden", "used", "exact"], ["checkout", "purchase"], False),
    "payment": (["hidden", "type"], ["purchase"], False),
    "ship_to": (["hidden", "country", "region"], ["purchase"], False),
    "period": (PLAIN, ["subscription"], False),
    "category": (["hidden", "top", "leaf"], WITH_ITEMS, True),
    "brand": (PLAIN, WITH_ITEMS, True),
    "product": (PLAIN, WITH_ITEMS, True),
    "variant": (PLAIN, WITH_ITEMS, True),
    "gtin": (PLAIN, WITH_ITEMS, True),
    "sku": (PLAIN, WITH_ITEMS, True),
    "price": (MONEY, WITH_ITEMS, True),
    "quantity": (["hidden", "bucket", "exact"], WITH_ITEMS, True),
    "availability": (PLAIN, WITH_ITEMS, True),
    "confidence": (PLAIN, ALL, False),
}
Json = dict[str, Any]


def window_at(window: Json, level: str, now: datetime) -> tuple[datetime, datetime]:
    """The edges of a window, rounded inwards by stepping (F3)."""
    after, before = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
    if "after" in window:
        after = max(after, datetime.fromisoformat(window["after"]))
    if "before" in window:
        before = min(before, datetime.fromisoformat(window["before"]))
    if "max_age" in window:
        after = max(after, now - hours(window["max_age"]))
    if "min_age" in window:
        before = min(before, now - hours(window["min_age"]))
    while start_of(after, level) != after:
        after = start_of(after, level) + {"hour": timedelta(hours=1), "day": timedelta(days=1), "exact": timedelta(milliseconds=1)}.get(
            level, timedelta(days=31)
        )
        after = start_of(after, level)
    return after, start_of(before, level)


def hours(duration: str) -> timedelta:
    if duration.startswith("PT"):
        return timedelta(hours=int(duration[2:-1]))
    return timedelta(days=int(duration[1:-1]) * {"D": 1, "W": 7, "M": 30, "Y": 365}[duration[-1]])


def start_of(at: datetime, level: str) -> datetime:
    if level == "exact":
        return at.replace(microsecond=at.microsecond - at.microsecond % 1000)
    at = at.replace(minute=0, second=0, microsecond=0)
    if level == "hour":
        return at
    return at.replace(hour=0) if level == "day" else at.replace(hour=0, day=1)


def hits(carve: Json, event: Json, category: str | None) -> bool:
    """Whether a carve-out speaks of the event, seen with one of its categories."""
    if "kinds" in carve and event["kind"] not in carve["kinds"]:
        return False
    if "sites" in carve and event["domain"] not in carve["sites"] and "=" + event["host"] not in carve["sites"]:
        return False
    if "classes" in carve and event["class"] not in carve["classes"]:
        return False
    if "categories" in carve:
        return category is not None and any((category + "/").startswith(path + "/") for path in carve["categories"])
    return True


def topics_of(event: Json) -> list[str]:
    """The topics of a search, as one word after another, in the order of the list of words."""
    words = "".join(c if c.isalnum() else " " for c in event.get("query", "").casefold()).split()
    return [topic for topic in TOPICS if set(words) & TOPICS[topic]] or ["other"]


def site_allowed(part: Json, event: Json) -> bool:
    site_class = event["class"]
    if site_class not in SENSITIVE_SITES + OPEN_SITES:
        return False
    if site_class in SENSITIVE_SITES and site_class not in part["sensitive"]:
        return False
    if part["classes"] != ["*"] and site_class not in part["classes"]:
        return False
    return part["sites"] == ["*"] or event["domain"] in part["sites"] or "=" + event["host"] in part["sites"]


def whole(part: Json) -> list[Json]:
    return [carve for carve in part.get("except", []) if "fields" not in carve]


def item_allowed(part: Json, event: Json, item: Json) -> bool:
    category = item.get("category")
    if category is not None and category.split("/")[0] in SENSITIVE_PRODUCTS and category.split("/")[0] not in part["sensitive"]:
        return False
    if part["categories"] != ["*"]:
        inside = category is not None and any((category + "/").startswith(path + "/") for path in part["categories"])
        if not inside:
            return False
    return not any(hits(carve, event, category) for carve in whole(part))


def covers(part: Json, event: Json) -> bool:
    """Whether an absolute slice, as JSON, holds an event."""
    if event["kind"] not in part["kinds"]:
        return False
    after, before = part["window"].get("after"), part["window"].get("before")
    at = datetime.fromisoformat(event["time"])
    if after and at < datetime.fromisoformat(after):
        return False
    if before and at >= datetime.fromisoformat(before):
        return False
    if not site_allowed(part, event):
        return False
    if any("categories" not in carve and hits(carve, event, None) for carve in whole(part)):
        return False
    if event.get("items"):
        return any(item_allowed(part, event, item) for item in event["items"])
    if part["categories"] != ["*"]:
        return False
    return "query" not in event or all(item_allowed(part, event, {"category": topic}) for topic in topics_of(event))


def trim(part: Json, event: Json, alias: Callable[[str], str] | None = None) -> Json:
    """The row of a covered event."""
    items = event.get("items", [])
    kept = [item for item in items if item_allowed(part, event, item)]
    row: Json = {"kind": event["kind"]}
    if alias:
        row["id"] = alias(event["id"])
    if "action" in event:
        row["action"] = event["action"]
    categories = [item.get("category") for item in items] if items else topics_of(event) if "query" in event else [None]
    for name, level in levels(part, event, categories).items():
        value = None if FIELDS[name][2] else value_of(part, event, name, level, alias)
        if value is not None and not (len(kept) < len(items) and name in ("total", "tax", "shipping", "discount", "coupon")):
            row[name] = value
    rows = []
    for item in kept:
        shown = {
            name: at_level(name, level, item[name]) for name, level in levels(part, event, [item.get("category")]).items() if FIELDS[name][2] and name in item
        }
        if shown:
            rows.append(shown)
    if rows:
        row["items"] = rows
    return row


def levels(part: Json, event: Json, categories: list[str | None]) -> dict[str, str]:
    """The level of each field that shows, after carve-outs and F2."""
    shown = {}
    for name, level in part["fields"].items():
        carved = any(name in carve.get("fields", []) and any(hits(carve, event, category) for category in categories) for carve in part.get("except", []))
        if level != "hidden" and event["kind"] in FIELDS[name][1] and not carved:
            shown[name] = level
    if shown.get("site") != "host" and "url" in shown:
        del shown["url"]
    if shown.get("url") not in ("no_query", "exact") and "title" in shown:
        del shown["title"]
    if "product" not in shown:
        shown = {name: level for name, level in shown.items() if name not in ("gtin", "sku", "variant")}
    return shown


def value_of(part: Json, event: Json, name: str, level: str, alias: Callable[[str], str] | None) -> Any:
    """The value of an event's own field at a level; None where it does not show."""
    if name == "site":
        return event[level]
    if name not in event:
        return None
    if name == "order_id":
        return alias(event[name]) if alias else None
    if name == "referrer":
        own = {**event, "host": event[name], "domain": event[name], "class": event.get("referrer_class", "")}
        carves = [carve for carve in part.get("except", []) if "fields" not in carve or "site" in carve["fields"]]
        if not site_allowed(part, own) or any("categories" not in carve and hits(carve, own, None) for carve in carves):
            return None
    return at_level(name, level, event[name])


def answers(part: Json, names: list[str], events: list[Json], today: date) -> Json:
    """The answers of an absolute slice, from every purchase that it holds (F9)."""
    seen = {**part, "fields": {"time": "day", "total": "exact"}}
    rows = [trim(seen, event) for event in events if event["kind"] == "purchase" and covers(seen, event)]
    days = sorted({row["time"][:10] for row in rows if "time" in row})
    found: Json = {"recency": None, "frequency": "0", "monetary": {}}
    if days:
        found["recency"] = max(timedelta(), today - date.fromisoformat(days[-1])) // timedelta(weeks=1)
        found["frequency"] = "16+" if len(days) > 15 else "8-15" if len(days) > 7 else "4-7" if len(days) > 3 else str(len(days))
    for currency in UNITS:
        spent = [(row["time"][:10], row["total"]["amount_minor"]) for row in rows if "time" in row and row.get("total", {}).get("currency") == currency]
        if spent:
            mean = sum(amount for _, amount in spent) / len({day for day, _ in spent})
            found["monetary"][currency] = money("band", {"currency": currency, "amount_minor": mean})
    return {name: found[name] for name in names}


UNITS = {"EUR": 100, "JPY": 100, "KWD": 1000, "SEK": 1000}


def at_level(name: str, level: str, value: Any) -> Any:
    """One exact value at a level (section 3)."""
    if level in ("exact", "leaf", "region", "domain", "type") or (name, level) == ("device", "class"):
        return value
    if name == "time":
        start = start_of(datetime.fromisoformat(value), level)
        return start.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    if name == "url":
        parts = urlsplit(value)
        origin = f"{parts.scheme}://{parts.netloc}"
        segments = parts.path.split("/")
        return {"origin": origin, "path1": origin + "/".join(segments[:2]), "no_query": origin + parts.path}[level]
    if level == "band" or level.startswith("bucket:"):
        return money(level, value)
    if name == "quantity":
        return "1" if value < 2 else "2-3" if value < 4 else "4-7" if value < 8 else "8+"
    if name == "dwell":
        return "0-10 s" if value < 10_000 else "10-30 s" if value < 30_000 else "30-60 s" if value < 60_000 else "1-5 min" if value < 300_000 else "5+ min"
    if level == "topic":
        # The first sensitive topic in the list's order, else that of the first word that has one.
        words = "".join(c if c.isalnum() else " " for c in value.casefold()).split()
        known = [topic for word in words for topic in TOPICS if word in TOPICS[topic]]
        sensitive = [topic for topic in TOPICS if topic in known and topic in SENSITIVE_PRODUCTS]
        return (sensitive + known + ["other"])[0]
    return {"top": lambda: value.split("/")[0], "used": lambda: bool(value), "country": lambda: value[:2]}[level]()


def money(level: str, value: Json) -> Json:
    unit, amount = UNITS[value["currency"]], value["amount_minor"]
    if level == "band":
        edges = [edge * unit for edge in (0, 10, 50, 100, 200, 500, 1000, 5000)]
    else:
        step = int(level[7:]) * unit
        edges = [amount // step * step, amount // step * step + step]
    low = max(edge for edge in edges if edge <= amount)
    high = min((edge for edge in edges if edge > amount), default=None)
    return {"currency": value["currency"], "from_minor": low, "to_minor": high}
