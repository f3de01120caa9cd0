"""What `broker verify` finds, in sentences and one exit status: whether the ledger holds, or the signed files of a grant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from broker.grants import agreements, statements
from broker.ledger import queries, verifier
from broker.ledger import standalone as one_file
from broker.ledger.notes import RESTORED
from broker.opening import Broker
from broker.people import queries as people
from broker.vault.heads import checkpoints_of
from broker.words import many
from policies.documents import Malformed

__all__ = ["MOST_BYTES", "Found", "bundle", "ledger", "signed", "standalone"]

NO, UNREADABLE = 1, 2
# Receipts of a read every hour for years.
MOST_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Found:
    """A finding: for people, one line for each file; for programs; and as the exit status (0: it holds)."""

    sentence: str
    document: dict[str, Any]
    code: int


def ledger(broker: Broker, person_id: bytes | None) -> Found:
    """Recompute the logs of one person, or of everybody."""
    with broker.reading() as tx:
        whose = [person_id] if person_id else people.everyone(tx)
    # What was signed is read first, so that it is not of entries that came later.
    signed = {each: checkpoints_of(broker.heads, each) for each in whose}
    with broker.reading() as tx:
        verdicts = [verdict for each in whose for verdict in queries.verify(tx, broker.keyring(each), signed[each])]
    broken = [verdict for verdict in verdicts if verdict.code]
    logs = [{"size": each.size, "root": each.root, "code": each.code, "problem": each.problem} for each in verdicts]
    if broken:
        worst = min(broken, key=lambda verdict: verifier.WORST_FIRST.index(verdict.code))
        start = "There is a gap, and it is declared" if worst.code == RESTORED else "The ledger does not hold"
        return Found(f"{start}: {worst.problem}", {"ok": False, "logs": logs}, worst.code)
    entries = many(sum(verdict.size for verdict in verdicts), "entry", "entries")
    return Found(f"The ledger holds: {entries} in {many(len(verdicts), 'log')}, none altered, none missing.", {"ok": True, "logs": logs}, 0)


def bundle(path: Path, keys: Sequence[str], since: Sequence[Path]) -> Found:
    """Check a bundle that was downloaded, by the keys (as text) and the checkpoints (as files) that its reader holds."""
    report = verifier.check_file(path, keys, since)
    return Found(report.sentence, verifier.document(report), report.code)


def standalone() -> str:
    """The verifier of bundles as the text of one file."""
    return one_file.text()


AGAIN: Final = "Download it again from the grant's page"
WHOLE: Final = {
    "strange": (
        "cannot be checked: it is no signed agreement, and holds neither statements of changes nor receipts. "
        "Only agreement.json, changes.json and receipts.json of a grant's page are signed."
    ),
    "json": f"cannot be read: it is not JSON, or was cut short. {AGAIN}.",
    "count": (
        "cannot be checked: it does not say in a whole number how many there are (`count`), so that nobody could see whether the last ones are missing. "
        f"{AGAIN}."
    ),
    "large": "cannot be read: it is larger than any file of a grant. Give agreement.json, changes.json or receipts.json of the grant's page.",
    "alone": "can only be checked with the agreement it is about, whose key signed it. Give both: broker verify --agreement agreement.json --agreement {file}",
}
"""Why a file cannot be checked at all, and what to do."""
_KINDS: Final = {statements.CHANGE: ("statement", "of what changed"), statements.RECEIPT: ("receipt", "of what was read")}
_EMPTY: Final = (
    "no receipts and no statements of changes in it: nothing is proven. Nobody signs an empty file, so it cannot show that there never were any; "
    "the person's ledger lists every read and change."
)


@dataclass(frozen=True, slots=True)
class _File:
    """A file that was looked at: its kind, what was found (0, 1 or 2), the sentence, and the rest for programs."""

    name: str
    kind: str
    code: int
    sentence: str
    more: Mapping[str, Any]

    @property
    def document(self) -> dict[str, Any]:
        return {"file": self.name, "kind": self.kind, "ok": self.code == 0, "sentence": self.sentence, **self.more}


def signed(files: Sequence[tuple[str, bytes]]) -> Found:
    """Check files of grants, each a name and its bytes: agreements by themselves, statements and receipts by the agreement given beside them.

    The status is 0 where all hold, 1 where one does not, else 2: one could not be read.
    """
    agreed: dict[str, agreements.Document] = {}
    opened = [(name, raw, _opened(raw)) for name, raw in files]
    # What is about an agreement comes after it, whatever the order they were given in.
    found = [_agreement(name, raw, agreed) if isinstance(value, dict) and "payload" in value else None for name, raw, value in opened]
    told = [each or _other(name, value, agreed) for each, (name, _, value) in zip(found, opened, strict=True)]
    codes = {each.code for each in told}
    document = {"ok": codes == {0}, "files": [each.document for each in told]}
    return Found("\n".join(each.sentence for each in told), document, NO if NO in codes else max(codes))


def _other(name: str, value: dict[str, Any] | str, agreed: Mapping[str, agreements.Document]) -> _File:
    return _unreadable(name, value) if isinstance(value, str) else _chain(name, value, agreed)


def _opened(raw: bytes) -> dict[str, Any] | str:
    """The object in a file, of one of the three kinds; else which sentence of `WHOLE` says what is wrong."""
    if len(raw) > MOST_BYTES:
        return "large"
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return "json"
    is_ours = isinstance(value, dict) and ({"payload", "signatures"} <= set(value) or isinstance(value.get("statements"), list))
    return value if is_ours else "strange"


def _unreadable(name: str, what: str, kind: str = "unknown") -> _File:
    return _File(name, kind, UNREADABLE, f"{name} {WHOLE[what].format(file=name)}", {})


def _agreement(name: str, raw: bytes, agreed: dict[str, agreements.Document]) -> _File:
    """Whether both parties signed these bytes, and whether their text says what their clauses say; what holds is added to `agreed` by its digest."""
    try:
        content = agreements.verify(raw)
    except Malformed as malformed:
        return _refused(name, "agreement", malformed, _WRONG)
    digest = agreements.digest_of(content)
    agreed[digest] = content
    said = f"{name}: the agreement {_title(content)} holds: both have signed it as it stands, and its text says what its clauses say; it lasts until "
    return _File(name, "agreement", 0, f"{said}{content['validity']['until'][:10]}.", {"id": content["id"], "digest": digest})


def _title(content: agreements.Document) -> str:
    person, vendor = content["first_party"]["id"], content["second_party"]
    return f"of {content['made'][:10]} between {person} and “{vendor['name']}” ({agreements.domain_of(content)})"


def _chain(name: str, value: dict[str, Any], agreed: Mapping[str, agreements.Document]) -> _File:
    """Whether statements or receipts were signed by the person's side of their agreement, in order and with none left out before the last."""
    found, count = value["statements"], value.get("count")
    typ = _typ(found)
    kind, of_what = _KINDS[typ] if found else ("empty", "")
    if not agreed:
        return _unreadable(name, "alone", kind)
    if type(count) is not int:
        return _unreadable(name, "count", kind)
    content = agreed.get(str(value.get("agreement")))
    if content is None:
        sentence = f"{name} does not verify: it is about another agreement than the one given with it. Give the agreement.json of the same grant."
        return _File(name, kind, NO, sentence, {})
    try:
        statements.verify(found, typ, content, count=count)
    except Malformed as malformed:
        return _refused(name, kind, malformed, _WRONG_CHAIN)
    if not found:
        return _File(name, kind, 0, f"{name}: {_EMPTY}", {"agreement": value["agreement"], "count": 0})
    said = f"{name}: {many(len(found), kind)} {of_what} under the agreement {_title(content)}"
    hold = f"{'holds' if len(found) == 1 else 'hold'}: signed by the person's side, in order, none altered or left out before the last."
    return _File(name, kind, 0, f"{said} {hold}", {"agreement": value["agreement"], "count": len(found)})


