"""Checkpoints: signed once for each size, only where the log continues the last one; else an alarm, under which nothing is read (K64, K67)."""

import datetime as dt
import os
import re
import threading
import time

import pytest
from damage import damaged
from makers import Browser, Clock, Shop, purchase, settings_in
from sqlalchemy import delete, select, update

from broker import close_app, create_app, serving
from broker.errors import Busy
from broker.ledger import checkpoints, models, proofs
from broker.ledger.merkle import verify_consistency
from broker.ledger.notes import Key, Wrong, open_checkpoint
from broker.ledger.proofs import Leaves
from broker.vault import heads

ENTRIES, HEADS = models.entries.c, models.heads.c


@pytest.fixture
def log(alice: Browser, bookshop: Shop, clock: Clock) -> Browser:
    """Alice with a log, signed once, and a shop that may read."""
    alice.store(purchase(clock() - dt.timedelta(days=2)))
    bookshop.connect(alice)
    assert bookshop.read().status_code == 200
    sign(alice)
    return alice


def broker_of(person: Browser):  # noqa: ANN201 - the open broker
    return person.app.extensions["broker"]


def sign(person: Browser) -> heads.Signed:
    return checkpoints.sign(broker_of(person), person.person_id)[0]


def change(person: Browser, statement: object) -> None:
    with broker_of(person).data.writing() as tx:
        assert tx.execute(statement).rowcount


def leaves_of(person: Browser) -> list[bytes]:
    with broker_of(person).reading() as tx:
        return list(tx.execute(select(ENTRIES.leaf_hash).where(ENTRIES.person_id == person.person_id).order_by(ENTRIES.seq)).scalars())


def key_of(person: Browser) -> Key:
    return Key.parse(checkpoints.vkey(person.ring, checkpoints.states(broker_of(person), person.ring)[0]))


def test_a_checkpoint_says_size_and_root_and_is_signed(log: Browser) -> None:
    signed = sign(log)
    found = open_checkpoint(signed.note, key_of(log))
    leaves = leaves_of(log)
    assert (found.size, found.root) == (len(leaves), Leaves(leaves).root(len(leaves)))
    assert re.fullmatch(r"localhost:8440/ledger/[A-Za-z0-9_-]{22}", found.origin)
    assert signed.note.decode().splitlines()[-1].startswith(f"— {found.origin} ")


def test_the_next_one_continues_it(log: Browser, bookshop: Shop) -> None:
    before = sign(log)
    assert sign(log) == before, "nothing changed, so the same note is handed out"
    bookshop.read()
    after = sign(log)
    leaves = Leaves(leaves_of(log))
    assert verify_consistency(before.size, after.size, before.root, after.root, leaves.consistency(before.size, after.size))
    assert after.size == before.size + 1


def test_each_person_has_a_key_of_their_own(log: Browser, bob: Browser) -> None:
    note = sign(log).note
    sign(bob)
    with pytest.raises(Wrong, match="not signed by the key"):
        open_checkpoint(note, key_of(bob))


def test_the_origin_stays_when_the_broker_moves(log: Browser, clock: Clock) -> None:
    before, settings = sign(log), broker_of(log).settings
    close_app(log.app)
    moved = create_app(settings_in(settings.data_dir.parent, origin="https://broker.example"), clock)
    try:
        alice = Browser.of(moved, "alice")
        assert sign(alice).origin == before.origin
    finally:
        close_app(moved)


def altered(person: Browser, seq: int) -> None:
    """Give an entry the body of a new one: as a well-informed operator would, with leaf, root and frontier to match."""
    change(person, update(models.entries).where(ENTRIES.person_id == person.person_id, ENTRIES.seq == seq).values(leaf_hash=bytes(32)))


def cut(person: Browser, size: int) -> None:
    """Put the log back to its first `size` entries, as an older copy of data.db would have it."""
    frontier = b""
    for seq, leaf in enumerate(leaves_of(person)[:size]):
        frontier = proofs.grow(frontier, seq, leaf)
    change(person, delete(models.entries).where(ENTRIES.person_id == person.person_id, ENTRIES.seq >= size))
    with broker_of(person).data.writing() as tx:
        tx.execute(delete(models.rows).where(models.rows.c.person_id == person.person_id, models.rows.c.seq >= size))
    change(person, update(models.heads).where(HEADS.person_id == person.person_id).values(size=size, root=proofs.root(frontier), frontier=frontier))


