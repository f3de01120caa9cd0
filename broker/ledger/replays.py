"""What they saw: the rows of a read made again from the events that are still kept, and held against the hashes in its entry."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import Connection

from broker.events import actions as event_actions
from broker.events import queries as events
from broker.grants import queries as grants
from broker.grants.agreements import digest, unb64
from broker.ledger import queries
from broker.ledger.proofs import b64
from broker.ledger.queries import Served
from broker.vault.keys import Keyring
from policies.slices import Slice

Entry = dict[str, Any]
EXACT: Final = "These are the rows exactly as they were sent: made again, they have the hash that the entry keeps of the answer."
IDS: Final = "The rows are those that were sent, by the hash that the entry keeps of them."
OTHER: Final = "The broker shows rows otherwise today than it did then, so these cannot be compared byte by byte with what was sent."
STRANGE: Final = "The list of rows kept beside this entry is not the one that it was made with. Have your ledger verified."


@dataclass(frozen=True, slots=True)
class Replay:
    """The rows that a read sent, in their order, as far as their events are kept; `sent` says how many there were, `word` how sure this is."""

    rows: list[dict[str, Any]]
    sent: int
    word: str

    @property
    def strange(self) -> bool:
        """Whether it is not known any more which rows were sent."""
        return self.word == STRANGE


def replay(tx: Connection, ring: Keyring, entry: Entry) -> Replay:
    """The rows of a read again; none for any other entry."""
    found = queries.served(tx, ring, unb64(entry["log"], "/log"), entry["seq"])
    if found is None:
        return Replay([], 0, "")
    if not _same_ids(entry, found.ids):
        return Replay([], len(found.ids), STRANGE)
    kept = {event["id"]: event for event in events.kept(tx, ring, [event_actions.tag_of(ring, each) for each in found.ids])}
    within = Slice.parse(found.within)
    # The same judge that makes a vendor's rows, with the ids under which that vendor knows them.
    judge = within.compiled()
    alias = ring.alias(grants.to_bytes(entry["grant"]), entry["clause"])
    rows = [judge(kept[each], alias) for each in found.ids if each in kept]
    whole = [row for row in rows if row is not None]
    if len(whole) < len(found.ids):
        return Replay(whole, len(found.ids), IDS)
    return Replay(whole, len(found.ids), EXACT if _same_bytes(entry, whole, found) else OTHER)


def _same_ids(entry: Entry, ids: Sequence[str]) -> bool:
    """Whether these are the ids that the entry commits to."""
    made = hashlib.sha256(unb64(entry["salt"], "/salt") + "".join(sorted(ids)).encode()).digest()
    return bool(entry.get("rows") == "sha-256:" + b64(made))


def _same_bytes(entry: Entry, rows: list[dict[str, Any]], served: Served) -> bool:
    """Whether these rows, by this slice, give the very answer that was sent."""
    body = orjson.dumps({"items": rows, **({"next": served.cursor} if served.cursor else {})})
    return entry.get("body") == digest(body) and entry.get("slice") == digest(orjson.dumps(served.within))