def _typ(found: Sequence[Any]) -> str:
    """Which chain it is, by the header of its first statement; whether that is true is for `statements.verify` to say."""
    try:
        header = orjson.loads(agreements.unb64(found[0].split(".")[0], ""))
        return statements.RECEIPT if header["typ"] == statements.RECEIPT else statements.CHANGE
    except (Malformed, orjson.JSONDecodeError, AttributeError, IndexError, KeyError, TypeError):
        return statements.CHANGE


_CHANGED: Final = "The file was changed, or put together from several. Do not rely on it; ask the other side for its copy."
_WRONG: Final = (
    ("/signatures/0", f"the person's signature does not fit what it says. {_CHANGED}"),
    ("/signatures/1", f"the vendor's signature does not fit what it says. {_CHANGED}"),
    ("/signatures", f"a signature is missing, or there are too many. Until the vendor has signed, its own is missing. {AGAIN} when that says that both did."),
    ("/payload$", f"what was signed is damaged: it can no longer be read as an agreement. {_CHANGED}"),
    ("/payload", f"nobody could have signed what it says as an agreement. {_CHANGED}"),
    ("", f"it is not in the form of a signed agreement. {AGAIN}."),
)
"""Where an agreement fails (`$` ends the pointer) -> what that means and what to do."""
_WRONG_CHAIN: Final = (
    ("/", f"one of them was altered, left out, moved or signed by somebody else. Do not rely on it. {AGAIN}."),
    ("", f"not all of them are here. {AGAIN}."),
)


def _refused(name: str, kind: str, malformed: Malformed, wrong: Sequence[tuple[str, str]]) -> _File:
    """The place comes last, for those who look inside; what its writer should have done stands in `errors` alone, since nobody here wrote it."""
    pointer, detail = malformed.errors[0]["pointer"], malformed.errors[0]["detail"]
    meaning = next(said for start, said in wrong if f"{pointer}$".startswith(start))
    inside = f"The first fault is at {pointer}." if pointer else detail
    return _File(name, kind, NO, f"{name} does not verify: {meaning} ({inside})", {"errors": malformed.errors})
