"""The processes of one broker, and how ROOT gets from one to the others: sealed to a key that lives in the other's memory alone.

Whoever unlocks the broker, or makes a new ROOT, does it once; no secret is ever written down for it.
"""

import os

from sqlalchemy import Connection, delete, func, select, update

from broker.errors import Unsealable
from broker.vault.envelope import Place, new_key_pair, seal_to, unseal_with
from broker.vault.models import processes

_PLACE = Place(b"", "processes", "wrapped_root")


class Member:
    """One process among the broker's others: its row, and the private key that no file knows."""

    def __init__(self, tx: Connection) -> None:
        """Register, and forget those that have died."""
        self.id = os.urandom(16)
        self._private, public = new_key_pair()
        for row in tx.execute(select(processes.c.process_id, processes.c.pid)).all():
            if not _lives(row.pid):
                tx.execute(delete(processes).where(processes.c.process_id == row.process_id))
        tx.execute(processes.insert().values(process_id=self.id, pid=os.getpid(), public=public))

    def received(self, tx: Connection) -> bytes | None:
        """ROOT as another process handed it over, if one did."""
        wrapped = tx.execute(select(processes.c.wrapped_root).where(processes.c.process_id == self.id)).scalar()
        if wrapped is None:
            return None
        try:
            return unseal_with(self._private, _PLACE.at(self.id), wrapped)
        except Unsealable:
            return None

    def hand_over(self, tx: Connection, root: bytes) -> None:
        """Seal ROOT to every process, this one too: what stands in its row is the newest there is."""
        for row in tx.execute(select(processes.c.process_id, processes.c.public)).all():
            wrapped = seal_to(row.public, row.process_id, _PLACE.at(row.process_id), root)
            tx.execute(update(processes).where(processes.c.process_id == row.process_id).values(wrapped_root=wrapped))

    def anybody_waits(self, tx: Connection) -> bool:
        """Whether a process was handed nothing yet."""
        return tx.execute(select(processes.c.process_id).where(processes.c.wrapped_root.is_(None)).limit(1)).first() is not None

    def last_used(self, tx: Connection, here: int, now: int) -> int:
        """When somebody was last at a page of any process, in seconds that the machine has run; `here` is when at this one's.

        What is later than `now` is from before the machine was started anew.
        """
        tx.execute(update(processes).where(processes.c.process_id == self.id).values(used_at=here))
        return int(tx.execute(select(func.max(processes.c.used_at)).where(processes.c.used_at <= now)).scalar_one())

    def forget(self, tx: Connection) -> None:
        """Take back what was handed to this process."""
        tx.execute(update(processes).where(processes.c.process_id == self.id).values(wrapped_root=None))

    def leave(self, tx: Connection) -> None:
        """Take this process's row away."""
        tx.execute(delete(processes).where(processes.c.process_id == self.id))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
