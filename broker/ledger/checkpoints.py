"""Signing checkpoints (C2SP tlog-checkpoint): never two roots for one size, and nothing that does not continue what was signed before.

In this order: open the entries since the last checkpoint and work their leaves out again; compare with the head; sign; put the new checkpoint in
the place of the one it continues, durably and only if that is still the last one; only then hand it out.
"""

import base64
import logging
import queue
import random
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import orjson
from sqlalchemy import Connection, or_, select

from broker.errors import Busy, Unsealable
from broker.ledger import actions, models
from broker.ledger.merkle import Tree, leaf_hash
from broker.ledger.notes import Checkpoint, Key, key_id
from broker.ledger.proofs import b64
from broker.ledger.queries import Opener, bodies
from broker.opening import Broker
from broker.vault import heads
from broker.vault.heads import Signed
from broker.vault.keys import Keyring

log = logging.getLogger(__name__)
# As often as another process may come first before this one gives up, and how long it waits between, in seconds: the first time, and at most.
TRIES: Final = 12
WAITS: Final = (0.002, 0.2)
SHORT: Final = "It holds fewer entries than were signed before. An older copy of it has come back, or its end was cut off."
FORKED: Final = "Its entries are others than were signed before."
ALTERED: Final = "Entry {seq} was altered, moved or taken out after it was made."
_CHANCE: Final = random.SystemRandom()
_OPEN: Final = models.heads.c.closed.is_(None)
HEAD: Final = "Its entries do not add up to what it says it holds."


class Inconsistent(Exception):
    """A log that does not continue its last checkpoint; the message says how. Nothing is signed."""


@dataclass(frozen=True, slots=True)
class State:
    """What is known of the log that goes on: how many entries it holds, its last checkpoint, and its alarm."""

    log_id: bytes
    size: int
    signed: Signed | None
    alarm: str | None


def states(broker: Broker, ring: Keyring) -> list[State]:
    """The state of each of a person's logs that is not closed."""
    known = heads.checkpoints_of(broker.heads, ring.person_id)
    with broker.reading() as tx:
        rows = tx.execute(select(models.heads).where(models.heads.c.person_id == ring.person_id, _OPEN)).all()
    return [State(row.log_id, row.size, known.get(row.log_id), row.alarm) for row in rows]


def vkey(ring: Keyring, state: State) -> str:
    """The public key of a log as `broker verify --key` takes it; empty before the first checkpoint."""
    return str(Key(state.signed.origin, ring.log_signer(state.log_id).public)) if state.signed else ""


def wanted(broker: Broker, person_id: bytes) -> None:
    """Have the person's log signed within a second, by whoever serves; where too many wait, the sweep does it."""
    try:
        broker.due.put_nowait(person_id)
    except queue.Full:
        log.info("a checkpoint waits for the sweep")


def sign(broker: Broker, person_id: bytes) -> list[Signed]:
    """Sign each log of a person as it is now, and hand the checkpoints out.

    A log that does not continue its last checkpoint is not signed: it gets its alarm, and `Inconsistent` is raised. One that does loses its alarm.
    `Busy` where other processes came first time and again.
    """
    ring = broker.keyring(person_id)
    with broker.reading() as tx:
        rows = tx.execute(select(models.heads.c.log_id, models.heads.c.alarm).where(models.heads.c.person_id == person_id, _OPEN)).all()
    found = []
    for row in rows:
        try:
            found.append(_sign_log(broker, ring, row.log_id))
        except Inconsistent as why:
            log.critical("a log does not continue its last checkpoint: %s", why)
            actions.sound_alarm(broker, person_id, row.log_id, str(why))
            raise
        if row.alarm:
            actions.sound_alarm(broker, person_id, row.log_id, None)
    return found


def _sign_log(broker: Broker, ring: Keyring, log_id: bytes) -> Signed:
    wait, longest = WAITS
    for _ in range(TRIES):
        # First what was signed, then what is there: the other way round the log could look shorter than it is.
        known = heads.checkpoint(broker.heads, ring.person_id, log_id)
        with broker.reading() as tx:
            tree = _continued(tx, ring, log_id, known)
        if known and known.size == tree.size:
            return known
        made = _signed(broker, ring, log_id, known, tree)
        if heads.swap(broker.heads, ring.person_id, log_id, known, made):
            return made
        if heads.is_erased(broker.heads, ring.person_id):
            raise Unsealable
        # Whoever wrote has the file at hand, and would come first again.
        time.sleep(_CHANCE.uniform(wait / 2, wait))
        wait = min(wait * 2, longest)
    # Nothing is wrong with it: others sign it all the time.
    raise Busy(retry_after=1)


