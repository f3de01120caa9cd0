"""What a server process runs: the application, with its sweep in the background and an orderly end."""

import atexit
import contextlib
import datetime as dt
import logging
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from flask import Flask

from broker import ballast, close_app, create_app
from broker.config import from_environment
from broker.errors import Sealed, Unsealable
from broker.exports.actions import expire, shred
from broker.factors.actions import sweep as sweep_challenges
from broker.imports.actions import sweep as sweep_imports
from broker.insights.actions import add_up
from broker.ledger.checkpoints import Inconsistent, sign
from broker.ledger.checkpoints import sweep as sweep_checkpoints
from broker.migrations import let_go
from broker.oauth.actions import sweep
from broker.opening import Broker
from broker.people.actions import sweep as sweep_links

log = logging.getLogger(__name__)
SWEEP_SECONDS: Final = 30.0
# A checkpoint follows an ending within a second.
LOOK_SECONDS: Final = 0.5
STOP_SECONDS: Final = 5.0
BEHIND: Final = dt.timedelta(minutes=5)
# Python's own 5 ms let a thread that only wants to commit a revoke wait many times over behind busy reads.
SWITCH_SECONDS: Final = 0.0005


def make() -> Flask:
    """The application of one server process."""
    settings = from_environment()
    sys.setswitchinterval(SWITCH_SECONDS)
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    app = create_app(settings)
    ballast.keep(settings.data_dir)
    stopping = threading.Event()
    sweeper = threading.Thread(target=_sweep, args=(app, stopping), name="sweep", daemon=True)
    signer = threading.Thread(target=_sign, args=(app, stopping), name="sign", daemon=True)
    for thread in (sweeper, signer):
        thread.start()

    def stop() -> None:
        stopping.set()
        signer.join(STOP_SECONDS)
        close_app(app)

    atexit.register(stop)
    return app


def _look_at_clock(broker: Broker) -> None:
    """Note the time, and tell whoever reads the log where the machine's clock has gone back."""
    broker.now.keep()
    if broker.now.behind > BEHIND:
        log.warning("this computer's clock is %s behind the broker's time, which never goes back; see: broker clock --help", broker.now.behind)


def _let_old_keys_go(broker: Broker) -> None:
    """A broker that started sealed was upgraded too: once it is open, the copy of its keys from before goes."""
    if not broker.vault.sealed:
        let_go(Path(broker.settings.backup_dir or broker.settings.data_dir), broker.vault.broker_id)


# What is done every half minute; each by itself, so that one that cannot be done keeps none from being done.
STEPS: Final[tuple[Callable[[Broker], object], ...]] = (
    lambda broker: broker.vault.lock_idle(broker.settings.lock_after), lambda broker: broker.vault.share(), sweep, sweep_challenges, sweep_links, expire, shred,
    sweep_imports, sweep_checkpoints, add_up, _look_at_clock, _let_old_keys_go, lambda broker: ballast.keep(broker.settings.data_dir),
)  # fmt: skip


def _sweep(app: Flask, stopping: threading.Event) -> None:
    broker: Broker = app.extensions["broker"]
    while not stopping.wait(SWEEP_SECONDS):
        for step in (lambda _broker: app.extensions["denials"].flush(), *STEPS):
            try:
                step(broker)
            except Sealed:
                # It waits until somebody unlocks the broker.
                continue
            except Exception:
                # Whatever it was, the next round may succeed, and nothing else would tell.
                log.exception("sweep put off")


def _sign(app: Flask, stopping: threading.Event) -> None:
    """Sign the logs in which something has just ended; what cannot be signed is tried again, and what still waits at the end is signed then."""
    due = app.extensions["broker"].due
    while not (stopping.is_set() and due.empty()):
        try:
            person_id = due.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            continue
        try:
            sign(app.extensions["broker"], person_id)
        except (Inconsistent, Unsealable):
            # The one has its alarm now, the other has no keys any more.
            log.warning("a log was not signed")
        except Sealed:
            # The sweep signs it once the broker is open.
            continue
        except Exception:
            # Whatever it was, an ending must not wait for the sweep because of it.
            log.exception("checkpoint put off")
            if not stopping.wait(LOOK_SECONDS):
                with contextlib.suppress(queue.Full):
                    due.put_nowait(person_id)
