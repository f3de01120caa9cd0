"""The pages of insights: what I own, what I pay for again and again, where my money and my time go. Looking at them writes nothing."""

import datetime as dt
import re
from collections import Counter
from collections.abc import Mapping
from functools import partial
from itertools import islice
from typing import Any, Final
from zoneinfo import ZoneInfo

from flask import Blueprint, flash, redirect, render_template, request, url_for

from broker import current, errors, layout
from broker.events.sites import site_of
from broker.insights import actions, figures, queries, views
from broker.insights.belongings import Thing
from broker.insights.queries import Loaded, Shop
from broker.insights.recurring import Recurring, recurring
from broker.session import person, signed_in
from broker.words import many

pages: Final = Blueprint("insights", __name__)
TRADE: Final = ("purchase", "return", "subscription")
CHARGES: Final = ("purchase", "subscription")
PAGE: Final = 50
# Yearly charges are found by three of them.
LOOK_BACK_YEARS: Final = 4
MOST_ROWS: Final = 25
MOST_RECURRING: Final = 40
MOST_PLOTS: Final = 3
LONG_HOURS: Final = 10
MOST_DAYS, MOST_MONTHS, LONGEST_NOTE = 730, 240, 500
_BELOW: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)~([0-9a-f]{32})~(\d{1,4})", re.ASCII)
_YEAR: Final = re.compile(r"[12]\d{3}", re.ASCII)
ALL: Final = "all"


@pages.get("/insights")
@signed_in
def index() -> Any:
    """The four insights, each with its main figure."""
    broker, who = current.broker(), person()
    today = broker.now().date()
    since = (today.replace(day=1) - dt.timedelta(days=1)).replace(day=1)
    with broker.reading() as tx:
        trade = queries.load(tx, who.ring, TRADE, _back(today), orders=True)
        visits = queries.load(tx, who.ring, ("page_visit",), f"{since:%Y-%m}")
        anything = bool(queries.span(tx, who.person_id, (*TRADE, "page_visit")))
    year = max((row.month[:4] for row in trade.rows), default=str(today.year))
    of_year = Loaded(tuple(row for row in trade.rows if row.month[:4] == year))
    pieces = Counter({kind: sum(row.body.pieces for row in of_year.of(kind)) for kind in ("purchase", "return")})
    money, _ = figures.money(of_year.rows)
    running = [each for each in _recurring(trade) if not each.is_over(today)]
    return render_template(
        "insights/index.html", anything=anything, year=year, pieces=pieces, money=money, running=len(running), costs=_costs(running),
        time=figures.time(visits.rows).whole, since=since, span=_span, now=broker.now(),
        trade=views.basis(trade, TRADE, _month), visits=views.basis(visits, ("page_visit",), _month),
    )  # fmt: skip


def _back(today: dt.date) -> str:
    return f"{today.year - LOOK_BACK_YEARS:04}-{today.month:02}"


def _month(day: dt.date) -> str:
    return layout.local_month(day)


def _span(milliseconds: int) -> str:
    """A length of time in hours and minutes, a long one in hours."""
    hours, minutes = divmod(round(milliseconds / 60_000), 60)
    if hours >= LONG_HOURS:
        return f"{round(milliseconds / 3_600_000):,} h"
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"


# What I own


@pages.get("/insights/owned")
@signed_in
def owned() -> Any:
    """What was bought and not sent back, newest first; first what can be sent back for a few more days."""
    below = _below(request.args.get("older", ""))
    broker, who, zone = current.broker(), person(), ZoneInfo(layout.zone_name())
    now = broker.now()
    today = now.astimezone(zone).date()
    with broker.reading() as tx:
        shops = queries.shops(tx, who.ring)

        def is_soon(thing: Thing) -> bool:
            return views.kept(thing, shops.get(thing.domain), zone).is_soon(today)

        def is_listed(thing: Thing) -> bool:
            return not is_soon(thing) and (below is None or thing.key < below)

        longest = max((shop.days for shop in shops.values()), default=0)
        found = queries.owned(tx, who.ring, is_listed, PAGE + 1, today - dt.timedelta(days=longest + 1) if longest else dt.date.max)
    kept = partial(_kept, shops, zone)
    soon = sorted(map(kept, filter(is_soon, found.things)), key=lambda each: (each.back, each.thing.key))
    rest = list(map(kept, islice(filter(is_listed, found.things), PAGE + 1)))
    shown = rest[:PAGE]
    older = "~".join(map(str, shown[-1].thing.key)) if len(rest) > PAGE else ""
    names = sorted({each.thing.domain for each in (*soon, *shown)} | set(shops))
    return render_template(
        "insights/owned.html", soon=[] if below else soon, things=shown, found=found, today=today, now=now, most=queries.LAST_LOOK,
        older=url_for("insights.owned", older=older) if older else "", first=url_for("insights.owned") if below else "",
        shops=[shops.get(name, Shop(name)) for name in names],
    )  # fmt: skip


