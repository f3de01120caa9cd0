"""Signed statements about an agreement, each a compact JWS: that its grant changed, and what one read under it gave.

The statements of one kind and agreement are a chain: each holds its number and the digest of the one before, the first that of the agreement.
"""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import rfc8785
from joserfc.jwk import JWKRegistry

from broker.grants.agreements import Document, b64, check_signature, digest, digest_of, read_seconds, unb64
from broker.vault.signing import Signer
from policies import documents
from policies.clauses import Clause
from policies.documents import below, load, refuse
from policies.purposes import covered
from policies.times import write_instant
from policies.vocabulary import FIELDS

CHANGE: Final = "consent-change+jws"
RECEIPT: Final = "access-receipt+jws"
WITHDRAWN: Final = "dpv:ConsentWithdrawn"
REVOKED: Final = "dpv:ConsentRevoked"
ENDINGS: Final = (WITHDRAWN, REVOKED)
STATES: Final = (*ENDINGS, "paused", "resumed", "narrowed")
MOST_BYTES: Final = 128 * 1024
_DIGEST: Final = re.compile(r"sha-256:[A-Za-z0-9_-]{43}")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def change(agreement: str, before: Sequence[str], state: str, at: dt.datetime, clauses: Sequence[Clause] = ()) -> Document:
    """That a grant was paused, resumed, narrowed (to `clauses`) or ended. `agreement` is its digest, `before` the statements so far."""
    return {
        **_link("ConsentChange", agreement, len(before) + 1, before[-1] if before else None), "state": state,
        "at": write_instant(at.replace(microsecond=0)), **({"clauses": [clause.to_json() for clause in clauses]} if clauses else {}),
    }  # fmt: skip


def receipt(agreement: str, number: int, before: str | None, entry: Mapping[str, Any]) -> Document:
    """What a read gave, from its ledger entry. `number` counts this agreement's reads: the ledger's own would show those of other vendors."""
    common = {**_link("AccessReceipt", agreement, number, before), "clause": entry["clause"], "purpose": entry["purpose"], "at": entry["at"]}
    if "answers" in entry:
        # No row left, only what was worked out from them.
        return {**common, "rows": 0, "oldest": None, "newest": None, "fields": [], "answers": sorted(entry["answers"]), "body": entry["body"]}
    return {
        **common, "rows": entry["count"], "oldest": _seen(entry, "from"), "newest": _seen(entry, "to"), "fields": sorted(entry["fields"]), "body": entry["body"]
    }  # fmt: skip


def _seen(entry: Mapping[str, Any], edge: str) -> str | None:
    """The day of the oldest or newest row, no finer than the vendor saw it: a receipt may be shown to the vendor."""
    level = entry["fields"].get("time", "hidden")
    if not entry[edge] or level == "hidden":
        return None
    return f"{entry[edge][:7]}-01" if level == "month" else str(entry[edge])


def _link(type_: str, agreement: str, number: int, before: str | None) -> Document:
    return {"type": type_, "agreement": agreement, "n": number, "prev": digest_of_statement(before) if before else agreement}


def sign(signer: Signer, typ: str, document: Document) -> str:
    """The statement as a compact JWS (RFC 7515 section 3.1) over canonical JSON."""
    payload = rfc8785.dumps(document)
    protected, signature = signer.sign(typ, payload)
    return f"{protected}.{b64(payload)}.{signature}"


