"""The words of policies: kinds, fields and their levels, classes, categories, and their labels."""

from typing import NamedTuple

from policies.topics import TOPICS


class Kind(NamedTuple):
    """A kind of event: its plain label, DPV category, actions, and whether it has items."""

    label: str
    dpv: str
    actions: tuple[str, ...] = ()
    items: bool = True


KINDS = {
    "page_visit": Kind("pages you visited", "pd:BrowserHistory", items=False),
    "search": Kind("what you searched for", "pd:BrowsingBehaviour", items=False),
    "product_view": Kind("products you looked at", "pd:Interest"),
    "cart": Kind("what you put in or took out of a cart", "pd:Intention", ("add", "remove", "view")),
    "checkout": Kind("checkouts you started", "pd:Intention", ("start", "shipping", "payment")),
    "purchase": Kind("what you bought", "pd:Purchase"),
    "return": Kind("what you sent back", "pd:Purchase"),
    "subscription": Kind("subscriptions", "pd:PurchasesAndSpendingHabit", ("start", "renew", "change", "end")),
    "cart_abandoned": Kind("carts you left", "pd:Intention"),
}
DERIVED_FROM = {"cart_abandoned": frozenset({"cart", "checkout", "purchase"})}
"""A deny of one of these kinds hits the derived one too (E2)."""

HIDDEN = "hidden"
LEVELS = {
    "time": ("hidden", "month", "day", "hour", "exact"),
    "site": ("hidden", "class", "domain", "host"),
    "url": ("hidden", "origin", "path1", "no_query", "exact"),
    "money": ("hidden", "band", "bucket:10", "bucket:5", "bucket:1", "exact"),
    "quantity": ("hidden", "bucket", "exact"),
    "dwell": ("hidden", "bucket", "exact"),
    "query": ("hidden", "topic", "exact"),
    "category": ("hidden", "top", "leaf"),
    "order": ("hidden", "pairwise"),
    "coupon": ("hidden", "used", "exact"),
    "ship_to": ("hidden", "country", "region"),
    "referrer": ("hidden", "domain"),
    "payment": ("hidden", "type"),
    "device": ("hidden", "class"),
    "plain": ("hidden", "exact"),
}
"""Order -> its levels, coarse to exact (section 3)."""

LEVEL_LABELS = {
    "time": ("", "the month", "the day", "the hour", "the exact time"),
    "site": ("", "the kind of site", "the site", "the site's full address"),
    "url": (
        "", "the start of the page's address", "the page's address up to its first part",
        "the page's address without what follows a question mark", "the page's full address",
    ),
    "money": ("", "the {noun} as a rough range", *(f"the {{noun}} in steps of {size}" for size in (10, 5, 1)), "the exact {noun}"),
    "quantity": ("", "roughly how many", "exactly how many"),
    "dwell": ("", "roughly how long you stayed", "exactly how long you stayed"),
    "query": ("", "the topic you searched for", "the words you searched for"),
    "category": ("", "the top category", "the category"),
    "order": ("", "an order number made for them alone"),
    "coupon": ("", "whether you used a coupon", "the coupon's code"),
    "ship_to": ("", "the country it was sent to", "the region it was sent to"),
    "referrer": ("", "the site you came from"),
    "payment": ("", "the way you paid"),
    "device": ("", "the kind of device"),
    "plain": ("", "the {noun}"),
}  # fmt: skip


class Field(NamedTuple):
    """A field of an event or of an item: its order of precision, its kinds, its noun."""

    order: str
    kinds: frozenset[str]
    noun: str
    item: bool = False

    @property
    def levels(self) -> tuple[str, ...]:
        """Its levels, coarse to exact."""
        return LEVELS[self.order]

    def label(self, level: str) -> str:
        """Name the field at a level, as in "the price in steps of 10"."""
        template = LEVEL_LABELS[self.order][self.levels.index(level)]
        return template.format(noun=self.noun)


_ALL = frozenset(KINDS)
_WITH_ITEMS = frozenset(kind for kind, about in KINDS.items() if about.items)
_ON_A_PAGE = _ALL - {"return", "cart_abandoned"}
_LOOKING = frozenset({"page_visit", "search", "product_view"})
_ORDERS = frozenset({"purchase", "return"})
_PURCHASE = frozenset({"purchase"})

