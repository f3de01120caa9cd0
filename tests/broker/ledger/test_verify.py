"""`broker verify`: every way of changing the log behind the broker's back is found (K66)."""

import datetime as dt
import os
import subprocess
import sys

import pytest
from makers import Browser, Clock, Shop, purchase
from sqlalchemy import delete, insert, select, update

from broker.errors import Unsealable
from broker.ledger import actions, checkpoints, models, proofs, queries
from broker.vault import heads
from broker.vault import models as vault


@pytest.fixture
def log(alice: Browser, bookshop: Shop, clock: Clock) -> Browser:
    """A log with some entries of several acts."""
    alice.store(purchase(clock() - dt.timedelta(days=2)))
    bookshop.connect(alice)
    for _ in range(3):
        assert bookshop.read().status_code == 200
    return alice


def codes(person: Browser) -> list[int]:
    broker = person.app.extensions["broker"]
    signed = heads.checkpoints_of(broker.heads, person.person_id)
    with broker.reading() as tx:
        return [verdict.code for verdict in queries.verify(tx, person.ring, signed)]


def change(person: Browser, statement: object) -> None:
    with person.app.extensions["broker"].data.writing() as tx:
        assert tx.execute(statement).rowcount


MINE = models.entries.c


def test_it_holds(log: Browser, bob: Browser) -> None:
    assert codes(log) == [0]
    assert codes(bob) == [0]


def test_a_changed_body(log: Browser) -> None:
    change(log, update(models.entries).where(MINE.person_id == log.person_id, MINE.seq == 2).values(body=os.urandom(300)))
    assert codes(log) == [15]


def test_a_changed_leaf(log: Browser) -> None:
    change(log, update(models.entries).where(MINE.person_id == log.person_id, MINE.seq == 2).values(leaf_hash=os.urandom(32)))
    assert codes(log) == [11]


def test_a_dropped_entry(log: Browser) -> None:
    change(log, delete(models.entries).where(MINE.person_id == log.person_id, MINE.seq == 2))
    assert codes(log) == [13]


def test_a_cut_log(log: Browser) -> None:
    with log.app.extensions["broker"].reading() as tx:
        size = queries.verify(tx, log.ring)[0].size
    change(log, delete(models.entries).where(MINE.person_id == log.person_id, MINE.seq == size - 1))
    assert codes(log) == [13]


def test_swapped_entries(log: Browser) -> None:
    """AAD binds each body to its seq, so even a swap of whole rows is found."""
    with log.app.extensions["broker"].reading() as tx:
        rows = {row.seq: row for row in tx.execute(select(models.entries).where(MINE.person_id == log.person_id, MINE.seq.in_((1, 2))))}
    for seq, other in ((1, 2), (2, 1)):
        values = {"body": rows[other].body, "leaf_hash": rows[other].leaf_hash}
        change(log, update(models.entries).where(MINE.person_id == log.person_id, MINE.seq == seq).values(values))
    assert codes(log) == [15]


def test_an_entry_of_another_person(log: Browser, bob: Browser) -> None:
    with log.app.extensions["broker"].reading() as tx:
        row = tx.execute(select(models.entries).where(MINE.person_id == log.person_id, MINE.seq == 1)).one()
        head = tx.execute(select(models.heads).where(models.heads.c.person_id == bob.person_id)).one()
    change(log, insert(models.entries).values({**row._mapping, "person_id": bob.person_id, "log_id": head.log_id, "seq": head.size}))
    assert codes(bob) == [15]


def test_a_changed_head(log: Browser) -> None:
    heads = models.heads.c
    change(log, update(models.heads).where(heads.person_id == log.person_id).values(root=os.urandom(32)))
    assert codes(log) == [11]


def test_a_changed_frontier(log: Browser) -> None:
    """The root is still right; the next entry would not be."""
    heads_ = models.heads.c
    with log.app.extensions["broker"].reading() as tx:
        frontier = tx.execute(select(heads_.frontier).where(heads_.person_id == log.person_id)).scalar_one()
    change(log, update(models.heads).where(heads_.person_id == log.person_id).values(frontier=frontier[:-1] + bytes([frontier[-1] ^ 1])))
    assert codes(log) == [11]


