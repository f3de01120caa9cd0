"""The pages of the ledger: its entries as sentences, one entry whole, what nobody uses, and the proof that none was altered."""

import datetime as dt
import itertools
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson
from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from sqlalchemy import Connection

from broker import current, errors, layout
from broker import rows as shown_rows
from broker.grants import actions as grant_actions
from broker.grants import queries as grants
from broker.ledger import bundles, checkpoints, queries, replays, sentences, unused
from broker.ledger.notes import OK, RESTORED
from broker.ledger.queries import Wanted
from broker.session import person, signed_in
from broker.vault.heads import checkpoints_of
from broker.vendors import queries as vendors
from broker.words import many

pages: Final = Blueprint("ledger", __name__)
Entry = dict[str, Any]
_FILTERS: Final = ("act", "vendor", "outcome", "grant", "from", "to")
MOST_DIGITS: Final = 9


def _number(text: str | None) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS):
        raise errors.NotFound
    return int(text)


def _names(tx: Connection, entries: list[Entry]) -> dict[str, str]:
    """What the clients of some entries are called."""
    ids = {each for entry in entries for each in (entry["by"].get("id"), entry.get("client")) if each}
    found = {client_id: vendors.client(tx, client_id) for client_id in ids}
    return {client_id: client.domain or sentences.OWN for client_id, client in found.items() if client}


def _wanted(chosen: dict[str, str]) -> tuple[Wanted, dict[str, str]]:
    """What was asked for, and what of it cannot be used, by the field's name."""
    vendor = chosen["vendor"].lower().removeprefix("https://")
    wrong: dict[str, str] = {}
    first, last = (_midnight(chosen[name], wrong, name) for name in ("from", "to"))
    if first and last and last < first:
        wrong["to"] = "The last day is before the first one. Give a later one, or leave it empty."
    kept = {"since": first, "until": last + dt.timedelta(days=1) if last else None} if not wrong else {}
    found = Wanted(act=chosen["act"], vendor=f"https://{vendor}" if vendor else "", outcome=chosen["outcome"], grant=chosen["grant"], **kept)
    return found, wrong


def _midnight(text: str, wrong: dict[str, str], name: str) -> dt.datetime | None:
    """The beginning of a day where the person lives."""
    if not text:
        return None
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        day = dt.date.min
    if not queries.FIRST.date() < day < dt.date(9999, 12, 30):
        wrong[name] = "This is no day. Write it like 2027-03-02, or leave it empty."
        return None
    return dt.datetime.combine(day, dt.time(), ZoneInfo(layout.zone_name())).astimezone(dt.UTC)


@pages.get("/ledger")
@signed_in
def index() -> Any:
    """What was done with the person's events, newest first, in sentences."""
    who = person()
    chosen = {name: request.args.get(name, "").strip() for name in _FILTERS}
    below = _number(request.args.get("below"))
    wanted, wrong = _wanted(chosen)
    broker = current.broker()
    with broker.reading() as tx:
        page = queries.page(tx, who.ring, wanted, below=below)
        names = _names(tx, page.entries)
        firsts, gaps = queries.firsts(tx, who.person_id), queries.gaps(tx, who.ring)
    zone = ZoneInfo(layout.zone_name())
    lines = [(entry, sentences.moment(entry).astimezone(zone), sentences.sentence(entry, names), _more(entry, names)) for entry in page.entries]
    days = [(day, list(of_day)) for day, of_day in itertools.groupby(lines, key=lambda line: line[1].date())]
    kept = {name: value for name, value in chosen.items() if value}
    older = url_for("ledger.index", **kept, below=page.older) if page.older else ""  # type: ignore[arg-type]
    return render_template(
        "ledger/list.html", days=days, chosen=chosen, filtered=bool(kept), older=older, below=below,
        first=url_for("ledger.index", **kept) if below is not None else "",  # type: ignore[arg-type]
        words=sentences, acts=sentences.ACTS, outcomes=sentences.OUTCOMES, scan=queries.SCAN, errors=wrong,
        states=checkpoints.states(broker, who.ring), now=broker.now(), firsts=firsts, gaps=gaps,
    )  # fmt: skip


def _more(entry: Entry, names: dict[str, str]) -> list[str]:
    """What is said below an entry's own sentence: why not, or from what to what."""
    return [*sentences.reasons(entry), *sentences.narrowed(entry, names)]


