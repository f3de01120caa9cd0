"""Everything of a person as files in plain words, one after the other and each in pieces: a page streams them as one zip, a command writes them.

Nothing of it lies unsealed on a disk of ours, and no more than a day of events is in memory. What does not open is counted, and the rest goes on.
"""

import datetime as dt
import hashlib
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

import orjson

from broker.errors import Unsealable
from broker.events import kinds, leaving, shape
from broker.events.leaving import MEMBERS
from broker.events.stored import Event
from broker.exports import queries, readme, sheets
from broker.grants import agreed
from broker.grants import queries as grants
from broker.grants.queries import Grant
from broker.imports import queries as imports
from broker.insights import queries as insights
from broker.ledger import actions as ledger
from broker.ledger import bundles
from broker.ledger.bundles import Taken
from broker.moves import queries as moves
from broker.moves.package import FORMAT, LEDGER, MANIFEST
from broker.opening import Broker
from broker.people import queries as people
from broker.terms import queries as terms
from policies.purposes import PURPOSES

NAME: Final = "proffer-{day}.zip"
MOST_BATCHES: Final = 100_000
EVERYTHING: Final = "everything"
PLAIN: Final = orjson.OPT_INDENT_2
Parts = Iterable[bytes]
File = tuple[str, Parts]
_FROM_EXTENSION: Final = "your extension (grant {id})"
_FROM_IMPORT: Final = "import of {name} (batch {id})"


def take(broker: Broker, person_id: bytes, by: dict[str, str] = ledger.PERSON) -> "Package":
    """Enter that everything is taken out, signed with the log; then it may leave. Raises like `bundles.take`."""
    return Package(broker, bundles.take(broker, person_id, by=by, what=EVERYTHING))


def written(at: dt.datetime | None) -> str | None:
    """A moment to the microsecond in UTC, as files have it; reading it gives the same moment."""
    return None if at is None else f"{at.astimezone(dt.UTC).replace(tzinfo=None).isoformat()}Z"


def lines(values: Iterable[Any]) -> Iterator[bytes]:
    """JSON, one value a line."""
    return (orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE) for value in values)


