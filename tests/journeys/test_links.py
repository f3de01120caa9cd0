"""Every link of every page leads somewhere: an address that answers, and on it the place that is named."""

import datetime as dt
import re
from html import unescape
from urllib.parse import urldefrag, urljoin, urlsplit

from makers import ORIGIN, Browser, Clock, Extension, Shop, page_visit, purchase, purchases

from broker.terms.actions import set_terms
from policies.terms import DEFAULT_TERMS

MOST = 400


def links(text: str, page: str) -> set[str]:
    """The addresses on a page that lie in this broker."""
    found = {urljoin(f"{ORIGIN}{page}", unescape(href)) for href in re.findall(r'<a [^>]*href="([^"]*)"', text)}
    return {each.removeprefix(ORIGIN) for each in found if each.startswith(f"{ORIGIN}/")}


def test_every_link_leads_somewhere(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    alice.store(purchase(clock() - dt.timedelta(days=3)), page_visit(clock() - dt.timedelta(days=2)))
    grant = bookshop.connect(alice, [purchases(), purchases(fields={"time": "month", "category": "top"})])["grant_id"]
    bookshop.read("?clause=c1")
    bookshop.read("?clause=c9")
    Extension.connect(alice)
    alice.post(f"/grants/{grant}/narrow", {"version": "2", "without": "c2"}, page=f"/grants/{grant}/narrow")
    denies = [{"id": "b1", "vendors": ["https://other.example"]}, {"id": "cut", "fields": ["price"]}]
    set_terms(alice.app.extensions["broker"], alice.person_id, {**DEFAULT_TERMS.to_json(), "deny": denies})
    waiting = alice.open(Shop.register(alice.app, "third.example").ask())
    texts: dict[str, str] = {}
    # From the first pages on; `asked` also holds the page that names an address.
    asked = {"/": "", waiting: "", "/docs": "", "/docs/": "", "/docs/reference/": "", "/import": "", "/nothing-here": ""}
    wanted = list(asked)
    anchors: list[tuple[str, str, str]] = []
    while wanted:
        page = wanted.pop(0)
        answer = alice.get(page, follow_redirects=True)
        assert answer.status_code == (404 if page == "/nothing-here" else 200), (page, asked[page])
        texts[page] = answer.text if answer.mimetype == "text/html" else ""
        for link in sorted(links(texts[page], urlsplit(page).path)):
            address, anchor = urldefrag(link)
            anchors += [(page, address, anchor)] if anchor else []
            if address not in asked:
                asked[address] = page
                wanted.append(address)
    assert {f"/grants/{grant}", "/terms", "/docs/reference/problems", "/problems/not-found", f"/grants/{grant}/files/receipts.json"} <= set(texts)
    assert 50 < len(texts) < MOST
    missing = {(page, f"{address}#{anchor}") for page, address, anchor in anchors if f'id="{anchor}"' not in texts[address]}
    assert not missing
