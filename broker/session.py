"""The gate in for people: the session cookie, CSRF on every change, and `@signed_in`."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from flask import Flask, Response, flash, g, redirect, request, url_for
from flask import session as form_session
from flask.sessions import SecureCookieSessionInterface
from flask_wtf import CSRFProtect
from flask_wtf.csrf import CSRFError
from itsdangerous import URLSafeTimedSerializer
from werkzeug.wrappers import Response as BaseResponse

from broker import current, errors, problems
from broker.opening import Broker
from broker.people import actions, agents, queries
from broker.vault import credentials
from broker.vault.credentials import Credential
from broker.vault.keys import Keyring
from broker.words import many

P = ParamSpec("P")
R = TypeVar("R")
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
csrf: Final = CSRFProtect()


@dataclass(frozen=True, slots=True)
class Person:
    """The signed-in person, as pages and templates know them. Language, theme and density are the defaults until Settings come."""

    person_id: bytes
    name: str
    session: queries.Session
    language: str = "en"
    theme: str = ""
    density: str = ""

    @property
    def ring(self) -> Keyring:
        """The person's open keys."""
        return current.broker().keyring(self.person_id)


def cookie_name(broker: Broker) -> str:
    """The name of the session cookie."""
    return broker.settings.cookie("session")


def set_cookie(response: BaseResponse, credential: Credential) -> None:
    """Hand the session to the browser."""
    broker = current.broker()
    response.set_cookie(
        cookie_name(broker),
        credential.text,
        max_age=broker.settings.session_days * 86400,
        secure=broker.settings.https,
        httponly=True,
        samesite="Lax",
        path="/",
    )


def welcome(credential: Credential, target: str) -> BaseResponse:
    """Begin a session in this browser, and lead on to one of our pages."""
    # A new session gets new form tokens: what another session's page holds cannot be sent with it.
    form_session.clear()
    response = redirect(target, 303)
    set_cookie(response, credential)
    return response


def farewell(said: str) -> BaseResponse:
    """End the session in this browser, whose row is gone, say so on the sign-in page, and clear what the browser kept."""
    settings = current.broker().settings
    # What a step-up renewed a moment ago ends with it.
    g.pop("renewed", None)
    form_session.clear()
    flash(said, "good")
    response = redirect(url_for("people.sign_in"), 303)
    response.delete_cookie(cookie_name(current.broker()), secure=settings.https, httponly=True, samesite="Lax", path="/")
    # Not the storage: all that lies there is how long one's ledger was, for the browser to tell should it become shorter.
    response.headers["Clear-Site-Data"] = '"cache"'
    return response


def device() -> str:
    """What the browser of this request calls itself."""
    return agents.named(request.headers.get("User-Agent", ""))


def waiting(limited: errors.RateLimit) -> tuple[str, dict[str, str]]:
    """(what to tell, the header) where somebody tried too often."""
    return f"Too many attempts. Wait {many(-(-(limited.retry_after or 60) // 60), 'minute')} and try again.", {"Retry-After": str(limited.retry_after)}


def is_operator() -> bool:
    """Whether the person of this request is the broker's first, who set it up."""
    with current.broker().reading() as tx:
        return queries.is_first(tx, person().person_id)


def find_person() -> Person | None:
    """Who is signed in in this browser, if anybody."""
    broker = current.broker()
    credential = credentials.parse(broker.vault.route_key, "ss", request.cookies.get(cookie_name(broker), ""))
    return session_person(credential) if credential else None


def session_person(credential: Credential) -> Person | None:
    """Whose live session a credential is, if anybody's."""
    broker = current.broker()
    with broker.reading() as tx:
        session = queries.session(broker, tx, credential)
        name = queries.name_of(broker, tx, credential.person_id) if session else ""
    if session is None:
        return None
    broker.vault.used()
    if session.due:
        # A busy broker must not keep anybody from ending a grant.
        with suppress(errors.BrokerError):
            actions.seen(broker, session)
    return Person(session.person_id, name, session)


