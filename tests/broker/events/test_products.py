"""Products found in addresses and titles."""

from __future__ import annotations

from typing import Any

import pytest

from broker.events import products


@pytest.mark.parametrize(
    ("url", "title", "item"),
    [
        ("http://www.amazon.com/dp/B005T3GRLY", None, {"sku": "B005T3GRLY"}),
        ("https://www.amazon.de/gp/product/B005T3GRLY/ref=x?y=1", "", {"sku": "B005T3GRLY"}),
        ("https://www.amazon.de/-/en/Echo/dp/B005T3GRLY/", "Echo Dot : Amazon.de: Elektronik", {"sku": "B005T3GRLY", "product": "Echo Dot"}),
        (
            "https://www.amazon.com/x/dp/B002MF68HA",
            "Amazon.com : Forensic UltraDock V4 : Network Storage : Electronics",
            {"sku": "B002MF68HA", "product": "Forensic UltraDock V4"},
        ),
        ("https://www.amazon.com/x/dp/B002MF68HA", "Amazon.com: Dock: new: Electronics", {"sku": "B002MF68HA", "product": "Dock: new"}),
        (
            "http://www.amazon.com/File-System/dp/0321268172",
            "File System Forensic Analysis: Brian Carrier: 9780321268174: Amazon.com: Books",
            {"sku": "0321268172", "gtin": "9780321268174", "category": "books", "product": "File System Forensic Analysis"},
        ),
        ("https://www.ebay.co.uk/itm/123456789012?hash=x", "Ink | eBay", {"sku": "123456789012", "product": "Ink"}),
        ("https://www.etsy.com/listing/123456789/ink", "Ink - Etsy Germany", {"sku": "123456789", "product": "Ink"}),
        ("https://www.zalando.de/shoe-red-ab112a00b-q11.html", "Shoe", {"sku": "ab112a00b-q11"}),
        ("https://www.walmart.com/ip/Ink/123456", None, {"sku": "123456"}),
    ],
)
def test_certain_addresses_show_the_product(url: str, title: str | None, item: dict[str, Any]) -> None:
    assert products.product_in(url, title) == item


@pytest.mark.parametrize(
    "url",
    [
        "https://www.amazon.de/dp/SHORT",
        "https://www.amazon.de/s?k=B005T3GRLY",
        "https://www.amazon.de/gp/cart/view.html",
        "https://amazon.github.io/dp/B005T3GRLY",
        "https://shop.example/dp/B005T3GRLY",
        "https://www.ebay.com/itm/12",
        "http://localhost/dp/B005T3GRLY",
    ],
)
def test_others_show_none(url: str) -> None:
    assert products.product_in(url, "Amazon.com: X: Y") is None


@pytest.mark.parametrize(
    "title", ["Amazon.com: Electronics", "Dock", "A: B: C: Amazon.com: Books", "Amazon.com : Electronics", "a@mail.example : Amazon.de: X"]
)
def test_doubtful_titles_name_no_product(title: str) -> None:
    assert products.product_in("https://www.amazon.com/dp/B005T3GRLY", title) == {"sku": "B005T3GRLY"}


def test_an_asin_is_an_isbn_only_with_its_check_digit() -> None:
    assert products.isbn13("080442957X") == "9780804429573"
    assert products.isbn13("0321268173") is None
    assert products.isbn13("B005T3GRLY") is None
