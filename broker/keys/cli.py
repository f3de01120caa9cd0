"""`broker unlock` and `broker keys`: open a sealed broker, and see, add, take away and renew what opens it."""

import sys
from typing import TYPE_CHECKING

import click

from broker.terminal import SEALED, fail, typed, with_broker

if TYPE_CHECKING:
    from broker.opening import Broker

OPERATOR = {"role": "operator"}


def _open(broker: "Broker") -> None:
    """Open a sealed broker first, in all its processes."""
    from broker.keys import actions  # noqa: PLC0415 - the command must answer --help at once

    if broker.vault.sealed and not actions.unlock(broker, typed("Passphrase or recovery key")):
        fail("This is no passphrase or recovery key of this broker.", SEALED)


@click.command()
@with_broker
def unlock(broker: "Broker") -> None:
    """Open a sealed broker by its passphrase or recovery key, while it runs."""
    if not broker.vault.sealed:
        # The key file opened it here, or somebody was quicker; those that run and wait are opened too.
        broker.vault.share()
        click.echo("The broker is open.", err=True)
        return
    _open(broker)
    click.echo("The broker is open.", err=True)


@click.group()
def keys() -> None:
    """What opens this broker: its key file, passphrases, recovery keys."""


@keys.command("list")
@with_broker
def list_(broker: "Broker") -> None:
    """Print each key's id and kind; works while sealed."""
    for slot in broker.vault.slots():
        click.echo(f"{slot.id}  {slot.kind}")


@keys.command()
@click.argument("kind", type=click.Choice(["passphrase", "recovery-key", "key-file"]))
@with_broker
def add(broker: "Broker", kind: str) -> None:
    """Add a key. A recovery key is printed once; a passphrase is asked for."""
    from broker.keys import actions  # noqa: PLC0415 - see _open

    _open(broker)
    if kind == "passphrase":
        first = typed("New passphrase")
        actions.add_passphrase(broker, first, typed("The same again") if sys.stdin.isatty() else first, OPERATOR)
    elif kind == "recovery-key":
        click.echo(actions.add_recovery_key(broker, OPERATOR))
        click.echo("Write it down: it is shown this one time, and opens everything.", err=True)
    else:
        actions.add_key_file(broker, OPERATOR)


@keys.command()
@click.argument("slot")
@with_broker
def remove(broker: "Broker", slot: str) -> None:
    """Take a key away by its id, or the beginning of it; what it opened is renewed."""
    from broker.keys import actions  # noqa: PLC0415 - see _open

    _open(broker)
    found = [each.id for each in broker.vault.slots() if each.id.startswith(slot)]
    if len(found) != 1:
        fail(f"{len(found)} keys have an id that begins so. `broker keys list` prints them.", 2)
    actions.remove(broker, found[0], OPERATOR)


@keys.command()
@with_broker
def rotate(broker: "Broker") -> None:
    """Renew ROOT and the key that everybody's keys lie under, while the broker runs; a rotation that was cut off goes on."""
    from broker.keys import actions  # noqa: PLC0415 - see _open

    _open(broker)
    with click.progressbar(length=1, label="Moving keys", file=sys.stderr) as bar:

        def progress(done: int, of: int) -> None:
            bar.length = of
            bar.update(done - bar.pos)

        number = actions.rotate(broker, progress, OPERATOR)
    click.echo(f"Epoch {number} is in force; what lay under the older ones cannot be opened by them any more.")
