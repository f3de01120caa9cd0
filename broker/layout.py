"""What every page's template may call: the menu, icons, times in the person's zone, and the vendored scripts with their integrity."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel.dates import format_date, format_skeleton, format_timedelta
from babel.numbers import format_currency, get_currency_precision
from flask import Flask, Response, current_app, g, make_response, render_template, request, url_for
from markupsafe import Markup

from broker.config import Settings
from broker.words import joined, many

VENDOR = Path(__file__).parent / "static" / "vendor"
# Each entry: label, address, icon. Pages arrive capability by capability, so an entry shows once its address has a route.
MENU = (
    ("", (("Home", "/", "house"),)),
    ("Asking", (("Requests", "/requests", "inbox"), ("Grants", "/grants", "handshake"), ("Terms", "/terms", "list"))),
    (
        "Record",
        (
            ("My activity", "/activity", "activity"),
            ("Insights", "/insights", "receipt"),
            ("Ledger", "/ledger", "scroll-text"),
            ("Vendors", "/vendors", "store"),
        ),
    ),
    (
        "Keeping",
        (
            ("Devices & sign-in", "/devices", "smartphone"),
            ("Import", "/import", "upload"),
            ("Keys", "/keys", "key-round"),
            ("How long it is kept", "/keep", "calendar"),
            ("Export & erase", "/export", "download"),
            ("Erase everything", "/erase", "trash-2"),
            ("Settings", "/settings", "settings"),
        ),
    ),
)
FOOT = (("Help and documentation", "/docs"), ("Licences", "/credits"))


@dataclass(frozen=True)
class Entry:
    """One line of the menu; `current` is the value of aria-current: "page", "true" for a page below it, or ""."""

    label: str
    href: str
    icon: str
    current: str


def setup(app: Flask, settings: Settings) -> None:
    """Gives the templates of `app` their globals and filters; call it after headers.setup."""
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    app.add_template_global(icon)
    app.add_template_global(menu, "menu")
    app.add_template_global(foot)
    app.add_template_global(address)
    app.add_template_global(scripts)
    app.add_template_global(zone_name)
    app.jinja_env.globals["sandbox"] = settings.sandbox
    app.add_template_filter(local_time)
    app.add_template_filter(local_day)
    app.add_template_filter(local_month)
    app.add_template_filter(iso_time)
    app.add_template_filter(ago)
    app.add_template_filter(money)
    app.add_template_filter(many)
    app.add_template_filter(joined)


def address(path: str) -> str | None:
    """The address of the page at `path` below wherever the broker is mounted, or None while no capability serves it."""
    endpoint = _routes().get(path)
    return None if endpoint is None else url_for(endpoint)


def menu() -> list[tuple[str, list[Entry]]]:
    """The groups of the menu with the entries that exist; empty groups are left out."""
    groups = [(title, list(_entries(entries))) for title, entries in MENU]
    return [(title, entries) for title, entries in groups if entries]


def foot() -> list[Entry]:
    """The links at the foot of each page that exist."""
    return list(_entries((label, path, "") for label, path in FOOT))


@cache
def icon(name: str) -> Markup:
    """The lucide icon `name` as inline SVG, hidden from screen readers: it always stands beside text. KeyError if it is not vendored."""
    found = next(VENDOR.glob(f"lucide-*/{name}.svg"), None)
    if found is None:
        raise KeyError(name)
    body = re.sub(r"<!--.*?-->|<svg[^>]*>|</svg>|\s+(?=<)", "", found.read_text(encoding="utf-8"), flags=re.DOTALL)
    turns = " turns" if name.startswith(("arrow-", "chevron-", "log-out")) else ""
    # The file is one of ours, its hash stands in the manifest.
    return Markup(  # noqa: S704
        f'<svg class="icon{turns}" viewBox="0 0 24 24" width="18" height="18" fill="none" stroke="currentColor" stroke-width="2" '
        f'stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">{body.strip()}</svg>'
    )


@cache
def _integrity() -> dict[str, str]:
    files = json.loads((VENDOR / "manifest.json").read_text(encoding="utf-8"))["files"]
    return {entry["path"]: entry["sha384"] for entry in files if entry["path"].endswith(".js")}


def scripts() -> list[tuple[str, str]]:
    """Address and integrity of the scripts every page loads: htmx first, then its CSP extension."""
    return [
        (url_for("static", filename=f"vendor/{path}"), digest)
        for path, digest in sorted(_integrity().items(), key=lambda item: "hx-" in item[0])
        if path.startswith("htmx-")
    ]


def zone_name() -> str:
    """The IANA name of the person's time zone; UTC while nobody is signed in."""
    return getattr(g.get("person"), "time_zone", None) or "UTC"


def local_time(moment: datetime) -> str:
    """An aware `moment` in the person's zone and language, such as "3 Mar 2027, 14:05"."""
    here = moment.astimezone(_zone())
    return f"{format_date(here, 'medium', locale=_language())}, {here:%H:%M}"


def local_day(day: date) -> str:
    """A day as it stands, such as "3 Mar 2027": days are already counted in some zone, so none is applied."""
    return format_date(day, "medium", locale=_language())


def local_month(day: date) -> str:
    """The month of a day, such as "Mar 2027"."""
    return format_skeleton("yMMM", day, locale=_language())


def iso_time(moment: datetime) -> str:
    """RFC 3339 in UTC, for the `datetime` attribute."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def ago(moment: datetime, now: datetime) -> str:
    """How far `moment` lies from `now` ("3 hours ago", "in 2 days"), or "" from seven days on; it never stands without the time itself."""
    distance = moment - now
    if abs(distance) >= timedelta(days=7):
        return ""
    return format_timedelta(distance, add_direction=True, locale=_language())


def money(amount: Mapping[str, Any]) -> str:
    """`{"amount_minor": 1299, "currency": "EUR"}` as the person's language writes it, such as "€12.99"; never converted."""
    units = Decimal(amount["amount_minor"]).scaleb(-get_currency_precision(amount["currency"]))
    return format_currency(units, amount["currency"], locale=_language())


def page(template: str, block: str = "main", *, status: int = 200, **context: Any) -> Response:
    """The page `template`, or for htmx its `block` alone, from the same context; the block imports the macros it uses itself."""
    if request.headers.get("HX-Request") == "true":
        current_app.update_template_context(context)
        part = current_app.jinja_env.get_template(template)
        body = "".join(part.blocks[block](part.new_context(context)))
    else:
        body = render_template(template, **context)
    response = make_response(body, status)
    response.vary.add("HX-Request")
    return response


def _zone() -> ZoneInfo:
    try:
        return ZoneInfo(zone_name())
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def _language() -> str:
    language = getattr(g.get("person"), "language", None) or "en"
    # Plain "en" writes days and times the American way, which half of its readers misread.
    return "en_GB" if language == "en" else language


def _routes() -> dict[str, str]:
    """Path to endpoint of every route without a variable part, made once: routes do not change while the broker runs."""
    known: dict[str, str] | None = current_app.extensions.get("layout_routes")
    if known is None:
        known = {rule.rule.rstrip("/") or "/": rule.endpoint for rule in current_app.url_map.iter_rules() if not rule.arguments}
        current_app.extensions["layout_routes"] = known
    return known


def _entries(lines: Any) -> Iterator[Entry]:
    for label, path, name in lines:
        href = address(path)
        if href is not None:
            yield Entry(label, href, name, _current(href))


def _current(href: str) -> str:
    here = request.script_root + request.path
    if here == href:
        return "page"
    return "true" if href.rstrip("/") != request.script_root and here.startswith(href.rstrip("/") + "/") else ""
