"""Renewing the broker's keys (K77): killed at every write, before and after its commit, it loses nothing and goes on; nobody notices meanwhile."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from makers import settings_in

from broker.config import Settings
from broker.db import Store
from broker.errors import Unsealable
from broker.ledger import queries as ledger
from broker.opening import Broker, opened
from broker.people import actions as people
from broker.vault import epochs, slots

PEOPLE = 5
KILLED = 9


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A broker with five people and two keys, of whom some are moved at a time."""
    monkeypatch.setattr(epochs, "MOVED_AT_ONCE", 2)
    made = settings_in(tmp_path / "home")
    with opened(made) as broker:
        broker.vault.add_recovery_key()
        for number in range(PEOPLE):
            people.add(broker, f"person {number}", "correct horse battery staple")
    return made


def everyone(broker: Broker) -> int:
    """How many people's ledgers open and hold."""
    with broker.reading() as tx:
        found = [row[0] for row in tx.exec_driver_sql("SELECT person_id FROM people")]
        return sum(verdict.problem == "" for person_id in found for verdict in ledger.verify(tx, broker.keyring(person_id)))


class Killer:
    """Ends this process at the n-th write to keys.db."""

    def __init__(self, n: int, *, after: bool) -> None:
        self.left, self.after = n, after
        self._writing = Store.writing

    def __call__(self, store: Store) -> Any:
        return self._killing(store)

    @contextlib.contextmanager
    def _killing(self, store: Store) -> Iterator[Any]:
        if store.path.name != "keys.db":
            with self._writing(store) as tx:
                yield tx
            return
        self.left -= 1
        if self.left < 0 and self.after:
            with self._writing(store) as tx:
                yield tx
            os._exit(KILLED)
        with self._writing(store) as tx:
            yield tx
            if self.left < 0:
                os._exit(KILLED)


def killed(settings: Settings, n: int, *, after: bool) -> bool:
    """Rotate in a child that dies at its n-th write; whether it came so far."""
    child = os.fork()
    if child == 0:
        try:
            _rotate_and_die(settings, Killer(n, after=after))
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in {0, KILLED}
    return code == KILLED


def _rotate_and_die(settings: Settings, killer: "Killer") -> None:
    def writing(store: Store) -> Any:
        return killer(store)

    with opened(settings) as broker:
        Store.writing = writing  # type: ignore[method-assign]
        broker.vault.rotate()
    os._exit(0)


@pytest.mark.parametrize("after", [False, True], ids=["before the commit", "after the commit"])
def test_it_goes_on_after_a_kill(settings: Settings, *, after: bool) -> None:
    """At every write there is; the last number comes through, which shows that all were tried."""
    n = fired = 0
    while killed(settings, n, after=after):
        fired += 1
        n += 1
        with opened(settings) as broker:
            assert not broker.vault.sealed
            assert everyone(broker) == PEOPLE
            broker.vault.rotate()
            assert everyone(broker) == PEOPLE
            with broker.keys.reading() as tx:
                assert tx.exec_driver_sql("SELECT count(*) FROM epochs WHERE state != 'destroyed'").scalar() == 1
    assert fired >= PEOPLE // 2 + 3


def test_two_rounds_at_once_and_readers_meanwhile(settings: Settings) -> None:
    """No request fails: people's keys are opened all the time, in the process that renews and in another one."""
    with opened(settings) as one, opened(settings) as other:
        failed: list[BaseException] = []
        done, looked = threading.Event(), [0]

        def look(broker: Broker) -> None:
            while not done.is_set():
                try:
                    broker.vault._rings.clear()
                    assert everyone(broker) == PEOPLE
                    looked[0] += 1
                except BaseException as error:
                    failed.append(error)
                    return

        threads = [threading.Thread(target=look, args=(broker,)) for broker in (one, other)]
        for thread in threads:
            thread.start()
        barrier, numbers = threading.Barrier(3), []

        def renew(broker: Broker) -> None:
            barrier.wait()
            try:
                numbers.append(broker.vault.rotate())
            except BaseException as error:
                failed.append(error)

        # Two of one process, and one of another: each waits its turn.
        rounds = [threading.Thread(target=renew, args=(broker,)) for broker in (one, other, one)]
        for thread in rounds:
            thread.start()
        for thread in rounds:
            thread.join()
        done.set()
        for thread in threads:
            thread.join()
        assert failed == []
        assert sorted(numbers) == [2, 3, 4]
        assert looked[0] >= 2
        with one.keys.reading() as tx:
            assert epochs.active(tx) == 4


def test_destroying_too_early_loses_people(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: without moving anybody first, nobody's keys open any more, and the test notices."""
    monkeypatch.setattr(epochs, "move", lambda *_args: None)
    with opened(settings) as broker:
        broker.vault.rotate()
        broker.vault._rings.clear()
        with pytest.raises(Unsealable):
            everyone(broker)


def test_every_key_opens_it_afterwards(settings: Settings) -> None:
    with opened(settings) as broker:
        secret = slots.read_recovery_key(broker.vault.add_recovery_key()) or b""
        broker.vault.rotate()
        broker.vault.lock()
        assert broker.vault.unlock(slots.RECOVERY_KEY, secret)
        assert everyone(broker) == PEOPLE
    with opened(settings) as broker:
        assert everyone(broker) == PEOPLE
