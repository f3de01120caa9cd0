"""The pages of the ledger: its entries as sentences, one entry whole, and the proof that none was altered."""

import itertools
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson
from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import Connection

from broker import current, errors, layout
from broker import rows as shown_rows
from broker.events import actions as event_actions
from broker.events import queries as events
from broker.grants import queries as grants
from broker.ledger import queries, sentences
from broker.ledger.queries import Wanted
from broker.session import person, signed_in
from broker.vendors import queries as vendors
from broker.words import many
from policies.slices import Slice

pages: Final = Blueprint("ledger", __name__)
Entry = dict[str, Any]
_FILTERS: Final = ("act", "vendor", "outcome", "grant")
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


def _wanted(chosen: dict[str, str]) -> Wanted:
    vendor = chosen["vendor"].lower().removeprefix("https://")
    return Wanted(act=chosen["act"], vendor=f"https://{vendor}" if vendor else "", outcome=chosen["outcome"], grant=chosen["grant"])


@pages.get("/ledger")
@signed_in
def index() -> Any:
    """What was done with the person's events, newest first, in sentences."""
    who = person()
    chosen = {name: request.args.get(name, "").strip() for name in _FILTERS}
    below = _number(request.args.get("below"))
    with current.broker().reading() as tx:
        page = queries.page(tx, who.ring, _wanted(chosen), below=below)
        names = _names(tx, page.entries)
    zone = ZoneInfo(layout.zone_name())
    lines = [(entry, sentences.moment(entry).astimezone(zone), sentences.sentence(entry, names), _more(entry, names)) for entry in page.entries]
    days = [(day, list(of_day)) for day, of_day in itertools.groupby(lines, key=lambda line: line[1].date())]
    kept = {name: value for name, value in chosen.items() if value}
    older = url_for("ledger.index", **kept, below=page.older) if page.older else ""  # type: ignore[arg-type]
    return render_template(
        "ledger/list.html", days=days, chosen=chosen, filtered=bool(kept), older=older, below=below,
        first=url_for("ledger.index", **kept) if below is not None else "",  # type: ignore[arg-type]
        words=sentences, acts=sentences.ACTS, outcomes=sentences.OUTCOMES, scan=queries.SCAN,
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
        tags = [event_actions.tag_of(who.ring, each) for each in queries.sent(tx, who.ring, number)]
        kept = events.kept(tx, who.ring, tags)
        within = _seen_through(tx, entry) if tags else Slice()
    columns, cells = shown_rows.table([within.trim(event) for event in kept])
    return render_template(
        "ledger/entry.html", it=entry, at=sentences.moment(entry), sentence=sentences.sentence(entry, names), reasons=_more(entry, names),
        words=sentences, other=sentences.other(entry, names), members=_members(entry), columns=columns, cells=cells, sent=len(tags), kept=len(kept),
    )  # fmt: skip


def _seen_through(tx: Connection, entry: Entry) -> Slice:
    """The slice by which an entry's rows were trimmed: the clause's, with the fields that were sent then."""
    fields = entry.get("fields", {})
    try:
        grant = grants.one(tx, person().ring, grants.to_bytes(entry.get("grant", "")))
    except errors.NotFound:
        grant = None
    clause = next((each for each in grant.clauses if each.id == entry.get("clause")), None) if grant else None
    part = clause.slice.to_json() if clause else {"kinds": entry.get("kinds", [])}
    # What was left out of the grant since then was sent all the same.
    return Slice.parse({**part, "kinds": entry.get("kinds", part["kinds"]), "fields": fields})


def _members(entry: Entry) -> list[tuple[str, str]]:
    """Every member as it is stored."""
    return [(name, value if isinstance(value, str) else orjson.dumps(value).decode()) for name, value in entry.items()]


@pages.get("/ledger/verify")
@signed_in
def verify() -> Any:
    """Where the person has the ledger verified."""
    with current.broker().reading() as tx:
        newest = queries.page(tx, person().ring, limit=1).entries
    return render_template("ledger/verify.html", number=newest[0]["seq"] + 1 if newest else 0)


@pages.post("/ledger/verify")
@signed_in
def verify_now() -> Any:
    """Recompute every hash from the sealed entries and say what was found; writes nothing."""
    with current.broker().reading() as tx:
        verdicts = queries.verify(tx, person().ring)
    problems = [verdict.problem for verdict in verdicts if verdict.problem]
    if problems:
        flash(f"The ledger is not whole. {' '.join(problems)} Do not use this copy; the operator can compare it with a backup.", "stop")
    else:
        size = sum(verdict.size for verdict in verdicts)
        roots = ", ".join(verdict.root for verdict in verdicts)
        flash(f"{many(size, 'entry is', 'entries are')} here, in order and unaltered.", "good")
        flash(roots, "root")
    return redirect(url_for("ledger.verify"), 303)
