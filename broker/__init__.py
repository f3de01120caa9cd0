"""The broker: `create_app` puts it together, to be read top to bottom."""

import datetime as dt
import logging
import os
from collections.abc import Callable
from typing import Any

from flask import Flask

from broker import access, confirming, cors, description, documentation, headers, health, layout, openapi, problems, quota, session, wellknown
from broker.config import Settings, from_environment
from broker.db import utcnow
from broker.events.answers import answers as answers_api
from broker.events.api import api as events_api
from broker.events.described import PART as EVENTS_PART
from broker.events.pages import pages as events_pages
from broker.exports.pages import pages as exports_pages
from broker.factors.pages import pages as factors_pages
from broker.grants.api import api as grants_api
from broker.grants.described import PART as GRANTS_PART
from broker.grants.pages import pages as grants_pages
from broker.home.pages import pages as home_pages
from broker.imports.pages import pages as imports_pages
from broker.insights.pages import pages as insights_pages
from broker.keys.pages import pages as keys_pages
from broker.ledger.actions import Denials
from broker.ledger.pages import pages as ledger_pages
from broker.notices.pages import pages as notices_pages
from broker.oauth import metadata
from broker.oauth.described import PART as OAUTH_PART
from broker.oauth.dpop import Seen
from broker.oauth.endpoints import oauth
from broker.oauth.pages import pages as oauth_pages
from broker.oauth.server import Server
from broker.opening import open_broker
from broker.people.pages import pages as people_pages
from broker.restores.actions import settle
from broker.terms.pages import pages as terms_pages
from broker.vendors.actions import seed_extension
from broker.vendors.pages import pages as vendors_pages

CAPABILITIES = (
    home_pages, people_pages, factors_pages, keys_pages, notices_pages, oauth, oauth_pages, metadata.metadata,
    terms_pages, grants_pages, grants_api, events_api, answers_api, events_pages, imports_pages, insights_pages, ledger_pages, vendors_pages, exports_pages,
    documentation.documentation, description.description, health.health, wellknown.wellknown,
)  # fmt: skip
DESCRIBED = (EVENTS_PART, GRANTS_PART, OAUTH_PART, health.PART, wellknown.PART, description.PART)


class Application(Flask):
    """Flask, told that none of our functions is a coroutine: it would look at each of them, at every request."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function itself."""
        return func


def create_app(settings: Settings | None = None, now: Callable[[], dt.datetime] = utcnow, fetch: Callable[[str], bytes] | None = None) -> Flask:
    """The WSGI application of one broker. `now` is the clock and `fetch` the way out, to be replaced by tests only."""
    settings = settings or from_environment()
    if os.environ.get("AUTHLIB_INSECURE_TRANSPORT"):
        raise RuntimeError("AUTHLIB_INSECURE_TRANSPORT is set. Unset it; the broker does not start with it.")
    metadata.check(settings.origin)
    # Below INFO the library prints tokens.
    logging.getLogger("authlib").setLevel(logging.INFO)
    logging.getLogger("alembic").setLevel(logging.WARNING)

    broker = open_broker(settings, now, fetch)
    seed_extension(broker)
    settle(broker)

    app = Application(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 64 * 1024
    app.config["MAX_FORM_PARTS"] = 2000
    app.extensions["broker"] = broker
    app.extensions["denials"] = Denials(broker)
    app.extensions["oauth"] = Server()
    app.extensions["seen"] = Seen()

    # In this order: every answer gets its headers, every error its form, every request its gate.
    cors.setup(app)
    access.setup(app)
    headers.setup(app, settings)
    problems.setup(app)
    quota.setup(app)
    layout.setup(app, settings)
    session.setup(app, broker)
    confirming.setup(app)
    for blueprint in CAPABILITIES:
        app.register_blueprint(blueprint)
    openapi.setup(app, settings.origin, DESCRIBED)
    return app


def close_app(app: Flask) -> None:
    """Enter what is still to be entered, drain the writer, close the stores."""
    try:
        app.extensions["denials"].close()
    finally:
        app.extensions["broker"].close()
