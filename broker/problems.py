"""The gate out: errors become RFC 9457 problem documents for clients, and pages that say what to do for people."""

import logging
import os
import time
from typing import Any, Final

import orjson
from flask import Flask, Response, g, render_template, request
from werkzeug.exceptions import HTTPException

from broker import current, errors
from broker.db import DatabaseFailed, is_storage
from broker.oauth.assertion import ALGORITHMS
from broker.words import many

log = logging.getLogger(__name__)
MEDIA_TYPE: Final = "application/problem+json"
FOR_PROGRAMS: Final = ("/v1", "/.well-known/", "/healthz", "/readyz", "/openapi.json")
# What werkzeug raises by itself, in our words.
_HTTP: Final[dict[int, type[errors.BrokerError]]] = {
    400: errors.BadRequest, 403: errors.FormExpired, 404: errors.NotFound, 405: errors.MethodNotAllowed, 413: errors.TooLarge,
    415: errors.UnsupportedMediaType, 421: errors.Misdirected, 422: errors.Unprocessable, 429: errors.RateLimit,
}  # fmt: skip
# What people read in place of words that are meant for programs.
_FOR_PEOPLE: Final[dict[str, str]] = {
    "bad-request": "Your browser sent something that this page does not understand. Nothing was changed. Go back, load the page again and try once more.",
    "not-found": "There is nothing here, or it is not yours. Look at the address again, or start from Home.",
    "method-not-allowed": "This address belongs to a button. Nothing was done. Start from Home, and press the button there.",
    "too-large": "What you sent is larger than this page takes. Nothing was kept. Go back and send less at a time.",
    "rate-limit": "You, or somebody at your address, did this too often. Wait {wait}, then load the page again.",
    "sealed": "The broker was started without what opens it, so nothing that is kept here can be shown. Unlock it, then load the page again.",
    "internal": "The broker made a mistake, and wrote it in its log. Try again. If it happens again, give whoever runs this broker the request below.",
}
# RFC 9449 section 7.1 and RFC 6750 section 3.1: what the challenge says beside what it always says.
_CHALLENGES: Final = {
    "no-token": "", "invalid-token": "invalid_token", "invalid-proof": "invalid_dpop_proof", "use-nonce": "use_dpop_nonce",
    "not-granted": "insufficient_scope",
}  # fmt: skip


def new_request_id() -> str:
    """A UUIDv7 (RFC 9562 section 5.7) for one request."""
    raw = bytearray(int(time.time() * 1000).to_bytes(6, "big") + os.urandom(10))
    raw[6] = raw[6] & 0x0F | 0x70
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def for_clients() -> bool:
    """Whether this request is answered to a program rather than a person."""
    return request.path.startswith(FOR_PROGRAMS)


def oauth_word(status: int) -> str:
    """The broker's own errors in the words of RFC 6749, by their status."""
    return "temporarily_unavailable" if status in {429, 503} else "server_error" if status >= 500 else "invalid_request"  # noqa: PLR2004


def for_oauth(error: errors.BrokerError) -> Response:
    """A broker's error at an OAuth endpoint: RFC 6749 JSON, never a problem document nor a page (rule R1)."""
    response = Response(orjson.dumps({"error": oauth_word(error.status), "error_description": error.title}), error.status, mimetype="application/json")
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def document(error: errors.BrokerError) -> dict[str, Any]:
    """The problem document (RFC 9457 section 3)."""
    return {
        "type": f"/problems/{error.slug}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "request_id": g.get("request_id", ""),
        **error.evidence(),
    }


def in_words(error: errors.BrokerError) -> str:
    """What happened and what to do, for people: an error's own sentence where it has one."""
    if error.detail != error.default or error.slug not in _FOR_PEOPLE:
        return error.detail
    return _FOR_PEOPLE[error.slug].format(wait=many(-(-(error.retry_after or 60) // 60), "minute"))


def is_oauth() -> bool:
    """Whether the request is for an endpoint of the authorization server that programs call."""
    return request.path.startswith("/oauth/") and not request.path.startswith("/oauth/authorize")


def respond(error: errors.BrokerError) -> Response:
    """The error as its reader needs it."""
    if is_oauth():
        return for_oauth(error)
    if for_clients():
        response = Response(orjson.dumps(document(error)), error.status, mimetype=MEDIA_TYPE)
        if error.slug in _CHALLENGES:
            response.headers["WWW-Authenticate"] = _challenge(_CHALLENGES[error.slug])
    else:
        onward = ("Unlock it", "/unlock") if error.slug == errors.Sealed.slug else None
        page = render_template("error.html", problem={**document(error), "detail": in_words(error), "slug": error.slug}, next=onward)
        response = Response(page, error.status)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _challenge(error: str) -> str:
    resource = f"{current.broker().settings.origin}/.well-known/oauth-protected-resource/v1"
    members = {**({"error": error} if error else {}), "algs": " ".join(ALGORITHMS), "resource_metadata": resource}
    return "DPoP " + ", ".join(f'{name}="{value}"' for name, value in members.items())


def _from_http(raised: HTTPException) -> Response:
    known = _HTTP.get(raised.code or 500)
    if known is None:
        return raised.get_response()  # type: ignore[return-value]
    response = respond(known())
    if raised.code == errors.MethodNotAllowed.status:
        response.headers["Allow"] = ", ".join(sorted(getattr(raised, "valid_methods", None) or ()))
    return response


def _unforeseen(raised: Exception) -> Response:
    if isinstance(raised, DatabaseFailed) and is_storage(raised):
        # Not by way of the writer, which says so itself: a part may have been done in another store before.
        log.error("a store failed in request %s", g.get("request_id", ""), exc_info=raised)
        return respond(errors.OutcomeUnknown(retry_after=1))
    log.error("unforeseen error in request %s", g.get("request_id", ""), exc_info=raised)
    return respond(errors.Internal())


def setup(app: Flask) -> None:
    """Answer every error of `app`, and give each request its id."""

    @app.before_request
    def _number() -> None:
        g.request_id = new_request_id()

    @app.after_request
    def _say_number(response: Response) -> Response:
        # An answer given before anything else was asked, to a preflight, has one too.
        response.headers.add("Request-Id", g.get("request_id") or new_request_id())
        return response

    app.register_error_handler(errors.BrokerError, respond)
    app.register_error_handler(HTTPException, _from_http)
    app.register_error_handler(Exception, _unforeseen)
