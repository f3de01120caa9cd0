"""The pages of the person's own activity: what is kept, filtered, and forgotten."""

import datetime as dt
import itertools
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from zoneinfo import ZoneInfo

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import Connection

from broker import current, errors, layout, plots
from broker import rows as shown_rows
from broker.confirming import fresh_to_forget
from broker.events import actions, finding, queries
from broker.events.queries import Wanted
from broker.events.sites import site_of
from broker.grants import queries as grants
from broker.session import own_path, person, signed_in
from broker.words import many
from policies.vocabulary import CATEGORIES, KINDS, SITE_CLASSES

pages: Final = Blueprint("activity", __name__)
Event = dict[str, Any]
TABS: Final = {
    "": ("All", tuple(KINDS)),
    "sites": ("Sites", ("page_visit",)),
    "searches": ("Searches", ("search",)),
    "products": ("Products", ("product_view",)),
    "carts": ("Carts", ("cart", "checkout", "cart_abandoned")),
    "purchases": ("Purchases", ("purchase", "return", "subscription")),
}
_DAYS: Final = {"from": "first", "to": "last"}
_PLAIN: Final = ("kind", "from", "to", "site", "class", "category", "words")
_OLDER: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)~([0-9a-f]{32})", re.ASCII)
_BATCH: Final = re.compile(r"[0-9a-f]{32}")
_MOST_SITES: Final = 50
_MOST_PRICED: Final = 20
_MOST_LEFT: Final = 10
# What has a price and can be seen more than once.
_PRICED: Final = ("product_view", "cart", "purchase")


@dataclass(frozen=True, slots=True)
class Filters:
    """A filter form as it was filled in, what it asks for, and what is wrong with it by field."""

    tab: str
    said: dict[str, str]
    wanted: Wanted
    mistakes: dict[str, str]

    @property
    def kept(self) -> dict[str, str]:
        """What stands in the address."""
        return {name: value for name, value in self.said.items() if value}

    @property
    def beyond_counters(self) -> bool:
        """Whether it asks for what the counters of days and kinds do not know."""
        return bool(self.wanted.site or self.wanted.site_class or self.wanted.category)

    @property
    def words(self) -> str:
        """The words that are looked for."""
        return self.said["words"]

    @property
    def is_whole(self) -> bool:
        """Whether it leaves nothing out."""
        return not self.tab and not self.kept


def read_filters(tab: str, form: Mapping[str, str]) -> Filters:
    """The filters of an address or a form."""
    said = {name: form.get(name, "").strip() for name in _PLAIN}
    mistakes: dict[str, str] = {}
    days: dict[str, dt.date | None] = {}
    for name, bound in _DAYS.items():
        try:
            days[bound] = dt.date.fromisoformat(said[name]) if said[name] else None
        except ValueError:
            days[bound] = None
            mistakes[name] = f"“{said[name]}” is no day. Write one such as 2027-03-31."
    first, last = days["first"], days["last"]
    if first and last and first > last:
        mistakes["to"] = "The last day lies before the first. Choose a later one, or leave it empty."
    site = _site(said["site"])
    if site is None:
        mistakes["site"] = f"“{said['site']}” is no site. Write one such as shop.example."
    if len(said["words"]) > finding.LONGEST_TEXT:
        mistakes["words"] = f"This is too long. Write at most {finding.LONGEST_TEXT} letters."
    known = {"kind": TABS[tab][1], "class": SITE_CLASSES, "category": CATEGORIES}
    mistakes |= {name: f"“{said[name]}” is none of these. Choose one of the list." for name, values in known.items() if said[name] and said[name] not in values}
    kinds = (said["kind"],) if said["kind"] in TABS[tab][1] else TABS[tab][1]
    return Filters(tab, said, Wanted(kinds, first, last, site or "", said["class"], said["category"]), mistakes)


def _site(text: str) -> str | None:
    """The host that was meant, from a host or an address; None where there is none in it."""
    if not text:
        return ""
    found = site_of(text if "://" in text else f"https://{text}/")
    return found.host if found else None


def _below(text: str) -> tuple[str, str, str] | None:
    if not text:
        return None
    found = _OLDER.fullmatch(text)
    try:
        dt.datetime.fromisoformat(found[1] if found else "")
    except ValueError:
        raise errors.InvalidCursor from None
    return (found[1][:10], found[1], found[2]) if found else None


@pages.get("/activity")
@signed_in
def index() -> Any:
    """All events, newest first."""
    return _list("")


@pages.get("/activity/<any(sites, searches, products, carts, purchases):tab>")
@signed_in
def kind_of(tab: str) -> Any:
    """The events of one tab, newest first."""
    return _list(tab)


