"""The well-known files that belong to no protocol of ours: whom to tell of a weakness, and where passwords and passkeys are looked after."""

import datetime as dt
from typing import Final

import orjson
from flask import Blueprint, Response, redirect
from werkzeug.wrappers import Response as BaseResponse

from broker import current, errors, headers, openapi
from broker.openapi import Answer, Operation, Part
from policies.exports.jsonschema import closed

wellknown: Final = Blueprint("wellknown", __name__)
# RFC 9116 section 2.5.5 wants less than a year; what nobody looks after any more should not look fresh for long.
FRESH: Final = dt.timedelta(days=90)
# When this release was made; nothing since has changed what is said of Global Privacy Control.
RELEASED: Final = "2026-12-01"
PAGE: Final = "reference/well-known"
DEVICES: Final = "/devices"
_ADDRESS: Final = {"type": "string", "format": "uri"}
_GPC: Final = closed({"gpc": {"const": True}, "lastUpdate": {"type": "string", "format": "date"}}, ("gpc", "lastUpdate"))
_PASSKEYS: Final = closed({"enroll": _ADDRESS, "manage": _ADDRESS}, ("enroll", "manage"))
_CONTACT: Final = {"text/plain": {"type": "string", "pattern": "^Contact: "}}
PART: Final = Part(
    {
        "wellknown.security": Operation("metadata", {200: Answer("Whom to tell.", _CONTACT)}, PAGE, problems=(errors.NotFound,)),
        "wellknown.gpc": openapi.document(PAGE, _GPC),
        "wellknown.change_password": Operation("metadata", {303: Answer("On to the page.", headers=("Location",))}, PAGE),
        "wellknown.passkeys": openapi.document(PAGE, _PASSKEYS),
    }
)


@wellknown.get("/.well-known/security.txt")
def security() -> Response:
    """Whom to tell of a weakness (RFC 9116); whoever runs the broker names them, or nobody is named."""
    broker = current.broker()
    if not broker.settings.security_contact:
        raise errors.NotFound
    until = (broker.now() + FRESH).replace(hour=0, minute=0, second=0, microsecond=0)
    lines = {
        "Contact": broker.settings.security_contact, "Expires": f"{until:%Y-%m-%dT%H:%M:%SZ}", "Preferred-Languages": "en",
        "Canonical": f"{broker.settings.origin}/.well-known/security.txt",
    }  # fmt: skip
    return Response("".join(f"{name}: {value}\n" for name, value in lines.items()), mimetype="text/plain")


@wellknown.get("/.well-known/gpc.json")
def gpc() -> Response:
    """That this broker abides by Global Privacy Control: nothing is sold or shared but by a grant."""
    return headers.kept(orjson.dumps({"gpc": True, "lastUpdate": RELEASED}))


@wellknown.get("/.well-known/change-password")
def change_password() -> BaseResponse:
    """Where somebody changes their password, for password managers (W3C, A Well-Known URL for Changing Passwords)."""
    return redirect(f"{current.broker().settings.origin}{DEVICES}#password", 303)


@wellknown.get("/.well-known/passkey-endpoints")
def passkeys() -> Response:
    """Where somebody makes and looks after passkeys (W3C, A Well-Known URL for Relying Party Passkey Endpoints)."""
    place = f"{current.broker().settings.origin}{DEVICES}"
    return headers.kept(orjson.dumps({"enroll": place, "manage": place}))
