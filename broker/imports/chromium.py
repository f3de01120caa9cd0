"""Reads the `History` of Chromium and the browsers made from it, from Chrome 1 to now."""

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

EPOCH: Final = datetime(1601, 1, 1, tzinfo=UTC)
NEEDED: Final = {"visits": frozenset({"id", "url", "visit_time", "transition"}), "urls": frozenset({"id", "url", "title"})}

# ui/base/page_transition_types.h: the low byte is the core type, the rest are qualifiers.
_CORE, _SUBFRAMES, _RELOAD = 0xFF, {3, 4}, 8
_FORWARD_BACK, _CHAIN_END = 0x0100_0000, 0x2000_0000


def is_history(database: databases.Database) -> bool:
    """Whether a database has the tables and columns of a Chromium history."""
    return all(columns <= database.columns(table) for table, columns in NEEDED.items())


def events(path: Path, report: Report, *, now: datetime, key: bytes = b"") -> Iterator[Event]:
    """Every visit as page_visit, with the searches and product views found in the addresses, oldest first.

    Times are cut to milliseconds, dwell is absent where the browser is too old to measure it. Redirects and frames are kept with
    confidence `low`, and show no search or product. Raises `Unreadable`.
    """
    with databases.opened(path) as database:
        if not is_history(database):
            raise Unreadable("This database is not the History of a Chromium browser.")
        visits = Visits(report, now=now, key=key)
        for row in database.query(_statement(database)):
            report.seen += 1
            visit = _visit(*row)
            if visit is None:
                report.skipped["unreadable row"] += 1
            else:
                yield from visits.events(visit)


def _statement(database: databases.Database) -> str:
    columns = database.columns("visits")
    duration = "v.visit_duration" if "visit_duration" in columns else "NULL"
    if "from_visit" not in columns:
        return f"SELECT v.visit_time, v.transition, {duration}, u.url, u.title, NULL FROM visits v LEFT JOIN urls u ON u.id = v.url ORDER BY v.visit_time, v.id"
    return (
        f"SELECT v.visit_time, v.transition, {duration}, u.url, u.title, fu.url "
        "FROM visits v LEFT JOIN urls u ON u.id = v.url "
        "LEFT JOIN visits f ON f.id = v.from_visit LEFT JOIN urls fu ON fu.id = f.url ORDER BY v.visit_time, v.id"
    )


def _visit(microseconds: Any, transition: Any, duration: Any, url: Any, title: Any, referrer: Any) -> Visit | None:
    """One row, if its cells have the types a browser writes: SQLite itself holds any type in any column."""
    if not isinstance(microseconds, int) or not isinstance(transition, int) or not isinstance(url, str):
        return None
    try:
        at = EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return None
    core = transition & _CORE
    passing = "loaded in a frame" if core in _SUBFRAMES else "" if transition & _CHAIN_END else "redirected"
    return Visit(
        url=url,
        at=at,
        title=title if isinstance(title, str) else "",
        referrer=referrer if isinstance(referrer, str) else "",
        dwell=duration // 1000 if isinstance(duration, int) else None,
        passing=passing,
        again=core == _RELOAD or bool(transition & _FORWARD_BACK),
    )