def _list(tab: str) -> Any:
    broker, who = current.broker(), person()
    filters = read_filters(tab, request.args)
    below = _below(request.args.get("older", ""))
    if filters.mistakes:
        return render_template("events/list.html", **_frame(filters), days=[], figures=[], empty=False, failed=True), 422
    with broker.reading() as tx:
        found = finding.find(tx, who.ring, filters.wanted, filters.words) if filters.words else None
        own = queries.Own(found.events, None) if found else queries.own(tx, who.ring, filters.wanted, below)
        numbers = {} if found else _numbers(tx, filters)
        empty = not own.events and not numbers and not queries.totals(tx, who.person_id)
        more = _more(tx, filters) if below is None and not found else {}
        extensions = grants.ids(tx, who.person_id)
    of_kind: Counter[str] = Counter()
    for (_, kind), number in (numbers or {}).items():
        of_kind[kind] += number
    older = _address(filters, older=f"{own.older[1]}~{own.older[2]}") if own.older else ""
    return render_template(
        "events/list.html", **_frame(filters), days=_by_day(own.events, extensions), total=None if numbers is None else of_kind.total(), found=found,
        figures=shown_rows.counted(of_kind), empty=empty, older=older, first=_address(filters) if below else "",
        plot=_plot(filters, numbers) if numbers and below is None else None, **more,
    )  # fmt: skip


def _numbers(tx: Connection, filters: Filters) -> dict[tuple[dt.date, str], int] | None:
    """How many events match by day and kind; None where neither the counters know nor few enough could match to be counted one by one."""
    by_counters = queries.per_day(tx, person().person_id, filters.wanted)
    if not filters.beyond_counters:
        return by_counters
    if sum(by_counters.values()) > queries.CANDIDATES:
        return None
    return Counter((day, kind) for kind, day, _ in queries.matching(tx, person().ring, filters.wanted))


def _more(tx: Connection, filters: Filters) -> dict[str, Any]:
    """What the first page of some tabs says above its list."""
    ring, wanted = person().ring, filters.wanted
    if filters.tab == "sites":
        sites, cut = queries.sites(tx, ring, wanted)
        return {"sites": sites[:_MOST_SITES], "more_sites": len(sites) - _MOST_SITES, "cut": cut}
    if filters.tab == "products":
        priced = finding.prices(tx, ring, replace(wanted, kinds=_PRICED if wanted.kinds == TABS["products"][1] else wanted.kinds))
        return {"priced": priced[:_MOST_PRICED], "more_priced": len(priced) - _MOST_PRICED}
    if filters.tab == "carts" and "cart_abandoned" in wanted.kinds:
        return {"left": _by_day(queries.own(tx, ring, replace(wanted, kinds=("cart_abandoned",))).events[:_MOST_LEFT], set())}
    return {}


def _plot(filters: Filters, numbers: Mapping[tuple[dt.date, str], int]) -> dict[str, Any] | None:
    """The plot of what matches, by tab or, inside of one, by kind; None where all of it is of one day."""
    days = sorted(day for day, _ in numbers)
    if days[0] == days[-1]:
        return None
    if filters.tab or filters.said["kind"]:
        names = {kind: KINDS[kind].label for kind in filters.wanted.kinds}
        counted: Mapping[tuple[dt.date, str], int] = numbers
    else:
        group = {kind: label for label, kinds in list(TABS.values())[1:] for kind in kinds}
        names = {label: label for label, _ in list(TABS.values())[1:]}
        counted = Counter[tuple[dt.date, str]]()
        for (day, kind), number in numbers.items():
            counted[day, group[kind]] += number
    drawn = plots.over_time(counted, list(names), days[0], days[-1])
    zoomed = {bar.first: _address(filters, **{"from": bar.first.isoformat(), "to": bar.last.isoformat()}) for bar in drawn.bars if bar.total}
    return {"it": drawn, "names": list(names.values()), "zoomed": zoomed, "most": max(drawn.bars, key=lambda bar: bar.total)}


def _by_day(found: list[Event], extensions: set[str]) -> list[tuple[dt.date, list[dict[str, Any]]]]:
    """Events by the days of the person's zone; where only the day is known, it stays as it is."""
    zone = ZoneInfo(layout.zone_name())
    lines = [_shown(event, extensions, zone) for event in found]
    return [(day, list(of_day)) for day, of_day in itertools.groupby(lines, key=lambda line: line["at"].date())]


def _address(filters: Filters, **more: str) -> str:
    arguments: dict[str, Any] = {**filters.kept, **more}
    return url_for("activity.kind_of", tab=filters.tab, **arguments) if filters.tab else url_for("activity.index", **arguments)


def _frame(filters: Filters) -> dict[str, Any]:
    """What the filter form and the tabs need."""
    shared = {name: value for name, value in filters.kept.items() if name != "kind"}
    tabs = [(label, _address(replace(filters, tab=tab, said=shared)), tab == filters.tab) for tab, (label, _) in TABS.items()]
    kinds = TABS[filters.tab][1]
    forget: dict[str, Any] = {**filters.kept, **({"tab": filters.tab} if filters.tab else {})}
    return {
        "filters": filters, "said": filters.said, "errors": filters.mistakes, "tabs": tabs, "here": _address(filters),
        "kinds": [(kind, KINDS[kind].label) for kind in kinds] if len(kinds) > 1 else [],
        "classes": SITE_CLASSES, "categories": CATEGORIES, "forget": url_for("activity.forget_page", **forget), "plain": url_for("activity.index"),
    }  # fmt: skip


