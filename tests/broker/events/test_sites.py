"""Which site an address belongs to, and its class."""

from __future__ import annotations

import pytest

from broker.events import sites


@pytest.mark.parametrize(
    ("url", "site"),
    [
        ("https://www.shop.example/a", ("www.shop.example", "shop.example")),
        ("https://a.b.shop.co.uk/", ("a.b.shop.co.uk", "shop.co.uk")),
        ("https://alice.github.io/", ("alice.github.io", "alice.github.io")),
        ("https://github.io/", ("github.io", "github.io")),
    ],
)
def test_sites_are_hosts_and_registrable_domains(url: str, site: tuple[str, str]) -> None:
    assert sites.site_of(url) == site


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://[::1]/", "http://intranet/", "about:blank", "http://x.localhost/"])
def test_addresses_of_one_network_have_no_site(url: str) -> None:
    assert sites.site_of(url) is None


@pytest.mark.parametrize(
    ("name", "site_class"),
    [
        ("amazon.co.jp", "shop"),
        ("amazon.github.io", "other"),
        ("wikipedia.org", "reference"),
        ("google.fr", "search"),
        ("mail.google.com", "mail"),
        ("accounts.google.com", "sign-in"),
        ("impots.gouv.fr", "government"),
        ("army.mil", "government"),
        ("mit.edu", "reference"),
        ("doctolib.fr", "health"),
        ("chase.com", "finance"),
        ("login.chase.com", "finance"),
        ("login.shop.example", "sign-in"),
        ("tinder.com", "dating"),
        ("verdi.de", "union"),
        ("something.casino", "gambling"),
        ("pornhub.com", "adult"),
        ("vatican.va", "religion"),
        ("spd.de", "politics"),
        ("kika.de", "children"),
        ("anwalt.de", "legal"),
        ("shop.example", "other"),
        ("localhost", "other"),
        ("", "other"),
    ],
)
def test_classes_come_from_the_map_the_brand_the_host_or_the_suffix(name: str, site_class: str) -> None:
    assert sites.class_of(name) == site_class


def test_every_class_of_the_policies_is_on_the_map() -> None:
    ordinary = {"shop", "news", "search", "social", "video", "travel", "forum", "reference", "work"}
    assert set(sites._DOMAINS.values()) == ordinary | sites.SENSITIVE
    assert len(sites.SENSITIVE) == 13
    assert all(sites.site_of_host(name) for name in sites._DOMAINS)
