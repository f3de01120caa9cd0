"""The gate before the few acts that need a fresh sign-in (step-up): whoever proved who they are more than five minutes ago does so once more.

The form that asked for the act is kept: the page that asks for the proof carries it along, and it goes on by itself. Endings and whatever
makes a grant or the terms smaller never come here (rule S9 of the reliability design).
"""

from typing import Any, Final
from urllib.parse import urlsplit

from flask import Flask, Response, g, render_template, request

from broker import current, errors
from broker.factors import actions, passkeys, queries
from broker.people import queries as people
from broker.session import Person, person, session_person, set_cookie

REASONS: Final = {
    "new-vendor": "You are about to give this vendor something for the first time.",
    "wider": "You are about to let this vendor see more, or for longer, than it may now.",
    "sensitive": "You are about to let this vendor see what is sensitive.",
    "looser": "Your terms would allow more than they do now.",
    "forget": "You are about to forget more than 1,000 events. That cannot be undone.",
    "export": "You are about to take out everything of yours, in plain words.",
    "erase": "You are about to erase everything of yours. That cannot be undone.",
    "slots": "You are about to change what opens this broker.",
    "invite": "You are about to let a vendor register with this broker.",
    "sign-in": "You are about to change how you sign in.",
}
"""Reason -> what is about to happen."""
FREELY: Final = 1000
"""So many events are forgotten without a question, as the sentence of `forget` says."""
FORM: Final = "application/x-www-form-urlencoded"
# What the page adds to the form it carries.
_OWN: Final = frozenset({"csrf_token", "confirm", "confirm_password", "confirm_code", "confirm_back", "confirm_name", "confirm_passkey"})


class ConfirmFirst(Exception):
    """The act waits for a fresh sign-in; `reason` is one of `REASONS`."""

    def __init__(self, reason: str) -> None:
        super().__init__(REASONS[reason])
        self.reason = reason


def fresh(reason: str) -> None:
    """Go on only if the person proved who they are within the last five minutes; else they are asked to, and the same form is sent again."""
    if not person().session.is_fresh(current.broker().now()):
        raise ConfirmFirst(reason)


def fresh_to_forget(number: int) -> None:
    """The same for whoever is about to forget so many events, where they are many."""
    if number > FREELY:
        fresh("forget")


def _page(reason: str, mistakes: dict[str, str], status: int) -> tuple[str, int]:
    broker, who = current.broker(), person()
    with broker.reading() as tx:
        row = people.by_id(tx, who.person_id)
        with_passkey = bool(queries.passkeys_of(broker, tx, who.person_id))
    options = passkeys.asking(actions.party(broker), "confirm", who.session.anchor, broker.now().timestamp()) if with_passkey else ""
    page = render_template(
        "factors/confirm.html", reason=reason, sentence=REASONS[reason], errors=mistakes, failed=bool(mistakes), options=options,
        with_password=row is not None and row.password is not None, with_code=row is not None and row.totp is not None,
        action=request.full_path.rstrip("?"), fields=[(name, value) for name, value in request.form.items(multi=True) if name not in _OWN], back=_back(),
    )  # fmt: skip
    return page, status


def _back() -> str:
    """The page the form stood on, if it is one of ours."""
    parts = urlsplit(request.form.get("confirm_back") or request.referrer or "")
    here = f"{parts.scheme}://{parts.netloc}" in {current.broker().settings.origin, "://"}
    return parts.path if here and parts.path.startswith("/") and not parts.path.startswith("//") else "/"


def _asked(refused: errors.Unprocessable) -> dict[str, str]:
    names = {"password": "confirm_password", "code": "confirm_code", "passkey": "confirm_passkey"}
    return {names.get(name, name): detail for name, detail in refused.by_field.items()}


def _confirm() -> Any:
    """Take the proof that comes with a form which was asked for one; the form itself then goes where it was going."""
    who, broker = g.get("person"), current.broker()
    # What is uploaded, and what programs send, is read by its own view alone.
    if request.method != "POST" or not isinstance(who, Person) or request.mimetype != FORM or request.form.get("confirm") not in REASONS:
        return None
    form = request.form
    try:
        broker.limits.count("sign_in_name", who.person_id.hex())
        shown = {name: form.get(f"confirm_{name}", "") for name in ("password", "code", "passkey")}
        found = actions.confirm(broker, who.session, **shown)
    except errors.Unprocessable as refused:
        return _page(form["confirm"], _asked(refused), refused.status)
    g.renewed, g.person = found, session_person(found)
    return None


def setup(app: Flask) -> None:
    """Take proofs before every view, and ask for one where a view wants it; to be called after `session.setup`, whose checks come first."""
    app.before_request(_confirm)

    @app.errorhandler(ConfirmFirst)
    def _ask(asked: ConfirmFirst) -> tuple[str, int]:
        return _page(asked.reason, {}, errors.FormExpired.status)

    @app.after_request
    def _renew(response: Response) -> Response:
        if "renewed" in g:
            set_cookie(response, g.renewed)
        return response
