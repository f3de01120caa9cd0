"""Agreements: the record of a grant that person and vendor both sign, a JWS in general JSON form (RFC 7515 section 7.2.1) over canonical JSON (RFC 8785).

`content` and `verify` are pure: neither looks anything up, so that an agreement can be checked offline years later.
"""

import base64
import binascii
import datetime as dt
import hashlib
import os
import re
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import rfc8785
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key, OKPKey

from broker.vault.signing import anybody_can_sign
from policies import documents, explain
from policies.clauses import Clause
from policies.documents import Malformed, below, load, refuse
from policies.times import read_instant, write_instant

TYP: Final = "consent-agreement+jws"
CONFORMS_TO: Final = "https://w3id.org/dpv/schema/dpv-27560#record"
VOCABULARY: Final = {"edition": 1, "dpv": "2.3", "roster": "https://w3id.org/dpv/standards/ieee/7012#"}
PERSON_ID: Final = "urn:proffer:pairwise:"
MOST_BYTES: Final = 256 * 1024
# In base64url, and with room for both signatures beside it.
MOST_OF_PAYLOAD: Final = (MOST_BYTES - 4096) * 3 // 4
MOST_CLAUSES: Final = 20
SALT_BYTES: Final = 32
# RFC 9864 names; `EdDSA` says no curve and is refused, like `none` and everything with a shared secret.
ALGORITHMS: Final[dict[str, tuple[str, ...]]] = {"first_party": ("Ed25519",), "second_party": ("Ed25519", "ES256")}
_EEA: Final = frozenset(
    {
        *("EU", "EEA", "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IS", "IT", "LI", "LT", "LU", "LV", "MT"),
        *("NL", "NO", "PL", "PT", "RO", "SE", "SI", "SK"),
    }
)
_CONSENT_OF_GDPR: Final = "eu-gdpr:A6-1-a"
_CONSENT: Final = "dpv:Consent"

Document = dict[str, Any]


class NotSigned(Malformed):
    """A whole and well-formed document that its parties did not sign as it stands."""


@dataclass(frozen=True, slots=True)
class Background:
    """How a grant came about: what was asked (`request`, a Request's document) and when, by which terms, on which page, and what is promised in return."""

    request: Mapping[str, Any]
    asked_at: dt.datetime
    terms: Mapping[str, Any]
    shown: Mapping[str, Any]
    gives: Sequence[Mapping[str, str]] = ()


def b64(raw: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text: object, pointer: str) -> bytes:
    """The bytes of unpadded base64url in its one form: no other text stands for the same bytes."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        raw = b""
    if not raw or b64(raw) != text:
        refuse(pointer, "Give base64url without padding.")
    return raw


def named(raw: bytes) -> str:
    """A stored SHA-256 in the form of `digest`."""
    return f"sha-256:{b64(raw)}"


def digest(raw: bytes) -> str:
    """The SHA-256 of some bytes: `sha-256:` and base64url."""
    return named(hashlib.sha256(raw).digest())


def digest_of(value: Any) -> str:
    """The digest of a JSON value's canonical bytes."""
    return digest(rfc8785.dumps(value))


def commitment(salt: bytes, value: Any) -> str:
    """What binds to a JSON value without telling it, nor letting two agreements be matched by it (rule S3)."""
    return digest(salt + rfc8785.dumps(value))


def new_id(at: dt.datetime) -> str:
    """A UUIDv7 (RFC 9562) as a URN."""
    raw = bytearray(int(at.timestamp() * 1000).to_bytes(6, "big") + os.urandom(10))
    raw[6], raw[8] = raw[6] & 0x0F | 0x70, raw[8] & 0x3F | 0x80
    return uuid.UUID(bytes=bytes(raw)).urn


def lawful_basis(jurisdiction: str) -> str:
    """The DPV term for consent under a country's law."""
    return _CONSENT_OF_GDPR if jurisdiction in _EEA else _CONSENT


def envelope(clauses: Sequence[Clause]) -> dict[str, str]:
    """From the first beginning to the last end of some clauses with absolute validity."""
    starts = [clause.validity.since for clause in clauses if clause.validity.since]
    ends = [clause.validity.until for clause in clauses if clause.validity.until]
    return {"from": write_instant(min(starts)), "until": write_instant(max(ends))}


def domain_of(content: Mapping[str, Any]) -> str:
    """The vendor's domain, by which sentences name it."""
    return str(content["second_party"]["id"]).removeprefix("https://")


