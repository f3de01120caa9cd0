"""The files of a grant that its person can take away: the signed agreement, the same in other people's formats, and the signed statements about it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from markupsafe import Markup

from broker.grants import agreements, queries, sentences, statements
from broker.grants.agreed import Signed
from broker.grants.queries import Grant
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
    """One file: its label on the page, its media type, what makes its bytes, and whether these are signed."""

    label: str
    media_type: str
    make: Callable[[Kept], bytes]
    signed: bool = False


def _json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2)


def _chain(kept: Kept, found: Sequence[str]) -> bytes:
    return _json({"agreement": kept.digest, "count": len(found), "statements": list(found)})


# It stands alone and loads nothing, so its few rules stand in it.
_STYLE: Final = Markup("""
:root { color-scheme: light dark; }
body { font: 1rem/1.6 system-ui, sans-serif; margin: 2rem auto; max-width: 44rem; overflow-wrap: anywhere; padding: 0 1rem; }
h1 { font-size: 1.6rem; line-height: 1.2; } h2 { font-size: 1.15rem; margin-top: 2rem; }
blockquote { border-inline-start: 3px solid; margin: 0; padding-inline-start: 1rem; }
dl { display: grid; gap: .4rem 1.5rem; grid-template-columns: max-content 1fr; } dt { color: color-mix(in srgb, CanvasText 70%, Canvas); } dd { margin: 0; }
@media (max-width: 34rem) { dl { display: block; } dd { margin-bottom: .6rem; } }
@media print { body { margin: 0; max-width: none; } }
""")
_PAGE: Final = Markup(
    '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    "<title>{title}</title><style>{style}</style></head>\n<body>\n<h1>{title}</h1>\n<p>{signed}</p>\n"
    "<h2>What was agreed</h2>\n<blockquote>{text}</blockquote>\n{since}<h2>Who, when and under which number</h2>\n<dl>{facts}</dl>\n"
    "<p>This page is made from the agreement and is not signed itself. The signed file is agreement.json of the same grant; anyone can check it: "
    "<code>broker verify --agreement agreement.json</code></p>\n</body>\n</html>\n"
)


def _moment(text: str) -> str:
    """An instant in words."""
    return f"{explain.day(text)}, {text[11:16]} (UTC)"


def _since(kept: Kept) -> Markup:
    """What changed since the agreement was made, and what it says now, where it was narrowed."""
    content, domain = kept.signed.content, agreements.domain_of(kept.signed.content)
    lines = list(sentences.changed(kept.changed, content["clauses"], domain))
    if not lines:
        return Markup("")
    said = Markup("").join(Markup("<li>{}: {}</li>").format(_moment(f"{at:%Y-%m-%dT%H:%M:%SZ}"), " ".join([first, *less])) for at, first, less in lines)
    page = Markup("<h2>What changed since</h2>\n<ul>{}</ul>\n").format(said)
    if any(change["state"] == "narrowed" for change in kept.changed):
        text = explain.grant_text(since.left(content, kept.changed), domain)
        page += Markup("<h2>What is left</h2>\n<blockquote>{}</blockquote>\n").format(text)
    end = since.ended(kept.changed)
    return page + (Markup("<p>{}</p>\n").format(end) if end else Markup(""))


def _readable(kept: Kept) -> bytes:
    """The agreement as a page that stands alone and loads nothing."""
    content = kept.signed.content
    vendor = content["second_party"]
    facts = {
        "Vendor": f"{vendor['name']} ({vendor['id']})", "Address": vendor.get("address"), "Contact": vendor.get("contact"),
        "Person": f"{content['first_party']['id']}, the id by which this vendor alone knows them",
        "Law": content["jurisdiction"], "Made": _moment(content["made"]), "Until": _moment(content["validity"]["until"]),
        "Where it is ended": content["end"]["how"][0], "Number": content["id"], "Digest": kept.digest,
    }  # fmt: skip
    told = Markup("").join(Markup("<dt>{}</dt><dd>{}</dd>").format(name, value) for name, value in facts.items() if value)
    signed = "Both sides have signed it." if kept.signed.countersignature else "The person's side has signed it. The vendor has not yet."
    title = f"Agreement with {agreements.domain_of(content)} of {explain.day(content['made'])}"
    page = _PAGE.format(title=title, style=_STYLE, text=content["notice"]["text"], since=_since(kept), facts=told, signed=signed)
    return str(page).encode()


FILES: Final[dict[str, File]] = {
    "agreement.json": File("The signed agreement, the bytes that both sides keep (JWS)", JSON, lambda kept: kept.signed.document, signed=True),
    "agreement.html": File("The agreement to read", "text/html", _readable),
    "consent-record.jsonld": File(
        "A consent record (ISO/IEC TS 27560, DPV JSON-LD)", JSON_LD, lambda kept: _json(dpv27560.record(kept.signed.content, kept.changed))
    ),
    "consent-receipt.jsonld": File(
        "A consent receipt (ISO/IEC TS 27560, DPV JSON-LD)", JSON_LD, lambda kept: _json(dpv27560.receipt(kept.signed.content, kept.changed))
    ),
    "kantara.json": File("A consent receipt (Kantara 1.1)", JSON, lambda kept: _json(kantara.receipt(kept.signed.content, kept.changed))),
    "odrl.jsonld": File("A policy (ODRL 2.2)", JSON_LD, lambda kept: _json(odrl.agreement(kept.signed.content, kept.changed))),
    "changes.json": File("Signed statements of what changed since", JSON, lambda kept: _chain(kept, kept.changes), signed=True),
    "receipts.json": File(
        "Signed receipts of every read", JSON, lambda kept: _chain(kept, statements.receipts(kept.signer, kept.digest, kept.reads)), signed=True
    ),
}
