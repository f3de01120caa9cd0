"""The pages of grants: all of them, one of them with its agreement, and the acts that narrow, pause, resume and end them."""

import datetime as dt
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from sqlalchemy import Connection
from werkzeug.wrappers import Response as BaseResponse

from broker import current, errors
from broker.events import queries as events
from broker.grants import actions, agreed, agreements, cuts, queries, schemas, sentences, statements
from broker.grants.cuts import Cut
from broker.grants.files import FILES, Kept
from broker.grants.queries import Grant, Use
from broker.ledger import queries as ledger
from broker.ledger import sentences as said
from broker.oauth import queries as oauth
from broker.session import own_path, person, signed_in
from broker.vault.keys import Keyring
from broker.words import many

pages: Final = Blueprint("grants", __name__)
PAGE: Final = 50
ENTRIES: Final = 20
MOST_DIGITS: Final = 10
STATES: Final = {"live": ("active",), "paused": ("paused",), "ended": ("revoked", "expired")}
_UNUSED: Final = Use(None, 0, 0)


@dataclass(frozen=True, slots=True)
class Shown:
    """A grant in a list: with its state in words, what it lets do in one sentence, its use this month, and what the terms take from it."""

    grant: Grant
    word: str
    tone: str
    sentence: str
    use: Use
    cut: Cut


def shown(tx: Connection, ring: Keyring, found: list[Grant], now: dt.datetime) -> list[Shown]:
    """Grants of one person as lists show them."""
    use = queries.use_since(tx, ring.person_id, now.date().replace(day=1))
    taken = cuts.of(tx, ring, found, partial(events.bought_at, tx, ring), now)
    return [
        Shown(grant, *cuts.word(grant, cut, now), sentences.in_short(grant, now), use.get(grant.grant_id, _UNUSED), cut)
        for grant in found
        for cut in [taken.get(grant.grant_id, cuts.NOTHING)]
    ]


def _matching(found: list[Grant], state: str, domain: str, now: dt.datetime) -> list[Grant]:
    wanted = STATES.get(state)
    return [grant for grant in found if (wanted is None or grant.state(now) in wanted) and domain in grant.name.lower()]


@pages.get("/grants")
@signed_in
def index() -> Any:
    """All grants, newest first: live, paused and ended."""
    broker, who = current.broker(), person()
    if broker.vault.sealed:
        return _sealed()
    state, search, below = request.args.get("state", ""), request.args.get("search", "").strip(), request.args.get("below", "")
    now = broker.now()
    with broker.reading() as tx:
        every = queries.every(tx, who.ring)
        found = _matching(every, state, search.lower(), now)
        start = next((place for place, grant in enumerate(found, 1) if grant.id == below), 0)
        lines = shown(tx, who.ring, found[start : start + PAGE], now)
    more = url_for("grants.index", state=state or None, search=search or None, below=lines[-1].grant.id) if len(found) > start + PAGE else ""
    live = sum(grant.state(now) == "active" for grant in every)
    return render_template("grants/list.html", lines=lines, any=bool(every), live=live, state=state, search=search, more=more, first=bool(start), now=now)


