"""Reads the `places.sqlite` of Firefox and the browsers made from it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from broker.imports import databases
from broker.imports.reports import Report, Unreadable
from broker.imports.visits import Visit, Visits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from broker.events.shape import Event

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
NEEDED: Final = {
    "moz_historyvisits": frozenset({"id", "from_visit", "place_id", "visit_date", "visit_type"}),
    "moz_places": frozenset({"id", "url", "title"}),
}

# toolkit/components/places/nsINavHistoryService.idl. 5 and 6 mark where a redirect arrived, which is a page the person saw.
_NOT_PAGES: Final = {4: "embedded in a page", 7: "download", 8: "loaded in a frame"}
_REDIRECTED_TO, _RELOAD = (5, 6), 9


def is_history(database: databases.Database) -> bool:
    """Whether a database has the tables and columns of Firefox's places."""
    return all(columns <= database.columns(table) for table, columns in NEEDED.items())


def events(path: Path, report: Report, *, now: datetime, key: bytes = b"") -> Iterator[Event]:
    """Every visit as page_visit, with the searches and product views found in the addresses, oldest first.

    Embedded, framed and downloaded addresses are skipped and counted; a page that only redirected is kept with confidence `low`.
    Firefox does not say how long a page was open. Raises `Unreadable`.
    """
    with databases.opened(path) as database:
        if not is_history(database):
            raise Unreadable("This database is not the places.sqlite of Firefox.")
        visits = Visits(report, now=now, key=key)
        for row in database.query(_STATEMENT):
            report.seen += 1
            visit = _visit(*row)
            if isinstance(visit, str):
                report.skipped[visit] += 1
            else:
                yield from visits.events(visit)


_STATEMENT: Final = (
    "SELECT v.visit_date, v.visit_type, p.url, p.title, fp.url, "
    "EXISTS (SELECT 1 FROM moz_historyvisits n WHERE n.from_visit = v.id AND n.visit_type IN (5, 6)) "
    "FROM moz_historyvisits v LEFT JOIN moz_places p ON p.id = v.place_id "
    "LEFT JOIN moz_historyvisits f ON f.id = v.from_visit LEFT JOIN moz_places fp ON fp.id = f.place_id ORDER BY v.visit_date, v.id"
)


def _visit(microseconds: Any, kind: Any, url: Any, title: Any, referrer: Any, redirected: Any) -> Visit | str:
    """One row, or why it is skipped."""
    if not isinstance(microseconds, int) or not isinstance(url, str):
        return "unreadable row"
    if kind in _NOT_PAGES:
        return _NOT_PAGES[kind]
    try:
        at = EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return "unreadable row"
    return Visit(
        url=url,
        at=at,
        title=title if isinstance(title, str) else "",
        referrer=referrer if isinstance(referrer, str) else "",
        passing="redirected" if redirected else "",
        again=kind == _RELOAD,
    )
