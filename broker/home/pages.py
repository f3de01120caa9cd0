"""The home page: what waits for an answer, who may read, and this month in figures."""

from functools import partial
from typing import Any, Final

from flask import Blueprint, redirect, render_template, url_for

from broker import current
from broker.events import queries as events
from broker.grants import cuts, sentences
from broker.grants import queries as grants
from broker.notices import queries as notices
from broker.notices.sentences import lines as notice_lines
from broker.oauth import queries as oauth
from broker.rows import NOUNS
from broker.session import person, signed_in
from broker.vendors import queries as vendors

pages: Final = Blueprint("home", __name__)
SHOWN: Final = 10
NOTICES: Final = 5


@pages.get("/")
@signed_in
def index() -> Any:
    """What waits, who may read, and what came in this month."""
    broker, who = current.broker(), person()
    if broker.vault.sealed:
        # The one page that is of use then.
        return redirect(url_for("grants.index"), 303)
    now = broker.now()
    first = now.date().replace(day=1)
    with broker.reading() as tx:
        waiting = [(opened, vendors.client(tx, opened.client_id)) for opened in oauth.waiting(tx, who.person_id, now)]
        live = [grant for grant in grants.every(tx, who.ring) if grant.state(now) in grants.LIVE]
        use = grants.use_since(tx, who.person_id, first)
        taken = cuts.of(tx, who.ring, live[:SHOWN], partial(events.bought_at, tx, who.ring), now)
        told = notice_lines(notices.newest(tx, who.ring, NOTICES))
        unread = notices.unread(tx, who.person_id)
        month = events.totals(tx, who.person_id, first)
        further = 0 if month else sum(events.totals(tx, who.person_id).values())
    figures = [(NOUNS[kind][number != 1], number) for kind in NOUNS if (number := month.get(kind, 0))]
    reads = sum(each.reads for each in use.values())
    lines = [(grant, *cuts.word(grant, taken[grant.grant_id], now), sentences.in_short(grant, now), use.get(grant.grant_id)) for grant in live[:SHOWN]]
    return render_template(
        "home/index.html", waiting=waiting, notices=told, unread=unread,
        lines=lines, live=len(live), active=any(grant.status == "active" for grant in live), figures=figures,
        reads=reads, month=first, empty=not month and not further, further=further, now=now,
    )  # fmt: skip
