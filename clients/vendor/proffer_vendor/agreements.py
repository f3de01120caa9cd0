"""The agreement of a grant, which person and vendor both sign: a JWS in general JSON form (RFC 7515 section 7.2.1). Only `countersign` asks a broker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import Key, OKPKey, import_key

from proffer_vendor.documents import canonical, digest, load, unb64
from proffer_vendor.errors import NotABroker, NotSigned
from proffer_vendor.tokens import Tokens
from proffer_vendor.vendor import Vendor

TYP = "consent-agreement+jws"
CHANGE = "consent-change+jws"
# Who signs, in this order, and with what; never `none`, a shared secret, or `EdDSA`, which names no curve (RFC 9864).
PARTIES = {"first_party": ("Ed25519",), "second_party": ("Ed25519", "ES256")}
# The y of the eight Ed25519 points of small order (RFC 8032 section 5.1): for a key that is one of them, some signatures hold over anything.
_PRIME = 2**255 - 19
_OF_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL = frozenset({0, 1, _PRIME - 1, _OF_ORDER_8, _PRIME - _OF_ORDER_8})


@dataclass(frozen=True)
class Agreement:
    """A verified agreement: `content` is what was agreed, `document` the file that both sides keep, byte for byte."""

    content: dict[str, Any]
    document: bytes

    @property
    def digest(self) -> str:
        """By which statements and receipts name it."""
        return digest(canonical(self.content))

    @property
    def sentence(self) -> str:
        """Who agreed, when, and until when."""
        person, vendor = self.content["first_party"]["id"], self.content["second_party"]["name"]
        made, until = self.content["made"][:10], self.content["validity"]["until"][:10]
        return f"The agreement of {made} between {person} and “{vendor}” holds: both have signed it as it stands, until {until}."


def verify(document: bytes | str) -> Agreement:
    """The agreement in a file, if both parties signed it as it stands. Offline; raises NotSigned, which says why not.

    That its text says what its clauses say, a broker checks: `broker verify --agreement FILE`.
    """
    payload, signatures = _parts(load(document))
    if len(signatures) != len(PARTIES):
        raise NotSigned(f"The agreement has {len(signatures)} of two signatures.")
    content = _content(payload)
    kids = [_check(payload, signature, content, party) for party, signature in zip(PARTIES, signatures, strict=True)]
    if kids[0] == kids[1]:
        raise NotSigned("Both signatures are by one key.")
    return Agreement(content, _file(payload, signatures))


def countersign(vendor: Vendor, tokens: Tokens) -> Agreement:
    """Checks the agreement of a grant and sends our signature, unless it is there already; returns what both sides now keep.

    NotABroker or NotSigned, and no signature, if the agreement is not signed by the person's key, names another key as ours, or holds other
    clauses than were given.
    """
    grant = vendor.grant(tokens)
    payload, signatures = _parts(grant.get("agreement"))
    content = _content(payload)
    if not signatures:
        raise NotSigned("The person has not signed the agreement.")
    _check(payload, signatures[0], content, "first_party")
    if _key(content["second_party"]["jwk"]).thumbprint() != vendor.key.kid:
        raise NotABroker("The agreement names another key than ours.")
    _compare(grant, content)
    if len(signatures) == 1:
        protected, signature = vendor.key.sign(unb64(payload), {"typ": TYP})
        signatures = [*signatures, {"protected": protected, "signature": signature}]
        vendor.call("PUT", vendor.grant_address(tokens) + "/signature", tokens, json=signatures[1])
    return verify(_file(payload, signatures))


def verify_changes(agreement: Agreement, statements: Sequence[str]) -> list[dict[str, Any]]:
    """The signed statements of what changed under an agreement, in order; raises NotSigned if one is altered, out of order, or missing before the last."""
    found: list[dict[str, Any]] = []
    before = agreement.digest
    for number, statement in enumerate(statements, 1):
        parts = statement.split(".")
        if len(parts) != 3:  # noqa: PLR2004 - header, payload, signature
            raise NotSigned(f"Statement {number} is not a compact JWS.")
        protected, payload, signature = parts
        _check(payload, {"protected": protected, "signature": signature}, agreement.content, "first_party", typ=CHANGE)
        raw = unb64(payload)
        content = load(raw)
        if not isinstance(content, dict) or (content.get("agreement"), content.get("n"), content.get("prev")) != (agreement.digest, number, before):
            raise NotSigned(f"Statement {number} does not follow from the one before.")
        before = digest(raw)
        found.append(content)
    return found


def _parts(document: Any) -> tuple[str, list[dict[str, str]]]:
    if not isinstance(document, dict) or set(document) != {"payload", "signatures"} or not isinstance(document["signatures"], list):
        raise NotSigned("This is not an agreement.")
    for signature in document["signatures"]:
        if not isinstance(signature, dict) or set(signature) != {"protected", "signature"}:
            raise NotSigned("A signature is more or less than protected and signature.")
    payload: str = document["payload"]
    return payload, list(document["signatures"])


def _content(payload: str) -> dict[str, Any]:
    raw = unb64(payload)
    content = load(raw)
    if canonical(content) != raw:
        raise NotSigned("The agreement is not written in its canonical form.")
    try:
        clauses = [clause["id"] for clause in content["clauses"]]
        named = (content["type"], content["version"], content["first_party"]["role"], content["second_party"]["role"])
        told = (content["made"][:10], content["validity"]["until"][:10], content["second_party"]["name"], content["first_party"]["id"])
        if named != ("Agreement", 1, "Person", "Entity") or not clauses or not all(isinstance(word, str) for word in (*clauses, *told)):
            raise NotSigned("This is not an agreement of a kind known here.")
        if digest(content["notice"]["text"].encode()) != content["notice"]["sha256"]:
            raise NotSigned("The text is not the one that was shown.")
    except (KeyError, TypeError, AttributeError) as error:
        raise NotSigned("The agreement lacks a member.") from error
    found: dict[str, Any] = content
    return found


def _check(payload: str, signature: Mapping[str, str], content: Mapping[str, Any], party: str, *, typ: str = TYP) -> str:
    """The thumbprint of the key by which a party signed; raises NotSigned."""
    raw = unb64(signature["protected"])
    unb64(signature["signature"])
    header = load(raw)
    jwk = content[party].get("jwk")
    key = _key(jwk)
    kid = key.thumbprint()
    alg = header.get("alg") if isinstance(header, dict) else None
    if alg not in PARTIES[party] or raw != canonical({"alg": alg, "kid": kid, "typ": typ}):
        raise NotSigned(f"The signature of the {party.replace('_', ' ')} has another header than it should.")
    try:
        jws.deserialize_compact(f"{signature['protected']}.{payload}.{signature['signature']}", key, algorithms=[alg])
    except (JoseError, ValueError, TypeError, UnicodeError) as error:
        raise NotSigned(f"The {party.replace('_', ' ')} did not sign these bytes.") from error
    return kid


def _key(jwk: Any) -> Key:
    try:
        key = import_key(dict(jwk))
        # A point that is not on its curve is noticed only here.
        public: Any = key.public_key
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise NotSigned("A party's key cannot be used.") from error
    # The highest bit is the sign of x; what is left may be written with a prime too many.
    if isinstance(key, OKPKey) and int.from_bytes(public.public_bytes_raw(), "little") % 2**255 % _PRIME in _SMALL:
        raise NotSigned("A party's key is a point of small order: anybody could sign in its name.")
    return key


def _compare(grant: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    """Refuses an agreement over other clauses than the grant has; one that the person has narrowed meanwhile may hold more than is left."""
    agreed = {clause["id"]: clause for clause in content["clauses"]}
    given = {clause.get("identifier"): _clause(clause) for clause in grant.get("authorization_details", [])}
    same = given == agreed if not grant.get("changes") else set(given) <= set(agreed)
    if not given or not same:
        raise NotABroker("The agreement holds other clauses than the grant.")


def _clause(details: Mapping[str, Any]) -> dict[str, Any]:
    """A clause in the agreement's words: RFC 9396 has names of its own for three of its members."""
    names = {"identifier": "id", "datatypes": "kinds"}
    clause = {names.get(name, name): value for name, value in details.items() if name not in {"type", "actions"}}
    return {**clause, "action": details["actions"][0]}


def _file(payload: str, signatures: Sequence[Mapping[str, str]]) -> bytes:
    return canonical({"payload": payload, "signatures": [dict(signature) for signature in signatures]})


