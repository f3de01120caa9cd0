"""`broker backup`: copies the stores while the broker runs, as two files sealed to a passphrase or to a key that does not lie here."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from broker.terminal import ended_in_order, fail, opened, typed

if TYPE_CHECKING:
    from broker.vault.backups import To

OPENED_BY = "Keep the two apart if you can. Whoever puts them back needs the recovery key or a passphrase of the broker, too: broker keys list names them."
WHERE = "Name the directory that the backup is written to, or --new-recipient."


@click.command()
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@click.option("--ask-passphrase", "passphrase", is_flag=True, help="Seal it to a passphrase, which is asked for and never given here; so it is without --to.")
@click.option("--to", "recipient", help="Seal it to this public key instead: whoever copies needs no secret.")
@click.option("--new-recipient", is_flag=True, help="Print a new pair of keys, once, and copy nothing.")
def backup(directory: Path | None, passphrase: bool, recipient: str | None, new_recipient: bool) -> None:  # noqa: FBT001 - click options
    """Copy data and keys into DIRECTORY, sealed, while the broker runs; the older sealed backup there goes. heads.db is never in it."""
    from broker.vault import backups  # noqa: PLC0415 - the command must answer --help at once

    if new_recipient:
        private, public = backups.new_recipient()
        click.echo(f"{public}\n{private}")
        click.echo("The first line is what --to takes. The second opens what is sealed to it: keep it where no backup lies. It is shown this once.", err=True)
        return
    if directory is None:
        raise click.UsageError(WHERE)
    if passphrase and recipient:
        raise click.UsageError("Seal it to a passphrase or to a key, not to both.")
    try:
        to = backups.to_recipient(recipient) if recipient else backups.to_passphrase(_chosen())
    except backups.BackupRefused as refused:
        fail(str(refused), 2)
    _make(directory, to)


def _chosen() -> str:
    """A new passphrase, typed twice; from a pipe one line."""
    first = typed("Passphrase of this backup")
    if sys.stdin.isatty() and typed("The same again") != first:
        fail("The two differ. Nothing was copied.", 2)
    return first


def _make(directory: Path, to: "To") -> None:
    from broker.backups import copies  # noqa: PLC0415 - see backup

    with opened() as broker, ended_in_order():
        pair = copies.make(broker, directory, to)
        click.echo(f"{pair.data}\n{pair.keys}")
        click.echo(copies.KEY_FILE_ALONE if copies.by_key_file_alone(broker) else OPENED_BY, err=True)