def alarm_of(person: Browser) -> str | None:
    return checkpoints.states(broker_of(person), person.ring)[0].alarm


def grant_page(person: Browser) -> str:
    found = re.search(r'href="(/grants/[A-Za-z0-9_-]{22})"', person.get("/grants").text)
    assert found
    return found[1]


@pytest.mark.parametrize("hurt", ["cut", "altered", "head"])
@pytest.mark.accepts("K64")
def test_what_does_not_continue_is_not_signed_and_nothing_is_read(log: Browser, bookshop: Shop, hurt: str) -> None:
    """Sign nothing, raise the alarm, refuse reads; endings still enter."""
    before = sign(log)
    bookshop.read()
    if hurt == "cut":
        cut(log, before.size - 1)
    elif hurt == "altered":
        altered(log, before.size)
    else:
        change(log, update(models.heads).where(HEADS.person_id == log.person_id).values(root=bytes(32)))
    with pytest.raises(checkpoints.Inconsistent):
        sign(log)
    assert heads.checkpoint(broker_of(log).heads, log.person_id, checkpoints.states(broker_of(log), log.ring)[0].log_id) == before
    assert alarm_of(log) == {"cut": checkpoints.SHORT, "altered": checkpoints.ALTERED.format(seq=before.size), "head": checkpoints.HEAD}[hurt]
    refused = bookshop.read()
    assert (refused.status_code, refused.json["type"]) == (503, "/problems/ledger-unavailable")
    ready = log.app.test_client().get("/readyz", base_url="http://localhost:8440")
    assert (ready.status_code, ready.text) == (503, "ledger\n")
    Browser.of(log.app, "alice")
    assert log.post(f"{grant_page(log)}/revoke", page="/grants").status_code == 303
    assert "Ended" in log.get(grant_page(log)).text
    # Nothing is entered of the refused call either, so not even this is told.
    assert bookshop.read().status_code == 503


def test_the_alarm_is_one_persons(log: Browser, bob: Browser, clock: Clock) -> None:
    cut(log, sign(log).size - 1)
    checkpoints.sweep(broker_of(log))
    assert alarm_of(log)
    assert alarm_of(bob) is None
    bob.store(purchase(clock() - dt.timedelta(days=1)))
    assert sign(bob).size


def test_the_alarm_ends_when_the_log_is_whole_again(log: Browser, bookshop: Shop) -> None:
    root = sign(log).root
    change(log, update(models.heads).where(HEADS.person_id == log.person_id).values(root=bytes(32)))
    checkpoints.sweep(broker_of(log))
    assert bookshop.read().status_code == 503
    change(log, update(models.heads).where(HEADS.person_id == log.person_id).values(root=root))
    checkpoints.sweep(broker_of(log))
    assert alarm_of(log) is None
    assert bookshop.read().status_code == 200


def test_an_older_copy_is_noticed_before_anything_is_entered(log: Browser, bookshop: Shop, clock: Clock) -> None:
    """K67, K69: at start-up, not only at the next checkpoint."""
    settings, size = broker_of(log).settings, sign(log).size
    cut(log, size - 1)
    close_app(log.app)
    again = create_app(settings, clock)
    try:
        bookshop.app, bookshop.client = again, again.test_client()
        # Its tokens are void, and a new log says what came back; nothing was entered into the old one.
        assert bookshop.read().status_code == 401
        with again.extensions["broker"].reading() as tx:
            heads = tx.exec_driver_sql("SELECT size, closed IS NULL FROM ledger_heads WHERE person_id = ? ORDER BY first", (log.person_id,)).all()
        assert tuple(heads[0]) == (size - 1, 0)
        assert len(heads) == 2
        assert heads[1][1] == 1
    finally:
        close_app(again)


