"""`broker restore`: puts a backup back where nothing is, or with `--check` into a scratch place, and says what is in it."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from broker.config import Settings
from broker.terminal import CHECK_FAILED, SCHEMA_TOO_NEW, SEALED, ended_in_order, fail, port_is_free, settings, typed

if TYPE_CHECKING:
    from broker.backups.copies import Pair, Read
    from broker.opening import Broker

ASKED: Final = "Passphrase or key of the backup"
UNSEALED: Final = ". It is not sealed: whoever could write there can have made it, or changed it"
NOBODY: Final = "The backup is not whole: it holds no {what}. Take another one."


@click.command()
@click.argument("backup", metavar="DIRECTORY", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Restore into a scratch place, open and verify everything there, and change nothing here.")
def restore(backup: Path, check: bool) -> None:  # noqa: FBT001 - a click option
    """Put the backup in DIRECTORY back, where the data directory is empty or holds heads.db alone. One file of a backup names it as well."""
    from broker.backups import names  # noqa: PLC0415 - the command must answer --help at once
    from broker.db import DatabaseFailed, PragmaRefused  # noqa: PLC0415 - the same
    from broker.migrations import SchemaTooNew  # noqa: PLC0415 - the same
    from broker.vault.backups import BackupRefused  # noqa: PLC0415 - the same
    from broker.vault.files import wipe_left  # noqa: PLC0415 - the same
    from broker.vault.slots import NoKey  # noqa: PLC0415 - the same

    found, code = settings(), CHECK_FAILED if check else 1
    try:
        with ended_in_order():
            wipe_left(found.data_dir)
            pair = names.find(backup)
            _say(pair, names.newer_halves(pair))
            (_check if check else _restore)(found, pair)
    except SchemaTooNew as too_new:
        fail(str(too_new), SCHEMA_TOO_NEW)
    except (BackupRefused, PragmaRefused) as refused:
        fail(str(refused), code)
    except NoKey as refused:
        fail(str(refused), SEALED)
    except OSError as failed:
        fail(f"{failed.filename or found.data_dir} cannot be used: {(failed.strerror or str(failed)).lower()}. Nothing was restored.", code)
    except DatabaseFailed as failed:
        fail(f"The backup is not whole, or the disk of {found.data_dir} fails: {getattr(failed, 'orig', None) or failed}.", code)


def _say(pair: "Pair", halves: list[Path]) -> None:
    """Which backup it is, before anybody types a secret for it."""
    made = f", by its name of {pair.made_at:%Y-%m-%d %H:%M} UTC" if pair.made_at else ""
    click.echo(f"The backup is {pair.data} with {pair.keys.name}{made}{'' if pair.is_sealed else UNSEALED}.", err=True)
    if halves:
        click.echo(f"A newer one is not whole, and is passed over. Of it there is only: {', '.join(path.name for path in halves)}", err=True)


def _secret(pair: "Pair") -> str:
    return typed(ASKED) if pair.is_sealed else ""


@contextlib.contextmanager
def _there(where: Path) -> Iterator[None]:
    """The data directory, for a moment, where there is none."""
    missing = [path for path in (where, *where.parents) if not path.exists()]
    where.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        yield
    finally:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()


def _check(found: Settings, pair: "Pair") -> None:
    from broker.opening import opened  # noqa: PLC0415 - see restore
    from broker.restores import checks  # noqa: PLC0415 - see restore
    from broker.vault.files import CHECKING, scratch  # noqa: PLC0415 - see restore

    text = _secret(pair)
    with _there(found.data_dir), scratch(found.data_dir / f"{CHECKING}{os.urandom(8).hex()}") as folder:
        aside = replace(found, data_dir=folder / "data", backup_dir="")
        aside.data_dir.mkdir(mode=0o700)
        read = checks.read_stores(pair, text, aside.data_dir)
        _bring_up(aside.data_dir)
        # The operator's key file is looked at, never renewed.
        with opened(aside) as broker:
            _refuse_nobody(broker)
            if broker.vault.sealed and not _unlocked(broker):
                fail("This is no passphrase or recovery key of the broker in the backup, and the key file here does not open it.", SEALED)
            report = checks.verified(broker)
    made = f" of {read.made_at:%Y-%m-%d %H:%M} UTC" if read.made_at else ""
    if report.problem:
        fail(f"The backup{made} is not whole: {report.problem}", CHECK_FAILED)
    click.echo(f"The backup{made} is whole: {report.sentence}")


def _bring_up(where: Path) -> None:
    """Bring both stores to the newest form without a copy, and refuse keys that hold none: opening them would make a key file."""
    from broker import migrations  # noqa: PLC0415 - see restore
    from broker.backups.copies import DATA_FILE, KEYS_FILE  # noqa: PLC0415 - see restore
    from broker.db import KEYS, Store  # noqa: PLC0415 - see restore
    from broker.vault import slots  # noqa: PLC0415 - see restore

    for name in (DATA_FILE, KEYS_FILE):
        store = Store(where / f"{name}.db", KEYS)
        try:
            migrations.upgrade(name, store)
            if name == KEYS_FILE:
                with store.reading() as tx:
                    if not slots.count(tx):
                        fail(NOBODY.format(what="keys"), CHECK_FAILED)
        finally:
            store.close()


def _refuse_nobody(broker: "Broker") -> None:
    from broker.people import queries as people  # noqa: PLC0415 - see restore

    with broker.reading() as tx:
        if not people.everyone(tx):
            fail(NOBODY.format(what="people"), CHECK_FAILED)


def _unlocked(broker: "Broker") -> bool:
    from broker.keys import actions  # noqa: PLC0415 - see restore

    click.echo("The key file here does not open what is in the backup.", err=True)
    return actions.unlock(broker, typed("Passphrase or recovery key of the broker"))


def _restore(found: Settings, pair: "Pair") -> None:
    from broker.restores import checks  # noqa: PLC0415 - see restore
    from broker.vault.files import scratch  # noqa: PLC0415 - see restore

    where = found.data_dir
    with checks.alone(where):
        if not port_is_free(found.host, found.port):
            fail(f"A broker runs at {found.host}:{found.port}. Stop it first; nothing was restored.")
        text = _secret(pair)
        with scratch(where / checks.PARTS) as parts:
            read = checks.read_stores(pair, text, parts)
            checks.put_in_place(where, parts)
    _told(where, read)


def _told(where: Path, read: "Read") -> None:
    made = f" of {read.made_at:%Y-%m-%d %H:%M} UTC" if read.made_at else ""
    click.echo(f"The backup{made} is in {where}. Start the broker now: every grant will be paused and every session ended, and every ledger says so.")
    click.echo("If it starts sealed, unlock it by the recovery key or a passphrase of the broker, and then run: broker keys add key-file", err=True)
