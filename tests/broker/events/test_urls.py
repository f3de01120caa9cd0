"""What is taken out of web addresses and words (extension.md section 4)."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.events import urls

UUID = "550e8400-e29b-41d4-a716-446655440000"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://u:p@Shop.Example:443/a/../b;id=1/c?q=1#f", "https://shop.example/b/c"),
        ("https://shop.example:8443", "https://shop.example:8443/"),
        ("https://shop.example./a", "https://shop.example/a"),
        ("https://bücher.example/ä", "https://xn--bcher-kva.example/%C3%A4"),
        ("https://shop.example/password-reset/abc/def", "https://shop.example/password-reset"),
        ("https://shop.example/Verify/123", "https://shop.example/Verify"),
        ("https://shop.example/oauth2/authorize/x", "https://shop.example/oauth2"),
        ("https://shop.example/%72eset/abc", "https://shop.example/%72eset"),
        (f"https://shop.example/o/{UUID}/x", "https://shop.example/o/:id/x"),
        (f"https://shop.example/o/{JWT}", "https://shop.example/o/:id"),
        ("https://shop.example/u/a@mail.example/x", "https://shop.example/u/:id/x"),
        ("https://shop.example/u/a%40mail.example", "https://shop.example/u/:id"),
        ("https://shop.example/u/a%2540mail.example", "https://shop.example/u/:id"),
        ("https://shop.example/t/abcdefghij0123456789", "https://shop.example/t/:id"),
        ("https://shop.example/t/dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "https://shop.example/t/:id"),
        ("https://shop.example/s/ref=nb_sb/178-4054207-0414966", "https://shop.example/s"),
        ("https://shop.example/s/178-4054207-0414966", "https://shop.example/s/:id"),
        # What only looks alike stays.
        ("https://shop.example/seagate-barracuda-3-5-inch-internal", "https://shop.example/seagate-barracuda-3-5-inch-internal"),
        ("https://shop.example/abcdefghijklmnopqrstuvwxyz/12345678901234567890123", "https://shop.example/abcdefghijklmnopqrstuvwxyz/12345678901234567890123"),
        ("https://social.example/@alice/1", "https://social.example/@alice/1"),
        ("https://wiki.example/100%25", "https://wiki.example/100%25"),
        # In doubt only the origin.
        ("https://shop.example/a%252Freset%252Fabc", "https://shop.example/"),
        ("https://shop.example/x%252525", "https://shop.example/"),
        ("https://shop.example/a/..;/b", "https://shop.example/"),
        ("https://shop.example/" + "a/" * 1100, "https://shop.example/"),
    ],
)
def test_what_opens_names_or_follows_is_gone(url: str, kept: str) -> None:
    assert urls.strip(url) == kept


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/a",
        "http://192.168.0.1/a",
        "http://0x7f000001/",
        "http://2130706433/",
        "http://[::1]/",
        "http://printer/a",
        "http://nas.local/",
        "http://x.internal/",
        "ftp://shop.example/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "chrome://history",
        "data:text/html,x",
        "shop.example/a",
        "",
        "https://",
        "https://shop.example/" + "a" * 70_000,
        "https://\ud800.example/",
    ],
)
def test_what_is_not_of_the_public_web_has_no_address(url: str) -> None:
    assert urls.strip(url) is None
    assert urls.parse(url) is None


def test_chosen_parameters_stay_and_known_identifiers_go_even_then() -> None:
    url = "https://shop.example/a?page=2&utm_source=x&gclid=1&access_token=abc&q=a%40mail.example&id=abcdefghij0123456789&sort=up&to=https://x.example"
    assert urls.strip(url, {"page", "gclid", "utm_source", "access_token", "q", "id", "to"}) == "https://shop.example/a?page=2"
    assert urls.strip(url, urls.EVERY) == "https://shop.example/a?page=2&sort=up"
    assert urls.strip(url) == "https://shop.example/a"


@pytest.mark.parametrize(
    "text",
    [
        "Inbox - alice@mail.example",
        "call +49 30 1234567",
        "0049 30 1234567",
        "030 1234567",
        "(555) 123-4567",
        "4111 1111 1111 1111",
        "4111111111111111",
        "378282246310005",
        f"Order {UUID}",
        JWT,
        "abcdefghij0123456789",
    ],
)
def test_secrets_in_words_are_found(text: str) -> None:
    assert urls.has_secret(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A Study in Ink",
        "Seagate Barracuda 3 TB HDD SATA 6 Gb/s NCQ 64MB Cache 7200RPM 3.5-Inch ST3000DM001",
        "9780321268174",
        "Hard_disk.jpg (1888x1416)",
        "4111 1111 1111 1112",
        "2026-11-22 12:00:00",
        "Sale of 01/12/2010 08:34",
        "Football 2-1, 3:0 and 14 more",
        "counterrevolutionaries",
    ],
)
def test_ordinary_words_are_no_secrets(text: str) -> None:
    assert not urls.has_secret(text)


pieces = st.sampled_from(
    ["a", "/", "%", "%25", "%2F", "%40", "@", ".", ";", "reset", "token", "?", "&", "=", "#", UUID, "ref=", "x.example", "A1b2C3d4E5f6G7h8I9j0", "ü", "\\"]
)


@given(st.lists(pieces, max_size=12).map("".join) | st.text(max_size=60))
def test_stripping_never_fails_and_a_second_pass_changes_nothing(rest: str) -> None:
    for keep in ((), urls.EVERY):
        once = urls.strip("https://shop.example/" + rest, keep)
        if once is not None:
            assert urls.strip(once, keep) == once
            assert len(once) <= urls.MAX_URL
            assert "#" not in once
            # %55 is a U: what follows it only looks like the rest of this UUID.
            assert UUID not in once.replace("%55", "U")


def test_long_words_cost_little() -> None:
    began = time.process_time()
    for filler in ("0 ", "a@", "1-", "eyJ", "A1b", "00 ", "/a", "0000-"):
        long = filler * (60_000 // len(filler))
        urls.has_secret(long)
        urls.strip("https://shop.example/" + long)
    # Searching that grew with the square of the length would take several seconds for each.
    assert time.process_time() - began < 2
