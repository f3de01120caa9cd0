"""Hypothesis strategies for events, slices, terms and requests: few values, so that they meet."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from policies.requests import Request
from policies.roster import ROSTER
from policies.slices import Slice, normal_fields
from policies.terms import Deny, Terms, VendorFacts
from policies.vocabulary import FIELDS, KINDS

NOW = datetime(2026, 12, 3, 10, 30, tzinfo=UTC)
BOOKS = VendorFacts("https://books.example", frozenset({"books.example"}), frozenset({"class:bookshop", "known"}))
PLACES = (
    ("www.shop.example", "shop.example", "shop"),
    ("shop.example", "shop.example", "shop"),
    ("books.example", "books.example", "shop"),
    ("m.news.example", "news.example", "news"),
    ("clinic.example", "clinic.example", "health"),
    ("bank.example", "bank.example", "finance"),
)
CATEGORY_PATHS = ("books", "books/crime", "books/crime/old", "bookshelf/x", "toys", "health/pills", "baby")
CATEGORIES = ("books", "books/crime", "toys", "health", "baby")
CURRENCIES = ("EUR", "JPY", "KWD", "SEK")
PURPOSES = (
    "dpv:ProvideProductRecommendations",
    "dpv:ProvidePersonalisedRecommendations",
    "dpv:ServicePersonalisation",
    "dpv:PersonalisedAdvertising",
    "dpv:Personalisation",
    "dpv:DirectMarketing",
    "dpv:Marketing",
    "dpv:CustomerManagement",
    "dpv:CustomerRelationshipManagement",
    "dpv:PublicBenefit",
)

_few = st.sampled_from


def some(values: Any, least: int = 1, most: int = 3) -> st.SearchStrategy[list[str]]:
    """A few different entries, sorted."""
    return st.sets(_few(sorted(values)), min_size=least, max_size=most).map(sorted)


@st.composite
def partly(draw: Any, required: dict[str, Any], optional: dict[str, Any]) -> dict[str, Any]:
    """An object with all required members, and those optional ones that a bit of one number says."""
    bits = draw(st.integers(0, 2 ** len(optional) - 1))
    members = {name: draw(strategy) for name, strategy in required.items()}
    return members | {name: draw(strategy) for at, (name, strategy) in enumerate(optional.items()) if bits >> at & 1}


times = st.integers(0, 100 * 24 * 4).map(
    lambda quarters: (NOW - timedelta(minutes=15 * quarters) + timedelta(days=5)).strftime("%Y-%m-%dT%H:%M:%S") + f".{quarters % 3 * 7:03}Z",
)
money = st.builds(lambda amount, currency: {"amount_minor": amount, "currency": currency}, _few((0, 999, 1000, 2450, 12_345, 600_000)), _few(CURRENCIES))

VALUES: dict[str, Any] = {
    "url": _few(
        ("https://www.shop.example", "https://www.shop.example/", "https://www.shop.example/a/b?q=1", "https://www.shop.example/c?x", "https://h.example?y")
    ),
    "title": _few(("Shelf", "Tale")),
    "device": _few(("phone", "desktop")),
    "dwell": _few((0, 9_999, 10_000, 61_000, 3_600_000)),
    "engine": _few(("find.example",)),
    "query": _few(("crime book", "pills for pain", "zzz", "baby toys", "casino novel")),
    "order_id": _few(("A-1", "A-2")),
    "coupon": _few(("X", "")),
    "payment": _few(("card", "cash")),
    "ship_to": _few(("IE-CO", "FR-75")),
    "period": _few(("P1M",)),
    "category": _few(CATEGORY_PATHS),
    "quantity": _few((1, 2, 3, 4, 8, 99)),
    "availability": _few(("in_stock", "other")),
    "confidence": _few(("high", "low")),
    "brand": _few(("B",)),
    "product": _few(("P", "Q")),
    "variant": _few(("red",)),
    "gtin": _few(("40170725",)),
    "sku": _few(("s1",)),
}
for _name in ("total", "tax", "shipping", "discount", "price"):
    VALUES[_name] = money

_ITEM = partly({}, {name: VALUES[name] for name, about in FIELDS.items() if about.item})


@st.composite
def events(draw: Any, of_kinds: tuple[str, ...] = tuple(KINDS)) -> dict[str, Any]:
    """One event, as the broker hands it in."""
    kind = draw(_few(of_kinds))
    host, domain, site_class = draw(_few(PLACES))
    own = {name: VALUES[name] for name, about in FIELDS.items() if kind in about.kinds and not about.item and name in VALUES}
    event: dict[str, Any] = draw(partly({"time": times}, own))
    event |= {
        "id": f"id-{draw(st.integers(0, 99)):02}",
        "kind": kind,
        "site": host,
        "host": host,
        "domain": domain,
        "class": site_class,
        "visit": "v",
        "offset": 60,
    }
    if KINDS[kind].actions:
        event["action"] = draw(_few(KINDS[kind].actions))
    if kind in FIELDS["referrer"].kinds and draw(st.booleans()):
        _, event["referrer"], referrer_class = draw(_few(PLACES))
        if draw(st.integers(0, 4)):
            event["referrer_class"] = referrer_class
    if KINDS[kind].items:
        event["items"] = draw(st.lists(_ITEM, max_size=3))
    return event


@st.composite
def field_levels(draw: Any, names: tuple[str, ...] = tuple(FIELDS)) -> dict[str, str]:
    """Some fields with levels; seldom nothing."""
    chosen = draw(st.one_of(st.just(sorted(names)), some(names, 1, 8)))
    pick = draw(st.integers(0, 5))
    # One number turns the levels of all fields, which is much faster than one choice per field.
    return {name: FIELDS[name].levels[-1 - (pick * (at + 1) // 2) % (len(FIELDS[name].levels) - (pick < 3))] for at, name in enumerate(chosen)}


sites = st.one_of(st.just(["*"]), some(("shop.example", "=www.shop.example", "books.example", "clinic.example", "news.example")))
classes = st.one_of(st.just(["*"]), some(("shop", "news", "health", "finance")))
sensitive = st.one_of(st.just([]), some(("health", "finance", "baby"), 0, 3))
categories = st.one_of(st.just(["*"]), some(CATEGORIES))
windows = partly({}, {"max_age": _few(("P30D", "P90D", "PT36H")), "min_age": _few(("P0D", "P1D", "PT5H"))})
kinds = st.one_of(some(KINDS, 1, 4), st.just(sorted(KINDS)))
carve_outs = partly(
    {},
    {
        "kinds": some(KINDS),
        "sites": some(("shop.example", "=www.shop.example", "clinic.example", "news.example")),
        "classes": some(("shop", "news", "health")),
        "categories": some(CATEGORIES),
        "fields": some(FIELDS, 1, 5),
    },
)
slice_forms = partly(
    {"kinds": kinds, "fields": field_levels(), "window": windows},
    {"sites": sites, "classes": classes, "sensitive": sensitive, "categories": categories, "except": st.lists(carve_outs, max_size=2)},
)
slices = slice_forms.map(Slice.parse)

deny_bodies = partly(
    {},
    {
        "vendors": some(("https://books.example", "class:bookshop", "class:other")),
        "actions": some(("read", "write")),
        "purposes": some(PURPOSES),
        "kinds": some(KINDS),
        "sites": some(("shop.example", "=www.shop.example", "clinic.example")),
        "classes": some(("shop", "news")),
        "categories": some(CATEGORIES),
        "fields": some(FIELDS, 1, 5),
    },
)
# Denies of one part alone are the common ones, and the only ones that are folded in.
_lone = st.one_of(
    some(PURPOSES).map(lambda found: {"purposes": found}),
    some(KINDS).map(lambda found: {"kinds": found}),
    some(FIELDS, 1, 5).map(lambda found: {"fields": found}),
    some(("shop.example", "clinic.example")).map(lambda found: {"sites": found}),
    some(CATEGORIES).map(lambda found: {"categories": found}),
)
deny_forms = st.one_of(_lone, _lone, deny_bodies)
denies = deny_forms.map(lambda body: Deny.parse({"id": "d", **body}))

durations = _few(("P7D", "P30D", "P1Y", "PT12H"))
duties = partly(
    {},
    {
        "retention": durations,
        "on_end": durations.map(lambda length: f"delete:{length}"),
        "breach_notice": durations,
        "onward": _few(("none", "processors", "anonymised")),
        "processors": some(("Parcel Ltd", "Mail Co"), 0, 2),
        "profiling": st.booleans(),
        "tracking": st.booleans(),
        "ai_training": st.booleans(),
        "portability": st.booleans(),
        "storage": _few((["EEA"], ["EEA", "US"], ["*"])),
    },
)
validities = partly(
    {}, {"from": _few(("2026-12-10T00:00:00Z",)), "until": _few(("2027-02-01T00:00:00Z", "2027-12-01T00:00:00Z")), "max": _few(("P30D", "P180D"))}
)
rates = partly({}, {"reads": _few(("1/P1D", "24/P1D")), "rows": _few(("100/P1D", "900/P1D"))})
_DIMENSIONS = {
    "sites": st.one_of(sites, st.just(["self"])),
    "classes": classes,
    "sensitive": sensitive,
    "categories": categories,
    "form": _few(("rows", "answers")),
    "answers": some(("recency", "frequency", "monetary")),
    "window": windows,
    "rate": rates,
    "duties": duties,
    "validity": validities,
}


def _forms(form: dict[str, Any]) -> dict[str, Any]:
    """Make sure that there is something to show, or to answer."""
    if form.get("form") == "answers" and "answers" in form and "purchase" in form["kinds"]:
        return form
    fields = form["fields"] if normal_fields(form["fields"], frozenset(form["kinds"])) else form["fields"] | {"time": "day"}
    return form | {"form": "rows", "fields": fields}


rule_forms = partly(
    {"kinds": kinds, "fields": field_levels(), "purposes": some(PURPOSES), "vendors": _few((["*"], ["class:bookshop"], ["known"], ["class:other"]))},
    {"base": _few(tuple(ROSTER)), **_DIMENSIONS},
).map(lambda form: {"action": "read", **_forms(form)})


@st.composite
def terms_forms(draw: Any, most_rules: int = 3, most_denies: int = 2) -> dict[str, Any]:
    """The JSON of terms."""
    rules = draw(st.lists(rule_forms, max_size=most_rules))
    forbidden = draw(st.lists(deny_forms, max_size=most_denies))
    return {
        "type": "Terms",
        "version": 1,
        "vocabulary": 1,
        "base": draw(_few(("SD-BASE-ATP-S3P", "SD-BASE", "PDC-INTENT"))),
        "requests": "AgentAllowsRequests",
        "auto_accept": "never",
        "allow": [{"id": f"r{at}", **rule} for at, rule in enumerate(rules)],
        "deny": [{"id": f"d{at}", **deny} for at, deny in enumerate(forbidden)],
    }


_item_forms = partly({"kinds": kinds, "fields": field_levels(), "purposes": some(PURPOSES)}, _DIMENSIONS).map(_forms)


@st.composite
def request_forms(draw: Any, most: int = 2) -> dict[str, Any]:
    """The JSON of a request by the bookshop."""
    items = []
    for at, form in enumerate(draw(st.lists(_item_forms, min_size=1, max_size=most))):
        own = {"id": f"i{at}", "action": "read", "kinds": form.pop("kinds"), "purposes": form.pop("purposes"), "why": "To help"}
        accepts = draw(st.one_of(st.none(), some(ROSTER, 1, 6)))
        items.append(own | {"want": form} | ({} if accepts is None else {"roster_accepts": accepts}))
    return {"vendor": BOOKS.id, "items": items}


terms = terms_forms().map(Terms.parse)
requests = request_forms().map(lambda form: Request.parse(form, BOOKS))