@pages.get("/grants/<grant_id>")
@signed_in
def show(grant_id: str) -> Any:
    """One grant: what it lets the other side do, how to stop it, and what was done under it."""
    broker, who = current.broker(), person()
    now = broker.now()
    with broker.reading() as tx:
        grant = queries.one(tx, who.ring, queries.to_bytes(grant_id))
        line = shown(tx, who.ring, [grant], now)[0]
        entries = ledger.page(tx, who.ring, ledger.Wanted(grant=grant.id), limit=ENTRIES)
        act = "upload" if grant.collects else "read"
        last = ledger.page(tx, who.ring, ledger.Wanted(grant=grant.id, act=act, outcome="permitted"), limit=1).entries
        signed = agreed.agreement(tx, who.ring, grant.grant_id)
        changes = agreed.changes_of(tx, who.ring, grant.grant_id)
        collect_by = oauth.collect_by(tx, who.person_id, grant.grant_id)
        firsts = ledger.firsts(tx, who.person_id)
        usable = grant.reason != queries.RESTORED or oauth.is_usable(tx, who.person_id, grant.grant_id)
    names = {grant.client_id: grant.name}
    lines = [(entry, said.moment(entry), said.sentence(entry, names), said.narrowed(entry, names)) for entry in entries.entries]
    return render_template(
        "grants/grant.html", grant=grant, word=line.word, tone=line.tone, use=line.use, cut=line.cut, lines=lines, more=entries.older is not None, now=now,
        last=said.moment(last[0]) if last else None, delete_by=sentences.delete_by(grant, line.use.last), about=_about(grant), words=sentences,
        agreement=signed.content if signed else None, digest=agreements.digest(signed.payload) if signed else "",
        changes=list(sentences.changed(map(statements.content, changes), signed.content["clauses"], grant.name)) if signed else [],
        files=FILES, sign_by=grant.given_at + actions.SIGN_WITHIN, collect_by=collect_by, firsts=firsts, usable=usable,
    )  # fmt: skip


def _about(grant: Grant) -> dict[str, Any]:
    """What the page says of a grant whatever its state."""
    return {
        "parts": sentences.parts(grant),
        "purposes": sentences.purposes(grant),
        "recipients": sentences.recipients(grant),
        "window": sentences.windows(grant),
        "narrowed": sentences.narrowed(grant),
        "moved": sentences.moved(grant),
        "left": sentences.left(grant),
    }


def _changed(grant_id: str) -> tuple[bytes, Grant]:
    raw = queries.to_bytes(grant_id)
    with current.broker().reading() as tx:
        return raw, queries.one(tx, person().ring, raw)


def _back(grant_id: str) -> BaseResponse:
    return redirect(url_for("grants.show", grant_id=grant_id), 303)


@pages.get("/grants/<grant_id>/files/<name>")
@signed_in
def file(grant_id: str, name: str) -> Response:
    """One of the grant's files, to be kept: the signed agreement, or what is made of it."""
    broker, who = current.broker(), person()
    wanted = FILES.get(name)
    with broker.reading() as tx:
        grant = queries.one(tx, who.ring, queries.to_bytes(grant_id))
        signed = agreed.agreement(tx, who.ring, grant.grant_id)
        # Only the broker that was read from can give receipts: here there would be none, as if nothing had ever been read.
        if wanted is None or signed is None or (grant.moved and name == "receipts.json"):
            raise errors.NotFound
        reads = queries.reads_under(tx, who.ring, grant.id) if name == "receipts.json" else []
        kept = Kept(grant, signed, agreed.changes_of(tx, who.ring, grant.grant_id), reads, who.ring.signer(grant.vendor_id))
    response = Response(wanted.make(kept), mimetype=wanted.media_type)
    response.headers.set("Content-Disposition", "attachment", filename=f"{grant.domain}-{grant.given_at:%Y-%m-%d}-{name}")
    return response


@pages.get("/grants/<grant_id>/narrow")
@signed_in
def narrow_form(grant_id: str) -> Any:
    """What of a live grant can be taken away."""
    _, grant = _changed(grant_id)
    return _narrow_page(grant)


def _narrow_page(grant: Grant, mistakes: dict[str, str] | None = None) -> Any:
    now = current.broker().now()
    if grant.state(now) not in queries.LIVE:
        raise errors.Conflict("This grant has ended, so there is nothing left to narrow.")
    page = render_template("grants/narrow.html", grant=grant, words=sentences, errors=mistakes or {}, form=request.form, now=now)
    return page, 422 if mistakes else 200


