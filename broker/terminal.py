"""The gate in for operators: what every command starts with, and how it fails."""

import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from broker.config import Settings, WrongSetting, from_environment

if TYPE_CHECKING:
    from broker.opening import Broker

FAILED: Final = 1
CHECK_FAILED: Final = 3
SEALED: Final = 4
SCHEMA_TOO_NEW: Final = 5
RESTORED: Final = (
    "An older copy of the stores has come back. Every grant is paused, every session has ended, and everybody's ledger says so. "
    "People sign in anew and resume what they still want."
)


def fail(sentence: str, code: int = FAILED) -> NoReturn:
    """Say what is wrong on stderr and end with this exit status."""
    click.echo(f"broker: {sentence}", err=True)
    sys.exit(code)


def typed(prompt: str) -> str:
    """What is typed, unseen; from a pipe one line."""
    text: str = click.prompt(prompt, hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    return text


def settings() -> Settings:
    """The settings in force, or an end with a sentence."""
    try:
        return from_environment()
    except WrongSetting as wrong:
        fail(str(wrong), 2)
        raise


@contextmanager
def opened() -> Iterator["Broker"]:
    """The broker of the settings in force, open for one command; every foreseen failure becomes one sentence."""
    from broker.db import DatabaseFailed, PragmaRefused, is_storage  # noqa: PLC0415 - the command must answer --help at once
    from broker.errors import BrokerError, Sealed  # noqa: PLC0415 - the same
    from broker.migrations import SchemaTooNew, let_go  # noqa: PLC0415 - the same
    from broker.opening import opened as opening  # noqa: PLC0415 - the same
    from broker.restores.actions import settle  # noqa: PLC0415 - the same
    from broker.vault.backups import BackupRefused  # noqa: PLC0415 - the same
    from broker.vault.files import wipe_left  # noqa: PLC0415 - the same
    from broker.vault.slots import NoKey  # noqa: PLC0415 - the same

    found = settings()
    try:
        wipe_left(found.data_dir)
        with opening(found) as broker:
            if settle(broker):
                click.echo(RESTORED, err=True)
            yield broker
            if not broker.vault.sealed:
                let_go(Path(found.backup_dir or found.data_dir), broker.vault.broker_id)
    except SchemaTooNew as too_new:
        fail(str(too_new), SCHEMA_TOO_NEW)
    except (NoKey, PragmaRefused, BackupRefused) as refused:
        fail(str(refused))
    except Sealed:
        fail("The broker is sealed. Run: broker unlock", SEALED)
    except BrokerError as error:
        for each in error.errors:
            click.echo(f"{each['pointer'] or '/'}: {each['detail']}", err=True)
        fail(error.detail)
    except DatabaseFailed as failed:
        if not is_storage(failed):
            raise
        fail(f"A store cannot be read or written: {getattr(failed, 'orig', None) or failed}. Look at the disk, then do it again: repeating is safe.")


@contextmanager
def ended_in_order() -> Iterator[None]:
    """While this lasts a signal to end is an exception, as Ctrl-C is: what lies about for a moment is wiped on the way out."""
    numbers = [number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) and signal.getsignal(number) == signal.SIG_DFL]

    def end(number: int, _frame: object) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        sys.exit(128 + number)

    for each in numbers:
        signal.signal(each, end)
    try:
        yield
    finally:
        for each in numbers:
            signal.signal(each, signal.SIG_DFL)


def with_broker(command: Callable[..., None]) -> Callable[..., None]:
    """Hand an open broker to a command as its first argument."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        with opened() as broker:
            command(broker, *args, **kwargs)

    return run


def person_named(broker: "Broker", name: str | None) -> bytes:
    """The person_id behind a name, or the only person's; ends with a sentence if there is no such person."""
    from broker.people import queries  # noqa: PLC0415 - see opened

    with broker.reading() as tx:
        everyone = queries.everyone(tx)
        row = queries.by_name(broker, tx, name) if name else None
    if name and row is None:
        fail(f"Nobody here is called {name!r}.")
    if row is not None:
        return bytes(row.person_id)
    if len(everyone) != 1:
        fail("Say whom you mean with --person NAME." if everyone else "Nobody has an account here yet. Run: broker person add")
    return everyone[0]


def port_is_free(host: str, port: int) -> bool:
    """Whether nothing listens there. Servers may share a port without knowing, so it is asked before anything is printed."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError:
        return False
    return True


def run_server(found: Settings) -> None:
    """Run the server until it is told to stop."""
    from granian import Granian  # noqa: PLC0415 - see opened
    from granian.constants import Interfaces  # noqa: PLC0415 - see opened
    from granian.log import LogLevels  # noqa: PLC0415 - see opened

    server = Granian(
        "broker.serving:make", factory=True, address=found.host, port=found.port, interface=Interfaces.WSGI, workers=found.workers,
        blocking_threads=found.threads, log_level=LogLevels.warning, log_access=False, respawn_failed_workers=True, workers_kill_timeout=10,
    )  # fmt: skip
    try:
        server.serve()
    except (OSError, RuntimeError) as error:
        fail(f"The server could not run at {found.host}:{found.port}: {error}")
