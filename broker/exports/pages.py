"""The pages of taking out, keeping and erasing: everything as one zip, how long each kind is kept, and erasing everything."""

from typing import Any, Final

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for

from broker import current, errors
from broker.confirming import fresh, fresh_to_forget
from broker.events import queries as events
from broker.exports import actions, packages, queries
from broker.people import queries as people
from broker.session import farewell, person, signed_in
from broker.words import many
from policies.vocabulary import KINDS

pages: Final = Blueprint("exports", __name__)
FOR_EVER: Final = ""
PERIODS: Final = {FOR_EVER: "for ever", "31": "a month", "92": "three months", "183": "half a year", "366": "a year", "731": "two years", "1827": "five years"}
"""Days as text -> in words."""


@pages.get("/keep")
@signed_in
def keep() -> Any:
    """How long each kind of event is kept, and what goes next."""
    return _keep_page()


def _keep_page(asked: tuple[str, str, int] | None = None, status: int = 200) -> Any:
    broker, who = current.broker(), person()
    today = broker.now().date()
    with broker.reading() as tx:
        chosen = queries.kept(tx, who.person_id)
        totals = events.totals(tx, who.person_id)
        going = {kind: queries.next_to_go(tx, who.person_id, kind, days, today) for kind, days in chosen.items()}
        under_way = queries.under_way(tx, who.person_id)
    lines = [(kind, about.label, str(chosen.get(kind, "")), totals.get(kind, 0), going.get(kind)) for kind, about in KINDS.items()]
    page = render_template("exports/keep.html", lines=lines, periods=list(PERIODS.items()), asked=asked, labels=KINDS, words=PERIODS, under_way=under_way)
    return page, status


@pages.post("/keep")
@signed_in
def keep_for() -> Any:
    """Choose how long a kind is kept; what would go at once is shown first."""
    broker, who, form = current.broker(), person(), request.form
    kind, period = form.get("kind", ""), form.get("period", "")
    if kind not in KINDS or period not in PERIODS:
        raise errors.BadRequest("This form has no such choice. Load the page again and choose from the list.")
    if period:
        with broker.reading() as tx:
            number = queries.older(tx, who.person_id, kind, int(period), broker.now().date())
        if number and form.get("number") != str(number):
            return _keep_page((kind, period, number))
        fresh_to_forget(number)
    actions.keep_for(broker, who.person_id, kind, int(period) if period else None)
    flash(f"{KINDS[kind].label.capitalize()}: kept {'for ' + PERIODS[period] if period else 'for ever'} from now on.", "good")
    return redirect(url_for("exports.keep"), 303)


@pages.get("/export")
@signed_in
def export() -> Any:
    """What an export holds, and what to mind, before it is taken."""
    with current.broker().reading() as tx:
        totals = events.totals(tx, person().person_id)
    return render_template("exports/export.html", number=sum(totals.values()))


@pages.post("/export")
@signed_in
def take_out() -> Any:
    """Everything of this person as a zip, piece by piece; entered before the first byte goes."""
    fresh("export")
    package = packages.take(current.broker(), person().person_id)
    response = Response(packages.zipped(package), mimetype="application/zip")
    response.headers.set("Content-Disposition", "attachment", filename=package.name)
    return response


@pages.get("/erase")
@signed_in
def erase_form() -> Any:
    """What erasing everything does, before it is done."""
    return _erase_page()


def _erase_page(mistake: str = "", status: int = 200) -> Any:
    broker, who = current.broker(), person()
    with broker.reading() as tx:
        number = sum(events.totals(tx, who.person_id).values())
        alone = people.count(tx) == 1
    wrong = {"name": mistake} if mistake else {}
    backed_up = bool(broker.settings.backup_dir)
    return render_template("exports/erase.html", number=number, alone=alone, errors=wrong, failed=bool(wrong), backed_up=backed_up), status


@pages.post("/erase")
@signed_in
def erase() -> Any:
    """Erase everything of this person, whose name was typed for it."""
    broker, who = current.broker(), person()
    if request.form.get("name", "").strip().casefold() != who.name.strip().casefold():
        return _erase_page("Nothing was erased. Type your name as you sign in with it.", 422)
    fresh("erase")
    actions.erase_person(broker, who.person_id)
    return farewell("Everything of yours is erased, and every vendor's access has ended. " + _left())


def _left() -> str:
    with current.broker().reading() as tx:
        others = people.count(tx)
    return f"{many(others, 'other account')} in this broker are as they were." if others else "Nobody has an account here any more."