class Package:
    """Everything of one person, about to leave. Its files can be gone through once, each to its end before the next."""

    def __init__(self, broker: Broker, taken: Taken) -> None:
        self.broker, self.taken, self.ring = broker, taken, taken.ring
        self.name = NAME.format(day=f"{taken.at:%Y-%m-%d}")
        # How many events are written so far.
        self.done = 0
        self._files: list[dict[str, Any]] = []
        self._events: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        # Of both passes over the events, so that each counts once.
        self._unread: Counter[str] = Counter()

    def files(self) -> Iterator[File]:
        """Each file's name and its bytes in pieces, the manifest last."""
        for name, parts in self._all():
            yield name, self._noted(name, parts)
        yield MANIFEST, [self._manifest()]

    @property
    def summary(self) -> dict[str, Any]:
        """How much is in it, and how much could not be opened; whole only after the last file."""
        return {"events": dict(self._events), **self._counts, "not_opened": dict(self._lost), "files": len(self._files) + 1}

    def _all(self) -> Iterator[File]:
        yield "terms.json", [self._terms()]
        yield "grants.jsonl", lines(self._grants())
        yield from self._agreements()
        yield from self._of_events()
        yield "recipients.csv", [self._recipients()]
        yield "sent.jsonl", lines(queries.sent(self.broker, self.ring))
        yield "settings.json", [orjson.dumps(self._settings(), option=PLAIN)]
        for number, kept in enumerate(self._old_ledgers(), 1):
            yield f"old-ledgers/{number}.zip", moves.written(self.broker, self.ring, kept)
        yield LEDGER, bundles.written(self.broker, self.taken)
        yield "README.md", [readme.text(self.taken.at, self.broker.settings.origin, self.summary, [each["name"] for each in self._files])]

    def _noted(self, name: str, parts: Parts) -> Iterator[bytes]:
        digest, size = hashlib.sha256(), 0
        for part in parts:
            digest.update(part)
            size += len(part)
            yield part
        self._files.append({"name": name, "bytes": size, "sha256": digest.hexdigest()})

    def _manifest(self) -> bytes:
        told = {"format": FORMAT, "made_at": written(self.taken.at), "broker": self.broker.settings.origin}
        counts = {name: value for name, value in self.summary.items() if name != "files"}
        return orjson.dumps({**told, "counts": counts, "files": self._files}, option=PLAIN)

    # Terms, grants, agreements

    def _terms(self) -> bytes:
        found: list[dict[str, Any]] = []
        with self.broker.reading() as tx:
            in_force = terms.version(tx, self.ring.person_id)
            for number, made_at, restored in terms.every(tx, self.ring.person_id):
                try:
                    document = terms.at(tx, self.ring, number).to_json()
                except Unsealable:
                    self._lost["terms"] += 1
                    continue
                found.append({"version": number, "made_at": written(made_at), "restored": restored, "terms": document})
        self._counts["terms"] = len(found)
        return orjson.dumps({"in_force": in_force, "versions": found}, option=PLAIN)

    def _each_grant(self) -> Iterator[bytes]:
        with self.broker.reading() as tx:
            found = [(each.given_at, each.grant_id) for each in grants.outlines(tx, self.ring.person_id)]
        return (grant_id for _, grant_id in sorted(found))

    def _grants(self) -> Iterator[dict[str, Any]]:
        for grant_id in self._each_grant():
            try:
                with self.broker.reading() as tx:
                    found = grants.one(tx, self.ring, grant_id)
            except Unsealable:
                self._lost["grants"] += 1
                continue
            self._counts["grants"] += 1
            yield _grant(found)

    def _agreements(self) -> Iterator[File]:
        """Of each agreement the document, what opens it and its statements of change; all three, or none where one does not open."""
        for grant_id in self._each_grant():
            try:
                with self.broker.reading() as tx:
                    signed = agreed.agreement(tx, self.ring, grant_id)
                    statements = agreed.changes_of(tx, self.ring, grant_id)
            except Unsealable:
                self._lost["agreements"] += 1
                continue
            if signed is None:
                continue
            self._counts["agreements"] += 1
            start = f"agreements/{grants.to_text(grant_id)}"
            yield f"{start}.json", [signed.document]
            yield f"{start}.opening.json", [orjson.dumps(signed.opening)]
            yield f"{start}.changes.jsonl", lines({"n": number, "statement": each} for number, each in enumerate(statements, 1))

    # Events

    def _of_events(self) -> Iterator[File]:
        with self.broker.reading() as tx:
            mine = leaving.kinds(tx, self.ring.person_id)
        came_by = self._came_by()
        for kind in mine:
            yield f"events/{kind}.jsonl", self._lines_of(kind)
            yield f"events/{kind}.csv", sheets.sheet(kind, leaving.by_day(self.broker, self.ring, kind, self._unread), came_by)
        for kind in shape.KINDS:
            yield f"schemas/{kind}.schema.json", [orjson.dumps(kinds.document(kind), option=PLAIN)]

    def _lines_of(self, kind: str) -> Iterator[bytes]:
        for day in leaving.by_day(self.broker, self.ring, kind, self._lost):
            self._events[kind] += len(day)
            self.done += len(day)
            yield b"".join(lines(_as_uploaded(event) for event in day))

    def _came_by(self) -> dict[str, str]:
        """By what each event can have come: origin -> in words."""
        with self.broker.reading() as tx:
            extension = grants.ids(tx, self.ring.person_id)
            batches = imports.names(tx, self.ring, MOST_BATCHES)
        found = {each: _FROM_EXTENSION.format(id=each) for each in extension}
        return found | {each: _FROM_IMPORT.format(name=name, id=each) for each, name in batches.items()}

    # The rest

    def _recipients(self) -> bytes:
        with self.broker.reading() as tx:
            found = queries.recipients(tx, self.ring)
        self._counts["recipients"] = len({each.vendor for each in found})
        rows = [
            (each.vendor, each.purpose, PURPOSES[each.purpose].label if each.purpose in PURPOSES else "", each.first, each.last, each.reads, each.rows)
            for each in found
        ]
        head = ("vendor", "purpose", "purpose_in_words", "first_read", "last_read", "reads", "rows_sent")
        return sheets.START.encode() + sheets.written([head, *([sheets.safe(cell) for cell in row] for row in rows)])

    def _old_ledgers(self) -> Iterator[moves.Kept]:
        """Those that open to their end: a file that breaks off in the middle would break off everything."""
        with self.broker.reading() as tx:
            numbers = moves.numbers(tx, self.ring.person_id)
        for number in numbers:
            try:
                with self.broker.reading() as tx:
                    kept = moves.one(tx, self.ring, number)
                for _ in moves.written(self.broker, self.ring, kept):
                    pass
            except Unsealable:
                self._lost["old_ledgers"] += 1
                continue
            self._counts["old_ledgers"] += 1
            yield kept

    def _settings(self) -> dict[str, Any]:
        with self.broker.reading() as tx:
            name = people.name_of(self.broker, tx, self.ring.person_id)
            kept = queries.kept(tx, self.ring.person_id)
            said = insights.shops(tx, self.ring)
        shops = [{"shop": each.domain, "return_days": each.days, "warranty_months": each.months, "note": each.note} for _, each in sorted(said.items())]
        by_kind = {kind: kept.get(kind) for kind in shape.KINDS}
        return {"name": name, "language": "en", "time_zone": "UTC", "kept_for_days": by_kind, "shops": shops}


def _as_uploaded(event: Event) -> Event:
    return {name: event[name] for name in MEMBERS[event["kind"]] if name in event}


def _grant(found: Grant) -> dict[str, Any]:
    return {
        "id": found.id, "client": found.client_id, "status": found.status, "version": found.version, "given_at": written(found.given_at),
        "expires_at": written(found.expires_at), "countersigned_at": written(found.countersigned_at), "ended_at": written(found.ended_at),
        "agreement": found.agreement.hex() if found.agreement else None, "reason": found.reason, "clauses": [clause.to_json() for clause in found.clauses],
        "details": found.details,
    }  # fmt: skip


def zipped(package: Package) -> Iterator[bytes]:
    """The files as one zip, piece by piece."""
    pieces = bundles.Pieces()
    with zipfile.ZipFile(pieces, "w") as file:
        for name, parts in package.files():
            with file.open(bundles.info(name), "w", force_zip64=True) as member:
                for part in parts:
                    member.write(part)
                    yield pieces.fetch(bundles.PIECE)
    yield pieces.fetch()
