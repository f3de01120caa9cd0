"""The files of a grant that its person can take away: the signed agreement, the same in other people's formats, and the signed statements about it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from broker.grants import agreements, statements
from broker.grants.queries import Signed
from broker.vault.signing import Signer
from policies.exports import dpv27560, kantara, odrl

JSON: Final = "application/json"
JSON_LD: Final = "application/ld+json"


@dataclass(frozen=True, slots=True)
class Kept:
    """What the files are made of: the agreement, the statements of change, and the ledger's entries of the reads, oldest first."""

    signed: Signed
    changes: Sequence[str]
    reads: Sequence[Mapping[str, Any]]
    signer: Signer

    @property
    def digest(self) -> str:
        """By which statements name the agreement."""
        return agreements.digest(self.signed.payload)

    @property
    def changed(self) -> list[dict[str, Any]]:
        """What the statements of change say."""
        return [statements.content(statement) for statement in self.changes]


@dataclass(frozen=True, slots=True)
class File:
    """One file: its name and label on the page, its media type, and what makes its bytes."""

    label: str
    media_type: str
    make: Callable[[Kept], bytes]


def _json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2)


def _chain(kept: Kept, found: Sequence[str]) -> bytes:
    return _json({"agreement": kept.digest, "count": len(found), "statements": list(found)})


FILES: Final[dict[str, File]] = {
    "agreement.json": File("The signed agreement, the bytes that both sides keep (JWS)", JSON, lambda kept: kept.signed.document),
    "consent-record.jsonld": File(
        "A consent record (ISO/IEC TS 27560, DPV JSON-LD)", JSON_LD, lambda kept: _json(dpv27560.record(kept.signed.content, kept.changed))
    ),
    "consent-receipt.jsonld": File(
        "A consent receipt (ISO/IEC TS 27560, DPV JSON-LD)", JSON_LD, lambda kept: _json(dpv27560.receipt(kept.signed.content, kept.changed))
    ),
    "kantara.json": File("A consent receipt (Kantara 1.1)", JSON, lambda kept: _json(kantara.receipt(kept.signed.content))),
    "odrl.jsonld": File("A policy (ODRL 2.2)", JSON_LD, lambda kept: _json(odrl.agreement(kept.signed.content))),
    "changes.json": File("Signed statements of what changed since", JSON, lambda kept: _chain(kept, kept.changes)),
    "receipts.json": File(
        "Signed receipts of every read", JSON, lambda kept: _chain(kept, statements.receipts(kept.signer, kept.digest, kept.reads))
    ),
}