def content(
    *, number: str, first: Mapping[str, Any], second: Mapping[str, Any], clauses: Sequence[Clause], background: Background, salt: bytes, jurisdiction: str,
    page: str, at: dt.datetime,
) -> Document:  # fmt: skip
    """What is signed (policies.md section 11). `first` has id and jwk, `second` id, name, jwk and perhaps address and contact; `page` is where it is ended."""
    text = explain.grant_text(clauses, str(second["id"]).removeprefix("https://"), background.gives)
    made = write_instant(at.replace(microsecond=0))
    asked = write_instant(background.asked_at.replace(microsecond=0))
    return {
        "type": "Agreement", "version": 1, "id": number, "conforms_to": [CONFORMS_TO], "made": made, "vocabulary": dict(VOCABULARY),
        "negotiation": {
            "request": digest_of(background.request), "terms": commitment(salt, background.terms), "shown": commitment(salt, background.shown),
            "rounds": 1, "approved_by": "person",
        },
        "first_party": {"role": "Person", "custody": "broker", **first},
        "second_party": {"role": "Entity", **second},
        "jurisdiction": jurisdiction, "lawful_basis": lawful_basis(jurisdiction),
        "notice": {"language": "en", "sha256": digest(text.encode()), "text": text},
        "clauses": [clause.to_json() for clause in clauses],
        "gives": [dict(gift) for gift in background.gives],
        "validity": envelope(clauses),
        "end": {"how": [page], "effect": "immediate"},
        "events": [
            {"state": "dpv:ConsentRequested", "at": asked, "by": "second_party"},
            {"state": "dpv:ConsentGiven", "type": "dpv:ExplicitlyExpressedConsent", "at": made, "by": "first_party"},
        ],
    }  # fmt: skip


def joined(payload: bytes, signatures: Sequence[Mapping[str, str]]) -> bytes:
    """The file both sides keep, in its one form: canonical, the person's signature first."""
    return rfc8785.dumps({"payload": b64(payload), "signatures": [dict(signature) for signature in signatures]})


def verify(document: bytes | str, *, registered: Collection[str] | None = None) -> Document:
    """The content of an agreement that both parties signed as it stands (rule S4).

    `registered` holds the RFC 7638 thumbprints of the vendor's keys where they are known. Raises `Malformed` with the place (inside the payload
    below `/payload`), `NotSigned` where a signature does not hold.
    """
    payload, signatures = _opened(document)
    if len(signatures) != len(ALGORITHMS):
        raise NotSigned([{"pointer": "/signatures", "detail": "Give exactly two signatures: the person's, then the vendor's."}])
    content, seen = _signed(payload, signatures)
    if seen[0] == seen[1]:
        raise NotSigned([{"pointer": "/signatures/1", "detail": "Let each party sign with a key of its own."}])
    if registered is not None and seen[1] not in registered:
        raise NotSigned([{"pointer": "/payload/second_party/jwk", "detail": "Name a key that the vendor has registered."}])
    return content


def verify_first(document: bytes | str) -> Document:
    """The content of an agreement that its person signed and its vendor has not; raises like `verify`."""
    payload, signatures = _opened(document)
    if len(signatures) != 1:
        raise NotSigned([{"pointer": "/signatures", "detail": "Give exactly one signature: the person's."}])
    return _signed(payload, signatures)[0]


def _signed(payload: str, signatures: list[tuple[Any, str]]) -> tuple[Document, list[str]]:
    """The content, and the thumbprints of those who signed it: the person first, then the vendor where it has."""
    content, seen = read_payload(unb64(payload, "/payload")), []
    for (party, algorithms), (signature, pointer) in zip(ALGORITHMS.items(), signatures, strict=False):
        key = _key(content[party]["jwk"], f"/payload/{party}/jwk")
        check_signature(payload, signature, pointer, typ=TYP, key=key, algorithms=algorithms)
        seen.append(key.thumbprint())
    return content, seen


def _opened(document: bytes | str) -> tuple[str, list[tuple[Any, str]]]:
    if len(document) > MOST_BYTES:
        refuse("", "Send at most 256 KiB.")
    found = documents.members(load(document), "", ("payload", "signatures"), ("payload", "signatures"))
    payload, pointer = found["payload"]
    unb64(payload, pointer)
    return payload, documents.entries(*found["signatures"], 10)


def check_signature(payload: str, signature: Any, pointer: str, *, typ: str, key: Key, algorithms: Sequence[str]) -> None:
    """Refuse a signature over `payload` (base64url) that is not exactly ours: header of alg, kid and typ, canonical, by `key`."""
    names = ("protected", "signature")
    found = documents.members(signature, pointer, names, names)
    raw = unb64(*found["protected"])
    unb64(*found["signature"])
    at = below(pointer, "protected")
    try:
        header = load(raw)
    except Malformed as malformed:
        raise _moved(malformed, at) from None
    members = documents.members(header, at, ("alg", "kid", "typ"), ("alg", "kid", "typ"))
    documents.choice(*members["alg"], algorithms)
    documents.choice(*members["typ"], (typ,))
    documents.choice(*members["kid"], (key.thumbprint(),))
    if rfc8785.dumps(header) != raw:
        refuse(at, "Write the header in its canonical form (RFC 8785).")
    try:
        jws.deserialize_compact(f"{signature['protected']}.{payload}.{signature['signature']}", key, algorithms=[header["alg"]])
    except (JoseError, ValueError, TypeError, UnicodeError):
        raise NotSigned([{"pointer": below(pointer, "signature"), "detail": "Sign these very bytes with the key the agreement names."}]) from None


