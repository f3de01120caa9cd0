"""Damage to one person's keys, for as long as a test needs it."""

from collections.abc import Iterator
from contextlib import contextmanager

from broker.opening import Broker


@contextmanager
def damaged(broker: Broker, person_id: bytes) -> Iterator[None]:
    """Nothing opens this person's keys; afterwards they are whole again."""
    with broker.keys.writing() as tx:
        whole = tx.exec_driver_sql("SELECT wrapped, person_id, key_id, holder FROM person_wraps WHERE person_id = ?", (person_id,)).all()
        tx.exec_driver_sql("UPDATE person_wraps SET wrapped = zeroblob(80) WHERE person_id = ?", (person_id,))
    assert whole
    broker.vault._rings.clear()
    yield
    with broker.keys.writing() as tx:
        for row in whole:
            tx.exec_driver_sql("UPDATE person_wraps SET wrapped = ? WHERE person_id = ? AND key_id = ? AND holder = ?", tuple(row))
    broker.vault._rings.clear()
