"""The pages that let people in and out: sign up by a one-use link, sign in, sign out."""

from typing import Any, Final

from flask import Blueprint, redirect, render_template, request

from broker import current, errors
from broker.factors import actions as factors
from broker.factors import passkeys
from broker.people import actions, queries
from broker.session import device, farewell, own_path, person, signed_in, waiting, welcome
from broker.vault import credentials

pages: Final = Blueprint("people", __name__)


@pages.get("/sign-up/<link>")
def sign_up_form(link: str) -> Any:
    """The form behind a one-use link."""
    broker = current.broker()
    good, name = _invited(link)
    if not good:
        broker.limits.count("unauthenticated", current.address())
        return render_template("people/link_over.html"), 404
    return render_template("people/sign_up.html", link=link, name=name, again=bool(name), errors={})


def _invited(link: str) -> tuple[bool, str]:
    """(whether the link can be used, the name of whom it lets in again; empty where it makes somebody new)."""
    broker = current.broker()
    credential = credentials.parse(broker.vault.route_key, "su", link)
    with broker.reading() as tx:
        row = queries.open_link(broker, tx, credential) if credential else None
        return row is not None, queries.name_of(broker, tx, row.person_id) if row and row.person_id else ""


@pages.post("/sign-up/<link>")
def sign_up(link: str) -> Any:
    """Make a person and sign them in."""
    broker, form = current.broker(), request.form
    broker.limits.check("unauthenticated", current.address())
    try:
        credential = actions.sign_up(broker, link, form.get("name", ""), form.get("password", ""), form.get("again", ""), device())
    except errors.NotFound:
        broker.limits.count("unauthenticated", current.address())
        return render_template("people/link_over.html"), 404
    except errors.Unprocessable as refused:
        _, name = _invited(link)
        again = bool(name)
        return render_template("people/sign_up.html", link=link, name=name or form.get("name", ""), again=again, errors=refused.by_field, failed=True), 422
    return welcome(credential, "/")


@pages.get("/sign-in")
def sign_in() -> Any:
    """The sign-in form; whoever is signed in already goes on."""
    target = own_path(request.args.get("next", "/"))
    if _signed_in_already():
        return redirect(target, 303)
    with current.broker().reading() as tx:
        nobody = queries.count(tx) == 0
    return render_template("people/sign_in.html", target=target, name="", errors={}, nobody=nobody, asked=_asked())


def _asked() -> str:
    """What the browser is asked for where somebody signs in by a passkey."""
    broker = current.broker()
    return passkeys.asking(factors.party(broker), "sign-in", b"", broker.now().timestamp())


def _signed_in_already() -> bool:
    try:
        return bool(person())
    except errors.NotFound:
        return False


@pages.post("/sign-in")
def sign_in_with_password() -> Any:
    """Sign in; wrong names and wrong passwords are answered alike."""
    broker, form = current.broker(), request.form
    name, target = form.get("name", ""), own_path(form.get("next", "/"))
    try:
        broker.limits.count("sign_in_address", current.address())
        broker.limits.count("sign_in_name", queries.name_tag(broker, name).hex())
        found = actions.sign_in(broker, name, form.get("password", ""), device())
    except errors.Unprocessable as refused:
        return render_template("people/sign_in.html", target=target, name=name, errors=refused.by_field, nobody=False, failed=True, asked=_asked()), 422
    except errors.RateLimit as limited:
        said, headers = waiting(limited)
        page = render_template("people/sign_in.html", target=target, name=name, errors={"": said}, nobody=False, failed=True, asked=_asked())
        return page, 429, headers
    if isinstance(found, str):
        return render_template("factors/code.html", ticket=found, target=target, errors={})
    return welcome(found, target)


@pages.post("/sign-out")
@signed_in
def sign_out() -> Any:
    """End this session and clear what the browser kept."""
    actions.sign_out(current.broker(), person().session)
    return farewell("You are signed out.")
