"""Finds the product in the address of its page, only for shops whose addresses leave no doubt."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from broker.events import sites, urls

MAX_PRODUCT: Final = 200
_ISBN10 = 10

_ASIN = r"(?P<sku>(?:B[0-9A-Z]{9}|[0-9]{9}[0-9X]))(?:/.*)?"

# A name without a dot is a brand under any country suffix, a name with one is a registrable domain.
_PRODUCTS: Final[dict[str, tuple[str, ...]]] = {
    "amazon": (
        rf"/(?:[^/]+/)?(?:-/[a-z]{{2}}/)?(?:[^/]+/)?dp/(?:product/)?{_ASIN}",
        rf"/(?:-/[a-z]{{2}}/)?gp/(?:product|aw/d)/{_ASIN}",
        rf"/exec/obidos/(?:ASIN|tg/detail/-)/{_ASIN}",
    ),
    "ebay": (r"/itm/(?:[^/]+/)?(?P<sku>[0-9]{9,15})/?",),
    "etsy.com": (r"/(?:[a-z]{2}(?:-[a-z]{2})?/)?listing/(?P<sku>[0-9]{6,12})(?:/.*)?",),
    "aliexpress.com": (r"/item/(?:[^/]+/)?(?P<sku>[0-9]{8,20})\.html",),
    "walmart.com": (r"/ip/(?:[^/]+/)?(?P<sku>[0-9]{5,14})/?",),
    "target.com": (r"/p/(?:[^/]+/)?-/A-(?P<sku>[0-9]{6,12})/?",),
    "bestbuy.com": (r"/site/(?:[^/]+/)?(?P<sku>[0-9]{6,9})\.p",),
    "ikea.com": (r"/[a-z]{2}/[a-z]{2}/p/[^/]*-(?P<sku>s?[0-9]{8})/?",),
    "mediamarkt": (r"/[a-z]{2}/product/_[^/]*-(?P<sku>[0-9]{5,9})\.html",),
    "saturn.de": (r"/[a-z]{2}/product/_[^/]*-(?P<sku>[0-9]{5,9})\.html",),
    "zalando": (r"/[a-z0-9-]+-(?P<sku>[a-z0-9]{9}-[a-z][0-9]{2})\.html",),
    "thalia.de": (r"/shop/home/artikeldetails/(?P<sku>A[0-9]{8,12})/?",),
    "newegg.com": (r"/(?:[^/]+/)?p/(?P<sku>N82E[0-9]{11})/?",),
    "argos.co.uk": (r"/product/(?P<sku>[0-9]{7})/?",),
    "bol.com": (r"/(?:nl|be)/[a-z]{2}/p/[^/]+/(?P<sku>[0-9]{16})/?",),
}
_TITLE_TAILS: Final = {"ebay": re.compile(r"(?P<product>.+?) \| eBay"), "etsy.com": re.compile(r"(?P<product>.+?) - Etsy(?: [\w ]+)?")}
_AMAZON = re.compile(r"Amazon\.[a-z.]{2,6}", re.IGNORECASE)


def product_in(url: str, title: str | None = None) -> dict[str, Any] | None:
    """The item of a product page: `sku`, for a book also `gtin` and `category`, and `product` if the page's title names it for certain."""
    parts = urls.parse(url)
    if parts is None:
        return None
    name = _shop_of(parts.host)
    found = next((match for pattern in _PRODUCTS.get(name, ()) if (match := re.fullmatch(pattern, parts.path))), None)
    if found is None:
        return None
    item: dict[str, Any] = {"sku": found["sku"]}
    if name == "amazon" and (gtin := isbn13(found["sku"])):
        item |= {"category": "books", "gtin": gtin}
    if title and (product := _product_in_title(name, title)) and not urls.has_secret(product):
        item["product"] = product
    return item


def isbn13(asin: str) -> str | None:
    """Amazon's number of a book is its ISBN-10; the ISBN-13 is a GTIN. None if the ISBN-10 check digit is wrong."""
    digits = [10 if sign == "X" else int(sign) for sign in asin if sign in "0123456789X"]
    if len(digits) != _ISBN10 or sum(weight * digit for weight, digit in zip(range(10, 0, -1), digits, strict=True)) % 11:
        return None
    body = "978" + asin[:9]
    check = -sum(int(sign) * (3 if place % 2 else 1) for place, sign in enumerate(body)) % 10
    return f"{body}{check}"


@lru_cache(maxsize=4096)
def _shop_of(host: str) -> str:
    """The name under which the table knows a shop, or nothing."""
    site = sites.site_of_host(host)
    names = () if site is None else (site.domain, sites.brand_of(site.domain) or "")
    return next((name for name in names if name in _PRODUCTS), "")


def _product_in_title(shop: str, title: str) -> str | None:
    words = " ".join(title.split())
    if shop == "amazon":
        product = _product_in_amazon_title(words)
    else:
        pattern = _TITLE_TAILS.get(shop)
        found = pattern.fullmatch(words) if pattern else None
        product = found["product"] if found else None
    return product[:MAX_PRODUCT].strip() or None if product else None


def _product_in_amazon_title(title: str) -> str | None:
    """`Amazon.com: NAME: DEPARTMENT` or `NAME : Amazon.de: DEPARTMENT`, with author and ISBN after a book's name in the second form."""
    # A space before each colon separates with certainty; then two departments may follow the name.
    if _AMAZON.fullmatch(title.partition(" : ")[0]):
        return title.split(" : ")[1] if title.count(" : ") > 1 else None
    parts = [part.strip() for part in re.split(r"\s?: ", title)]
    shop = next((place for place, part in enumerate(parts) if _AMAZON.fullmatch(part)), None)
    if shop == 0 and len(parts) > 2:  # noqa: PLR2004 - the shop, a name and a department
        return ": ".join(parts[1:-1])
    if shop == len(parts) - 2:
        named = parts[:shop]
        if len(named) > 2 and named[-1].isdigit():  # noqa: PLR2004 - a name, an author and an ISBN
            return ": ".join(named[:-2])
        return named[0] if len(named) == 1 else None
    return None
