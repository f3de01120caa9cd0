"""`broker restore`: puts a backup back where nothing is, or with `--check` into a scratch place, and says what is in it."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from broker.config import Settings
from broker.terminal import CHECK_FAILED, SCHEMA_TOO_NEW, SEALED, fail, port_is_free, settings, typed

if TYPE_CHECKING:
    from broker.backups.copies import Pair, Read
    from broker.opening import Broker

ASKED = "Passphrase or key of the backup"


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Restore into a scratch place, open and verify everything there, and change nothing here.")
def restore(directory: Path, check: bool) -> None:  # noqa: FBT001 - a click option
    """Put the backup in DIRECTORY back, where the data directory is empty or holds heads.db alone."""
    from broker.backups import copies  # noqa: PLC0415 - the command must answer --help at once
    from broker.migrations import SchemaTooNew  # noqa: PLC0415 - the same
    from broker.vault.backups import BackupRefused  # noqa: PLC0415 - the same
    from broker.vault.slots import NoKey  # noqa: PLC0415 - the same

    found = settings()
    try:
        pair = copies.find(directory)
        (_check if check else _restore)(found, pair)
    except SchemaTooNew as too_new:
        fail(str(too_new), SCHEMA_TOO_NEW)
    except BackupRefused as refused:
        fail(str(refused), CHECK_FAILED if check else 1)
    except NoKey as refused:
        fail(str(refused), SEALED)


def _secret(pair: "Pair") -> str:
    return typed(ASKED) if pair.is_sealed else ""


def _check(found: Settings, pair: "Pair") -> None:
    from broker.opening import opened  # noqa: PLC0415 - see restore
    from broker.restores import checks  # noqa: PLC0415 - see restore

    text = _secret(pair)
    with tempfile.TemporaryDirectory(prefix="proffer-check-") as folder:
        scratch = replace(found, data_dir=Path(folder) / "data", backup_dir="")
        scratch.data_dir.mkdir(mode=0o700)
        read = checks.read_stores(pair, text, scratch.data_dir)
        # The operator's key file is looked at, never renewed.
        with opened(scratch) as broker:
            if broker.vault.sealed and not _unlocked(broker):
                fail("This is no passphrase or recovery key of the broker in the backup, and the key file here does not open it.", SEALED)
            report = checks.verified(broker)
    made = f" of {read.made_at:%Y-%m-%d %H:%M} UTC" if read.made_at else ""
    if report.problem:
        fail(f"The backup{made} is not whole: {report.problem}", CHECK_FAILED)
    click.echo(f"The backup{made} is whole: {report.sentence}")


def _unlocked(broker: "Broker") -> bool:
    from broker.keys import actions  # noqa: PLC0415 - see restore

    click.echo("The key file here does not open what is in the backup.", err=True)
    return actions.unlock(broker, typed("Passphrase or recovery key of the broker"))


def _restore(found: Settings, pair: "Pair") -> None:
    from broker.restores import checks  # noqa: PLC0415 - see restore

    where = found.data_dir
    with checks.alone(where):
        if not port_is_free(found.host, found.port):
            fail(f"A broker runs at {found.host}:{found.port}. Stop it first; nothing was restored.")
        text = _secret(pair)
        parts = where / checks.PARTS
        shutil.rmtree(parts, ignore_errors=True)
        parts.mkdir(mode=0o700)
        try:
            read = checks.read_stores(pair, text, parts)
            checks.put_in_place(where, parts)
        finally:
            shutil.rmtree(parts, ignore_errors=True)
    _told(where, read)


def _told(where: Path, read: "Read") -> None:
    made = f" of {read.made_at:%Y-%m-%d %H:%M} UTC" if read.made_at else ""
    click.echo(f"The backup{made} is in {where}. Start the broker now: every grant will be paused and every session ended, and every ledger says so.")
    click.echo("If it starts sealed, unlock it by the recovery key or a passphrase of the broker, and then run: broker keys add key-file", err=True)
