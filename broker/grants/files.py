"""The files of a grant that its person can take away: the signed agreement, the same in other people's formats, and the signed statements about it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from markupsafe import Markup

from broker.grants import agreements, queries, statements
from broker.grants.queries import Grant, Signed
from broker.vault.signing import Signer
from policies import explain
from policies.exports import dpv27560, kantara, odrl, since

JSON: Final = "application/json"
JSON_LD: Final = "application/ld+json"


@dataclass(frozen=True, slots=True)
class Kept:
    """What the files are made of: the grant, its agreement, the statements of change, and the ledger's entries of the reads, oldest first."""

    grant: Grant
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
        """What the statements of change say, and of the end also by whom, as `policies.exports.since` wants it."""
        said = [statements.content(statement) for statement in self.changes]
        return [{**each, "by": self._ended_by(each["state"])} if each["state"] in statements.ENDINGS else each for each in said]

    def _ended_by(self, state: str) -> str:
        """A vendor ends a grant only by handing it back; all else is its person's doing, or the broker's and its operator's."""
        if state == statements.WITHDRAWN:
            return "person"
        return "vendor" if self.grant.reason == queries.HANDED_BACK else "broker"


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


_PAGE: Final = Markup(
    '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>Agreement of {made}</title></head>\n<body>\n<h1>Agreement of {made}</h1>\n'
    "<p>{text}</p>\n<dl>{facts}</dl>\n<p>{signed}</p>\n</body>\n</html>\n"
)


def _left(kept: Kept) -> str:
    """What the agreement says now, where it was narrowed."""
    content = kept.signed.content
    narrowed = any(change["state"] == "narrowed" for change in kept.changed)
    return explain.grant_text(since.left(content, kept.changed), agreements.domain_of(content)) if narrowed else ""


def _readable(kept: Kept) -> bytes:
    """The agreement as a page that stands alone and loads nothing."""
    content = kept.signed.content
    vendor = content["second_party"]
    facts = {
        "Person": content["first_party"]["id"], "Vendor": f"{vendor['name']} ({vendor['id']})",
        "Address": vendor.get("address"), "Contact": vendor.get("contact"),
        "Law": content["jurisdiction"], "Made": content["made"], "Until": content["validity"]["until"], "Ended at": content["end"]["how"][0],
        "Number": content["id"], "Digest": kept.digest,
        "What is left": _left(kept), "End": since.ended(kept.changed),
    }  # fmt: skip
    told = Markup("").join(Markup("<dt>{}</dt><dd>{}</dd>").format(name, value) for name, value in facts.items() if value)
    signed = "Both sides have signed it." if kept.signed.countersignature else "The vendor has not signed it yet."
    return str(_PAGE.format(made=content["made"][:10], text=content["notice"]["text"], facts=told, signed=signed)).encode()


FILES: Final[dict[str, File]] = {
    "agreement.json": File("The signed agreement, the bytes that both sides keep (JWS)", JSON, lambda kept: kept.signed.document),
    "agreement.html": File("The same to read", "text/html", _readable),
    "consent-record.jsonld": File(
        "A consent record (ISO/IEC TS 27560, DPV JSON-LD)", JSON_LD, lambda kept: _json(dpv27560.record(kept.signed.content, kept.changed))
    ),
    "consent-receipt.jsonld": File(
        "A consent receipt (ISO/IEC TS 27560, DPV JSON-LD)", JSON_LD, lambda kept: _json(dpv27560.receipt(kept.signed.content, kept.changed))
    ),
    "kantara.json": File("A consent receipt (Kantara 1.1)", JSON, lambda kept: _json(kantara.receipt(kept.signed.content, kept.changed))),
    "odrl.jsonld": File("A policy (ODRL 2.2)", JSON_LD, lambda kept: _json(odrl.agreement(kept.signed.content, kept.changed))),
    "changes.json": File("Signed statements of what changed since", JSON, lambda kept: _chain(kept, kept.changes)),
    "receipts.json": File(
        "Signed receipts of every read", JSON, lambda kept: _chain(kept, statements.receipts(kept.signer, kept.digest, kept.reads))
    ),
}
