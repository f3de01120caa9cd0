"""Searches found in addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.events import searches


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://www.google.co.uk/search?hl=en&q=3+tb%20hard+drive", ("www.google.co.uk", "3 tb hard drive")),
        ("http://www.google.com/webhp?ie=UTF-8#output=search&q=3%20tb", ("www.google.com", "3 tb")),
        ("https://www.bing.com/search?q=ink", ("www.bing.com", "ink")),
        ("https://duckduckgo.com/?t=h&q=ink", ("duckduckgo.com", "ink")),
        ("https://www.ecosia.org/search?q=ink", ("www.ecosia.org", "ink")),
        ("https://www.startpage.com/sp/search?query=ink", ("www.startpage.com", "ink")),
        ("https://www.qwant.com/?q=ink&t=web", ("www.qwant.com", "ink")),
        ("https://search.yahoo.com/search;_ylt=A?p=ink", ("search.yahoo.com", "ink")),
        ("https://search.brave.com/search?q=ink", ("search.brave.com", "ink")),
        ("https://www.baidu.com/s?wd=%E5%A2%A8", ("www.baidu.com", "墨")),
        ("https://yandex.ru/search/?text=ink", ("yandex.ru", "ink")),
        ("https://www.amazon.de/s?k=ink&crid=1", ("www.amazon.de", "ink")),
        ("http://www.amazon.com/s/ref=nb_sb_noss/178-1?url=x&field-keywords=write+blocker", ("www.amazon.com", "write blocker")),
        ("https://www.ebay.de/sch/i.html?_nkw=ink", ("www.ebay.de", "ink")),
        ("https://www.etsy.com/de/search?q=ink", ("www.etsy.com", "ink")),
        ("https://www.otto.de/suche/rote%20schuhe/", ("www.otto.de", "rote schuhe")),
        ("https://www.zalando.fr/catalogue/?q=ink", ("www.zalando.fr", "ink")),
        ("https://www.walmart.com/search?q=ink", ("www.walmart.com", "ink")),
    ],
)
def test_engines_and_shops_show_what_was_looked_for(url: str, found: tuple[str, str]) -> None:
    assert searches.search_in(url) == found


@pytest.mark.parametrize(
    "url",
    [
        "https://www.google.com/url?q=https://shop.example",
        "https://www.google.com/",
        "https://www.google.com/search?q=",
        "https://www.google.com/search?q=+",
        "https://www.google.com/search?q=a%00b",
        "https://google.github.io/search?q=x",
        "https://brave.com/search?q=x",
        "https://www.amazon.de/dp/B005T3GRLY?keywords=x",
        "https://shop.example/search?q=x",
        "http://localhost/search?q=x",
    ],
)
def test_other_addresses_show_none(url: str) -> None:
    assert searches.search_in(url) is None


def test_long_words_are_cut() -> None:
    found = searches.search_in("https://www.bing.com/search?q=" + "ink+" * 100)
    assert found is not None
    assert len(found[1]) <= 200


@given(st.sampled_from(["https://www.google.com/search", "https://www.otto.de/suche/", "https://www.ebay.com/sch/"]), st.text(max_size=40))
def test_no_address_breaks_it(start: str, rest: str) -> None:
    searches.search_in(start + rest)
