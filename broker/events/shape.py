"""What an event must look like: the fields, types and limits of policies.md section 4, checked in one place for every way in."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from broker.events import sites, urls

if TYPE_CHECKING:
    from collections.abc import Iterator

Event = dict[str, Any]

EARLIEST: Final = datetime(1995, 1, 1, tzinfo=UTC)
AHEAD: Final = timedelta(hours=24)
MAX_ITEMS: Final = 200
MAX_MINOR: Final = 10**12
_codes = json.loads(Path(__file__).with_name("codes.json").read_text("utf-8"))
# ISO 4217: how many decimal places the minor unit has (JPY 0, EUR 2, KWD 3).
EXPONENTS: Final[dict[str, int]] = {code: int(exponent) for exponent, codes in _codes["currencies_by_exponent"].items() for code in codes}
TOPS: Final = frozenset(_codes["top_categories"])
COUNTRIES: Final = frozenset(_codes["countries"])

MAX_DEPTH: Final = 4
MAX_SEGMENT: Final = 40
MAX_FAULTS: Final = 20

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOT_A_HOST = "Not a public host name in lower-case ASCII."
_NOT_A_CURRENCY = "Not an ISO 4217 currency."
_UNKNOWN = "There is no such field."
_STEP = re.compile(r"\.([A-Za-z_]+)|\[(\d+)\]")
_NAMED = re.compile(r"Object (contains unknown|missing required) field `(.*)`\Z", re.DOTALL)
_UNCLEAN = re.compile(r"[\x00-\x1f\ud800-\udfff]")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)\Z", re.ASCII)

Text64 = Annotated[str, Meta(min_length=1, max_length=64)]
Text100 = Annotated[str, Meta(min_length=1, max_length=100)]
Text200 = Annotated[str, Meta(min_length=1, max_length=200)]
Time = Annotated[str, Meta(max_length=40)]
Id = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")]
# 128 bits make 22 characters of base64url, of which the last carries only two bits.
Visit = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{21}[AQgw]\Z")]
Host = Annotated[str, Meta(max_length=urls.MAX_HOST)]
Url = Annotated[str, Meta(max_length=urls.MAX_URL)]
Period = Annotated[str, Meta(pattern=r"^P(?:[1-9][0-9]{0,3}[YMWD]|T[1-9][0-9]{0,4}H)\Z")]
Gtin = Annotated[str, Meta(pattern=r"^(?:[0-9]{8}|[0-9]{12,14})\Z")]
Region = Annotated[str, Meta(pattern=r"^[A-Z]{2}(?:-[A-Z0-9]{1,3})?\Z")]
Category = Annotated[str, Meta(min_length=1, max_length=200)]


class Money(Struct, forbid_unknown_fields=True):
    """An amount in minor units of an ISO 4217 currency, 0 to 10^12."""

    amount_minor: Annotated[int, Meta(ge=0, le=MAX_MINOR)]
    currency: Annotated[str, Meta(min_length=3, max_length=3)]


class Item(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One line of a cart, an order or a product page; `price` is per unit."""

    category: Category | UnsetType = UNSET
    brand: Text100 | UnsetType = UNSET
    product: Text200 | UnsetType = UNSET
    variant: Text100 | UnsetType = UNSET
    gtin: Gtin | UnsetType = UNSET
    sku: Text64 | UnsetType = UNSET
    price: Money | UnsetType = UNSET
    quantity: Annotated[int, Meta(ge=1, le=99_999)] | UnsetType = UNSET
    availability: Literal["in_stock", "out_of_stock", "preorder", "other"] | UnsetType = UNSET


Items = Annotated[list[Item], Meta(min_length=1, max_length=MAX_ITEMS)]
MaybeItems = Annotated[list[Item], Meta(max_length=MAX_ITEMS)]