def test_what_was_signed_must_be_continued(log: Browser) -> None:
    """Against the last checkpoint in heads.db: a rollback, other entries under a head that fits them, and a note that another key signed."""
    broker = log.app.extensions["broker"]
    signed = checkpoints.sign(broker, log.person_id)[0]
    assert codes(log) == [0]
    with broker.heads.writing() as tx:
        tx.execute(update(vault.checkpoints).where(vault.checkpoints.c.person_id == log.person_id).values(note=signed.note.replace(b"\n\n", b"\nmore\n\n")))
    assert codes(log) == [10]
    with broker.heads.writing() as tx:
        tx.execute(update(vault.checkpoints).where(vault.checkpoints.c.person_id == log.person_id).values(note=signed.note))
    head = models.heads.c
    with broker.reading() as tx:
        leaves = list(tx.execute(select(MINE.leaf_hash).where(MINE.person_id == log.person_id).order_by(MINE.seq)).scalars())
    frontier = b""
    for seq, leaf in enumerate(leaves[:-1]):
        frontier = proofs.grow(frontier, seq, leaf)
    change(log, delete(models.entries).where(MINE.person_id == log.person_id, MINE.seq == len(leaves) - 1))
    change(log, update(models.heads).where(head.person_id == log.person_id).values(size=len(leaves) - 1, root=proofs.root(frontier), frontier=frontier))
    assert codes(log) == [12]
    actions.record(broker, log.person_id, actions.Entry("forget", broker.now(), about={"count": 0}))
    assert codes(log) == [12]
    change(log, delete(models.heads).where(head.person_id == log.person_id))
    assert codes(log) == [12]


def test_a_failed_guard_appends_nothing(log: Browser) -> None:
    broker, ring = log.app.extensions["broker"], log.ring
    now = broker.now()
    key = actions.entry_key(ring, now)
    never = (select(models.heads.c.size).where(models.heads.c.size < 0), {})
    with pytest.raises(actions.GuardFailed):
        broker.write(lambda tx: actions.append(tx, ring, key, actions.Entry("read", now), [never]))
    assert codes(log) == [0]


def test_equal_denials_become_one_more_entry(log: Browser, bookshop: Shop) -> None:
    """The first is entered at once, its repeats within a minute as one entry that says how many."""
    for _ in range(5):
        assert bookshop.read("?kind=search").status_code == 403
    log.app.extensions["denials"].close()
    with log.app.extensions["broker"].reading() as tx:
        denied = [entry["times"] for entry in queries.page(tx, log.ring).entries if entry["outcome"] == "denied"]
    assert denied == [4, 1]


def test_the_command_says_it_in_one_sentence(log: Browser) -> None:
    """Offline, with its exit status: 0, and 15 for an altered entry."""
    settings = log.app.extensions["broker"].settings
    environment = {**os.environ, "BROKER_DATA_DIR": str(settings.data_dir), "BROKER_KEY_FILE": str(settings.key_file)}
    run = [sys.executable, "-m", "broker", "verify"]
    good = subprocess.run(run, env=environment, capture_output=True, text=True, check=False)
    assert good.returncode == 0, good.stderr
    assert good.stdout.startswith("The ledger holds: ")
    assert good.stdout.count("\n") == 1
    named = subprocess.run([*run, "--person", "alice"], env=environment, capture_output=True, text=True, check=False)
    assert (named.returncode, named.stdout.startswith("The ledger holds: ")) == (0, True)
    assert subprocess.run([*run, "--person", "nobody"], env=environment, capture_output=True, text=True, check=False).returncode == 1
    change(log, update(models.entries).where(MINE.person_id == log.person_id, MINE.seq == 2).values(body=os.urandom(300)))
    bad = subprocess.run(run, env=environment, capture_output=True, text=True, check=False)
    assert (bad.returncode, bad.stdout) == (15, "The ledger does not hold: Entry 2 cannot be opened: it was altered or moved.\n")


def test_a_sealed_entry_cannot_be_read_elsewhere(log: Browser, bob: Browser) -> None:
    with log.app.extensions["broker"].reading() as tx:
        row = tx.execute(select(models.entries).where(MINE.person_id == log.person_id, MINE.seq == 1)).one()
    with pytest.raises(Unsealable):
        bob.ring.unseal(b"anywhere", row.body)
