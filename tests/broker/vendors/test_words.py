"""Look-alike domains and names are pointed out, and those that are merely alike are not."""

import pytest
from makers import Browser, Shop

from broker.vendors.words import doubts

KNOWN = ("books.example", "amazon.example", "shop.example")


@pytest.mark.parametrize(
    ("name", "domain", "said"),
    [
        ("Books", "b00ks.example", "looks like books.example"),
        ("Books", "bo0ks.example", "looks like books.example"),
        ("Amazon", "arnazon.example", "looks like amazon.example"),
        ("Amazon", "amazom.example", "looks like amazon.example"),
        ("Amazon", "ama-zon.example", "looks like amazon.example"),
        ("Amazon", "amazonn.example", "looks like amazon.example"),
        ("Amazon", "mazon.example", "looks like amazon.example"),
        ("Books", "xn--bcher-kva.example", "bücher.example"),
        ("Books", "www.xn--bcher-kva.example", "bücher.example"),
        ("books.example", "evil.example", "calls itself after books.example"),
        ("Your BOOKS.EXAMPLE team", "evil.example", "calls itself after books.example"),
    ],
)
def test_what_deserves_a_second_look(name: str, domain: str, said: str) -> None:
    assert any(said in line for line in doubts(name, domain, KNOWN)), doubts(name, domain, KNOWN)


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("Books", "books.example"),
        ("books.example", "www.books.example"),
        ("www.books.example", "books.example"),
        ("Books", "shop.books.example"),
        ("Garden & Home Ltd.", "garden.example"),
        ("A.B. Smith", "smith.example"),
        ("Shoe", "shoe.example"),
    ],
)
def test_what_does_not(name: str, domain: str) -> None:
    assert doubts(name, domain, (domain, *KNOWN)) == []


def test_the_consent_page_says_so(alice: Browser, bookshop: Shop) -> None:
    """Next to the domain, for the one that only looks like it; the other is asked without a word."""
    assert "Look twice" not in alice.get(alice.open(bookshop.ask())).text
    fake = Shop.register(alice.app, "b00ks.example")
    page = alice.get(alice.open(fake.ask())).text
    assert "Look twice at who this is." in page
    assert f"Its address looks like {bookshop.domain}, which you may know. It is another." in page