def _kept(shops: Mapping[str, Shop], zone: ZoneInfo, thing: Thing) -> views.Kept:
    return views.kept(thing, shops.get(thing.domain), zone)


def _below(text: str) -> tuple[str, str, int] | None:
    if not text:
        return None
    found = _BELOW.fullmatch(text)
    if found is None:
        raise errors.InvalidCursor
    return found[1], found[2], int(found[3])


@pages.get("/insights/owned/shop")
@signed_in
def shop_form() -> Any:
    """How long a shop takes things back, how long its warranty lasts, and a note."""
    broker, who = current.broker(), person()
    asked = request.args.get("shop", "").strip()
    domain = _domain(asked)
    with broker.reading() as tx:
        known = queries.shops(tx, who.ring).get(domain, Shop(domain))
    said = {"shop": domain or asked, "days": str(known.days or ""), "months": str(known.months or ""), "note": known.note}
    return render_template("insights/shop.html", said=said, errors={}, most_days=MOST_DAYS, most_months=MOST_MONTHS)


@pages.post("/insights/owned/shop")
@signed_in
def keep_shop() -> Any:
    """Keep what the person says of a shop."""
    said = {name: request.form.get(name, "").strip() for name in ("shop", "days", "months", "note")}
    shop, mistakes = _read_shop(said)
    if mistakes:
        page = render_template("insights/shop.html", said=said, errors=mistakes, failed=True, most_days=MOST_DAYS, most_months=MOST_MONTHS)
        return page, 422
    actions.keep_shop(current.broker(), person().person_id, shop)
    flash(f"Kept for {shop.domain}." if shop != Shop(shop.domain) else f"Nothing is kept for {shop.domain} any more.", "good")
    return redirect(url_for("insights.owned"), 303)


def _domain(text: str) -> str:
    """The registrable domain that was meant, from a host or an address; empty where there is none in it."""
    found = site_of(text if "://" in text else f"https://{text}/")
    return found.domain if found else ""


def _read_shop(said: Mapping[str, str]) -> tuple[Shop, dict[str, str]]:
    """What a form says of a shop, and what is wrong with it by field."""
    mistakes: dict[str, str] = {}
    domain = _domain(said["shop"])
    if not domain:
        mistakes["shop"] = "This is no shop's site. Write one such as shop.example."
    numbers = {}
    for name, most, noun in (("days", MOST_DAYS, "days"), ("months", MOST_MONTHS, "months")):
        text = said[name] or "0"
        numbers[name] = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(most)) else most + 1
        if numbers[name] > most:
            mistakes[name] = f"Write a whole number of {noun}, {most} at most, or leave it empty."
    if len(said["note"]) > LONGEST_NOTE:
        mistakes["note"] = f"This is too long. Write at most {LONGEST_NOTE} letters."
    return Shop(domain, numbers["days"], numbers["months"], said["note"]), mistakes


# Subscriptions


def _recurring(loaded: Loaded) -> list[Recurring]:
    """Everything that comes again and again in totals with orders."""
    orders = {kind: [(row.body.site, order) for row in loaded.of(kind) for order in row.body.orders] for kind in CHARGES}
    return recurring(orders["purchase"], orders["subscription"])


def _costs(running: list[Recurring]) -> list[tuple[str, int, int]]:
    """What all of them come to, by currency: (currency, a month, a year)."""
    by: dict[str, list[Recurring]] = {}
    for each in running:
        if each.every:
            by.setdefault(each.currency, []).append(each)
    most_first = sorted(by.items(), key=lambda of: (-len(of[1]), of[0]))
    return [(currency, sum(each.month for each in found), sum(each.year for each in found)) for currency, found in most_first]


@pages.get("/insights/subscriptions")
@signed_in
def subscriptions() -> Any:
    """Charges that come again and again: what they cost, when the next is due, and when they became dearer; ended ones apart."""
    broker, who = current.broker(), person()
    now = broker.now()
    today = now.date()
    with broker.reading() as tx:
        loaded = queries.load(tx, who.ring, CHARGES, _back(today), orders=True)
        anything = bool(queries.span(tx, who.person_id, CHARGES))
    found = _recurring(loaded)
    running = [each for each in found if not each.is_over(today)]
    ended = sorted((each for each in found if each.is_over(today)), key=lambda each: each.charges[-1].day, reverse=True)
    return render_template(
        "insights/subscriptions.html", running=running[:MOST_RECURRING], ended=ended[:MOST_RECURRING], costs=_costs(running), today=today, now=now,
        more=max(0, len(running) - MOST_RECURRING) + max(0, len(ended) - MOST_RECURRING), anything=anything,
        basis=views.basis(loaded, CHARGES, _month), years=LOOK_BACK_YEARS,
    )  # fmt: skip


