"""The `broker` command. Without a sub-command it serves."""

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from broker.config import in_force
from broker.terminal import fail, opened, person_named, port_is_free, run_server, settings, with_broker

if TYPE_CHECKING:
    from broker.opening import Broker


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="proffer", prog_name="broker")
@click.pass_context
def main(context: click.Context) -> None:
    """Your personal data broker. Without a command it starts, and prints its address."""
    if context.invoked_subcommand is None:
        serve()


def serve() -> None:
    """Start the server of the settings in force and wait for its end."""
    from broker.people import actions, queries  # noqa: PLC0415 - see opened

    found = settings()
    if not port_is_free(found.host, found.port):
        fail(f"{found.host}:{found.port} cannot be used, perhaps because another Proffer runs there. Stop that one, or set BROKER_PORT to another port.")
    with opened() as broker:
        with broker.reading() as tx:
            nobody = queries.count(tx) == 0
        link = actions.make_link(broker).text if nobody else ""
        sealed = broker.vault.sealed
    click.echo(f"Proffer runs at {found.origin}/ and keeps its data in {found.data_dir}. Stop it with Ctrl-C.")
    if link:
        click.echo(f"Make your account here, once, within 15 minutes:\n\n    {found.origin}/sign-up/{link}\n")
    if sealed:
        click.echo(f"It is sealed: unlock it at {found.origin}/unlock, or run `broker unlock` in another terminal.")
    sys.stdout.flush()
    run_server(found)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def config(as_json: bool) -> None:  # noqa: FBT001 - a click option
    """Print the settings in force."""
    found = in_force(settings())
    if as_json:
        click.echo(json.dumps(found))
        return
    for name, value in found.items():
        origin = "environment" if name in os.environ or f"{name}_FILE" in os.environ else "default"
        click.echo(f"{name}={value}  ({origin})")


@main.command()
@click.option("--set-back", "back", is_flag=True, help="Go by the machine's clock again, after it was wrong. The broker must be stopped.")
@with_broker
def clock(broker: "Broker", back: bool) -> None:  # noqa: FBT001 - a click option
    """Print the broker's time, which never goes back by itself, and how far the machine's clock lies behind it."""
    from broker.oauth.actions import void as void_requests  # noqa: PLC0415 - see opened
    from broker.people.actions import void as void_sessions  # noqa: PLC0415 - see opened

    behind = max(round(broker.now.behind.total_seconds()), 0)
    if not back:
        click.echo(f"{broker.now():%Y-%m-%dT%H:%M:%SZ}, {behind} seconds ahead of this computer's clock." if behind else f"{broker.now():%Y-%m-%dT%H:%M:%SZ}")
        return
    if not port_is_free(broker.settings.host, broker.settings.port):
        fail("Stop the broker first: while it runs it keeps its time.")
    if not behind:
        fail("The broker's time is this computer's. Nothing was changed.")
    void_requests(broker)
    void_sessions(broker)
    broker.now.set_back()
    click.echo(f"The broker's time is {broker.now():%Y-%m-%dT%H:%M:%SZ}. Whatever was over stays over; everybody signs in again.")


@main.group()
def person() -> None:
    """People of this broker."""


@person.command("add")
@with_broker
def person_add(broker: "Broker") -> None:
    """Print a one-use link, valid for 15 minutes, that makes a person."""
    from broker.people import actions  # noqa: PLC0415 - see opened

    click.echo(f"{broker.settings.origin}/sign-up/{actions.make_link(broker).text}")


@person.command("reset")
@click.argument("name")
@with_broker
def person_reset(broker: "Broker", name: str) -> None:
    """Print a one-use link, valid for 15 minutes, with which NAME chooses a new password; using it ends all their sessions."""
    from broker.people import actions  # noqa: PLC0415 - see opened

    click.echo(f"{broker.settings.origin}/sign-up/{actions.make_link(broker, person_named(broker, name)).text}")


@main.group()
def client() -> None:
    """Vendors' clients."""


@client.command("add")
@click.argument("file", type=click.File("rb"))
@with_broker
def client_add(broker: "Broker", file: Any) -> None:
    """Register a vendor's client from its metadata (a JSON file, - for standard input) and print its client_id."""
    from marshmallow import ValidationError  # noqa: PLC0415 - see opened

    from broker.events.schemas import pointers  # noqa: PLC0415 - see opened
    from broker.vendors import actions, schemas  # noqa: PLC0415 - see opened
    from policies.documents import Malformed, load  # noqa: PLC0415 - see opened

    try:
        metadata = schemas.ClientMetadata().load(load(file.read()))
    except Malformed as malformed:
        fail(f"This is not the JSON we take: {malformed.errors[0]['detail']}", 2)
    except ValidationError as wrong:
        for each in pointers(wrong.messages_dict):
            click.echo(f"{each['pointer']}: {each['detail']}", err=True)
        fail("The client was not registered.", 2)
    else:
        click.echo(actions.add_client(broker, metadata))