@pages.get("/ledger/<seq>")
@signed_in
def show(seq: str) -> Any:
    """One entry whole; of a read also the rows that were sent, while their events are kept."""
    broker, who = current.broker(), person()
    number = _number(seq)
    if number is None:
        raise errors.NotFound
    with broker.reading() as tx:
        entry = queries.one(tx, who.ring, number)
        names = _names(tx, [entry])
        replay = replays.replay(tx, who.ring, entry)
        firsts = queries.firsts(tx, who.person_id)
    columns, cells = shown_rows.table(replay.rows)
    return render_template(
        "ledger/entry.html", it=entry, at=sentences.moment(entry), sentence=sentences.sentence(entry, names), reasons=_more(entry, names),
        words=sentences, other=sentences.other(entry, names), members=_members(entry), columns=columns, cells=cells, replay=replay,
        number=number, closed=firsts[entry["log"]] < max(firsts.values()),
    )  # fmt: skip


def _members(entry: Entry) -> list[tuple[str, str]]:
    """Every member as it is stored."""
    return [(name, value if isinstance(value, str) else orjson.dumps(value).decode()) for name, value in entry.items()]


@pages.get("/ledger/verify")
@signed_in
def verify() -> Any:
    """Where the person has the ledger verified, and takes it with them."""
    broker, ring = current.broker(), person().ring
    states = checkpoints.states(broker, ring)
    keys = [checkpoints.vkey(ring, state) for state in states if state.signed]
    return render_template("ledger/verify.html", number=sum(state.size for state in states), states=states, keys=keys, now=broker.now())


@pages.post("/ledger/verify")
@signed_in
def verify_now() -> Any:
    """Recompute every hash from the sealed entries and say what was found; writes nothing."""
    broker, ring = current.broker(), person().ring
    signed = checkpoints_of(broker.heads, ring.person_id)
    with broker.reading() as tx:
        verdicts = queries.verify(tx, ring, signed)
    problems = [verdict.problem for verdict in verdicts if verdict.code not in {OK, RESTORED}]
    declared = " ".join(verdict.problem for verdict in verdicts if verdict.code == RESTORED)
    if problems:
        flash(f"The ledger is not whole. {' '.join(problems)} Do not use this copy; the operator can compare it with a backup.", "stop")
    else:
        size = sum(verdict.size for verdict in verdicts)
        roots = ", ".join(verdict.root for verdict in verdicts)
        flash(f"{many(size, 'entry is', 'entries are')} here, in order and unaltered.{' ' + declared if declared else ''}", "good")
        flash(roots, "root")
    return redirect(url_for("ledger.verify"), 303)


@pages.post("/ledger/bundle")
@signed_in
def bundle() -> Any:
    """The whole ledger as a zip, with its proofs; signed now."""
    return _download(None)


@pages.post("/ledger/<seq>/proof")
@signed_in
def proof(seq: str) -> Any:
    """One entry as a zip, with its proof."""
    number = _number(seq)
    if number is None:
        raise errors.NotFound
    return _download(number)


def _download(number: int | None) -> Response:
    broker = current.broker()
    taken = bundles.take(broker, person().person_id, number=number)
    response = Response(bundles.written(broker, taken), mimetype="application/zip")
    response.headers.set("Content-Disposition", "attachment", filename=taken.name)
    return response


@pages.get("/ledger/unused")
@signed_in
def unused_grants() -> Any:
    """What vendors may have and do not use, each with the one tap that takes it away."""
    broker = current.broker()
    with broker.reading() as tx:
        found = unused.grants_of(tx, person().ring, broker.now())
    return render_template("ledger/unused.html", found=found, most=unused.MOST_READS)


@pages.post("/ledger/unused/<grant_id>")
@signed_in
def narrow_unused(grant_id: str) -> Any:
    """Take the fields that nobody used out of a grant, as they stood on the page."""
    broker, who = current.broker(), person()
    with broker.reading() as tx:
        grant = grants.one(tx, who.ring, grants.to_bytes(grant_id))
        found = next((each for each in unused.grants_of(tx, who.ring, broker.now()) if each.grant.id == grant.id and each.fields), None)
    if found is None or request.form.get("version") != str(grant.version) or request.form.getlist("field") != found.named:
        raise errors.Conflict("What this vendor uses has changed meanwhile. Look at it again; nothing was narrowed.")
    grant_actions.narrow(broker, who.person_id, grant.grant_id, unused.without(grant, found.fields), version=grant.version)
    flash(f"{grant.name} can no longer see: {', '.join(found.labels)}.", "good")
    return redirect(url_for("ledger.unused_grants"), 303)