def person() -> Person:
    """The signed-in person of this request; only behind `@signed_in`."""
    found = g.get("person")
    if not isinstance(found, Person):
        raise errors.NotFound
    return found


def signed_in(view: Callable[P, R]) -> Callable[P, R | Response | BaseResponse]:
    """Let only signed-in people in; others are led to the sign-in page and back."""

    @wraps(view)
    def gate(*args: P.args, **kwargs: P.kwargs) -> R | Response | BaseResponse:
        if g.get("person") is None:
            if request.method not in SAFE:
                raise errors.FormExpired("You are signed out, so nothing was changed. Sign in and do it once more.")
            return redirect(url_for("people.sign_in", next=request.full_path.rstrip("?")), 303)
        return view(*args, **kwargs)

    gate.is_gate = True  # type: ignore[attr-defined]
    return gate


def own_path(text: str) -> str:
    """`text` if it is a path on this broker, else the home page: a sign-in never leads elsewhere."""
    plain = text.isascii() and text.isprintable() and "\\" not in text
    return text if plain and text.startswith("/") and not text.startswith("//") else "/"


def _is_page() -> bool:
    return not (problems.for_clients() or problems.is_oauth() or request.path.startswith("/static/"))


def _same_origin(broker: Broker) -> bool:
    site = request.headers.get("Sec-Fetch-Site")
    return site == "same-origin" if site is not None else request.headers.get("Origin") == broker.settings.origin


LONGEST_ADDRESS: Final = 8 * 1024
LARGEST_HEADERS: Final = 16 * 1024
MOST_HEADERS: Final = 100


def _check_size() -> None:
    """Sizes are checked before anything is parsed (section 9 of the reliability design)."""
    if len(request.full_path) > LONGEST_ADDRESS:
        raise errors.AddressTooLong
    sizes = [len(name) + len(value) for name, value in request.headers]
    if len(sizes) > MOST_HEADERS or sum(sizes) > LARGEST_HEADERS:
        raise errors.HeadersTooLarge


def _check_request() -> Response | BaseResponse | None:
    broker = current.broker()
    _check_size()
    host = request.headers.get("Host", "")
    if host != broker.settings.host_header:
        home = host.rpartition(":")[0] in {"127.0.0.1", "[::1]"} and not broker.settings.https
        if home and _is_page() and request.method in SAFE and request.path != "/healthz":
            return redirect(broker.settings.origin + request.full_path.rstrip("?"), 302)
        raise errors.Misdirected
    if not _is_page():
        return None
    g.person = find_person()
    if request.method not in SAFE and not _same_origin(broker):
        raise errors.FormExpired("This form was sent from another site, so nothing was changed.")
    return None


class _Forms(SecureCookieSessionInterface):
    """The cookie of CSRF tokens. Its serializer is made once, not for each call of a client that has no cookie."""

    def __init__(self, app: Flask) -> None:
        self._serializer = super().get_signing_serializer(app)

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer | None:  # noqa: ARG002 - Flask's signature
        """The serializer that was made at start-up."""
        return self._serializer


def setup(app: Flask, broker: Broker) -> None:
    """Check host, session and origin before every request, and the CSRF token of every form."""
    app.config.update(
        SECRET_KEY=broker.vault.cookie_key,
        SESSION_COOKIE_NAME=broker.settings.cookie("form"),
        SESSION_COOKIE_SECURE=broker.settings.https,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        WTF_CSRF_TIME_LIMIT=None,
        WTF_CSRF_CHECK_DEFAULT=True,
    )
    app.session_interface = _Forms(app)
    app.before_request(_check_request)
    csrf.init_app(app)

    @app.errorhandler(CSRFError)
    def _form_expired(_error: CSRFError) -> Any:
        return problems.respond(errors.FormExpired())
