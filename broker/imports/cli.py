"""`broker import`: take a file or a browser's history in from the command line, try it, or undo it."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from broker.imports.findings import Findings
    from broker.imports.purchases import Mapping
    from broker.opening import Broker

SOURCES: Final = ("chromium", "firefox", "amazon", "csv", "proffer")
WRONG_USAGE: Final = 2
# Without a terminal nobody sees a bar move, so a line says where it stands.
LINE_SECONDS: Final = 10.0
NO_NAME: Final = "none"


def _option(name: str) -> str:
    """The option by which an answer of the form of columns is given here."""
    if name == "days":
        return "--day-first"
    is_column = name in {"time", "order_id", "product", "sku", "quantity", "unit_price", "line_total"}
    return f"--{name.replace('_', '-')}{'-column' if is_column else ''}"


def _columns(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say which column of a shop's CSV is what; what is not given is guessed from the header."""
    roles = {
        "time": "the day or time", "order_id": "the number of the order", "product": "the product", "sku": "the product's number", "quantity": "how many",
        "unit_price": "the price per piece", "line_total": "the total of the line", "currency_column": "the currency", "category_column": "the category",
    }  # fmt: skip
    for role, what in reversed(roles.items()):
        command = click.option(_option(role), role, metavar="NAME", help=f"Column of a CSV with {what}; “none” if there is none.")(command)
    fixed = (
        ("--shop", "shop", "Host of the shop, such as www.shop.example."), ("--currency", "currency", "Currency of the whole file, such as EUR."),
        ("--zone", "zone", "Time zone of its times; UTC by default."), ("--category", "category", "Category of everything in the file, such as books."),
        ("--decimal", "decimal", "Decimal mark: . or ,"), ("--cancelled-prefix", "cancelled_prefix", "What order numbers of returns begin with."),
    )  # fmt: skip
    for flag, name, text in reversed(fixed):
        command = click.option(flag, name, help=text)(command)
    return click.option("--day-first", "days", flag_value="day", help="03/04/2026 is the third of April.")(command)


