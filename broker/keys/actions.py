"""Changing what opens the broker: each change stands in the ledger of everyone who lives here."""

import logging
from collections.abc import Callable
from typing import Final

from broker.errors import LedgerUnavailable, NotFound, Unprocessable, Unsealable
from broker.ledger import actions as ledger
from broker.ledger.actions import PERSON
from broker.opening import Broker
from broker.people import queries as people
from broker.vault import heads, slots
from broker.vault.vault import LEAST_SLOTS

log: Final = logging.getLogger(__name__)


def enough(broker: Broker) -> bool:
    """Whether losing one key loses nothing: two of them, before anything is given to a vendor."""
    return len(broker.vault.slots()) >= LEAST_SLOTS


def _tell(broker: Broker, change: str, kind: str, by: dict[str, str]) -> None:
    with broker.reading() as tx:
        everyone = people.everyone(tx)
    for person_id in everyone:
        try:
            ledger.record(broker, person_id, ledger.Entry("key", broker.now(), by=by, about={"change": change, "slot": kind}))
        except (LedgerUnavailable, Unsealable):
            # One person's log keeps nobody from looking after the broker's keys.
            log.exception("a change of keys was not entered")


def add_passphrase(broker: Broker, passphrase: str, again: str, by: dict[str, str] = PERSON) -> None:
    """A passphrase that opens the broker; `Unprocessable` with pointers `/passphrase`, `/again`."""
    wrong = []
    if not slots.SHORTEST_PASSPHRASE <= len(passphrase) <= slots.LONGEST_PASSPHRASE:
        detail = f"Use {slots.SHORTEST_PASSPHRASE} to {slots.LONGEST_PASSPHRASE} characters: whoever has a copy of the files can try as often as they like."
        wrong.append({"pointer": "/passphrase", "detail": detail})
    if passphrase != again:
        wrong.append({"pointer": "/again", "detail": "The two passphrases differ. Type the same one twice."})
    if wrong:
        raise Unprocessable(errors=wrong)
    broker.vault.add_passphrase(passphrase)
    _tell(broker, "added", slots.PASSPHRASE, by)


def add_recovery_key(broker: Broker, by: dict[str, str] = PERSON) -> str:
    """A new recovery key, to be shown once and written down."""
    made = broker.vault.add_recovery_key()
    _tell(broker, "added", slots.RECOVERY_KEY, by)
    return made


def add_key_file(broker: Broker, by: dict[str, str] = PERSON) -> None:
    """A slot for the key file; `Conflict` where it has one."""
    broker.vault.add_key_file()
    _tell(broker, "added", slots.KEY_FILE, by)


def remove(broker: Broker, slot_id: str, by: dict[str, str] = PERSON) -> None:
    """Take a slot away, and renew what it opened; `NotFound` where there is none, `Conflict` where fewer than two would be left."""
    kind = next((slot.kind for slot in broker.vault.slots() if slot.id == slot_id), None)
    if kind is None or not broker.vault.remove_slot(slot_id):
        raise NotFound
    heads.note_removed(broker.heads, slot_id)
    heads.note_epoch(broker.heads, broker.vault.epoch)
    _tell(broker, "removed", kind, by)


def rotate(broker: Broker, progress: Callable[[int, int], None], by: dict[str, str] = PERSON) -> int:
    """Renew ROOT and the epoch; returns the new epoch's number."""
    number = broker.vault.rotate(progress=progress)
    heads.note_epoch(broker.heads, number)
    _tell(broker, "rotated", "", by)
    return number


def unlock(broker: Broker, text: str) -> bool:
    """Open the broker, in all its processes, by a recovery key or a passphrase; False where the text is neither."""
    recovery = slots.read_recovery_key(text)
    if recovery is not None and broker.vault.unlock(slots.RECOVERY_KEY, recovery):
        return True
    return len(text) <= slots.LONGEST_PASSPHRASE and broker.vault.unlock(slots.PASSPHRASE, text)
