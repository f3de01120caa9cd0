"""The page of vendors: who has asked this person, what they may do by now, and inviting one that has no address of its own to speak from."""

import datetime as dt
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

from flask import Blueprint, render_template, request

from broker import current, errors
from broker.confirming import fresh
from broker.fetching import is_host
from broker.grants import queries as grants
from broker.oauth import queries as oauth
from broker.session import is_operator, person, signed_in
from broker.terms import queries as terms
from broker.vendors import actions, queries

pages: Final = Blueprint("vendors", __name__)
TAKEN: Final = "{domain} has registered here already and needs no invite. A second program of its own is added by the command broker client add."


@dataclass(slots=True)
class Known:
    """One vendor as this person knows it."""

    vendor_id: str
    domain: str
    name: str
    since: dt.datetime
    running: int = 0
    given: int = 0
    blocked: bool = False


def _known() -> list[Known]:
    """Everyone who asked or was given something, the newest acquaintance first."""
    broker, who = current.broker(), person()
    now, found = broker.now(), dict[str, Known]()

    with broker.reading() as tx:
        blocked = terms.current(tx, who.ring).blocked
        given = grants.every(tx, who.ring)
        met = [*oauth.asked_by(tx, who.person_id), *((grant.client_id, grant.given_at) for grant in given)]
        first = dict[str, dt.datetime]()
        for client_id, at in sorted(met, key=itemgetter(1)):
            first.setdefault(client_id, at)
        for client_id, at in first.items():
            client = queries.client(tx, client_id)
            if client and client.vendor_id:
                made = Known(client.vendor_id, client.domain, client.vendor_name, at, blocked=client.vendor_id in blocked)
                found.setdefault(client.vendor_id, made)
    for grant in given:
        if each := found.get(grant.vendor_id):
            each.given += 1
            each.running += grant.state(now) in grants.LIVE
    return sorted(found.values(), key=lambda each: each.since, reverse=True)


def _page(mistake: str = "", *, domain: str = "", token: str = "", status: int = 200) -> Any:
    wrong = {"domain": mistake} if mistake else {}
    page = render_template(
        "vendors/list.html", vendors=_known(), errors=wrong, failed=bool(wrong), typed=domain, token=token, days=actions.INVITE_LIVES.days,
        may_invite=is_operator(), origin=current.broker().settings.origin, now=current.broker().now(),
    )  # fmt: skip
    return page, status


@pages.get("/vendors")
@signed_in
def index() -> Any:
    """Who has asked, and the form of an invite."""
    return _page()


@pages.post("/vendors/invite")
@signed_in
def invite() -> Any:
    """A token with which a vendor registers itself for its domain; shown once. The broker's first person makes it: a domain is one for everybody here."""
    domain = request.form.get("domain", "").strip().lower()
    if not is_operator():
        raise errors.NotFound
    if not is_host(domain):
        return _page("Write the vendor's address alone, such as books.example.", domain=domain, status=422)
    broker = current.broker()
    with broker.reading() as tx:
        taken = queries.is_known(tx, domain)
    if taken:
        return _page(TAKEN.format(domain=domain), domain=domain, status=422)
    fresh("invite")
    broker.limits.count("invite", person().person_id.hex())
    return _page(domain=domain, token=actions.invite(broker, domain).text)