def _moved(malformed: Malformed, pointer: str) -> Malformed:
    return type(malformed)([{**error, "pointer": pointer + error["pointer"]} for error in malformed.errors])


def _key(jwk: Mapping[str, str], pointer: str) -> Key:
    try:
        key = JWKRegistry.import_key(dict(jwk))
        # A point that is not on its curve is noticed only when the key is used.
        public: Any = key.public_key
    except (JoseError, ValueError, TypeError):
        refuse(pointer, "Give a public key that can be used.")
    if isinstance(key, OKPKey) and anybody_can_sign(public.public_bytes_raw()):
        refuse(pointer, "Give a key that is no point of small order: anybody could sign in its name.")
    return key


def read_payload(raw: bytes) -> Document:
    """The content of a payload, every member as section 11 wants it, canonical, its text the one its clauses give. Raises `Malformed`."""
    try:
        if len(raw) > MOST_OF_PAYLOAD:
            refuse("", f"Write at most {MOST_OF_PAYLOAD} bytes.")
        value = load(raw)
        read(value)
        if rfc8785.dumps(value) != raw:
            refuse("", "Write the payload in its canonical form (RFC 8785).")
    except Malformed as malformed:
        raise _moved(malformed, "/payload") from None
    found: Document = value
    return found


_MEMBERS: Final = (
    "type", "version", "id", "conforms_to", "made", "vocabulary", "negotiation", "first_party", "second_party", "jurisdiction", "lawful_basis", "notice",
    "clauses", "gives", "validity", "end", "events",
)  # fmt: skip
_URN: Final = re.compile(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_DIGEST: Final = re.compile(r"sha-256:[A-Za-z0-9_-]{43}")
_PAIRWISE: Final = re.compile(re.escape(PERSON_ID) + r"[A-Za-z0-9_-]{22}")
_VENDOR: Final = re.compile(r"https://[a-z0-9.-]{1,253}")
_JURISDICTION: Final = re.compile(r"[A-Z]{2,3}")
_ADDRESS: Final = re.compile(r"https?://[!-~]{1,500}")
_WORD: Final = re.compile(r"[a-z][a-z-]{0,39}")
_SECONDS: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_LONGEST_TEXT: Final = 50_000
_KEYS: Final[dict[str, tuple[str, ...]]] = {"Ed25519": ("crv", "kty", "x"), "P-256": ("crv", "kty", "x", "y")}
_TYPES: Final = {"Ed25519": "OKP", "P-256": "EC"}
_DIGEST_FORM: Final = "sha-256: and 43 characters of base64url"


def read(value: Any) -> None:
    """Refuse content that is not an agreement's, with the place."""
    found = documents.members(value, "", _MEMBERS, _MEMBERS)
    _same(found["type"], "Agreement")
    _same(found["version"], 1)
    documents.text(*found["id"], _URN, "a UUIDv7 as a URN")
    _same(found["conforms_to"], [CONFORMS_TO])
    made = read_seconds(*found["made"])
    _same(found["vocabulary"], VOCABULARY)
    _read_negotiation(*found["negotiation"])
    _read_first(*found["first_party"])
    _read_second(*found["second_party"])
    jurisdiction = documents.text(*found["jurisdiction"], _JURISDICTION, "a country's two letters, or EU")
    _same(found["lawful_basis"], lawful_basis(jurisdiction))
    clauses = _read_clauses(*found["clauses"])
    _read_gives(*found["gives"])
    _same(found["validity"], envelope(clauses))
    _read_end(*found["end"])
    _read_events(*found["events"], made)
    _read_notice(*found["notice"], explain.grant_text(clauses, domain_of(value), value["gives"]))


def _same(member: tuple[Any, str], wanted: Any) -> None:
    value, pointer = member
    # Python takes 1 for true.
    if value != wanted or rfc8785.dumps(value) != rfc8785.dumps(wanted):
        refuse(pointer, f"Give {documents.canonical(wanted)}.")


def _whole(value: Any, pointer: str, names: tuple[str, ...], optional: tuple[str, ...] = ()) -> documents.Members:
    return documents.members(value, pointer, names + optional, names)


def read_seconds(value: object, pointer: str) -> dt.datetime:
    """Read a time in UTC, in seconds."""
    return read_instant(documents.text(value, pointer, _SECONDS, "a time in UTC and seconds, such as 2027-05-30T09:30:00Z"), pointer)


def _read_negotiation(value: Any, pointer: str) -> None:
    found = _whole(value, pointer, ("request", "terms", "shown", "rounds", "approved_by"))
    for name in ("request", "terms", "shown"):
        documents.text(*found[name], _DIGEST, _DIGEST_FORM)
    _same(found["rounds"], 1)
    _same(found["approved_by"], "person")


def _read_first(value: Any, pointer: str) -> None:
    found = _whole(value, pointer, ("role", "id", "jwk", "custody"))
    _same(found["role"], "Person")
    documents.text(*found["id"], _PAIRWISE, f"{PERSON_ID} and 22 characters of base64url")
    documents.choice(*found["custody"], ("broker",))
    _read_jwk(*found["jwk"], ("Ed25519",))


def _read_second(value: Any, pointer: str) -> None:
    found = _whole(value, pointer, ("role", "id", "name", "jwk"), ("address", "contact"))
    _same(found["role"], "Entity")
    documents.text(*found["id"], _VENDOR, "the vendor's origin, such as https://books.example")
    documents.prose(*found["name"], 80)
    for name in ("address", "contact"):
        if name in found:
            documents.prose(*found[name], 200)
    _read_jwk(*found["jwk"], tuple(_KEYS))


def _read_jwk(value: Any, pointer: str, curves: tuple[str, ...]) -> None:
    if not isinstance(value, dict):
        refuse(pointer, "Give an object.")
    curve = documents.choice(value.get("crv"), below(pointer, "crv"), curves)
    found = _whole(value, pointer, _KEYS[curve])
    _same(found["kty"], _TYPES[curve])
    for name in _KEYS[curve][2:]:
        if len(unb64(*found[name])) != 32:  # noqa: PLR2004 - bytes of a coordinate
            refuse(found[name][1], "Give 32 bytes.")


def _read_clauses(value: Any, pointer: str) -> list[Clause]:
    clauses: list[Clause] = []
    for entry, at in documents.entries(value, pointer, MOST_CLAUSES):
        clause = Clause.parse(entry, at)
        # The canonical form is what is signed (rule O2), so that nobody has to know defaults.
        if documents.canonical(clause.to_json()) != documents.canonical(entry):
            refuse(at, "Write the clause in its canonical form: every member, sets sorted.")
        if clause.id != f"c{len(clauses) + 1}":
            refuse(below(at, "id"), "Number the clauses c1, c2 and so on.")
        if clause.validity.since is None or clause.validity.until is None:
            refuse(below(at, "validity"), "Give both from and until.")
        clauses.append(clause)
    return clauses or refuse(pointer, "Give at least one clause.")


def _read_gives(value: Any, pointer: str) -> None:
    for entry, at in documents.entries(value, pointer, 200):
        found = _whole(entry, at, ("kind", "text"))
        documents.text(*found["kind"], _WORD, "one word in small letters, such as discount")
        documents.prose(*found["text"], 200)


def _read_end(value: Any, pointer: str) -> None:
    found = _whole(value, pointer, ("how", "effect"))
    _same(found["effect"], "immediate")
    how = documents.words(*found["how"], lambda entry, at: documents.text(entry, at, _ADDRESS, "an http or https address"), 5)
    if not how:
        refuse(found["how"][1], "Say how it is ended.")


def _read_events(value: Any, pointer: str, made: dt.datetime) -> None:
    entries = documents.entries(value, pointer, 2)
    if len(entries) != 2:  # noqa: PLR2004 - asked, given
        refuse(pointer, "Say when it was requested and when it was given.")
    asked, given = (_whole(entry, at, names) for (entry, at), names in zip(entries, (("state", "at", "by"), ("state", "type", "at", "by")), strict=True))
    _same(asked["state"], "dpv:ConsentRequested")
    _same(asked["by"], "second_party")
    if read_seconds(*asked["at"]) > made:
        refuse(asked["at"][1], "It was requested before it was given.")
    _same(given["state"], "dpv:ConsentGiven")
    _same(given["type"], "dpv:ExplicitlyExpressedConsent")
    _same(given["at"], write_instant(made))
    _same(given["by"], "first_party")


def _read_notice(value: Any, pointer: str, text: str) -> None:
    found = _whole(value, pointer, ("language", "sha256", "text"))
    _same(found["language"], "en")
    documents.prose(*found["text"], _LONGEST_TEXT)
    if found["text"][0] != text:
        refuse(found["text"][1], "Give the text that the clauses say, word for word.")
    _same(found["sha256"], digest(text.encode()))
