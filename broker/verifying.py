"""What `broker verify` finds, in one sentence and one exit status: whether the ledger holds, or a signed agreement."""

from dataclasses import dataclass
from typing import Any, Final

from broker.grants import agreements
from broker.grants.agreements import MOST_BYTES, NotSigned
from broker.ledger import queries
from broker.opening import Broker
from broker.people import queries as people
from broker.words import many
from policies.documents import Malformed

__all__ = ["MOST_BYTES", "Found", "agreement", "ledger"]

NOT_SIGNED: Final = 10
UNREADABLE: Final = 15
# Which of several findings counts, the worst first.
ORDER: Final = (UNREADABLE, NOT_SIGNED, 12, 11, 13, 14)


@dataclass(frozen=True, slots=True)
class Found:
    """A finding: for people, for programs, and as the exit status (0: it holds)."""

    sentence: str
    document: dict[str, Any]
    code: int


def ledger(broker: Broker, person_id: bytes | None) -> Found:
    """Recompute the logs of one person, or of everybody."""
    with broker.reading() as tx:
        whose = [person_id] if person_id else people.everyone(tx)
        verdicts = [verdict for each in whose for verdict in queries.verify(tx, broker.keyring(each))]
    broken = [verdict for verdict in verdicts if verdict.code]
    logs = [{"size": each.size, "root": each.root, "code": each.code, "problem": each.problem} for each in verdicts]
    if broken:
        code = min((verdict.code for verdict in broken), key=ORDER.index)
        return Found(f"The ledger does not hold: {broken[0].problem}", {"ok": False, "logs": logs}, code)
    entries = many(sum(verdict.size for verdict in verdicts), "entry", "entries")
    return Found(f"The ledger holds: {entries} in {many(len(verdicts), 'log')}, none altered, none missing.", {"ok": True, "logs": logs}, 0)


def agreement(raw: bytes) -> Found:
    """Check an agreement in a file: whether both parties signed these bytes, and whether its text says what its clauses say."""
    try:
        content = agreements.verify(raw)
    except Malformed as malformed:
        code = NOT_SIGNED if isinstance(malformed, NotSigned) else UNREADABLE
        first = malformed.errors[0]
        said = f"The agreement does not hold: at {first['pointer'] or 'its start'}: {first['detail']}"
        return Found(said, {"ok": False, "errors": malformed.errors}, code)
    person, vendor = content["first_party"]["id"], content["second_party"]
    said = (
        f"The agreement of {content['made'][:10]} between {person} and “{vendor['name']}” ({agreements.domain_of(content)}) holds: "
        f"both have signed it as it stands, and its text says what its clauses say; it lasts until {content['validity']['until'][:10]}."
    )
    return Found(said, {"ok": True, "id": content["id"], "digest": agreements.digest_of(content)}, 0)
