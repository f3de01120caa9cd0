"""The page of notices, and marking them as read."""

import binascii
from typing import Any, Final

from flask import Blueprint, redirect, render_template, request

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
    with broker.reading() as tx:
        found = lines(queries.newest(tx, who.ring))
    return render_template("notices/list.html", lines=found, unread=any(each["told"].seen_at is None for each in found), now=broker.now())


@pages.post("/notices/read")
@signed_in
def mark_read() -> Any:
    """Mark one notice, or all of them, as read."""
    chosen = request.form.get("notice", "")
    try:
        number = binascii.unhexlify(chosen) if chosen else None
    except (binascii.Error, ValueError):
        raise errors.NotFound from None
    actions.mark_read(current.broker(), person().person_id, number)
    return redirect(own_path(request.form.get("next", "/")), 303)