# Money and time


def _years(kinds: tuple[str, ...], endpoint: str) -> tuple[str, list[tuple[str, str, bool]], bool]:
    """(the year that is asked for, or `all`; tabs of years; whether there is anything). Raises `BadRequest`."""
    asked = request.args.get("year", "")
    if asked and asked != ALL and not _YEAR.fullmatch(asked):
        raise errors.BadRequest("There is no such year. Choose one of those on the page.")
    with current.broker().reading() as tx:
        span = queries.span(tx, person().person_id, kinds)
    if span is None:
        return asked or ALL, [], False
    first, last = int(span[0][:4]), int(span[1][:4])
    chosen = asked or str(last)
    years = [str(year) for year in range(last, first - 1, -1)]
    lines = [(year, url_for(endpoint, year=year), year == chosen) for year in years]
    return chosen, [*lines, ("All years", url_for(endpoint, year=ALL), chosen == ALL)], True


def _load_year(kinds: tuple[str, ...], year: str) -> Loaded:
    months = (queries.FIRST_MONTH, queries.LAST_MONTH) if year == ALL else (f"{year}-01", f"{year}-12")
    with current.broker().reading() as tx:
        return queries.load(tx, person().ring, kinds, *months)


def _closer(tab: str, first: dt.date, last: dt.date) -> str:
    days: dict[str, Any] = {"from": first.isoformat(), "to": last.isoformat()}
    return url_for("activity.kind_of", tab=tab, **days)


def _said(currency: str, minor: int) -> str:
    return layout.money({"amount_minor": minor, "currency": currency})


def _add_flow(one: figures.Flow, other: figures.Flow) -> None:
    one.spent += other.spent
    one.returned += other.returned


def _add_spell(one: figures.Spell, other: figures.Spell) -> None:
    one.add(other.visits, other.dwell, other.known)


def _period(of: str, tab: str) -> tuple[str, str]:
    """The name of a month or a year, and the address of its days in My activity."""
    first = dt.date.fromisoformat(f"{of}-01" if len(of) > len("2026") else f"{of}-01-01")
    last = queries.last_day(of) if len(of) > len("2026") else first.replace(month=12, day=31)
    return (_month(first) if len(of) > len("2026") else of), _closer(tab, first, last)


@pages.get("/insights/money")
@signed_in
def money() -> Any:
    """Where my money goes: by month and by shop, what came back subtracted, each currency by itself."""
    year, tabs, anything = _years(TRADE, "insights.money")
    loaded = _load_year(TRADE, year)
    found, unpriced = figures.money(loaded.rows)
    sections = []
    for place, of in enumerate(found[:MOST_PLOTS]):
        periods = views.by_year(of.months(), figures.Flow, _add_flow) if year == ALL else of.months()
        shops = of.shops()
        most = MOST_ROWS if place == 0 else MOST_ROWS // 3
        sections.append({
            "of": of, "say": partial(_said, of.currency), "plot": views.plot(of.spent, partial(_closer, "purchases"), partial(_said, of.currency)),
            "periods": [(*_period(name, "purchases"), flow) for name, flow in periods], "shops": shops[:most], "more": len(shops) - most,
        })  # fmt: skip
    return render_template(
        "insights/money.html", year=year, tabs=tabs, anything=anything, sections=sections, unpriced=sum(unpriced.values()), say=_said,
        others=found[MOST_PLOTS:], basis=views.basis(loaded, TRADE, _month), now=current.broker().now(), all_years=year == ALL,
    )  # fmt: skip


@pages.get("/insights/time")
@signed_in
def time() -> Any:
    """Where my time goes: visits and hours by class of site, by site and by month."""
    year, tabs, anything = _years(("page_visit",), "insights.time")
    loaded = _load_year(("page_visit",), year)
    found = figures.time(loaded.rows)
    months = sorted(found.by_month.items(), reverse=True)
    periods = views.by_year(months, figures.Spell, _add_spell) if year == ALL else months
    return render_template(
        "insights/time.html", year=year, tabs=tabs, anything=anything, time=found, span=_span, all_years=year == ALL,
        classes=figures.longest(found.by_class), sites=list(islice(figures.longest(found.by_site), MOST_ROWS)), more=len(found.by_site) - MOST_ROWS,
        periods=[(*_period(name, "sites"), spell) for name, spell in periods], basis=views.basis(loaded, ("page_visit",), _month),
        plot=views.plot(found.visits, partial(_closer, "sites"), lambda number: many(number, "visit")), now=current.broker().now(),
    )  # fmt: skip
