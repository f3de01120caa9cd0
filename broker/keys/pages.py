"""The pages of the broker's own keys: unlock it, and see, add and take away what opens it."""

from typing import Any, Final

from flask import Blueprint, flash, redirect, render_template, request, url_for

from broker import current, errors
from broker.confirming import fresh
from broker.keys import actions
from broker.session import is_operator, own_path, signed_in, waiting
from broker.vault import slots

pages: Final = Blueprint("keys", __name__)
KINDS: Final = {
    slots.KEY_FILE: ("The key file", "It lies on this computer, outside the data directory, and opens the broker whenever it starts."),
    slots.PASSPHRASE: ("A passphrase", "Typed on the unlock page after a start."),
    slots.RECOVERY_KEY: ("A recovery key", "On paper, for the day everything else is lost."),
}


def _operators_only() -> None:
    if not is_operator():
        raise errors.NotFound


@pages.get("/unlock")
def unlock_form() -> Any:
    """The form that opens a sealed broker."""
    return render_template("keys/unlock.html", sealed=current.broker().vault.sealed, target=own_path(request.args.get("next", "/")), errors={})


@pages.post("/unlock")
def unlock() -> Any:
    """Open the broker by a passphrase or a recovery key."""
    broker, form = current.broker(), request.form
    target = own_path(form.get("next", "/"))
    headers: dict[str, str] = {}
    try:
        broker.limits.count("unlock", current.address())
        if not broker.vault.sealed or actions.unlock(broker, form.get("secret", "")):
            flash("The broker is open.", "good")
            return redirect(target, 303)
        status, said = 422, "This is no passphrase or recovery key of this broker. Type it again; a recovery key has 32 letters and digits."
    except errors.RateLimit as limited:
        status, (said, headers) = 429, waiting(limited)
    return render_template("keys/unlock.html", sealed=True, target=target, errors={"secret": said}, failed=True), status, headers


def _page(mistakes: dict[str, str] | None = None, *, made: str = "", status: int = 200) -> Any:
    known = [(slot, *KINDS[slot.kind]) for slot in current.broker().vault.slots()]
    page = render_template(
        "keys/list.html", slots=known, made=made, errors=mistakes or {}, failed=bool(mistakes), target=own_path(request.values.get("next", "/keys")),
        enough=actions.enough(current.broker()), operator=is_operator(),
    )  # fmt: skip
    return page, status


@pages.get("/keys")
@signed_in
def index() -> Any:
    """What opens this broker; only its first person can change it."""
    return _page()


@pages.post("/keys/recovery")
@signed_in
def add_recovery_key() -> Any:
    """A new recovery key, shown once."""
    _operators_only()
    fresh("slots")
    return _page(made=actions.add_recovery_key(current.broker()))


@pages.post("/keys/passphrase")
@signed_in
def add_passphrase() -> Any:
    """A new passphrase."""
    _operators_only()
    fresh("slots")
    try:
        actions.add_passphrase(current.broker(), request.form.get("passphrase", ""), request.form.get("again", ""))
    except errors.Unprocessable as refused:
        return _page(refused.by_field, status=422)
    flash("The passphrase opens this broker from now on.", "good")
    return redirect(own_path(request.form.get("next", "/keys")), 303)


@pages.post("/keys/remove")
@signed_in
def remove() -> Any:
    """Take one key away; what it opened is renewed, so that it opens nothing any more."""
    _operators_only()
    fresh("slots")
    slot_id = request.form.get("slot", "")
    actions.remove(current.broker(), slot_id)
    flash("That key opens nothing any more.", "good")
    return redirect(url_for("keys.index"), 303)
