"""Turns one visit of a browser's history into events, the same way for every browser."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from broker.events import products, searches, shape, sites, urls
from broker.imports.reports import Ids, Report, visit_id

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DWELL_MS: Final = 3_600_000
MAX_TITLE: Final = 200
SAME_SEARCH: Final = timedelta(seconds=60)
"""A browser writes a results page down again on each refinement of its address; within this time it is one search."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A row of a history: time with zone, dwell in milliseconds; `passing` for redirects and frames, `again` for back, forward and reload."""

    url: str
    at: datetime
    title: str = ""
    referrer: str = ""
    dwell: int | None = None
    passing: str = ""
    again: bool = False


class Visits:
    """Makes events of visits, oldest first, and counts into the report."""

    def __init__(self, report: Report, *, now: datetime, key: bytes) -> None:
        self._report = report
        self._now = now
        self._ids = Ids(key)
        self._searched: dict[tuple[str, str], datetime] = {}

    def events(self, visit: Visit) -> Iterator[shape.Event]:
        """The page_visit and, where the address shows one, the search or product_view; nothing for a skipped visit."""
        site = sites.site_of(visit.url)
        if site is None:
            web = visit.url[:8].lower().startswith(("http://", "https://"))
            self._report.skipped["private or malformed address" if web else "not a web address"] += 1
            return
        if not shape.EARLIEST <= visit.at <= self._now + shape.AHEAD:
            self._report.skipped["time outside 1995 to now"] += 1
            return
        digest = self._ids.digest("visit", visit.url, visit.at.isoformat())
        common = {
            "time": shape.written(visit.at),
            "site": site.host,
            "visit": visit_id(digest),
            "detected_by": "import",
            # A redirect or frame was loaded by a page; the person never chose it.
            "confidence": "low" if visit.passing else "high",
        }
        if address := urls.strip(visit.url):
            common["url"] = address
        if (referrer := sites.site_of(visit.referrer) if visit.referrer else None) is not None:
            common["referrer"] = referrer.domain
        for kind, fields in self._kinds(visit):
            raw = {"id": shape.uuid7(visit.at, self._ids.digest(kind, common["visit"])), "kind": kind, **common, **fields}
            yield from self._checked(raw)

    def _kinds(self, visit: Visit) -> Iterator[tuple[str, dict[str, Any]]]:
        title = _clean(visit.title)
        titled = {"title": title} if title else {}
        if visit.passing:
            self._report.noted[visit.passing] += 1
        yield "page_visit", titled | self._dwell(visit)
        if visit.passing:
            return
        if not visit.again and (search := self._search(visit)):
            yield "search", search
        if item := products.product_in(visit.url, title):
            yield "product_view", titled | {"items": [item]}

    def _dwell(self, visit: Visit) -> dict[str, Any]:
        # Browsers write 0 where they did not measure.
        if not visit.dwell or visit.dwell < 0:
            return {}
        if visit.dwell > MAX_DWELL_MS:
            self._report.noted["dwell cut to one hour"] += 1
        return {"dwell": min(visit.dwell, MAX_DWELL_MS)}

    def _search(self, visit: Visit) -> dict[str, Any] | None:
        found = searches.search_in(visit.url)
        if found is None:
            return None
        engine, query = found
        if urls.has_secret(query):
            self._report.noted["search words left out: an address or number in them"] += 1
            return {"engine": engine}
        known = (engine, query.casefold())
        last = self._searched.get(known)
        self._searched = {words: at for words, at in self._searched.items() if abs(visit.at - at) <= SAME_SEARCH} | {known: visit.at}
        if last is not None and visit.at - last <= SAME_SEARCH:
            self._report.noted["same search again within a minute: kept as a page visit, not as another search"] += 1
            return None
        return {"engine": engine, "query": query}

    def _checked(self, raw: shape.Event) -> Iterator[shape.Event]:
        try:
            event = shape.check(raw, now=self._now)
        except shape.Invalid:
            self._report.skipped["not a possible event"] += 1
            return
        self._report.made[event["kind"]] += 1
        yield event


def _clean(title: str) -> str:
    """A title on one line, without control characters and lone surrogates, at most 200 characters."""
    words = " ".join(title.split())
    if not words.isprintable():
        words = "".join(sign for sign in words if sign >= " " and not "\ud800" <= sign <= "\udfff")
    return words[:MAX_TITLE].strip()