FIELDS = {
    "time": Field("time", _ALL, "time"),
    "site": Field("site", _ALL, "site"),
    "url": Field("url", _ON_A_PAGE, "page address"),
    "title": Field("plain", frozenset({"page_visit", "product_view"}), "page title"),
    "referrer": Field("referrer", _LOOKING, "site you came from"),
    "device": Field("device", _ALL, "device"),
    "dwell": Field("dwell", frozenset({"page_visit"}), "time you stayed"),
    "engine": Field("plain", frozenset({"search"}), "search engine"),
    "query": Field("query", frozenset({"search"}), "search words"),
    "order_id": Field("order", _ORDERS, "order number"),
    "total": Field("money", _WITH_ITEMS - {"product_view"}, "total"),
    "tax": Field("money", _ORDERS, "tax"),
    "shipping": Field("money", _ORDERS, "shipping cost"),
    "discount": Field("money", _ORDERS, "discount"),
    "coupon": Field("coupon", frozenset({"checkout", "purchase"}), "coupon"),
    "payment": Field("payment", _PURCHASE, "way you paid"),
    "ship_to": Field("ship_to", _PURCHASE, "place it was sent to"),
    "period": Field("plain", frozenset({"subscription"}), "billing period"),
    "category": Field("category", _WITH_ITEMS, "category", item=True),
    "brand": Field("plain", _WITH_ITEMS, "brand", item=True),
    "product": Field("plain", _WITH_ITEMS, "product name", item=True),
    "variant": Field("plain", _WITH_ITEMS, "variant", item=True),
    "gtin": Field("plain", _WITH_ITEMS, "barcode number", item=True),
    "sku": Field("plain", _WITH_ITEMS, "shop's product number", item=True),
    "price": Field("money", _WITH_ITEMS, "price", item=True),
    "quantity": Field("quantity", _WITH_ITEMS, "quantity", item=True),
    "availability": Field("plain", _WITH_ITEMS, "availability", item=True),
    "confidence": Field("plain", _ALL, "certainty that it happened"),
}
"""The fields that a clause can show, in the order of section 4. `kind` and `action` always show;
`offset`, `visit`, `detected_by`, `rule` and `received` never; the `id` only as an alias (F6, F7)."""

FIELDS_WITH_ITEMS_CUT = frozenset({"total", "tax", "shipping", "discount", "coupon"})
"""Hidden from an event that lost an item, because they would tell what it was (F4)."""

GROUPS = (
    ("page addresses or titles", ("url", "title")),
    ("where you came from", ("referrer",)),
    ("your device", ("device",)),
    ("how long you stayed", ("dwell",)),
    ("search words", ("engine", "query")),
    ("product details", ("brand", "product", "variant", "gtin", "sku", "quantity", "availability")),
    ("order details", ("order_id", "total", "tax", "shipping", "discount", "coupon", "period")),
    ("payment or delivery", ("payment", "ship_to")),
)
"""What is named together when hidden. Time, site, category, price and certainty are in none."""

SENSITIVE_CLASSES = ("health", "finance", "adult", "religion", "politics", "union", "gambling", "dating", "children", "legal", "government", "mail", "sign-in")
SITE_CLASSES = ("shop", "news", "search", "social", "video", "travel", "forum", "reference", "work", "other", *SENSITIVE_CLASSES)
SENSITIVE_CATEGORIES = ("health", "adult", "religion", "gambling", "baby")
CATEGORIES = tuple(TOPICS)
"""The top categories of products; also the topics of a search."""
SENSITIVE = tuple(dict.fromkeys(SENSITIVE_CLASSES + SENSITIVE_CATEGORIES))
"""What `sensitive` can name: never inside `*` (U4)."""

CHANNELS = ("inbox",)
ANSWERS = {
    "frequency": "how often you bought",
    "monetary": "roughly how much you spent on a day with purchases",
    "recency": "how many weeks ago you last bought",
}
"""What can be answered in place of rows -> its label; worked out from purchases alone (F9)."""
ONWARD = ("none", "processors", "anonymised")
"""To whom rows may be passed on, strictest first: nobody, named processors, anybody once anonymised."""
REGIONS = {"EEA": "the EEA", "EU": "the EU", "CH": "Switzerland", "GB": "the United Kingdom", "US": "the United States"}
"""Labels of regions; other ISO 3166-1 codes are their own label."""

DIMENSIONS = {
    "kinds": "Kinds of event", "sites": "Sites", "classes": "Kinds of site", "sensitive": "Sensitive subjects", "categories": "Products",
    "form": "Rows or answers", "answers": "Answers",
    "window.max_age": "How far back", "window.min_age": "How fresh", "window.after": "From when", "window.before": "Up to when",
    "base": "Standard agreement", "purposes": "Purposes",
    "rate.reads": "How often", "rate.rows": "How many rows", "rate.messages": "How many messages", "rate.questions": "How many questions",
    "duties.retention": "How long they keep it", "duties.on_end": "Deletion at the end", "duties.breach_notice": "News of a leak",
    "duties.onward": "Passing it on", "duties.processors": "Who works for them",
    "duties.profiling": "Building a profile of you", "duties.tracking": "Tracking you", "duties.ai_training": "Training AI",
    "duties.portability": "A copy for you", "duties.storage": "Where they keep it",
    "channels": "Ways to reach you", "validity": "How long it lasts", "action": "What they do",
}  # fmt: skip
"""Dimension of a clause, `fields.…` apart -> its label."""


def rank(field: str, level: str) -> int:
    """Return how exact a level is: 0 is hidden."""
    return FIELDS[field].levels.index(level)


def coarser(field: str, one: str, other: str) -> str:
    """Return the coarser of two levels of a field."""
    return one if rank(field, one) <= rank(field, other) else other
