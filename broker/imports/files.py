"""The file of an import, wherever it lies, and one run over it; whoever reads here writes nothing."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Final

from broker import errors
from broker.events.shape import Event
from broker.imports import browsers, columns, incoming, rooms, sources
from broker.imports.purchases import Mapping
from broker.imports.queries import Batch
from broker.imports.reports import Report, Unreadable
from broker.imports.sources import Source
from broker.moves import queries as moves
from broker.moves.package import Package
from broker.moves.queries import Coming
from broker.opening import Broker
from broker.vault.keys import Keyring

CHUNK: Final = 500
# So many events are held in memory at once to be sorted, about 100 MB.
RUN: Final = 100_000
FREE_AT_LEAST: Final = 64 * 2**20
GONE: Final = "The uploaded file is kept for a day only, and is no longer here. Choose it again."
Progress = Callable[[int], None]
Run = tuple[Iterator[Event], Report]


@contextmanager
def refusals() -> Iterator[None]:
    """What a parser cannot read is refused with its sentence."""
    try:
        yield
    except Unreadable as unreadable:
        raise errors.ImportRefused(str(unreadable)) from None


def recognise(broker: Broker, path: Path) -> Source:
    """What a file is; raises `ImportRefused` with the sentence for the person, and `StorageFull`."""
    with refusals():
        source = sources.recognise(path, limit=broker.settings.import_max_mib * 2**20)
    if shutil.disk_usage(broker.settings.data_dir).free < FREE_AT_LEAST + source.size:
        raise errors.StorageFull
    return source


def head_of(source: Source) -> list[list[str]]:
    """The first rows of a table; raises `ImportRefused` like `recognise`."""
    if source.table is None:
        return []
    with refusals():
        return columns.head(source.table)


@contextmanager
def file_of(broker: Broker, ring: Keyring, batch: Batch) -> Iterator[Source]:
    """The batch's file, recognised, plain only for as long as the block runs. Raises `Unreadable`."""
    limit = broker.settings.import_max_mib * 2**20
    if batch.details["from"] == "browser":
        chosen = next((each for each in browsers.installed(Path.home()) if browsers.digest(each) == batch.details["browser"]), None)
        if chosen is None:
            raise Unreadable("This browser's history is no longer where it was.")
        yield sources.recognise(chosen.path, limit=limit)
        return
    with rooms.room(incoming.size(broker, batch.batch_id)) as room:
        try:
            incoming.unseal(broker, ring, batch.batch_id, room / "file")
        except incoming.Gone:
            raise Unreadable(GONE) from None
        yield sources.recognise(room / "file", limit=limit)


def run(broker: Broker, ring: Keyring, source: Source, mapping: Mapping | None) -> Run:
    """A run over a recognised file: its events, and the report that fills on the way. Raises `Unreadable`, also midway."""
    report = Report()
    return sources.events(source, report, now=broker.now(), key=ring.import_key(), mapping=mapping), report


@contextmanager
def besides(broker: Broker, ring: Keyring, source: Source) -> Iterator[tuple[Package, Coming] | None]:
    """What of another broker's export comes besides events, its files open as long as the block runs; None of any other source. Raises `Unreadable`."""
    if source.kind != "proffer":
        yield None
        return
    with sources.opened_package(source) as package:
        yield package, moves.coming(broker, ring, package)


def read(broker: Broker, ring: Keyring, source: Source, mapping: Mapping | None, progress: Progress) -> tuple[list[Event] | None, int, Report]:
    """Read a file to its end: (its events, where they fit in memory, how many, the report). Raises `Unreadable`."""
    events, report = run(broker, ring, source, mapping)
    kept: list[Event] | None = []
    total = 0
    while chunk := list(islice(events, CHUNK)):
        total += len(chunk)
        if kept is not None:
            kept.extend(chunk)
            kept = kept if total <= RUN else None
        progress(total)
    return kept, total, report


def in_order(events: Iterator[Event]) -> Iterator[list[Event]]:
    """Events in chunks, in the order of the table's key as far as memory allows: then each page of its tree is touched once."""
    while held := list(islice(events, RUN)):
        held.sort(key=lambda event: (event["kind"], event["time"]))
        for start in range(0, len(held), CHUNK):
            yield held[start : start + CHUNK]
