"""`broker export`: writes everything of a person into a new directory that only its owner can enter."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from broker.exports.packages import Package
    from broker.opening import Broker

OPERATOR: Final = {"role": "operator"}
# Without a terminal nobody sees a bar move, so a line says where it stands.
LINE_SECONDS: Final = 10.0
WRONG_USAGE: Final = 2


@click.command()
@click.option("--person", "name", help="Whose; not needed where one person lives here.")
@click.option("--to", "directory", required=True, type=click.Path(path_type=Path), help="A new directory, or an empty one.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def export(name: str | None, directory: Path, as_json: bool) -> None:  # noqa: FBT001 - a click option
    """Write everything of a person into a directory, in plain words: events, terms, grants, agreements, ledger. It enters the ledger itself."""
    from broker.terminal import fail, opened, person_named  # noqa: PLC0415 - the command must answer --help at once

    with opened() as broker:
        person_id = person_named(broker, name)
        if reason := _prepared(directory):
            fail(reason, WRONG_USAGE)
        try:
            package = _written(broker, person_id, directory)
        except OSError as failed:
            fail(f"{directory} cannot be written: {failed.strerror}. What was written of it is taken away; make room there, or name another directory.")
    summary = package.summary
    if as_json:
        click.echo(json.dumps({"directory": str(directory), **summary}))
        return
    _say(directory, summary)


def _prepared(directory: Path) -> str:
    """Make the directory, or use an empty one that is there; why it cannot be used, or nothing."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.is_symlink() or any(directory.iterdir()):
            return f"{directory} is not empty, and nothing in it is overwritten. Name a new directory."
        directory.chmod(0o700)
    except OSError as failed:
        return f"{directory} cannot be used: {failed.strerror}. Name another directory."
    return ""


def _written(broker: "Broker", person_id: bytes, directory: Path) -> "Package":
    from broker.events import queries as events  # noqa: PLC0415 - see export
    from broker.exports import packages  # noqa: PLC0415 - the same

    with broker.reading() as tx:
        total = sum(events.totals(tx, person_id).values())
    package = packages.take(broker, person_id, by=OPERATOR)
    made: list[Path] = []
    try:
        with _told(total) as told:
            for name, parts in package.files():
                path = directory / name
                path.parent.mkdir(mode=0o700, exist_ok=True)
                made.append(path)
                with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as out:
                    for part in parts:
                        out.write(part)
                        told(package.done)
    except BaseException:
        # Without its manifest it is no export, and half of a life lying about is worse than none.
        _take_away(directory, made)
        raise
    return package


def _take_away(directory: Path, made: list[Path]) -> None:
    for path in made:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in made} - {directory}:
        folder.rmdir()


@contextmanager
def _told(total: int) -> Iterator[Any]:
    """Tells on stderr how many events are written: a bar on a terminal, else a line every ten seconds."""
    if sys.stderr.isatty():
        with click.progressbar(length=max(total, 1), label="Writing", file=sys.stderr) as bar:
            yield lambda done: bar.update(done - bar.pos)
        return
    last = time.monotonic()

    def line(done: int) -> None:
        nonlocal last
        if time.monotonic() - last > LINE_SECONDS:
            last = time.monotonic()
            click.echo(f"Writing: {done:,} of {total:,} events", err=True)

    yield line


def _say(directory: Path, summary: dict[str, Any]) -> None:
    from broker.words import many  # noqa: PLC0415 - see export

    events, lost = sum(summary["events"].values()), sum(summary["not_opened"].values())
    what = f"{many(events, 'event')}, {many(summary.get('grants', 0), 'grant')}, {many(summary['files'], 'file')}"
    click.echo(f"Written to {directory}: {what}. README.md says what each is.")
    if lost:
        click.echo(f"{lost:,} things could not be opened, and are not there. README.md says which kinds.", err=True)
    click.echo("All of it is in plain words: keep it where only its person can get at it.", err=True)