def _continued(tx: Connection, ring: Keyring, log_id: bytes, known: Signed | None) -> Tree:
    """The tree of the log as it is, grown from its last checkpoint over the entries that came since; `Inconsistent` where they do not fit."""
    head = tx.execute(select(models.heads).where(models.heads.c.person_id == ring.person_id, models.heads.c.log_id == log_id)).first()
    if head is None:
        # The person erased everything meanwhile.
        raise Unsealable
    tree = Tree(known.size, known.frontier) if known else Tree()
    if head.size < tree.size:
        raise Inconsistent(SHORT)
    opened = Opener(ring, log_id)
    for seq, leaf, body in bodies(tx, ring, log_id, tree.size):
        tree.grow(_leaf(opened, tree, seq, leaf, body))
    if (head.size, head.root, head.frontier) != (tree.size, tree.root, tree.frontier):
        raise Inconsistent(FORKED if known and head.size == known.size else HEAD)
    return tree


def _leaf(opened: Opener, tree: Tree, seq: int, stored: bytes, sealed: bytes) -> bytes:
    """The leaf of the entry that comes next, worked out from its sealed body."""
    try:
        body = opened(seq, sealed)
    except Unsealable:
        raise Inconsistent(ALTERED.format(seq=seq)) from None
    leaf, entry = leaf_hash(body), orjson.loads(body)
    if seq != tree.size or leaf != stored or entry["seq"] != seq:
        raise Inconsistent(ALTERED.format(seq=tree.size))
    if entry["prev"] != b64(tree.root):
        raise Inconsistent(FORKED)
    return leaf


def _signed(broker: Broker, ring: Keyring, log_id: bytes, known: Signed | None, tree: Tree) -> Signed:
    origin = known.origin if known else f"{urlsplit(broker.settings.origin).netloc}/ledger/{b64(log_id)}"
    text = Checkpoint(origin, tree.size, tree.root).text
    signer = ring.log_signer(log_id)
    signature = base64.b64encode(key_id(origin, signer.public) + signer.sign(text.encode())).decode()
    note = f"{text}\n\N{EM DASH} {origin} {signature}\n".encode()
    return Signed(origin, tree.size, tree.root, tree.frontier, note, broker.now())


def sweep(broker: Broker) -> None:
    """Sign every log that has changed since its last checkpoint, and look again at those with an alarm."""
    table = models.heads
    known = heads.signed_heads(broker.heads)
    with broker.reading() as tx:
        rows = tx.execute(
            select(table.c.person_id, table.c.log_id, table.c.size, table.c.root, table.c.alarm).where(_OPEN).order_by(table.c.person_id, table.c.log_id)
        ).all()
    due = {row.person_id: None for row in rows if row.alarm or known.get((row.person_id, row.log_id)) != (row.size, row.root)}
    for person_id in due:
        try:
            sign(broker, person_id)
        except Inconsistent:
            # It has its alarm, and the others are still to be signed.
            continue
        except (Busy, Unsealable):
            log.exception("a log could not be signed")


def compare(broker: Broker) -> int:
    """At start-up, before anything is entered: raise the alarm over every log that is shorter than was signed, or other; returns how many."""
    found = 0
    table = models.heads
    for (person_id, log_id), (size, root) in heads.signed_heads(broker.heads).items():
        shorter = or_(table.c.size < size, (table.c.size == size) & (table.c.root != root))
        with broker.reading() as tx:
            row = tx.execute(select(table.c.size).where(table.c.person_id == person_id, table.c.log_id == log_id, _OPEN, shorter)).first()
        if row is not None:
            log.critical("a log is not what was signed before it was stopped")
            actions.sound_alarm(broker, person_id, log_id, SHORT if row.size < size else FORKED)
            found += 1
    return found


def behind(broker: Broker) -> bool:
    """Whether any log that goes on is shorter than was signed, or is not there at all: data.db is older than heads.db."""
    table = models.heads
    signed = heads.signed_heads(broker.heads)
    with broker.reading() as tx:
        whole = {(row.person_id, row.log_id) for row in tx.execute(select(table)) if row.closed or row.size >= signed.get((row.person_id, row.log_id), (0,))[0]}
    # Last: whoever erases everything is noted before their rows go.
    erased = set(heads.erased(broker.heads))
    return any(key not in whole and key[0] not in erased for key in signed)


def alarmed(tx: Connection) -> bool:
    """Whether any log has an alarm."""
    return tx.execute(select(models.heads.c.size).where(models.heads.c.alarm.is_not(None)).limit(1)).first() is not None
