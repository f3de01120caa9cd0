"""The bookshop's pages: a shelf, a button to connect, the callback, and what the shop may see."""

import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, abort, redirect, render_template, request, session, url_for
from proffer_vendor import (
    CallbackRefused,
    Connection,
    Cut,
    Declined,
    GrantEnded,
    GrantPaused,
    NotConnected,
    NotGranted,
    Pending,
    ProfferError,
    RateLimited,
    cuts,
)
from werkzeug.wrappers import Response as AnyResponse

from bookshop.vendor import ASK, SHELF, Book, Shop, categories, in_words, prices, suggest, time_level, when

MOST_ROWS = 200
MOST_PENDING = 1000
COOKIE = {"SESSION_COOKIE_NAME": "bookshop", "SESSION_COOKIE_SAMESITE": "Lax", "SESSION_COOKIE_HTTPONLY": True}
# A grant outlives the browser's window; browsers keep no cookie longer than this.
REMEMBERED = timedelta(days=400)


@dataclass
class View:
    """What the home page shows: `state` is one of new, connected, declined, paused, ended, refused, busy, failed; `level` is that of the rows' times."""

    state: str = "new"
    detail: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)
    books: list[Book] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)
    level: str = ""


def create_app(shop: Shop) -> Flask:
    """The shop as a WSGI app. Requests on their way are kept in memory: whoever was asked at a restart just connects again."""
    app = Flask(__name__)
    app.config.update(SECRET_KEY=shop.secret, PERMANENT_SESSION_LIFETIME=REMEMBERED, **COOKIE)
    app.jinja_env.globals.update(categories=categories, in_words=in_words, prices=prices, when=when, form_token=form_token, ask=ASK, shelf=SHELF)
    vendor, store = shop.vendor(), shop.store()
    pending: dict[str, Pending] = {}

    def connection() -> Connection:
        return Connection(vendor, store, visitor())

    @app.get("/")
    def home() -> str:
        return render_template("home.html", view=look(connection(), session.pop("declined", False)))

    @app.post("/connect")
    def connect() -> AnyResponse:
        while len(pending) >= MOST_PENDING:
            pending.pop(next(iter(pending)))
        pending[visitor()] = started = vendor.begin([ASK])
        return redirect(started.url, 303)

    @app.get("/callback")
    def callback() -> AnyResponse:
        # The request must have been started in this very browser.
        started = pending.get(visitor())
        if started is None:
            raise CallbackRefused("Nothing was asked in this browser, or it was answered already.")
        try:
            connection().complete(started, request.args)
        except Declined:
            session["declined"] = True
        # Good for one answer; but a callback that another site forged does not use it up.
        pending.pop(visitor(), None)
        return redirect(url_for("home"), 303)

    @app.post("/leave")
    def leave() -> AnyResponse:
        connection().end()
        return redirect(url_for("home"), 303)

    @app.errorhandler(ProfferError)
    def failed(error: ProfferError) -> tuple[str, int]:
        return render_template("home.html", view=View("failed", str(error))), 400 if isinstance(error, CallbackRefused) else 502

    guard(app, shop)
    return app


def look(connection: Connection, declined: bool) -> View:  # noqa: FBT001 - one fact about the visitor, named at the call.
    """What the shop may see of this visitor right now; each refusal of the broker becomes a state of the page."""
    try:
        rows = list(islice(connection.read(), MOST_ROWS))
        grant = connection.grant()
        return View("connected", rows=rows, books=suggest(rows), cuts=cuts(grant), level=time_level(grant))
    except NotConnected:
        return View("declined" if declined else "new")
    except GrantEnded:
        return View("ended")
    except GrantPaused:
        return View("paused")
    except NotGranted as error:
        return View("refused", error.detail)
    except RateLimited as error:
        return View("busy", f"{error.retry_after or 60}")


def visitor() -> str:
    """The name of this browser's session; random, made at its first visit, and kept after its window is closed."""
    session.permanent = True
    name: str = session.setdefault("visitor", secrets.token_urlsafe(24))
    return name


def form_token() -> str:
    """The secret that this browser's forms carry, so that another site cannot send them."""
    token: str = session.setdefault("form", secrets.token_urlsafe(24))
    return token


def guard(app: Flask, shop: Shop) -> None:
    """One host, forms of our own only, and headers that let the page load nothing but its stylesheet."""
    broker = urlsplit(shop.broker)

    @app.before_request
    def check() -> AnyResponse | None:
        if request.host != shop.host:
            return redirect(f"http://{shop.host}/", 303)
        if request.method == "POST" and not secrets.compare_digest(request.form.get("form", "").encode(), form_token().encode()):
            abort(403)
        return None

    @app.after_request
    def dress(response: Response) -> Response:
        # Chromium applies form-action to the redirect after the form as well, and Connect leads to the broker.
        policy = f"default-src 'none'; style-src 'self'; form-action 'self' {broker.scheme}://{broker.netloc}; base-uri 'none'; frame-ancestors 'none'"
        response.headers.update(
            {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store"}
        )
        return response
