"""The pages of signing in otherwise than by a password alone, and the page of devices and ways to sign in."""

import base64
import binascii
from typing import Any, Final

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from broker import current, errors
from broker.confirming import fresh
from broker.errors import Unsealable
from broker.factors import actions, codes, passkeys, queries
from broker.grants import queries as grants
from broker.ledger import queries as ledger
from broker.ledger.sentences import FACTORS, moment
from broker.opening import Broker
from broker.people import actions as people_actions
from broker.people import queries as people
from broker.session import Person, device, own_path, person, signed_in, waiting, welcome
from broker.vault.envelope import Place
from broker.words import many

pages: Final = Blueprint("factors", __name__)
GROUP: Final = 4


@pages.post("/sign-in/passkey")
def sign_in_with_passkey() -> Any:
    """Sign in by the answer of a passkey."""
    broker, form = current.broker(), request.form
    target = own_path(form.get("next", "/"))
    try:
        broker.limits.count("sign_in_address", current.address())
        return welcome(actions.sign_in_with_passkey(broker, form.get("passkey", ""), device()), target)
    except errors.Unprocessable as refused:
        return _sign_in_page(target, refused.by_field), 422
    except errors.RateLimit as limited:
        said, headers = waiting(limited)
        return _sign_in_page(target, {"": said}), 429, headers


def _sign_in_page(target: str, mistakes: dict[str, str]) -> str:
    broker = current.broker()
    asked = passkeys.asking(actions.party(broker), "sign-in", b"", broker.now().timestamp())
    return render_template("people/sign_in.html", target=target, name="", errors=mistakes, failed=True, nobody=False, asked=asked)


@pages.post("/sign-in/code")
def sign_in_with_code() -> Any:
    """The second half of a sign-in: the code of the authenticator app."""
    broker, form = current.broker(), request.form
    ticket, target = form.get("ticket", ""), own_path(form.get("next", "/"))
    holder = people_actions.ticket_holder(broker, ticket)
    if holder is None:
        flash("That took more than five minutes, or your password was changed meanwhile. Sign in again.", "warn")
        return redirect(url_for("people.sign_in", next=target), 303)
    try:
        broker.limits.count("sign_in_name", holder.hex())
        return welcome(actions.sign_in_with_code(broker, ticket, form.get("code", ""), device()), target)
    except errors.Unprocessable as refused:
        return render_template("factors/code.html", ticket=ticket, target=target, errors=refused.by_field, failed=True), 422
    except errors.RateLimit as limited:
        said, headers = waiting(limited)
        return render_template("factors/code.html", ticket=ticket, target=target, errors={"": said}, failed=True), 429, headers


@pages.get("/sign-in/recovery")
def recovery() -> Any:
    """The form for a recovery code."""
    return render_template("factors/recovery.html", name="", errors={})


@pages.post("/sign-in/recovery")
def sign_in_with_recovery() -> Any:
    """Sign in by a recovery code, and see at once how to set up a way to sign in again."""
    broker, form = current.broker(), request.form
    name = form.get("name", "")
    try:
        broker.limits.count("sign_in_address", current.address())
        broker.limits.count("recovery", people.name_tag(broker, name).hex())
        credential = actions.sign_in_with_recovery(broker, name, form.get("code", ""), device())
    except errors.Unprocessable as refused:
        return render_template("factors/recovery.html", name=name, errors=refused.by_field, failed=True), 422
    except errors.RateLimit as limited:
        said, headers = waiting(limited)
        return render_template("factors/recovery.html", name=name, errors={"": said}, failed=True), 429, headers
    answer = welcome(credential, url_for("factors.devices"))
    flash("You are in, and all your other sessions have ended. Set up a way to sign in here before you leave.", "warn")
    return answer


def _page(mistakes: dict[str, str] | None = None, *, status: int = 200) -> Any:
    broker, who = current.broker(), person()
    now = broker.now()
    with broker.reading() as tx:
        row = people.by_id(tx, who.person_id)
        sessions = people.live_sessions(broker, tx, who.person_id)
        known = queries.passkeys_of(broker, tx, who.person_id)
        left = queries.codes_left(tx, who.person_id)
        running = [grant for grant in grants.every(tx, who.ring) if grant.collects and grant.state(now) in grants.LIVE]
        uploads = [ledger.page(tx, who.ring, ledger.Wanted("upload", grant=grant.id), limit=1).entries for grant in running]
        installs = [(grant, moment(found[0]) if found else None) for grant, found in zip(running, uploads, strict=True)]
    making = passkeys.making(actions.party(broker), who.person_id, who.name, [each.credential_id for each in known], who.session.anchor, now.timestamp())
    page = render_template(
        "factors/devices.html", sessions=sessions, mine=who.session.hash, passkeys=known, left=left, installs=installs, making=making, now=now,
        factors=FACTORS, errors=mistakes or {}, failed=bool(mistakes), passkey_name=request.form.get("passkey_name", ""),
        with_password=row is not None and row.password is not None, with_totp=row is not None and row.totp is not None,
    )  # fmt: skip
    return page, status


