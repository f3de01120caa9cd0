"""The strict gate before every OAuth endpoint (rule A2): form bodies only, each parameter once, closed sets, fixed error sentences."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

from authlib.oauth2 import OAuth2Error

FORM: Final = "application/x-www-form-urlencoded"
MAX_BODY: Final = 32 * 1024
MAX_PARAMETERS: Final = 30
NO_GRANT: Final = "This code or refresh token is not valid, or no longer."
NO_CLIENT: Final = "The client could not be authenticated."
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")


class Refused(OAuth2Error):
    """An OAuth error (RFC 6749 section 5.2). `description` is a fixed ASCII sentence, never input."""

    def __init__(self, error: str, description: str, status: int = 400, headers: Mapping[str, str] | None = None) -> None:
        self.error = error
        self.extra_headers = dict(headers or {})
        super().__init__(description=description, status_code=status)


def invalid_request(description: str) -> Refused:
    """`invalid_request`, 400."""
    return Refused("invalid_request", description)


def invalid_grant() -> Refused:
    """`invalid_grant`, 400: one sentence for every cause."""
    return Refused("invalid_grant", NO_GRANT)


def invalid_client() -> Refused:
    """`invalid_client`, 401: one sentence for every cause (rule A7)."""
    return Refused("invalid_client", NO_CLIENT, 401)


def check_envelope(method: str, content_type: str, query: str, encoding: str, length: int | None) -> None:
    """What can be refused before the body is read: method, query, media type, encoding, size."""
    if method != "POST":
        raise Refused("invalid_request", "Use POST.", 405, {"Allow": "POST"})
    if query:
        raise invalid_request("Send parameters in the body, never in the address.")
    if content_type.split(";", maxsplit=1)[0].strip().lower() != FORM or encoding:
        raise Refused("invalid_request", "Send application/x-www-form-urlencoded without Content-Encoding.", 415)
    if length is None or length > MAX_BODY:
        raise Refused("invalid_request", "The body is too large, or its length was not given.", 413)


def parse_form(body: bytes) -> dict[str, str]:
    """The parameters of a form body, each once, empty ones left out; `invalid_request` otherwise.

    A parameter given twice is refused, even as an empty one; `resource` given twice is `invalid_target` (RFC 8707 section 2).
    """
    if len(body) > MAX_BODY:
        raise Refused("invalid_request", "The body is too large.", 413)
    pairs = body.split(b"&") if body else []
    if len(pairs) > MAX_PARAMETERS:
        raise invalid_request("There are too many parameters.")
    found: dict[str, str] = {}
    for pair in pairs:
        name, _, value = pair.partition(b"=")
        key, text = _decoded(name), _decoded(value)
        if key in found:
            if key == "resource":
                raise Refused("invalid_target", "Name one resource only.")
            raise invalid_request("A parameter was given twice.")
        found[key] = text
    return {key: text for key, text in found.items() if text}


def _decoded(raw: bytes) -> str:
    if re.search(rb"%(?![0-9A-Fa-f]{2})", raw):
        raise invalid_request("The body is not well-formed percent-encoding.")
    try:
        text = unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError:
        raise invalid_request("The body is not UTF-8.") from None
    if CONTROL.search(text):
        # A line break is legal in JSON, but vendors can send their JSON without.
        raise invalid_request("Control characters are not taken.")
    return text


def challenge(form: Mapping[str, str]) -> str:
    """The PKCE challenge (RFC 7636); S256 must be stated."""
    text = form.get("code_challenge", "")
    if form.get("code_challenge_method") != "S256" or not CHALLENGE.fullmatch(text):
        raise invalid_request("PKCE is required: send code_challenge with code_challenge_method=S256.")
    return text


def check_resource(form: Mapping[str, str], origin: str) -> None:
    """Tokens are for the one resource there is, `<issuer>/v1`; another is `invalid_target` (RFC 8707 section 2)."""
    if form.get("resource", f"{origin}/v1") != f"{origin}/v1":
        raise Refused("invalid_target", "The one resource is the issuer followed by /v1.")


def is_verifier(text: str) -> bool:
    """Whether `text` has the form of a code_verifier (RFC 7636 section 4.1)."""
    return VERIFIER.fullmatch(text) is not None


def same_redirect(registered: tuple[str, ...], uri: str) -> bool:
    """Exact comparison (RFC 9700 section 2.1); on loopback addresses the port is free (RFC 8252 section 7.3)."""
    if uri in registered:
        return True
    loopback = re.fullmatch(r"(http://(?:127\.0\.0\.1|\[::1\]))(:[1-9][0-9]{0,4})?(/[^\s?#]*)?", uri)
    if loopback is None or int((loopback[2] or ":80")[1:]) > 65535:  # noqa: PLR2004 - the last port
        return False
    return any(
        (form := re.fullmatch(r"(http://(?:127\.0\.0\.1|\[::1\]))(:[0-9]+)?(/[^\s?#]*)?", known)) is not None
        and (form[1], form[3]) == (loopback[1], loopback[3])
        for known in registered
    )