class _Common(Struct, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind", kw_only=True):
    """What every kind has."""

    id: Id
    time: Time
    site: Host
    offset: Annotated[int, Meta(ge=-840, le=840)] | UnsetType = UNSET
    visit: Visit | UnsetType = UNSET
    device: Literal["phone", "tablet", "desktop", "tv", "other"] | UnsetType = UNSET
    confidence: Literal["confirmed", "high", "medium", "low"] | UnsetType = UNSET
    detected_by: Literal["jsonld", "datalayer", "microdata", "meta", "page", "url", "import", "person", "derived"] | UnsetType = UNSET
    rule: Text64 | UnsetType = UNSET
    received: Time | UnsetType = UNSET


class _Addressed(_Common, kw_only=True):
    """A kind that happens on a page."""

    url: Url | UnsetType = UNSET


class PageVisit(_Addressed, tag="page_visit", kw_only=True):
    """A page the person had open; `dwell` in milliseconds."""

    title: Text200 | UnsetType = UNSET
    referrer: Host | UnsetType = UNSET
    dwell: Annotated[int, Meta(ge=0, le=3_600_000)] | UnsetType = UNSET


class Search(_Addressed, tag="search", kw_only=True):
    """A search the person made on an engine or in a shop."""

    referrer: Host | UnsetType = UNSET
    engine: Host | UnsetType = UNSET
    query: Text200 | UnsetType = UNSET


class ProductView(_Addressed, tag="product_view", kw_only=True):
    """A product the person looked at."""

    title: Text200 | UnsetType = UNSET
    referrer: Host | UnsetType = UNSET
    items: Items


class Cart(_Addressed, tag="cart", kw_only=True):
    """Something put in a cart, taken out of it, or a look at it; only a look may be without items."""

    action: Literal["add", "remove", "view"]
    total: Money | UnsetType = UNSET
    items: MaybeItems | UnsetType = UNSET


class Checkout(_Addressed, tag="checkout", kw_only=True):
    """A step of paying."""

    action: Literal["start", "shipping", "payment"]
    total: Money | UnsetType = UNSET
    coupon: Text100 | UnsetType = UNSET
    items: MaybeItems | UnsetType = UNSET


class Purchase(_Addressed, tag="purchase", kw_only=True):
    """An order that was placed."""

    order_id: Text100 | UnsetType = UNSET
    total: Money | UnsetType = UNSET
    tax: Money | UnsetType = UNSET
    shipping: Money | UnsetType = UNSET
    discount: Money | UnsetType = UNSET
    coupon: Text100 | UnsetType = UNSET
    payment: Literal["card", "wallet", "transfer", "invoice", "cash", "other"] | UnsetType = UNSET
    ship_to: Region | UnsetType = UNSET
    items: Items


class Return(_Common, tag="return", kw_only=True):
    """Something sent back or cancelled; its total is positive."""

    order_id: Text100 | UnsetType = UNSET
    total: Money | UnsetType = UNSET
    tax: Money | UnsetType = UNSET
    shipping: Money | UnsetType = UNSET
    discount: Money | UnsetType = UNSET
    items: Items


class Subscription(_Addressed, tag="subscription", kw_only=True):
    """A subscription that began, was renewed or changed, or ended."""

    action: Literal["start", "renew", "change", "end"]
    total: Money | UnsetType = UNSET
    period: Period | UnsetType = UNSET
    items: Items


class CartAbandoned(_Common, tag="cart_abandoned", kw_only=True):
    """A cart that was left; made by the broker only (E2)."""

    total: Money | UnsetType = UNSET
    items: Items


AnyEvent = PageVisit | Search | ProductView | Cart | Checkout | Purchase | Return | Subscription | CartAbandoned

KINDS: Final[dict[str, type[AnyEvent]]] = {str(kind.__struct_config__.tag): kind for kind in AnyEvent.__args__}


class Invalid(ValueError):
    """An event that is refused; `errors` are `{pointer, detail}` pairs with JSON pointers (RFC 6901) into the event."""

    def __init__(self, errors: list[dict[str, str]]) -> None:
        super().__init__("; ".join(f"{error['pointer'] or '/'}: {error['detail']}" for error in errors))
        self.errors = errors


def check(raw: Any, *, now: datetime | None = None, own: bool = False) -> Event:
    """The event in the one form that is sealed: known fields only, time in UTC to the millisecond, address stripped.

    A title or query that holds a secret is left out (`urls.has_secret`), an address is stripped once more. `own` marks events of the
    broker itself, which alone may be `cart_abandoned` or carry `received`. Raises `Invalid`, whose details repeat no value.
    """
    # Naming the one struct is three times as fast as converting to the union.
    name = raw.get("kind") if isinstance(raw, dict) else None
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise Invalid([{"pointer": "/kind", "detail": "Not one of the kinds of events."}])
    try:
        event = msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise Invalid(_faults_of_form(raw, kind, error)) from None
    faults = [{"pointer": pointer, "detail": detail} for pointer, detail in _settle(event, now or datetime.now(UTC), own=own)]
    plain: Event = msgspec.to_builtins(event)
    faults += _faults_of_text(plain)
    if faults:
        raise Invalid(faults)
    return plain


def uuid7(at: datetime, entropy: bytes) -> str:
    """The UUIDv7 (RFC 9562) of a time and 10 bytes of hash: the same source row always gets the same id.

    Of the 80 bits 74 are used. Raises ValueError for a time without zone or fewer bytes.
    """
    if at.tzinfo is None or len(entropy) < 10:  # noqa: PLR2004 - 74 bits need 10 bytes
        raise ValueError("uuid7 needs a time with a zone and 10 bytes")
    milliseconds = (at - _EPOCH) // timedelta(milliseconds=1)
    noise = int.from_bytes(entropy[:10], "big")
    number = milliseconds << 80 | 7 << 76 | (noise >> 62 & 0xFFF) << 64 | 2 << 62 | noise & ((1 << 62) - 1)
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def written(at: datetime) -> str:
    """A time with zone as events carry it: UTC, exactly three fractional digits (the rest is cut), `Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def gtin_is_right(digits: str) -> bool:
    """Whether the last of 8, 12, 13 or 14 digits is the check digit of the GS1 General Specifications."""
    weighted = sum(int(digit) for digit in digits[-1::-2]) + 3 * sum(int(digit) for digit in digits[-2::-2])
    return weighted % 10 == 0


def _settle(event: AnyEvent, now: datetime, *, own: bool) -> Iterator[tuple[str, str]]:
    """Bring an event of the right form into its one spelling, and say what is wrong with it as (pointer, detail)."""
    yield from _settle_times(event, now)
    if not own:
        if isinstance(event, CartAbandoned):
            yield "/kind", "Only the broker itself makes this kind."
        if event.received is not UNSET:
            yield "/received", "Only the broker itself says when it received an event."
    if sites.site_of_host(event.site) is None:
        yield "/site", _NOT_A_HOST
    elif isinstance(event, _Addressed) and event.url is not UNSET:
        yield from _settle_address(event)
    if isinstance(event, PageVisit | Search | ProductView):
        yield from _settle_view(event)
    if not isinstance(event, PageVisit | Search):
        yield from _faults_of_trade(event)


def _settle_times(event: AnyEvent, now: datetime) -> Iterator[tuple[str, str]]:
    at = _moment(event.time)
    if at is None:
        yield "/time", "Not an RFC 3339 time with a zone."
    elif not EARLIEST <= at <= now + AHEAD:
        yield "/time", "Times run from 1995 to 24 hours from now."
    else:
        event.time = written(at)
    if event.received is not UNSET:
        received = _moment(event.received)
        if received is None:
            yield "/received", "Not an RFC 3339 time with a zone."
        else:
            event.received = written(received)


def _moment(text: str) -> datetime | None:
    if _TIME.match(text) is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _settle_address(event: _Addressed) -> Iterator[tuple[str, str]]:
    """The address is stripped here too, whoever sent it, and must lie on the event's own site: rules about sites judge `site`."""
    stripped = urls.strip(str(event.url), urls.EVERY)
    if stripped is None:
        yield "/url", "Not an http or https address of the public web."
    elif stripped.split("/", 3)[2].partition(":")[0] != event.site:
        yield "/url", "The address is not on the event's site."
    else:
        event.url = stripped


def _settle_view(event: PageVisit | Search | ProductView) -> Iterator[tuple[str, str]]:
    if event.referrer is not UNSET:
        referrer = sites.site_of_host(event.referrer)
        if referrer is None or referrer.domain != event.referrer:
            yield "/referrer", "Not a registrable domain."
    if isinstance(event, Search):
        if event.engine is not UNSET and sites.site_of_host(event.engine) is None:
            yield "/engine", _NOT_A_HOST
        if event.query is not UNSET and urls.has_secret(event.query):
            event.query = UNSET
    elif event.title is not UNSET and urls.has_secret(event.title):
        event.title = UNSET


def _faults_of_trade(event: ProductView | Cart | Checkout | Purchase | Return | Subscription | CartAbandoned) -> Iterator[tuple[str, str]]:
    if isinstance(event, Cart) and event.action != "view" and not event.items:
        yield "/items", "At least one item is needed."
    if isinstance(event, Purchase) and event.ship_to is not UNSET and event.ship_to[:2] not in COUNTRIES:
        yield "/ship_to", "Not an ISO 3166 country."
    for name in ("total", "tax", "shipping", "discount"):
        money = getattr(event, name, UNSET)
        if money is not UNSET and money.currency not in EXPONENTS:
            yield f"/{name}/currency", _NOT_A_CURRENCY
    if event.items is not UNSET:
        for place, item in enumerate(event.items):
            yield from _faults_of_item(item, f"/items/{place}")


def _faults_of_item(item: Item, pointer: str) -> Iterator[tuple[str, str]]:
    if item.price is not UNSET and item.price.currency not in EXPONENTS:
        yield f"{pointer}/price/currency", _NOT_A_CURRENCY
    if item.gtin is not UNSET and not gtin_is_right(item.gtin):
        yield f"{pointer}/gtin", "The check digit is wrong."
    if item.category is not UNSET:
        top, *below = item.category.split("/")
        if top not in TOPS:
            yield f"{pointer}/category", "Does not begin with a top category."
        elif len(below) > MAX_DEPTH or not all(0 < len(segment) <= MAX_SEGMENT for segment in below):
            yield f"{pointer}/category", "At most 4 segments of 1 to 40 characters may follow the top category."


def _faults_of_text(plain: Event) -> list[dict[str, str]]:
    """Control characters and lone surrogates, which no honest source sends and not every store can hold."""
    try:
        # JSON writes every control character with a backslash, so one search proves the absence of all.
        if b"\\" not in msgspec.json.encode(plain):
            return []
    except UnicodeEncodeError:
        pass
    places = [(f"/{name}", value) for name, value in plain.items()]
    for number, item in enumerate(plain.get("items", ())):
        places += [(f"/items/{number}/{name}", value) for name, value in item.items()]
    return [{"pointer": place, "detail": "Holds a control character."} for place, value in places if isinstance(value, str) and _UNCLEAN.search(value)]


def _faults_of_form(raw: Event, kind: type[AnyEvent], first: msgspec.ValidationError) -> list[dict[str, str]]:
    """Every field that has the wrong form, where the fast way stopped at the first."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    faults = [{"pointer": "/" + _escape(str(name)), "detail": _UNKNOWN} for name in raw if name not in fields and name != "kind"]
    for name, field in fields.items():
        if name not in raw:
            if field.required:
                faults.append({"pointer": f"/{name}", "detail": "This field is required."})
            continue
        try:
            msgspec.convert(raw[name], field.type)
        except msgspec.ValidationError as error:
            faults.append(_fault(f"/{name}", str(error)))
    return faults[:MAX_FAULTS] or [_fault("", str(first))]


def _fault(pointer: str, message: str) -> dict[str, str]:
    """A message of msgspec as pointer and detail, without the values it may quote."""
    said, _, path = message.partition(" - at `$")
    for name, place in _STEP.findall(path):
        pointer += "/" + (name or place)
    if named := _NAMED.match(said):
        unknown = named[1] == "contains unknown"
        return {"pointer": f"{pointer}/{_escape(named[2])}", "detail": _UNKNOWN if unknown else "This field is required."}
    if said.startswith("Invalid"):
        said = "Not one of the allowed values"
    elif "regex" in said:
        said = "Not in the expected form"
    return {"pointer": pointer, "detail": said.replace("`", "") + "."}


def _escape(name: str) -> str:
    """A member name as one step of a JSON pointer, cut where it is absurdly long."""
    return name[:80].encode("utf-8", "replace").decode().replace("~", "~0").replace("/", "~1")