def _done(sentence: str, place: str) -> Response:
    flash(sentence, "good")
    return redirect(url_for("factors.devices") + f"#{place}", 303)


def _bytes(text: str) -> bytes:
    try:
        return binascii.unhexlify(text)
    except (binascii.Error, ValueError):
        raise errors.NotFound from None


@pages.get("/devices")
@signed_in
def devices() -> Any:
    """Where the person is signed in, their extension's installs, and their ways to sign in."""
    return _page()


@pages.post("/devices/sessions/end")
@signed_in
def end_session() -> Any:
    """End one session, at once and without a question."""
    ended = people_actions.end_sessions(current.broker(), person().session, _bytes(request.form.get("session", "")))
    return _done("That device is signed out." if ended else "That device was signed out already.", "sessions")


@pages.post("/devices/sessions/end-others")
@signed_in
def end_others() -> Any:
    """End every session but this one."""
    ended = people_actions.end_sessions(current.broker(), person().session)
    return _done(f"{many(ended, 'other session')} ended." if ended else "You were signed in nowhere else.", "sessions")


@pages.post("/devices/passkeys")
@signed_in
def add_passkey() -> Any:
    """Keep a passkey that the device just made."""
    fresh("sign-in")
    try:
        actions.add_passkey(current.broker(), person().session, request.form.get("passkey", ""), request.form.get("passkey_name", ""))
    except errors.Unprocessable as refused:
        return _page(refused.by_field, status=422)
    return _done("Your passkey is kept. Next time, sign in with it.", "passkeys")


@pages.post("/devices/passkeys/remove")
@signed_in
def remove_passkey() -> Any:
    """Take a passkey away."""
    fresh("sign-in")
    actions.remove_passkey(current.broker(), person().person_id, _bytes(request.form.get("passkey_id", "")))
    return _done("That passkey lets nobody in any more. Take it out of your device as well.", "passkeys")


@pages.post("/devices/password")
@signed_in
def set_password() -> Any:
    """Choose a new password."""
    fresh("sign-in")
    try:
        actions.set_password(current.broker(), person().session, request.form.get("password", ""), request.form.get("again", ""))
    except errors.Unprocessable as refused:
        return _page(refused.by_field, status=422)
    return _done("Your new password holds. You are signed out everywhere else.", "password")


@pages.post("/devices/password/remove")
@signed_in
def remove_password() -> Any:
    """Do without a password."""
    fresh("sign-in")
    actions.remove_password(current.broker(), person().person_id)
    return _done("You have no password any more. Your passkeys let you in.", "password")


@pages.post("/devices/app")
@signed_in
def begin_totp() -> Any:
    """Show the secret for an authenticator app; it counts once a code of it was typed."""
    fresh("sign-in")
    return _totp_page(person(), codes.new_secret(), {}), 200


def _secret_place(who: Person) -> bytes:
    # Good for the very session it was shown in.
    return Place(who.person_id, "totp", "offered").at(who.session.anchor)


def _totp_page(who: Person, secret: str, mistakes: dict[str, str]) -> str:
    broker = current.broker()
    with broker.reading() as tx:
        left = queries.codes_left(tx, who.person_id)
    sealed = base64.urlsafe_b64encode(broker.vault.host_seal(_secret_place(who), secret.encode())).decode()
    picture = codes.picture(codes.address(secret, who.name, actions.party(broker).host))
    spaced = " ".join(secret[start : start + GROUP] for start in range(0, len(secret), GROUP))
    return render_template("factors/totp.html", sealed=sealed, picture=picture, spaced=spaced, left=left, errors=mistakes, failed=bool(mistakes))


@pages.post("/devices/app/set")
@signed_in
def set_totp() -> Any:
    """Ask for the app's codes from now on, once one of them was typed."""
    fresh("sign-in")
    broker, who = current.broker(), person()
    secret = _offered(broker, who)
    try:
        actions.set_totp(broker, who.person_id, secret, request.form.get("code", ""))
    except errors.Unprocessable as refused:
        return _totp_page(who, secret, refused.by_field), 422
    return _done("From now on a code from your app is asked for after your password.", "totp")


def _offered(broker: Broker, who: Person) -> str:
    try:
        return broker.vault.host_unseal(_secret_place(who), base64.urlsafe_b64decode(request.form.get("secret", ""))).decode()
    except (Unsealable, binascii.Error, ValueError):
        raise errors.FormExpired("This page was open too long, so nothing was changed. Set up the app again.") from None


@pages.post("/devices/app/remove")
@signed_in
def remove_totp() -> Any:
    """Ask for no code any more."""
    fresh("sign-in")
    actions.remove_totp(current.broker(), person().person_id)
    return _done("No code is asked for any more.", "totp")


@pages.post("/devices/codes")
@signed_in
def make_codes() -> Any:
    """Ten new recovery codes, shown once."""
    fresh("sign-in")
    return render_template("factors/codes.html", codes=actions.new_recovery_codes(current.broker(), person().person_id))
