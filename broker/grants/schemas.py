"""What may be sent to a grant: by its vendor one signature, by its person what is to be left of it."""

import datetime as dt
import re
from collections.abc import Sequence
from typing import Any, Final

from babel.dates import format_date
from werkzeug.datastructures import MultiDict

from broker.errors import BadRequest, TooLarge, Unprocessable, UnsupportedMediaType
from policies import documents
from policies.clauses import Clause
from policies.documents import Malformed, load

MOST_BYTES: Final = 4 * 1024
BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]{1,1000}")
NAMES: Final = ("protected", "signature")


def signature(mimetype: str, raw: bytes) -> dict[str, str]:
    """The vendor's signature in a request's body: `protected` and `signature`, base64url. What they say is checked against the agreement."""
    if mimetype != "application/json":
        raise UnsupportedMediaType("Send application/json without Content-Encoding.")
    if len(raw) > MOST_BYTES:
        raise TooLarge("A signature has at most 4 KiB.")
    try:
        value = load(raw)
    except Malformed as malformed:
        raise BadRequest("The body is not the JSON we take; see errors.", errors=malformed.errors) from None
    try:
        found = documents.members(value, "", NAMES, NAMES)
        return {name: documents.text(*found[name], BASE64URL, "base64url without padding") for name in NAMES}
    except Malformed as malformed:
        raise Unprocessable("This is not a signature; see errors. Nothing was changed.", errors=malformed.errors) from None


def left(clauses: Sequence[Clause], form: MultiDict[str, str], today: dt.date) -> list[Clause]:
    """The clauses that the form of the page Narrow leaves: parts taken away, kinds left out, fields coarser or hidden, an earlier end.

    Whether that is narrower indeed, the action checks; `Unprocessable` for what the person mistyped.
    """
    last = max((clause.validity.until.date() for clause in clauses if clause.validity.until), default=dt.date.max)
    until = _until(form.get("until", "").strip(), today, last)
    kept = []
    for clause in clauses:
        if clause.id in form.getlist("without"):
            continue
        document = clause.to_json()
        _lessen(document, clause, form)
        if until is not None:
            document["validity"]["until"] = min(until, document["validity"]["until"])
        try:
            kept.append(Clause.parse(document))
        except Malformed as malformed:
            field = f"{clause.id}.field" if malformed.errors[0]["pointer"].startswith("/fields") else f"{clause.id}.without"
            sentence = "Nothing would be left of this part. Keep something, or take the whole part away."
            raise Unprocessable(errors=[{"pointer": f"/{field}", "detail": sentence}]) from None
    return kept


def _lessen(document: dict[str, Any], clause: Clause, form: MultiDict[str, str]) -> None:
    if "kinds" in document:
        without = form.getlist(f"{clause.id}.without")
        document["kinds"] = [kind for kind in document["kinds"] if kind not in without]
    if "fields" in document:
        chosen = {name: form.get(f"{clause.id}.field.{name}", level) for name, level in document["fields"].items()}
        document["fields"] = {name: level for name, level in chosen.items() if level != "hidden"}


def _until(text: str, today: dt.date, last: dt.date) -> str | None:
    """The end of the day that the person typed, as on the consent page: the day they name still counts. It lies before `last`, the day of the end as it is."""
    if not text:
        return None
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        raise _wrong_end("Write the end as a day, such as 2027-03-31.") from None
    if day < today:
        raise _wrong_end("This day is over. Name a later one, or revoke the grant to end it now.")
    if day >= last:
        raise _wrong_end(f"It ends on {format_date(last, 'd MMMM y', locale='en')} as it is. Name an earlier day, or leave this empty.")
    return f"{day.isoformat()}T23:59:59Z"


def _wrong_end(sentence: str) -> Unprocessable:
    return Unprocessable(errors=[{"pointer": "/until", "detail": sentence}])