@client.command("invite")
@click.argument("domain")
@with_broker
def client_invite(broker: "Broker", domain: str) -> None:
    """Print a token with which a vendor can register one client for DOMAIN itself, within seven days."""
    from broker.fetching import is_host  # noqa: PLC0415 - see opened
    from broker.vendors import actions  # noqa: PLC0415 - see opened

    if not is_host(domain):
        fail(f"{domain!r} is no domain. Give it in lower-case ASCII, such as books.example.", 2)
    click.echo(actions.invite(broker, domain).text)


@client.command("remove")
@click.argument("client_id")
@with_broker
def client_remove(broker: "Broker", client_id: str) -> None:
    """Take a client out of service; its grants stay listed, its tokens are refused at once. Everybody with a grant to it finds that in their ledger."""
    from broker.grants import actions  # noqa: PLC0415 - see opened

    if not actions.remove_client(broker, client_id):
        fail(f"There is no client {client_id!r}.")
    click.echo(f"{client_id} is out of service.")


@client.command("list")
@with_broker
def client_list(broker: "Broker") -> None:
    """List all clients: id, domain, name, state."""
    from broker.vendors import queries  # noqa: PLC0415 - see opened

    with broker.reading() as tx:
        for each in queries.every_client(tx):
            click.echo(f"{each.client_id}\t{each.domain or '-'}\t{each.name}\t{'in service' if each.enabled else 'out of service'}")


@main.group()
def terms() -> None:
    """The conditions a person proffers."""


@terms.command("set")
@click.argument("file", type=click.File("rb"))
@click.option("--person", "name", help="Whose terms; not needed where one person lives here.")
@with_broker
def terms_set(broker: "Broker", file: Any, name: str | None) -> None:
    """Put the terms in FILE (JSON) in force. Running grants can only shrink by this, at once."""
    from broker.errors import Unprocessable  # noqa: PLC0415 - see opened
    from broker.terms import actions, schemas  # noqa: PLC0415 - see opened
    from policies.documents import Malformed, load  # noqa: PLC0415 - see opened

    try:
        document = schemas.read(load(file.read())).to_json()
    except (Malformed, Unprocessable) as malformed:
        for each in malformed.errors:
            click.echo(f"{each['pointer'] or '/'}: {each['detail']}", err=True)
        fail("These terms cannot be used, so nothing was changed.", 2)
    else:
        number = actions.set_terms(broker, person_named(broker, name), document, {"role": "operator"})
        click.echo(f"Version {number} of your terms is in force.")


@terms.command("show")
@click.option("--person", "name", help="Whose terms; not needed where one person lives here.")
@click.option("--version", "number", type=click.IntRange(0, 999_999_999), help="An earlier version; 0 are the terms everyone starts with.")
@click.option("--words", is_flag=True, help="As sentences, not as JSON.")
@with_broker
def terms_show(broker: "Broker", name: str | None, number: int | None, words: bool) -> None:  # noqa: FBT001 - a click option
    """Print the terms in force, as JSON that `broker terms set` takes. That they were looked at stands in the person's ledger."""
    from broker.ledger import actions as ledger  # noqa: PLC0415 - see opened
    from broker.terms import queries  # noqa: PLC0415 - see opened
    from policies.explain_terms import terms_sentences  # noqa: PLC0415 - see opened

    person_id = person_named(broker, name)
    ledger.record(broker, person_id, ledger.Entry("operator", broker.now(), by={"role": "operator"}, about={"did": "terms_shown"}))
    ring = broker.keyring(person_id)
    with broker.reading() as tx:
        found = queries.current(tx, ring) if number is None else queries.at(tx, ring, number)
    click.echo("\n".join(terms_sentences(found)) if words else json.dumps(found.to_json(), indent=2, ensure_ascii=False))