def test_damaged_keys_keep_no_other_log_from_its_signature(log: Browser, bob: Browser, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever comes first: one does not open, and the other is signed by the same sweep."""
    broker = broker_of(log)
    for hurt, other in ((log, bob), (bob, log)):
        for each in (log, bob):
            each.store(purchase(clock() - dt.timedelta(days=1), f"{hurt.name} is hurt"))
        with damaged(broker, hurt.person_id):
            checkpoints.sweep(broker)
            assert sized(other) == checkpoints.states(broker, other.ring)[0].size
        assert "could not be signed" in caplog.text
        caplog.clear()


def test_another_root_of_the_same_size_is_noticed_at_the_start(log: Browser, clock: Clock) -> None:
    """K67: not shorter, but another one."""
    settings = broker_of(log).settings
    sign(log)
    change(log, update(models.heads).where(HEADS.person_id == log.person_id).values(root=bytes(32)))
    close_app(log.app)
    again = create_app(settings, clock)
    try:
        with again.extensions["broker"].reading() as tx:
            assert tx.execute(select(HEADS.alarm).where(HEADS.person_id == log.person_id)).scalar_one() == checkpoints.FORKED
    finally:
        close_app(again)


def test_the_sweep_signs_everybodys(log: Browser, bob: Browser) -> None:
    bob.store(purchase(dt.datetime.now(dt.UTC) - dt.timedelta(days=1)))
    checkpoints.sweep(broker_of(log))
    for person in (log, bob):
        state = checkpoints.states(broker_of(log), person.ring)[0]
        assert state.signed
        assert state.signed.size == state.size


def test_others_that_always_come_first_raise_no_alarm(log: Browser, bookshop: Shop, bob: Browser, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is wrong with such a log: it is signed later, the others of a sweep are, and its vendors go on reading."""
    broker, real = broker_of(log), heads.swap
    bookshop.read()
    bob.store(purchase(clock() - dt.timedelta(days=1)))
    monkeypatch.setattr(checkpoints, "WAITS", (0.0, 0.0))
    monkeypatch.setattr(heads, "swap", lambda store, person_id, *more: person_id != log.person_id and real(store, person_id, *more))
    with pytest.raises(Busy):
        sign(log)
    checkpoints.sweep(broker)
    assert alarm_of(log) is None
    assert sized(bob) == checkpoints.states(broker, bob.ring)[0].size
    assert bookshop.read().status_code == 200
    monkeypatch.undo()
    assert sign(log).size == checkpoints.states(broker, log.ring)[0].size


def test_a_swap_that_came_second_does_nothing(log: Browser) -> None:
    broker = broker_of(log)
    before = sign(log)
    state = checkpoints.states(broker, log.ring)[0]
    newer = heads.Signed(before.origin, before.size + 1, bytes(32), b"", b"newer", before.signed_at)
    assert heads.swap(broker.heads, log.person_id, state.log_id, before, newer)
    assert not heads.swap(broker.heads, log.person_id, state.log_id, before, before)
    assert not heads.swap(broker.heads, log.person_id, state.log_id, None, before)
    assert heads.checkpoint(broker.heads, log.person_id, state.log_id) == newer


@pytest.mark.parametrize("ending", ["revoke", "pause"])
def test_an_ending_is_signed_within_a_second(log: Browser, ending: str) -> None:
    """By the thread that every server process has, without anybody asking for it."""
    stopping = threading.Event()
    signer = threading.Thread(target=serving._sign, args=(log.app, stopping))
    signer.start()
    try:
        size = sign(log).size
        assert log.post(f"{grant_page(log)}/{ending}", page="/grants").status_code == 303
        over = time.monotonic() + 1.0
        while sized(log) == size and time.monotonic() < over:
            pass
        assert sized(log) == size + 1
    finally:
        stopping.set()
        signer.join()


def sized(person: Browser) -> int:
    return next(iter(heads.checkpoints_of(broker_of(person).heads, person.person_id).values())).size


def test_what_cannot_be_signed_keeps_nobody_waiting(log: Browser) -> None:
    """Somebody whose keys are gone comes first; the next one is signed all the same."""
    broker, stopping = broker_of(log), threading.Event()
    broker.due.put_nowait(os.urandom(16))
    log.post(f"{grant_page(log)}/revoke", page="/grants")
    signer = threading.Thread(target=serving._sign, args=(log.app, stopping))
    signer.start()
    over = time.monotonic() + 5.0
    while sized(log) < checkpoints.states(broker, log.ring)[0].size and time.monotonic() < over:
        pass
    stopping.set()
    signer.join()
    assert sized(log) == checkpoints.states(broker, log.ring)[0].size