def _shown(event: Event, extensions: set[str], zone: ZoneInfo) -> dict[str, Any]:
    """An event as a line of the table: its words, and where it came from."""
    at, day_only = dt.datetime.fromisoformat(event["time"]), event["time"].endswith("T00:00:00.000Z")
    cells = shown_rows.cells(event)
    items = event.get("items", [])
    named = [*(cells.get(name, "") for name in ("title", "query")), shown_rows.summed_up(event) if items else ""]
    return {
        "tag": event["tag"],
        "at": at if day_only else at.astimezone(zone),
        "day_only": day_only,
        "kind": shown_rows.NOUNS[event["kind"]][0],
        "action": cells.get("action", ""),
        "site": event["site"],
        "what": " · ".join(part for part in named if part),
        "url": event.get("url", ""),
        "things": [shown_rows.own_item(each) for each in items] if len(items) > 1 or "total" in event else [],
        "grant": event["origin"] if event["origin"] in extensions else "",
        "batch": event["origin"] if _BATCH.fullmatch(event["origin"]) else "",
    }


@pages.post("/activity/forget/<tag>")
@signed_in
def forget_one(tag: str) -> Any:
    """Erase one event for good."""
    broker, who = current.broker(), person()
    if not re.fullmatch(r"[0-9a-f]{32}", tag):
        raise errors.NotFound
    with broker.reading() as tx:
        key = queries.by_tag(tx, who.ring, bytes.fromhex(tag))
    if key is None:
        raise errors.NotFound
    number = actions.forget(broker, who.ring, [key], {"kinds": [key[0]]})
    flash(_forgotten(number), "good")
    return redirect(own_path(request.form.get("back", "/activity")), 303)


def _forgotten(number: int) -> str:
    when = layout.local_time(current.broker().now())
    return f"{many(number, 'event was', 'events were')} forgotten on {when}. {'It' if number == 1 else 'They'} cannot come back by an upload or an import."


@pages.get("/activity/forget")
@signed_in
def forget_page() -> Any:
    """What would be forgotten, counted, before anything is."""
    filters = _to_forget(request.args)
    return _ask(filters, 422 if filters.mistakes else 200)


def _to_forget(form: Mapping[str, str]) -> Filters:
    """The filters of an address or a form of the page that forgets, which chooses by what the database can see."""
    filters = read_filters(_tab(form), form)
    if filters.words:
        filters.mistakes["words"] = "Words cannot choose what is forgotten: choose days, a site, a kind or a category, or forget single events."
    return filters


def _tab(form: Mapping[str, str]) -> str:
    tab = form.get("tab", "")
    return tab if tab in TABS else ""


def _ask(filters: Filters, status: int = 200, mistakes: dict[str, str] | None = None) -> Any:
    broker, who = current.broker(), person()
    wrong = {**filters.mistakes, **(mistakes or {})}
    with broker.reading() as tx:
        number = 0 if filters.is_whole or filters.mistakes else len(queries.matching(tx, who.ring, filters.wanted))
        used = grants.use_since(tx, who.person_id, queries.FIRST_DAY)
        readers = sorted({grant.domain for grant in grants.every(tx, who.ring) if grant.grant_id in used})
    frame = {**_frame(filters), "errors": wrong}
    kinds = [KINDS[kind].label for kind in filters.wanted.kinds] if filters.wanted.kinds != tuple(KINDS) else []
    backed_up = bool(broker.settings.backup_dir)
    return render_template(
        "events/forget.html", **frame, number=number, readers=readers, named=kinds, failed=bool(wrong), tab_names=TABS, backed_up=backed_up
    ), status  # fmt: skip


@pages.post("/activity/forget")
@signed_in
def forget_many() -> Any:
    """Erase a range, a site or a kind for good: exactly the number that its person was shown."""
    broker, who, form = current.broker(), person(), request.form
    filters = _to_forget(form)
    if filters.mistakes:
        return _ask(filters, 422)
    if filters.is_whole:
        return _ask(filters, 422, {"": "Choose what to forget: some days, a site, a kind or a category."})
    with broker.reading() as tx:
        keys = queries.matching(tx, who.ring, filters.wanted)
    if form.get("number", "") != str(len(keys)):
        return _ask(filters, 422, {"": "The number has changed since you looked. Nothing was forgotten; look at it again."})
    fresh_to_forget(len(keys))
    wanted = filters.wanted
    about = {"kinds": list(wanted.kinds), "from": wanted.first.isoformat() if wanted.first else "", "to": wanted.last.isoformat() if wanted.last else ""}
    number = actions.forget(broker, who.ring, keys, about)
    flash(_forgotten(number), "good")
    return redirect(url_for("activity.index"), 303)