@click.command("import")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--source", type=click.Choice(SOURCES), help="What FILE must be; it is recognised by its content anyway.")
@click.option("--person", "name", help="Whose; not needed where one person lives here.")
@click.option("--dry-run", is_flag=True, help="Say what the file holds, and keep nothing.")
@click.option("--undo", metavar="BATCH", help="Delete what an import added.")
@click.option("--browsers", "list_browsers", is_flag=True, help="List the histories of the browsers on this computer.")
@click.option("--yes", is_flag=True, help="Do not ask before an undo.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@_columns
def take_in(
    file: Path | None, source: str | None, name: str | None, undo: str | None,
    *, dry_run: bool, list_browsers: bool, yes: bool, as_json: bool, **answers: str | None,
) -> None:  # fmt: skip
    """Take FILE in: the history of a browser, Amazon's order history, any shop's orders as CSV, or another broker's export (zip or folder)."""
    from broker.terminal import fail, opened, person_named  # noqa: PLC0415 - the command must answer --help at once

    if [file is not None, undo is not None, list_browsers].count(True) != 1:
        raise click.UsageError("Name one FILE, or use one of --undo BATCH and --browsers.")
    if list_browsers:
        _list(as_json=as_json)
        return
    with opened() as broker:
        person_id = person_named(broker, name)
        if undo is not None:
            _undo(broker, person_id, undo, yes=yes, as_json=as_json)
        elif file is not None:
            told = {key: value for key, value in answers.items() if value is not None}
            mapping, kind = _mapping(broker, file, told)
            if source and source != kind:
                fail(f"This file is not {source} but {kind}.")
            found, batch = _run(broker, person_id, file, mapping, dry_run=dry_run)
            _say(found, batch, kind, as_json=as_json)


def _list(*, as_json: bool) -> None:
    from broker.imports.browsers import installed  # noqa: PLC0415 - the command must answer --help at once

    found = installed(Path.home())
    if as_json:
        click.echo(json.dumps({"browsers": [{"browser": each.browser, "profile": each.profile, "path": str(each.path), "bytes": each.size} for each in found]}))
        return
    for each in found:
        click.echo(f"{each.browser}\t{each.profile}\t{each.path}")
    if not found:
        click.echo("No browser's history was found in your home directory.", err=True)


def _mapping(broker: "Broker", file: Path, told: dict[str, str]) -> tuple["Mapping | None", str]:
    """(the mapping, the file's kind); a CSV nobody knows is guessed where nothing was told. Ends with 2 where that does not do."""
    from broker import errors  # noqa: PLC0415 - see _list
    from broker.imports import columns, files  # noqa: PLC0415 - the same

    source = files.recognise(broker, file)
    if source.table is None or (source.kind == "amazon" and not told):
        if told:
            raise click.UsageError("This file has no columns to be told: it is a browser's history.")
        return None, source.kind
    header = source.table.header
    answers = columns.guess(header, files.head_of(source)) | {key: "" if value == NO_NAME else value for key, value in told.items()}
    for one, other in (("unit_price", "line_total"), ("currency", "currency_column")):
        # Of two ways to say one thing, the one that was told beats the one that was guessed.
        if one in told and other not in told:
            answers[other] = ""
        elif other in told and one not in told:
            answers[one] = ""
    try:
        return columns.read(answers, header), source.kind
    except errors.Unprocessable as refused:
        for each in refused.errors:
            click.echo(f"{_option(each['pointer'].removeprefix('/'))}: {each['detail']}", err=True)
        click.echo(f"The columns of this file are: {', '.join(header)}", err=True)
        sys.exit(WRONG_USAGE)


def _run(broker: "Broker", person_id: bytes, file: Path, mapping: "Mapping | None", *, dry_run: bool) -> tuple["Findings", str]:
    from broker.imports import actions  # noqa: PLC0415 - see _list

    with _told("Reading") as reading:
        if dry_run:
            return actions.try_file(broker, person_id, file, mapping, trying=reading), ""
        totals: list[int] = [0]

        def read(done: int) -> None:
            totals[0] = done
            reading(done)

        with _told("Taking in", totals) as taking:
            return actions.take_in_file(broker, person_id, file, mapping, trying=read, progress=taking)


@contextmanager
def _told(what: str, totals: list[int] | None = None) -> Iterator[Callable[[int], None]]:
    """Tells on stderr how many events are done: a bar on a terminal once the total is known, else a line every ten seconds."""
    bar: Any = None
    last = time.monotonic()

    def progress(done: int) -> None:
        nonlocal bar, last
        if totals is not None and sys.stderr.isatty():
            if bar is None:
                bar = click.progressbar(length=max(totals[0], 1), label=what, file=sys.stderr)
                bar.__enter__()
            bar.update(done - bar.pos)
        elif time.monotonic() - last > LINE_SECONDS:
            last = time.monotonic()
            click.echo(f"{what}: {done:,}{f' of {totals[0]:,}' if totals else ''} events", err=True)

    try:
        yield progress
    finally:
        if bar is not None:
            bar.__exit__(None, None, None)


def _say(found: "Findings", batch: str, kind: str, *, as_json: bool) -> None:
    """The result on stdout; what was left out and why, too."""
    from broker.rows import counted  # noqa: PLC0415 - see _list
    from broker.words import many  # noqa: PLC0415 - the same

    if as_json:
        said = {"batch": batch or None, "source": kind, "dry_run": not batch, "added" if batch else "new": found.added, **found.to_json()}
        click.echo(json.dumps(said))
        return
    days = f" from {found.first} to {found.last}" if found.first else ""
    click.echo(f"The file holds {', '.join(counted(found.found)) or 'nothing that can be kept'}{days}.")
    forgotten = f" You forgot {many(found.forgotten, 'event')} of it before; they stay away." if found.forgotten else ""
    click.echo(f"{'Added' if batch else 'New'}: {many(found.added, 'event')}. Here already: {found.known:,}.{forgotten}")
    for title, counts in (("Left out", found.skipped), ("Good to know", found.noted)):
        for reason, number in counts.items():
            click.echo(f"{title}: {number:,} times: {reason}")
    for title, names in (("Columns thrown away on purpose", found.dropped_columns), ("Columns left out", found.ignored_columns)):
        if names:
            click.echo(f"{title}: {', '.join(names)}")
    for line in _besides(found, taken=bool(batch)):
        click.echo(line)
    click.echo(f"To undo it: broker import --undo {batch}" if batch else "Nothing was kept. Leave out --dry-run to take it in.")


def _besides(found: "Findings", *, taken: bool) -> Iterator[str]:
    """What of another broker's export comes besides events, and what is left out."""
    from broker.words import many  # noqa: PLC0415 - see _list

    more, here = found.besides, "Here now" if taken else "Would come"
    if more.get("terms"):
        yield f"{here}: the terms, {many(more['terms'], 'version')}."
    if more.get("grants"):
        yield f"{here}: {many(more['grants'], 'grant')}, ended. What still lives in the broker it is from goes on until it is ended there."
    for log in more.get("logs", ()):
        yield f"{here}: the ledger of {log['origin'].partition('/')[0]}, {many(log['size'], 'entry', 'entries')}, closed."
    for sentence in more.get("left", ()):
        yield f"Left out: {sentence}"


def _undo(broker: "Broker", person_id: bytes, batch: str, *, yes: bool, as_json: bool) -> None:
    from broker.imports import actions, queries  # noqa: PLC0415 - see _list
    from broker.words import many  # noqa: PLC0415 - the same

    with broker.reading() as tx:
        found = queries.one(tx, broker.keyring(person_id), queries.to_bytes(batch))
    if not yes:
        click.confirm(f"Delete all that came with {found.details['name']!r}?", abort=True, err=True)
    actions.begin_undo(broker, person_id, found.batch_id)
    number = actions.undo(broker, person_id, found.batch_id, actions.OPERATOR)
    click.echo(json.dumps({"undone": batch, "count": number}) if as_json else f"{many(number, 'event')} deleted. You can import the file again.")
