"""Bundles of a person's ledger for their own keeping: every entry as it was hashed, the signed checkpoint, and proofs; `verifier.py` reads them."""

import base64
import datetime as dt
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import Connection, select

from broker.errors import LedgerUnavailable, NotFound, Unsealable
from broker.ledger import actions, checkpoints, models
from broker.ledger.checkpoints import Inconsistent, State, vkey
from broker.ledger.notes import Proof
from broker.ledger.proofs import Leaves, b64
from broker.ledger.queries import Opener, bodies
from broker.ledger.verifier import FORMAT
from broker.opening import Broker
from broker.vault import heads
from broker.vault.envelope import HEADER_BYTES
from broker.vault.heads import Signed
from broker.vault.keys import Keyring

# Of more reads than these the newest have a proof of their own in the bundle; the tree proves all of them, and any one can be had alone.
MOST_PROOFS: Final = 10_000
NAME: Final = "ledger-{day}.zip"
KEY_ID: Final = slice(2, HEADER_BYTES)
NOT_WHOLE: Final = "This ledger does not continue what was signed before, so no copy was made for you. Run `broker verify`."
PIECE: Final = 256 * 1024
# What a zip says of when its files were made; the same content gives the same bytes.
EPOCH: Final = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Taken:
    """A bundle about to leave: whose, of which logs as they were signed, and of which entry alone (None: of all)."""

    ring: Keyring
    logs: tuple[State, ...]
    seq: int | None
    at: dt.datetime

    @property
    def name(self) -> str:
        """What the file is called."""
        return NAME.format(day=f"{self.at:%Y-%m-%d}" if self.seq is None else f"entry-{self.seq}")


def take(broker: Broker, person_id: bytes, *, number: int | None = None, by: dict[str, str] = actions.PERSON, what: str = "ledger") -> Taken:
    """Enter that a copy of the ledger (or of one entry, or of `what` it goes along with) is taken, and sign the log with that entry in it; then it may leave.

    Of a log that does not continue its last checkpoint the person still gets all there is, with that checkpoint: it shows what is wrong. `NotFound`
    where the log that goes on has no such entry, `LedgerUnavailable` where nothing was ever signed and nothing can be.
    """
    ring, now = broker.keyring(person_id), broker.now()
    if number is not None:
        with broker.reading() as tx:
            seq = _seq(tx, person_id, number)
    else:
        seq = None
    about: dict[str, Any] = {"what": what} if seq is None else {"what": what, "entry": seq}
    try:
        actions.record(broker, person_id, actions.Entry("export", now, by=by, about=about))
        checkpoints.sign(broker, person_id)
    except (LedgerUnavailable, Inconsistent):
        if by != actions.PERSON:
            raise LedgerUnavailable(NOT_WHOLE) from None
    states = checkpoints.states(broker, ring)
    if any(state.signed is None for state in states):
        raise LedgerUnavailable
    return Taken(ring, tuple(state for state in states if seq is None or state.size > seq), seq, now)


def _seq(tx: Connection, person_id: bytes, number: int) -> int:
    """Where in the log that goes on the entry of this number stands. Of a log that a restore closed there is no proof: its end was never signed."""
    heads = models.heads.c
    row = tx.execute(select(heads.first, heads.size).where(heads.person_id == person_id, heads.closed.is_(None))).first()
    if row is None or not row.first <= number < row.first + row.size:
        raise NotFound
    return int(number - row.first)


class Pieces(io.RawIOBase):
    """What a zip is written to: it keeps only what was not fetched yet."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Keep some bytes."""
        self._held += data
        return len(data)

    def fetch(self, least: int = 0) -> bytes:
        """What was written since the last time, if it is so much."""
        if len(self._held) < max(least, 1):
            return b""
        found, self._held = bytes(self._held), bytearray()
        return found


def written(broker: Broker, taken: Taken) -> Iterator[bytes]:
    """The zip, piece by piece; nothing of it is ever on a disk of ours."""
    pieces, gone = Pieces(), heads.destroyed_of(broker.heads, taken.ring.person_id)
    with zipfile.ZipFile(pieces, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file, broker.reading() as tx:
        file.writestr(info("manifest.json"), orjson.dumps(_manifest(broker, taken), option=orjson.OPT_INDENT_2))
        for state in taken.logs:
            yield from _log(tx, taken, state, gone, file, pieces)
    yield pieces.fetch()


def info(name: str) -> zipfile.ZipInfo:
    """How a file stands in a zip of ours; what is a zip itself is not packed twice."""
    made = zipfile.ZipInfo(name, EPOCH)
    made.compress_type = zipfile.ZIP_STORED if name.endswith(".zip") else zipfile.ZIP_DEFLATED
    made.external_attr = 0o600 << 16
    return made


def _manifest(broker: Broker, taken: Taken) -> dict[str, Any]:
    part = "all" if taken.seq is None else [taken.seq]
    logs = [
        {"log": b64(state.log_id), "origin": _signed(state).origin, "key": vkey(taken.ring, state), "size": _signed(state).size, "entries": part}
        for state in taken.logs
    ]
    return {"format": FORMAT, "v": 1, "made_at": f"{taken.at:%Y-%m-%dT%H:%M:%SZ}", "broker": broker.settings.origin, "logs": logs}


def _signed(state: State) -> Signed:
    if state.signed is None:
        raise LedgerUnavailable
    return state.signed


def _log(tx: Connection, taken: Taken, state: State, gone: set[bytes], file: zipfile.ZipFile, pieces: Pieces) -> Iterator[bytes]:
    """One log's folder."""
    folder, signed = b64(state.log_id), _signed(state)
    leaves: list[bytes] = []
    reads: list[int] = [] if taken.seq is None else [taken.seq]
    # Under an alarm what is there may be more or less than what was signed, and whoever checks is to see it.
    rows = (row for row in bodies(tx, taken.ring, state.log_id, 0) if state.alarm or row[0] < signed.size)
    opened = Opener(taken.ring, state.log_id)
    with file.open(info(f"{folder}/entries.jsonl"), "w", force_zip64=True) as lines:
        for seq, leaf, body in rows:
            leaves.append(leaf)
            if taken.seq in {None, seq}:
                line = _line(opened, gone, seq, leaf, body)
                lines.write(line + b"\n")
                if taken.seq is None and b'"act":"read"' in line and b'"outcome":"permitted"' in line:
                    reads.append(seq)
            yield pieces.fetch(PIECE)
    file.writestr(info(f"{folder}/checkpoint"), signed.note)
    if state.alarm or len(leaves) != signed.size:
        return
    tree = Leaves(leaves)
    for seq in reads[-MOST_PROOFS:]:
        file.writestr(info(f"{folder}/proofs/{seq}.tlog-proof"), Proof(seq, tuple(tree.inclusion(seq, signed.size)), signed.note).file)
        yield pieces.fetch(PIECE)


def _line(opened: Opener, gone: set[bytes], seq: int, leaf: bytes, body: bytes) -> bytes:
    """An entry as it was hashed; of one whose key was destroyed its hash alone, and of a damaged one not even that, so that no check takes it for erased."""
    try:
        return opened(seq, body)
    except Unsealable:
        erased = body[KEY_ID] in gone
        return orjson.dumps({"leaf": base64.b64encode(leaf).decode() if erased else None, "seq": seq})
