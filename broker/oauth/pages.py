"""The consent page: open a request, try choices, give or refuse; and the requests left unanswered."""

import binascii
import datetime as dt
import secrets
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, flash, g, redirect, render_template, request, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response

from broker import current, errors, headers
from broker import rows as shown_rows
from broker.confirming import fresh
from broker.grants import actions as grant_actions
from broker.grants import queries as grant_queries
from broker.keys import actions as keys
from broker.notices.actions import Notice
from broker.oauth import actions, choices, consent, queries
from broker.oauth.consent import Consent
from broker.opening import Broker
from broker.session import Person, person, signed_in
from broker.terms import actions as terms
from broker.vault.credentials import Credential
from broker.vendors import queries as vendor_queries

pages: Final = Blueprint("consent", __name__)
BROWSER_SECONDS: Final = 24 * 3600
BYTES_OF_ID: Final = 16
TOO_FEW_KEYS: Final = (
    "Nothing was given yet: one key alone opens this broker, and if it were lost, so would be everything you agree to. "
    "First a second key is made here; the request waits for your answer meanwhile."
)


def _browser_cookie(broker: Broker) -> str:
    return broker.settings.cookie("request")


def _gone() -> tuple[str, int]:
    return render_template("oauth/gone.html"), 400


@pages.get("/oauth/authorize")
def authorize() -> Any:
    """Open a pushed request; signed out, the person signs in first. Only `client_id` and `request_uri` are read."""
    broker = current.broker()
    pushed = actions.find_pushed(broker, request.args.get("client_id", ""), request.args.get("request_uri", ""))
    if pushed is None:
        broker.limits.count("unauthenticated", current.address())
        return _gone()
    if pushed.parameters.get("prompt") == "none":
        return back(broker, pushed, error="consent_required")
    cookie = request.cookies.get(_browser_cookie(broker)) or secrets.token_urlsafe(32)
    if not actions.tie_to_browser(broker, pushed, cookie):
        return _gone()
    who = g.get("person")
    if isinstance(who, Person):
        try:
            opened = actions.open_request(broker, who.person_id, pushed)
            _turn_away(broker, who, opened)
        except errors.Conflict:
            return _gone()
        response: Response = redirect(url_for("consent.show", request_id=opened.request_id.hex()), 303)
    else:
        response = redirect(url_for("people.sign_in", next=request.full_path), 303)
    response.set_cookie(_browser_cookie(broker), cookie, max_age=BROWSER_SECONDS, secure=broker.settings.https, httponly=True, samesite="Lax", path="/")
    return response


def _turn_away(broker: Broker, who: Person, opened: queries.Opened) -> None:
    """Refuse a request unseen where the person's terms say so."""
    try:
        made = consent.load(broker, who.ring, opened.request_id)
    except errors.NotFound:
        return
    if opened.state == "waiting" and not consent.is_heard(made):
        about = {"client": made.client.client_id, "vendor": made.client.vendor_id}
        actions.refuse(broker, who.person_id, opened, about, unseen=True)


def _id(text: str) -> bytes:
    try:
        raw = binascii.unhexlify(text)
    except (binascii.Error, ValueError):
        raise errors.NotFound from None
    if len(raw) != BYTES_OF_ID:
        raise errors.NotFound
    return raw


@pages.get("/requests/<request_id>")
@signed_in
def show(request_id: str) -> Any:
    """The consent page of a request this person has opened."""
    return _page(_load(person(), request_id, None))


@pages.get("/requests")
@signed_in
def waiting() -> Any:
    """The requests left unanswered."""
    broker, who = current.broker(), person()
    with broker.reading() as tx:
        found = [(opened, vendor_queries.client(tx, opened.client_id)) for opened in queries.waiting(tx, who.person_id, broker.now())]
    return render_template("oauth/requests.html", waiting=found, now=broker.now())


def _load(who: Person, request_id: str, form: MultiDict[str, str] | None) -> Consent:
    return consent.load(current.broker(), who.ring, _id(request_id), form)


def _page(made: Consent, mistakes: dict[str, str] | None = None, *, status: int = 200, changed: bool = False, block: str = "") -> Any:
    """The page as it stands; a request that can no longer be answered says so instead."""
    broker = current.broker()
    if made.opened.state == actions.UNSEEN:
        # A link, not a redirect: an answer that came at once would tell the vendor that nobody was asked.
        return render_template("oauth/unseen.html", consent=made, back=back_to(broker, made.pushed, error="access_denied"), return_origin=_origin(made)), 200
    if made.opened.state != "waiting" or broker.now() >= made.opened.decide_by or made.pushed.used_at is not None:
        return _gone()
    consent.add_previews(broker, person().ring, made)
    # Browsers apply form-action to the redirect after the form too (rule G5).
    headers.widen_form_action(made.pushed.parameters["redirect_uri"])
    template = "oauth/consent_part.html" if block else "oauth/consent.html"
    until = request.form.get("until", "") if request.method == "POST" else ""
    page = render_template(
        template, consent=made, errors=mistakes or {}, failed=bool(mistakes), changed=changed, block=block, until=until, now=broker.now(),
        request_id=made.opened.request_id.hex(), return_origin=_origin(made), refused=consent.refused_by_terms(made),
        narrowings=consent.narrowings(made), denied=consent.denied(made), table=shown_rows.table,
    )  # fmt: skip
    return page, status


