"""Which site an address belongs to, and what class of site that is, from a public suffix list and a small map of our own."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from publicsuffixlist import PublicSuffixList

from broker.events import urls

OTHER: Final = "other"
_suffixes = PublicSuffixList()
# Brands are looked for under country suffixes only: amazon.github.io is somebody's page, amazon.co.jp is the shop.
_icann_suffixes = PublicSuffixList(only_icann=True)

_table = json.loads(Path(__file__).with_name("site_classes.json").read_text("utf-8"))
SENSITIVE: Final = frozenset(_table["sensitive"])


def _by_name(part: str) -> dict[str, str]:
    return {name: site_class for site_class, names in _table[part].items() for name in names}


_DOMAINS, _BRANDS, _SUFFIXES, _LABELS = _by_name("domains"), _by_name("brands"), _by_name("suffixes"), _by_name("labels")


class Site(NamedTuple):
    """A host and its registrable domain, both ASCII lower case."""

    host: str
    domain: str


def site_of(url: str) -> Site | None:
    """The site of an http(s) address of the public web; None for IP addresses, single labels, private names and other schemes."""
    parts = urls.parse(url)
    return None if parts is None else site_of_host(parts.host)


@lru_cache(maxsize=8192)
def site_of_host(host: str) -> Site | None:
    """The site of a host name that is already ASCII lower case; None where `site_of` says None.

    A host that is itself a public suffix (`github.io`) is its own domain: it shares nothing with the sites below it.
    """
    if not urls.public_host(host):
        return None
    return Site(host, _suffixes.privatesuffix(host) or host)


@lru_cache(maxsize=8192)
def brand_of(domain: str) -> str | None:
    """The label a registrable domain has before its country suffix: `amazon` of `amazon.co.uk`; None below a private suffix."""
    if not urls.public_host(domain) or _icann_suffixes.privatesuffix(domain) != domain:
        return None
    return domain.partition(".")[0]


@lru_cache(maxsize=8192)
def class_of(domain: str) -> str:
    """The site class of policies.md section 5 for a registrable domain, or more exactly for a host.

    The first label of a host (`login.`, `mail.`) counts only where the domain is not sensitive already.
    """
    name = domain.lower().removesuffix(".")
    found = site_of_host(name)
    if found is None:
        return OTHER
    of_domain = _class_of_registrable(found.domain)
    # A deny of finance must hit login.bank.example too, so a host may only make an ordinary domain sensitive.
    if found.host == found.domain or of_domain in SENSITIVE:
        return of_domain
    return _DOMAINS.get(found.host) or _LABELS.get(found.host.partition(".")[0]) or of_domain


def _class_of_registrable(domain: str) -> str:
    brand = brand_of(domain)
    if domain in _DOMAINS:
        return _DOMAINS[domain]
    if brand is not None and brand in _BRANDS:
        return _BRANDS[brand]
    labels = domain.split(".")
    tails = (".".join(labels[start:]) for start in range(len(labels)))
    return next((_SUFFIXES[tail] for tail in tails if tail in _SUFFIXES), OTHER)


def is_site(site: str) -> bool:
    """Whether a rule can be about this site: a registrable domain, a host after `=`, or one of the words for many.

    A public suffix (co.uk, github.io) is nobody's domain, and stands above many that have nothing to do with each other.
    """
    if site in ("*", "self"):
        return True
    found = site_of_host(site.removeprefix("="))
    return found is not None and (site.startswith("=") or _suffixes.privatesuffix(site) == site)
