"""The page of notices, and marking them as read."""

import binascii
from typing import Any, Final

from flask import Blueprint, redirect, render_template, request, url_for

from broker import current, errors
from broker.notices import actions, queries
from broker.notices.sentences import lines
from broker.session import own_path, person, signed_in

pages: Final = Blueprint("notices", __name__)


@pages.get("/notices")
@signed_in
def index() -> Any:
    """The newest notices, read or not."""
    broker, who = current.broker(), person()
    below = _number(request.args.get("below", ""))
    with broker.reading() as tx:
        found, older = queries.page(tx, who.ring, below)
        unread = queries.unread(tx, who.person_id)
    further = url_for("notices.index", below=older.hex()) if older else ""
    return render_template("notices/list.html", lines=lines(found), unread=unread, older=further, below=below, now=broker.now())


def _number(text: str) -> bytes | None:
    try:
        return binascii.unhexlify(text) if text else None
    except (binascii.Error, ValueError):
        raise errors.NotFound from None


@pages.post("/notices/read")
@signed_in
def mark_read() -> Any:
    """Mark one notice, or all of them, as read."""
    actions.mark_read(current.broker(), person().person_id, _number(request.form.get("notice", "")))
    return redirect(own_path(request.form.get("next", "/")), 303)