@main.command()
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@click.option("--key", "keys", multiple=True, help="The key of the bundle's log, as its person noted it from the Ledger page; again for each log.")
@click.option("--since", "since", multiple=True, type=click.Path(path_type=Path), help="A checkpoint that was kept from before, to be continued by the bundle.")
@click.option("--standalone", is_flag=True, help="Print the verifier of bundles as one Python file, which needs only `cryptography`.")
@click.option("--person", "name", help="Whose ledger; everybody's by default.")
@click.option(
    "--agreement", "files", type=click.File("rb"), multiple=True,
    help="A signed agreement to check instead, offline and without a broker. Give it again for the statements (changes.json) or receipts about that agreement.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def verify(
    bundle: Path | None, keys: Sequence[str], since: Sequence[Path], standalone: bool, name: str | None, files: Sequence[Any], as_json: bool  # noqa: FBT001
) -> None:  # fmt: skip
    """Recompute the ledger from its entries, offline, and say in one sentence whether it holds; or check a BUNDLE of it, or the signed files of a grant."""
    from broker import verifying  # noqa: PLC0415 - see opened

    if standalone:
        click.echo(verifying.standalone(), nl=False)
        return
    if (files or bundle) and name:
        raise click.UsageError("A file needs no --person: whose it is stands in it.")
    if (keys or since) and not bundle:
        raise click.UsageError("--key and --since belong to a bundle: name its file, too.")
    if files and bundle:
        raise click.UsageError("Check a bundle and the files of a grant one after the other.")
    if bundle:
        found = verifying.bundle(bundle, keys, since)
    elif files:
        found = verifying.signed([(file.name, file.read(verifying.MOST_BYTES + 1)) for file in files])
    else:
        with opened() as broker:
            found = verifying.ledger(broker, person_named(broker, name) if name else None)
    click.echo(json.dumps(found.document) if as_json else found.sentence)
    sys.exit(found.code)


@main.command("bundle")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--person", "name", help="Whose ledger; not needed where one person lives here.")
@click.option("--entry", "number", type=click.IntRange(0, 999_999_999), help="Only the entry of this number, with its proof.")
@with_broker
def take_bundle(broker: "Broker", file: Path, name: str | None, number: int | None) -> None:
    """Write a person's ledger with its proofs into FILE, a zip that `broker verify FILE` checks anywhere. It enters the ledger itself."""
    from broker.errors import BrokerError  # noqa: PLC0415 - see opened
    from broker.ledger import bundles  # noqa: PLC0415 - see opened

    person_id = person_named(broker, name)
    try:
        with os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as out:
            out.writelines(bundles.written(broker, bundles.take(broker, person_id, number=number, by={"role": "operator"})))
    except FileExistsError:
        fail(f"{file} is there already, and is not overwritten. Choose another name.", 2)
    except OSError as failed:
        file.unlink(missing_ok=True)
        fail(f"{file} cannot be written: {failed.strerror}.", 2)
    except BrokerError as failed:
        file.unlink()
        fail(failed.detail)
    click.echo(f"Written to {file}.")


# A grant's id may begin with a dash.
@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("grant", required=False)
@click.option("--vendor", help="End every grant to this vendor's domain.")
@click.option("--all", "everything", is_flag=True, help="End every grant.")
@click.option("--person", "name", help="Whose; not needed where one person lives here.")
@with_broker
def revoke(broker: "Broker", grant: str | None, vendor: str | None, everything: bool, name: str | None) -> None:  # noqa: FBT001 - a click option
    """End grants at once; no question asked."""
    from broker.errors import Busy, Sealed, Unsealable  # noqa: PLC0415 - see opened
    from broker.grants import actions, queries  # noqa: PLC0415 - see opened
    from broker.ledger import checkpoints  # noqa: PLC0415 - see opened

    person_id = person_named(broker, name)
    with broker.reading() as tx:
        mine = [each for each in queries.outlines(tx, person_id) if each.status in queries.LIVE]
    chosen = [each for each in mine if everything or each.id == grant or (vendor and each.domain == vendor)]
    if not chosen:
        if not (grant or vendor or everything):
            raise click.UsageError("Say which: a grant's id, --vendor DOMAIN, or --all.")
        fail("No such grant is live; nothing had to be ended.")
    for each in chosen:
        actions.revoke(broker, person_id, each.grant_id, by={"role": "operator"})
        click.echo(f"Ended {each.id} ({each.domain or each.client_id}).")
    # Signed later where it cannot be now: nothing comes between the first ending and the last.
    with contextlib.suppress(checkpoints.Inconsistent, Busy, Sealed, Unsealable):
        checkpoints.sign(broker, person_id)


def _late_commands() -> None:
    from broker.backups.cli import backup  # noqa: PLC0415 - they need the group above
    from broker.demo import demo  # noqa: PLC0415 - the same
    from broker.exports.cli import export  # noqa: PLC0415 - the same
    from broker.imports.cli import take_in  # noqa: PLC0415 - the same
    from broker.keys.cli import keys, unlock  # noqa: PLC0415 - the same
    from broker.restores.cli import restore  # noqa: PLC0415 - the same

    main.add_command(backup)
    main.add_command(restore)
    main.add_command(demo)
    main.add_command(take_in)
    main.add_command(export)
    main.add_command(keys)
    main.add_command(unlock)


_late_commands()

if __name__ == "__main__":
    main()
