"""A process that appends to a log and signs it, told by lines what to do next: `python signing.py RACE DIR...`, where each DIR holds stores of its own.

For each DIR it says `ready` when its checkpoint is made and not yet in its place, waits for a line, and prints the note it was handed, or `refused`.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any

sys.path.extend(str(Path(__file__).parents[up]) for up in (1, 2))

from makers import settings_in
from sqlalchemy import delete

from broker.ledger import actions, checkpoints
from broker.opening import opened
from broker.people import queries as people
from broker.vault import heads, models

GENUINE = heads.swap


def unconditional(store: Any, person_id: bytes, log_id: bytes, _old: Any, new: heads.Signed) -> bool:
    """The planted defect: whatever is there is overwritten."""
    with store.writing() as tx:
        tx.execute(delete(models.checkpoints).where(models.checkpoints.c.person_id == person_id))
        tx.execute(models.checkpoints.insert().values(person_id=person_id, log_id=log_id, **dataclasses.asdict(new)))
    return True


def race(where: Path, number: int, *, planted: bool) -> None:
    """Append an entry of one's own, and sign; the swap waits until it is told."""
    waits = True

    def swap(*given: Any) -> bool:
        nonlocal waits
        if waits:
            waits = False
            print("ready", flush=True)
            sys.stdin.readline()
        return (unconditional if planted else GENUINE)(*given)

    heads.swap = swap
    with opened(settings_in(where)) as broker:
        with broker.reading() as tx:
            person_id = people.everyone(tx)[0]
        actions.record(broker, person_id, actions.Entry("forget", broker.now(), about={"count": number}))
        try:
            note = checkpoints.sign(broker, person_id)[0].note
            print(note.hex(), flush=True)
        except checkpoints.Inconsistent:
            print("refused", flush=True)


def together(where: Path, number: int, rounds: int) -> None:
    """Append and sign, again and again, beside another process that does the same on the same stores."""
    with opened(settings_in(where)) as broker:
        with broker.reading() as tx:
            person_id = people.everyone(tx)[0]
        print("ready", flush=True)
        sys.stdin.readline()
        for _ in range(rounds):
            actions.record(broker, person_id, actions.Entry("forget", broker.now(), about={"count": number}))
            print(checkpoints.sign(broker, person_id)[0].note.hex(), flush=True)
        print("done", flush=True)


if __name__ == "__main__":
    how, mine, *folders = sys.argv[1:]
    for folder in folders:
        if how == "together":
            together(Path(folder), int(mine), 40)
        else:
            race(Path(folder), int(mine), planted=how == "planted")
