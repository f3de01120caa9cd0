"""Epochs: the key-encryption keys between ROOT and the people's own keys, and how one gives way to the next while everything goes on.

Begin, move, finish; each step can be done again after a kill. The old epoch is destroyed only when no wrap refers to it any more.
"""

import os
from collections.abc import Callable, Mapping
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from broker.db import Store
from broker.vault import slots
from broker.vault.envelope import WRAPS, OpenKey, Place
from broker.vault.keys import wrap_place
from broker.vault.models import epochs, person_keys, person_wraps

ACTIVE, DRAINING, DESTROYED = "active", "draining", "destroyed"
MOVED_AT_ONCE: Final = 100
# ROOT as it is inside a transaction: another process may have renewed it a moment before.
Root = Callable[[Connection], bytes]
_PLACE: Final = Place(b"", "epochs", "wrapped_kek")


def _root_key(root: bytes) -> OpenKey:
    return OpenKey(bytes(16), root, WRAPS)


def add(tx: Connection, root: bytes, number: int) -> None:
    """A new epoch in force."""
    tx.execute(insert(epochs).values(epoch=number, state=ACTIVE, wrapped_kek=_root_key(root).seal(_PLACE.at(number), os.urandom(32))))


def active(tx: Connection) -> int:
    """The epoch in force."""
    return int(tx.execute(select(epochs.c.epoch).where(epochs.c.state == ACTIVE)).scalar_one())


def opened(tx: Connection, root: bytes) -> dict[int, OpenKey]:
    """The keys of every epoch that is not destroyed; raises `Unsealable` for another ROOT."""
    rows = tx.execute(select(epochs.c.epoch, epochs.c.wrapped_kek).where(epochs.c.state != DESTROYED))
    return {row.epoch: OpenKey(bytes(16), _root_key(root).unseal(_PLACE.at(row.epoch), row.wrapped_kek), WRAPS) for row in rows}


def begin(store: Store, root: Root) -> int:
    """The next epoch is in force, the one before drains; one that was begun and not finished goes on. Returns its number."""
    with store.writing() as tx:
        number = active(tx)
        if tx.execute(select(epochs.c.epoch).where(epochs.c.state == DRAINING)).first() is None:
            tx.execute(update(epochs).where(epochs.c.epoch == number).values(state=DRAINING))
            number += 1
            add(tx, root(tx), number)
    return number


def move(store: Store, keks: Mapping[int, OpenKey], number: int, progress: Callable[[int, int], None]) -> None:
    """Wrap every person's key under the epoch `number` and take the older wrap away, some people at a time."""
    new = f"epoch:{number}"
    old = person_wraps.c.holder.like("epoch:%") & (person_wraps.c.holder != new)
    done = 0
    while True:
        with store.writing() as tx:
            rows = tx.execute(select(person_wraps).where(old).limit(MOVED_AT_ONCE)).all()
            for row in rows:
                secret = keks[int(row.holder.partition(":")[2])].unseal(wrap_place(row.person_id, row.key_id, row.holder), row.wrapped)
                wrapped = keks[number].seal(wrap_place(row.person_id, row.key_id, new), secret)
                mine = (person_wraps.c.person_id == row.person_id) & (person_wraps.c.key_id == row.key_id)
                tx.execute(delete(person_wraps).where(mine, person_wraps.c.holder.in_((row.holder, new))))
                tx.execute(insert(person_wraps).values(person_id=row.person_id, key_id=row.key_id, holder=new, wrapped=wrapped))
        if not rows:
            return
        done += len(rows)
        progress(done, people(store))


def people(store: Store) -> int:
    """How many people have keys."""
    with store.reading() as tx:
        return len(tx.execute(select(person_keys.c.key_id).where(person_keys.c.role == "person")).all())


def finish(store: Store, root: Root, number: int, hand_over: Callable[[Connection, bytes], None]) -> bytes:
    """Destroy every older epoch, renew ROOT and wrap it for every slot and process.

    Returns the new ROOT. Whoever came while the others were moved came under the new epoch already.
    """
    fresh = os.urandom(32)
    with store.writing() as tx:
        raw = _root_key(root(tx)).unseal(_PLACE.at(number), tx.execute(select(epochs.c.wrapped_kek).where(epochs.c.epoch == number)).scalar_one())
        tx.execute(update(epochs).where(epochs.c.epoch != number).values(state=DESTROYED, wrapped_kek=b""))
        hand_over(tx, fresh)
        tx.execute(update(epochs).where(epochs.c.epoch == number).values(wrapped_kek=_root_key(fresh).seal(_PLACE.at(number), raw)))
        slots.rewrap(tx, fresh)
    return fresh
