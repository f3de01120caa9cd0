"""Finds the search a person made in the address of its results: general engines and shops' own search."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote_plus

from broker.events import sites, urls

MAX_QUERY: Final = 200


class Engine(NamedTuple):
    """Where an engine's results live: a path and the parameters that may hold the words, the first present one counts."""

    path: str
    parameters: tuple[str, ...]
    label: str | None = None
    """The first label the host must have, where only one host of the domain searches."""


_SEARCH = "/search/?"
_Q = ("q",)

# A name without a dot is a brand under any country suffix, a name with one is a registrable domain.
_ENGINES: Final[dict[str, tuple[Engine, ...]]] = {
    "google": (Engine("/(?:search|webhp)?", ("q", "as_q")),),
    "bing": (Engine("/(?:search|images/search|shop|videos/search)", _Q),),
    "duckduckgo.com": (Engine("/(?:html/?|lite/?)?", _Q),),
    "ecosia.org": (Engine("/(?:search|images|news|videos|shopping)", _Q),),
    "startpage.com": (Engine("/(?:do/(?:dsearch|search|metasearch.pl)|sp/search)", ("query", "q")),),
    "qwant.com": (Engine("/", _Q),),
    "yahoo.com": (Engine("/search[^/]*(?:/.*)?", ("p",)),),
    "yahoo.co.jp": (Engine("/search", ("p",)),),
    "brave.com": (Engine("/(?:search|images|news|videos)", _Q, "search"),),
    "baidu.com": (Engine("/(?:s|baidu)", ("wd", "word")),),
    "yandex": (Engine("/(?:search|yandsearch)/?(?:touch/|pad/)?", ("text",)),),
    "kagi.com": (Engine("/search", _Q),),
    "mojeek.com": (Engine("/search", _Q),),
    "metager.de": (Engine("/meta/meta.ger3", ("eingabe",)),),
    "swisscows.com": (Engine("/[a-z-]{2,5}/web", ("query",)),),
    "naver.com": (Engine("/search.naver", ("query",)),),
    "seznam.cz": (Engine("/", _Q, "search"),),
    "ask.com": (Engine("/web", _Q),),
    "lilo.org": (Engine("/(?:searchweb.php)?", _Q, "search"),),
    "wikipedia.org": (Engine("/(?:w/index.php|wiki/[^/]+)", ("search",)),),
    "youtube.com": (Engine("/results", ("search_query",)),),
    "amazon": (
        Engine("/s(?:/.*)?", ("field-keywords", "k", "keywords")),
        Engine("/gp/(?:search|aw/s)(?:/.*)?", ("field-keywords", "k", "keywords")),
    ),
    "ebay": (Engine("/sch/(?:.*/)?i\\.html", ("_nkw",)),),
    "etsy.com": (Engine("/(?:[a-z]{2}(?:-[a-z]{2})?/)?search.*", _Q),),
    "otto.de": (Engine("/suche/(?P<words>[^/]+)/?", ()),),
    "zalando": (Engine("/(?:katalog|catalog|catalogue|catalogo|katalogus|catalogus)/?", _Q),),
    "walmart.com": (Engine(_SEARCH, ("q", "query")),),
    "target.com": (Engine("/s", ("searchTerm",)),),
    "bestbuy.com": (Engine("/site/searchpage.jsp", ("st",)),),
    "aliexpress.com": (Engine("/(?:wholesale|w/wholesale.*)", ("SearchText",)),),
    "ikea.com": (Engine("/[a-z]{2}/[a-z]{2}/search/?", _Q),),
    "mediamarkt": (Engine("/[a-z]{2}/search.html", ("query",)),),
    "saturn.de": (Engine("/[a-z]{2}/search.html", ("query",)),),
    "thalia.de": (Engine("/suche", ("sq",)),),
    "idealo.de": (Engine("/preisvergleich/MainSearchProductCategory.html", _Q),),
    "bol.com": (Engine("/(?:nl|be)/[a-z]{2}/s/?", ("searchtext",)),),
    "fnac.com": (Engine("/SearchResult/ResultList.aspx", ("Search",)),),
    "cdiscount.com": (Engine("/search/10/(?P<words>[^/]+)\\.html", ()),),
    "decathlon": (Engine(_SEARCH, ("Ntt", "query")),),
    "argos.co.uk": (Engine("/search/(?P<words>[^/]+)/?", ()),),
    "newegg.com": (Engine("/p/pl", ("d",)),),
    "discogs.com": (Engine("/(?:[a-z]{2}/)?search/?", _Q),),
    "github.com": (Engine("/search", _Q),),
}


def search_in(url: str) -> tuple[str, str] | None:
    """The host of the engine and the words looked for, if an address is a page of search results; at most 200 characters of them.

    Words behind `#` count too: Google's and Amazon's pages once put the newest search there.
    """
    parts = urls.parse(url)
    if parts is None:
        return None
    for engine in _engines_of(parts.host):
        found = re.fullmatch(engine.path, parts.path)
        if found is None:
            continue
        words = found.groupdict().get("words") or _first(parts.fragment.rpartition("?")[2], engine) or _first(parts.query, engine)
        query = " ".join(unquote_plus(words).split())[:MAX_QUERY].rstrip()
        if query and query.isprintable():
            return parts.host, query
    return None


@lru_cache(maxsize=4096)
def _engines_of(host: str) -> tuple[Engine, ...]:
    site = sites.site_of_host(host)
    if site is None:
        return ()
    engines = _ENGINES.get(site.domain) or _ENGINES.get(sites.brand_of(site.domain) or "", ())
    return tuple(engine for engine in engines if engine.label in {None, host.partition(".")[0]})


def _first(query: str, engine: Engine) -> str:
    """The first parameter of the engine that has a value, as written in a query or a fragment of the same form."""
    pairs = dict(pair.split("=", 1) for pair in reversed(query.split("&")) if "=" in pair)
    return next((pairs[name] for name in engine.parameters if pairs.get(name)), "")