def _origin(made: Consent) -> str:
    parts = urlsplit(made.pushed.parameters["redirect_uri"])
    return f"{parts.scheme}://{parts.netloc}"


def _mistaken(who: Person, form: MultiDict[str, str], refused: errors.Unprocessable, *, block: str = "") -> Any:
    """The page as it was filled in, with every mistake at its place: what is right stays chosen, what is wrong stays written."""
    mistakes = refused.by_field
    while True:
        try:
            made = _load(who, form.get("request", ""), choices.without(form, mistakes))
            break
        except errors.Unprocessable as again:
            more = again.by_field
            if more.keys() <= mistakes.keys():
                made = _load(who, form.get("request", ""), None)
                break
            mistakes |= more
    for choice in made.choices:
        choices.as_written(choice, form)
    return _page(made, mistakes, status=422, block=block)


@pages.post("/oauth/authorize/preview")
@signed_in
def preview() -> Any:
    """The page with the choices made so far; gives nothing and writes nothing."""
    who, form = person(), request.form
    part = request.form.get("part", "") if request.headers.get("HX-Request") == "true" else ""
    try:
        return _page(_load(who, form.get("request", ""), form), block=part)
    except errors.TermsChanged:
        return _page(_load(who, form.get("request", ""), None), status=409, changed=True, block=part)
    except errors.Unprocessable as refused:
        return _mistaken(who, form, refused, block=part)


@pages.post("/oauth/authorize/decision")
@signed_in
def decide() -> Any:
    """Give what was ticked, refuse, refuse and block, or leave it for later."""
    broker, who, form = current.broker(), person(), request.form
    answer = form.get("answer", "")
    if answer == "leave":
        return redirect(url_for("consent.waiting"), 303)
    if answer not in {"give", "refuse", "block"}:
        raise errors.BadRequest("This form has no answer. Go back and choose Give or Refuse.")
    # One moment for all: the text that is signed, its clauses, and when it was made.
    now = broker.now()
    try:
        made = consent.load(broker, who.ring, _id(form.get("request", "")), form if answer == "give" else None, now=now)
    except errors.TermsChanged:
        return _page(_load(who, form.get("request", ""), None), status=409, changed=True)
    except errors.Unprocessable as refused:
        return _mistaken(who, form, refused)
    if answer == "give" and made.given:
        return _give(broker, who, made, now)
    block = terms.block(broker, who.person_id, made.client.vendor_id) if answer == "block" and not made.own else None
    actions.refuse(broker, who.person_id, made.opened, _about(made), block=block)
    return back(broker, made.pushed, error="access_denied")


def _about(made: Consent) -> dict[str, Any]:
    gpc = request.headers.get("Sec-GPC") == "1"
    return {"client": made.client.client_id, "vendor": made.client.vendor_id, "shown": consent.shown(made, sec_gpc=gpc)}


def _give(broker: Broker, who: Person, made: Consent, now: dt.datetime) -> Any:
    if not made.own and not keys.enough(broker):
        flash(TOO_FEW_KEYS, "warn")
        return redirect(url_for("keys.index", next=url_for("consent.show", request_id=made.opened.request_id.hex())), 303)
    clauses = consent.absolute(made, now)
    reason = consent.step_up(made, clauses, now)
    if reason:
        # The form that asks for the proof leads to the vendor too.
        headers.widen_form_action(made.pushed.parameters["redirect_uri"])
        fresh(reason)
    details = consent.details(made, sec_gpc=request.headers.get("Sec-GPC") == "1")
    try:
        given = grant_actions.give(
            broker, who.ring, made.client, clauses, background=consent.background(made, details["shown"]), details=details, now=now
        )
        code = actions.give(broker, who.person_id, made.opened, made.pushed, given, terms_version=made.terms_version, notice=_first(made, given))
    except errors.TermsChanged:
        return _page(_load(who, made.opened.request_id.hex(), None), status=409, changed=True)
    except errors.Unprocessable as refused:
        return _page(made, refused.by_field, status=422)
    return back(broker, made.pushed, code=code)


def _first(made: Consent, given: grant_actions.Given) -> Notice | None:
    """What the person hears of their first grant to a program of a vendor."""
    if made.own or not made.first:
        return None
    return Notice("new-vendor", {"client": made.client.client_id, "vendor": made.client.vendor_id, "grant": grant_queries.to_text(given.grant_id)})


def back(broker: Broker, pushed: queries.Pushed, *, code: Credential | None = None, error: str = "") -> Response:
    """The one redirect to a client: 303."""
    return redirect(back_to(broker, pushed, code=code, error=error), 303)


def back_to(broker: Broker, pushed: queries.Pushed, *, code: Credential | None = None, error: str = "") -> str:
    """Where an answer is sent: `iss` always (RFC 9207), `state` as it was sent."""
    answer = {"code": code.text} if code else {"error": error}
    if pushed.parameters.get("state") is not None:
        answer["state"] = pushed.parameters["state"]
    answer["iss"] = broker.settings.origin
    uri = pushed.parameters["redirect_uri"]
    return f"{uri}{'&' if '?' in uri else '?'}{urlencode(answer)}"
