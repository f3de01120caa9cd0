"""The security headers of every answer: one fixed set, a fresh nonce, and two narrow ways to differ from it."""

import hashlib
import secrets
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, g, request

from broker.config import Settings

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action {form_action}; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types htmx"
)
FIXED = {
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
IMMUTABLE = "public, max-age=31536000, immutable"


def setup(app: Flask, settings: Settings) -> None:
    """Puts the headers on every answer of `app`, a content hash on each static address, and `csp_nonce()` into its templates."""

    def dress(response: Response) -> Response:
        return _dress(response, https=settings.https)

    app.after_request(dress)
    app.url_defaults(_name_the_version)
    app.add_template_global(csp_nonce, "csp_nonce")


def csp_nonce() -> str:
    """The nonce of this response: 128 random bits in base64url, the same wherever the response names it."""
    if "csp_nonce" not in g:
        g.csp_nonce = secrets.token_urlsafe(16)
    nonce: str = g.csp_nonce
    return nonce


def widen_form_action(redirect_uri: str) -> None:
    """Lets a form of this page be answered by a redirect to `redirect_uri`; for the consent page alone, with a registered address.

    Chromium applies `form-action` to the redirect after a form too. Raises ValueError for anything but http or https with a host.
    """
    parts = urlsplit(redirect_uri)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("a form may lead to an http or https address only")
    # CSP has no way to write an IPv6 host, so the loopback form of a native client can only be named by its scheme.
    host = parts.hostname.encode("idna").decode() if ":" not in parts.hostname else ""
    if any(mark in host for mark in " ;,'\"*"):
        raise ValueError("this host cannot stand in a policy")
    port = f":{parts.port}" if parts.port else ""
    g.form_action_origins = (*g.get("form_action_origins", ()), f"{parts.scheme}://{host}{port}" if host else f"{parts.scheme}:")


def allow_caching(value: str) -> None:
    """Gives this response a `Cache-Control` other than `no-store`; for documents that are the same for everyone."""
    g.cache_control = value


def kept(body: bytes) -> Response:
    """A JSON document that is the same for everyone: whoever has it asks whether it changed, and is told so in a line (RFC 9110 section 13)."""
    allow_caching("no-cache")
    response = Response(body, mimetype="application/json")
    response.add_etag()
    response.make_conditional(request)
    return response


def _dress(response: Response, *, https: bool) -> Response:
    form_action = " ".join(("'self'", *g.get("form_action_origins", ())))
    # Nobody has set any of these before, and looking for each would cost more than adding all.
    response.headers.extend({"Content-Security-Policy": CONTENT_SECURITY_POLICY.format(nonce=csp_nonce(), form_action=form_action), **FIXED})
    response.headers["Cache-Control"] = _caching(response)
    if https:
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    return response


def _caching(response: Response) -> str:
    if request.endpoint != "static":
        value: str = g.get("cache_control", "no-store")
        return value
    # Only an address that names this very content may be kept for a year; a plain or stale one is asked for again.
    named = request.args.get("v")
    current = named is not None and named == _version((request.view_args or {}).get("filename", ""))
    return IMMUTABLE if current and response.status_code in {200, 206, 304} else "no-cache"


def _name_the_version(endpoint: str, values: dict[str, Any]) -> None:
    if endpoint == "static" and "v" not in values:
        version = _version(values.get("filename", ""))
        if version is not None:
            values["v"] = version


@cache
def _versions() -> dict[str, str]:
    folder = Path(__file__).parent / "static"
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def _version(filename: str) -> str | None:
    return _versions().get(filename)
