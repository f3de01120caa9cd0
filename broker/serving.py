"""What a server process runs: the application, with its sweep in the background and an orderly end."""

import atexit
import logging
import sys
import threading
from typing import Final

from flask import Flask

from broker import close_app, create_app
from broker.config import from_environment
from broker.exports.actions import sweep as sweep_erased
from broker.factors.actions import sweep as sweep_challenges
from broker.imports.actions import sweep as sweep_imports
from broker.oauth.actions import sweep

log = logging.getLogger(__name__)
SWEEP_SECONDS: Final = 30.0
# Python's own 5 ms let a thread that only wants to commit a revoke wait many times over behind busy reads.
SWITCH_SECONDS: Final = 0.0005


def make() -> Flask:
    """The application of one server process."""
    settings = from_environment()
    sys.setswitchinterval(SWITCH_SECONDS)
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    app = create_app(settings)
    stopping = threading.Event()
    sweeper = threading.Thread(target=_sweep, args=(app, stopping), name="sweep", daemon=True)
    sweeper.start()

    def stop() -> None:
        stopping.set()
        close_app(app)

    atexit.register(stop)
    return app


def _sweep(app: Flask, stopping: threading.Event) -> None:
    while not stopping.wait(SWEEP_SECONDS):
        try:
            app.extensions["denials"].flush()
            app.extensions["broker"].vault.lock_idle(app.extensions["broker"].settings.lock_after)
            app.extensions["broker"].vault.share()
            sweep(app.extensions["broker"])
            sweep_challenges(app.extensions["broker"])
            sweep_erased(app.extensions["broker"])
            sweep_imports(app.extensions["broker"])
        except Exception:
            # Whatever it was, the next round may succeed, and nothing else would tell.
            log.exception("sweep put off")