@pages.post("/grants/<grant_id>/narrow")
@signed_in
def narrow(grant_id: str) -> Any:
    """Make a grant smaller, at once; giving more again needs a new grant."""
    raw, grant = _changed(grant_id)
    version = request.form.get("version", "")
    is_number = version.isascii() and version.isdecimal() and len(version) < MOST_DIGITS
    try:
        kept = schemas.left(grant.clauses, request.form, current.broker().now().date())
        actions.narrow(current.broker(), person().person_id, raw, kept, version=int(version) if is_number else 0)
    except errors.Unprocessable as refused:
        return _narrow_page(grant, refused.by_field or {"": refused.detail})
    flash(f"Narrowed. From now on {grant.called} can {'add' if grant.collects else 'see'} only what this page says.", "good")
    return _back(grant_id)


def _sealed() -> Any:
    """The grants by what lies open: who, since when, and how each can be stopped while nothing else can be read."""
    broker = current.broker()
    with broker.reading() as tx:
        found = queries.outlines(tx, person().person_id)
    live = [each for each in found if each.status in queries.LIVE]
    return render_template("grants/sealed.html", lines=live, active=any(each.status == "active" for each in live), now=broker.now())


def _stopped(raw: bytes, *, pausing: bool) -> Any:
    """Pause or end a grant of a sealed broker."""
    act = actions.pause if pausing else actions.revoke
    if act(current.broker(), person().person_id, raw):
        flash("Paused." if pausing else "That grant has ended. Nothing more is read or added by it.", "good")
    return redirect(url_for("grants.index"), 303)


@pages.post("/grants/<grant_id>/revoke")
@signed_in
def revoke(grant_id: str) -> Any:
    """End a grant at once; asks nothing."""
    if current.broker().vault.sealed:
        return _stopped(queries.to_bytes(grant_id), pausing=False)
    # Ended before anything of it is opened: a damaged grant must end like any other.
    if actions.revoke(current.broker(), person().person_id, queries.to_bytes(grant_id)):
        try:
            _, grant = _changed(grant_id)
            flash(f"{grant.name} can {'add' if grant.collects else 'read'} nothing more.", "good")
        except errors.Unsealable:
            flash("This grant has ended. Parts of it are damaged and can no longer be shown.", "warn")
            return redirect(url_for("home.index"), 303)
    return _back(grant_id)


@pages.post("/grants/<grant_id>/pause")
@signed_in
def pause(grant_id: str) -> Any:
    """Stop a grant until its person resumes it."""
    if current.broker().vault.sealed:
        return _stopped(queries.to_bytes(grant_id), pausing=True)
    raw, grant = _changed(grant_id)
    broker = current.broker()
    if grant.state(broker.now()) == "active" and actions.pause(broker, person().person_id, raw):
        flash(f"Paused. {grant.name} can {'add' if grant.collects else 'read'} nothing until you resume it.", "good")
    return _back(grant_id)


@pages.post("/grants/<grant_id>/resume")
@signed_in
def resume(grant_id: str) -> Any:
    """Let a paused grant be used again."""
    raw, grant = _changed(grant_id)
    with current.broker().reading() as tx:
        usable = grant.reason != queries.RESTORED or oauth.is_usable(tx, grant.person_id, raw)
    if not usable:
        raise errors.Conflict(f"{grant.name} holds nothing any more to use this grant with. It has to ask you again; this one you can only revoke.")
    if actions.resume(current.broker(), person().person_id, raw):
        flash(f"Resumed. {grant.name} may {'add' if grant.collects else 'read'} again, as this page says.", "good")
    return _back(grant_id)


@pages.post("/grants/pause-all")
@signed_in
def pause_all() -> Any:
    """Pause every live grant in one go."""
    number = actions.pause_all(current.broker(), person().person_id)
    flash(f"{many(number, 'grant')} paused. Nothing more is read or added until you resume." if number else "No grant was live, so nothing was paused.", "good")
    return redirect(own_path(request.form.get("next", "/grants")), 303)