def receipts(signer: Signer, agreement: str, entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """The receipts of all reads under an agreement, oldest first. Made anew each time, they come out the same: Ed25519 leaves nothing to chance."""
    found: list[str] = []
    for number, entry in enumerate(entries, 1):
        found.append(sign(signer, RECEIPT, receipt(agreement, number, found[-1] if found else None, entry)))
    return found


def digest_of_statement(statement: str) -> str:
    """The digest of a statement's payload, which the next one holds."""
    return digest(unb64(statement.split(".")[1], ""))


def content(statement: str) -> Document:
    """What a statement of our own says, unverified."""
    found: Document = load(unb64(statement.split(".")[1], ""))
    return found


def verify(statements: Sequence[str], typ: str, agreement: Document, *, count: int | None = None) -> list[Document]:
    """The contents of a whole chain about `agreement` (its verified content), in order.

    A chain alone cannot show that its end is missing: `count` says how many there are, where that is known. Raises `Malformed` with the place,
    `NotSigned` where a signature does not hold.
    """
    if count is not None and len(statements) != count:
        refuse("", f"Give all {count} statements: here are {len(statements)}.")
    key = JWKRegistry.import_key(dict(agreement["first_party"]["jwk"]))
    about = digest_of(agreement)
    found: list[Document] = []
    state = _State(agreement)
    for number, statement in enumerate(statements, 1):
        at = below("", number - 1)
        parts = statement.split(".") if isinstance(statement, str) and len(statement) <= MOST_BYTES else []
        if len(parts) != 3:  # noqa: PLR2004 - header, payload, signature
            refuse(at, "Give a compact JWS.")
        raw = unb64(parts[1], at)
        check_signature(parts[1], {"protected": parts[0], "signature": parts[2]}, at, typ=typ, key=key, algorithms=("Ed25519",))
        value = load(raw)
        previous = digest_of_statement(statements[number - 2]) if number > 1 else about
        _read(value, at, typ, {"agreement": about, "n": number, "prev": previous}, state)
        if rfc8785.dumps(value) != raw:
            refuse(at, "Write the payload in its canonical form (RFC 8785).")
        found.append(value)
    return found


class _State:
    """What the statements so far have left of an agreement."""

    def __init__(self, agreement: Document) -> None:
        self.clauses = {clause["id"]: Clause.parse(clause) for clause in agreement["clauses"]}
        self.over = False


_CHANGE_MEMBERS: Final = ("type", "agreement", "n", "prev", "state", "at")
_RECEIPT_MEMBERS: Final = ("type", "agreement", "n", "prev", "clause", "purpose", "at", "rows", "oldest", "newest", "fields", "body")


def _read(value: Any, pointer: str, typ: str, link: Mapping[str, Any], state: _State) -> None:
    changes = typ == CHANGE
    names = _CHANGE_MEMBERS if changes else _RECEIPT_MEMBERS
    found = documents.members(value, pointer, (*names, "clauses" if changes else "answers"), names)
    documents.choice(*found["type"], ("ConsentChange" if changes else "AccessReceipt",))
    for name, wanted in link.items():
        if type(found[name][0]) is not type(wanted) or found[name][0] != wanted:
            refuse(found[name][1], "Give every statement once and in order: this one does not follow from the one before.")
    # Order is what the chain says: two that wait for one commit may have been begun the other way round.
    read_seconds(*found["at"])
    (_read_change if changes else _read_receipt)(found, pointer, state)


def _read_change(found: documents.Members, pointer: str, state: _State) -> None:
    word = documents.choice(*found["state"], STATES)
    if state.over:
        refuse(pointer, "Nothing follows the end.")
    state.over = word in ENDINGS
    if (word == "narrowed") != ("clauses" in found):
        refuse(below(pointer, "clauses"), "Give the clauses that are left, where it was narrowed and only there.")
    if word != "narrowed":
        return
    left: dict[str, Clause] = {}
    for entry, at in documents.entries(*found["clauses"], 20):
        clause = Clause.parse(entry, at)
        before = state.clauses.get(clause.id)
        if clause.id in left or before is None or not clause <= before or clause.to_json() != entry:
            refuse(at, "Give each clause that is left once, no wider than it was.")
        left[clause.id] = clause
    if not left or left == state.clauses:
        refuse(found["clauses"][1], "Narrow something, and leave something.")
    state.clauses = left


def _read_receipt(found: documents.Members, pointer: str, state: _State) -> None:
    clause = state.clauses.get(found["clause"][0]) if isinstance(found["clause"][0], str) else None
    if clause is None:
        refuse(found["clause"][1], "Name a clause of the agreement.")
    if not isinstance(found["purpose"][0], str) or not covered(found["purpose"][0], clause.purposes):
        refuse(found["purpose"][1], "Name a purpose that the clause covers.")
    rows = documents.integer(*found["rows"], 0, 1_000_000)
    fields = documents.words(*found["fields"], documents.one_of(FIELDS))
    if list(fields) != sorted(fields):
        refuse(below(pointer, "fields"), "Sort the fields.")
    if "answers" in found:
        told = documents.words(*found["answers"], documents.one_of(clause.slice.answers))
        if not told or list(told) != sorted(told) or rows or fields:
            refuse(found["answers"][1], "Sort the answers, name at least one, and give neither rows nor fields beside them.")
    for name in ("oldest", "newest"):
        value, at = found[name]
        if (value is None) != (rows == 0 or "time" not in fields) or (value is not None and not _is_day(value)):
            refuse(at, "Give a day, such as 2027-05-30, or null where no row showed one.")
    documents.text(*found["body"], _DIGEST, "sha-256: and 43 characters of base64url")


def _is_day(value: Any) -> bool:
    try:
        return isinstance(value, str) and _DAY.fullmatch(value) is not None and bool(dt.date.fromisoformat(value))
    except ValueError:
        return False
