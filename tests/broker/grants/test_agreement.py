"""The agreement: the published vector and every refusal of rule S4."""

import base64
import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from joserfc.jwk import ECKey, OctKey, OKPKey
from makers import SMALL_ORDER, signature_of, weak

from broker.grants import agreements
from broker.grants.agreements import Background, NotSigned
from broker.vault.signing import Signer
from policies.clauses import Clause
from policies.documents import Malformed

VECTORS = Path(__file__).parents[2] / "vectors"
VECTOR = json.loads((VECTORS / "agreement.json").read_text())
EXAMPLE = json.loads((VECTORS / "slices_negotiation.json").read_text())
GOOD = EXAMPLE["agreement"]
PERSON, VENDOR = (Signer(bytes.fromhex(VECTOR["seeds"][name])) for name in ("person", "vendor"))
Document = dict[str, Any]


def test_the_vector_comes_out_byte_for_byte() -> None:
    """policies.md section 11: payload, digest, thumbprints, both signatures."""
    background = Background(EXAMPLE["request"], dt.datetime(2026, 12, 1, 9, 28, 11, tzinfo=dt.UTC), EXAMPLE["terms"], VECTOR["shown"], GOOD["gives"])
    vendor = {name: GOOD["second_party"][name] for name in ("id", "name", "address", "contact")}
    content = agreements.content(
        number=GOOD["id"], first={"id": GOOD["first_party"]["id"], "jwk": PERSON.jwk}, second={**vendor, "jwk": VENDOR.jwk},
        clauses=[Clause.parse(form) for form in GOOD["clauses"]], background=background, salt=bytes.fromhex(VECTOR["salt"]), jurisdiction="IE",
        page=GOOD["end"]["how"][0], at=dt.datetime(2026, 12, 1, 9, 30, tzinfo=dt.UTC),
    )  # fmt: skip
    assert content == GOOD
    raw = rfc8785.dumps(content)
    assert (len(raw), agreements.digest(raw), [PERSON.kid, VENDOR.kid]) == (VECTOR["bytes"], VECTOR["digest"], VECTOR["kids"])
    signatures = [dict(zip(("protected", "signature"), signer.sign(agreements.TYP, raw), strict=True)) for signer in (PERSON, VENDOR)]
    assert [signature["signature"] for signature in signatures] == VECTOR["signatures"]
    assert agreements.joined(raw, signatures) == rfc8785.dumps(VECTOR["document"])
    assert agreements.verify(rfc8785.dumps(VECTOR["document"]), registered={VENDOR.kid}) == GOOD


KEYS = {PERSON.kid: OKPKey.import_key({**PERSON.jwk, "d": agreements.b64(b"\x01" * 32)}), VENDOR.kid: OKPKey.import_key({**VENDOR.jwk, "d": agreements.b64(b"\x02" * 32)})}
PAYLOAD = VECTOR["document"]["payload"]


def vendors(**header: Any) -> Document:
    """The vector, the vendor's header changed; None takes a member out."""
    key = KEYS[VENDOR.kid]
    full = {"alg": "Ed25519", "kid": VENDOR.kid, "typ": agreements.TYP, **header}
    return with_second(signature_of(key, PAYLOAD, {name: value for name, value in full.items() if value is not None}))


def with_second(signature: Document) -> Document:
    return {"payload": PAYLOAD, "signatures": [VECTOR["document"]["signatures"][0], signature]}


def by(algorithm: str, key: Any) -> Document:
    header = {"alg": algorithm, "kid": VENDOR.kid, "typ": agreements.TYP}
    return with_second(signature_of(key, PAYLOAD, header))


def protected(header: bytes) -> Document:
    """A header written by hand, with a signature that fits it."""
    text = agreements.b64(header)
    signed = KEYS[VENDOR.kid].private_key.sign(f"{text}.{PAYLOAD}".encode())
    return with_second({"protected": text, "signature": agreements.b64(signed)})


def changed(change: Callable[[Document], Any]) -> Document:
    document = json.loads(json.dumps(VECTOR["document"]))
    change(document)
    return document


def agreed(jwk: Document, signer: Any) -> Document:
    """The same agreement with another vendor's key."""
    raw = rfc8785.dumps({**GOOD, "second_party": {**GOOD["second_party"], "jwk": jwk}})
    first = dict(zip(("protected", "signature"), PERSON.sign(agreements.TYP, raw), strict=True))
    return {"payload": agreements.b64(raw), "signatures": [first, signer(agreements.b64(raw))]}


NONE = {"protected": agreements.b64(rfc8785.dumps({"alg": "none", "kid": VENDOR.kid, "typ": agreements.TYP})), "signature": "AA"}
EC = ECKey.generate_key("P-256", private=True)
PUBLIC_AS_SECRET = OctKey.import_key(base64.urlsafe_b64decode(VENDOR.jwk["x"] + "="))
WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "alg none": (lambda: with_second(NONE), "/signatures/1/protected/alg"),
    "alg HS256 with the public key": (lambda: by("HS256", PUBLIC_AS_SECRET), "/signatures/1/protected/alg"),
    "alg EdDSA": (lambda: by("EdDSA", KEYS[VENDOR.kid]), "/signatures/1/protected/alg"),
    "alg in another case": (lambda: protected(rfc8785.dumps({"alg": "ed25519", "kid": VENDOR.kid, "typ": agreements.TYP})), "/signatures/1/protected/alg"),
    "crit": (
        lambda: protected(rfc8785.dumps({"alg": "Ed25519", "crit": ["typ"], "kid": VENDOR.kid, "typ": agreements.TYP})), "/signatures/1/protected/crit",
    ),
    "b64": (lambda: protected(rfc8785.dumps({"alg": "Ed25519", "b64": True, "kid": VENDOR.kid, "typ": agreements.TYP})), "/signatures/1/protected/b64"),
    "a key in the header": (lambda: vendors(jwk=VENDOR.jwk), "/signatures/1/protected/jwk"),
    "wrong typ": (lambda: vendors(typ="consent-change+jws"), "/signatures/1/protected/typ"),
    "no typ": (lambda: vendors(typ=None), "/signatures/1/protected/typ"),
    "no kid": (lambda: vendors(kid=None), "/signatures/1/protected/kid"),
    "the person's kid": (lambda: vendors(kid=PERSON.kid), "/signatures/1/protected/kid"),
    "a header with spaces": (lambda: protected(json.dumps({"alg": "Ed25519", "kid": VENDOR.kid, "typ": agreements.TYP}).encode()), "/signatures/1/protected"),
    "a header out of order": (
        lambda: protected(f'{{"kid":"{VENDOR.kid}","alg":"Ed25519","typ":"{agreements.TYP}"}}'.encode()), "/signatures/1/protected",
    ),
    "a header that says a name twice": (lambda: protected(b'{"alg":"none","alg":"Ed25519"}'), "/signatures/1/protected"),
    "a header that is a list": (lambda: protected(b"[1]"), "/signatures/1/protected"),
    "no signature": (lambda: changed(lambda document: document.update(signatures=[])), "/signatures"),
    "one signature": (lambda: changed(lambda document: document["signatures"].pop()), "/signatures"),
    "three signatures": (lambda: changed(lambda document: document["signatures"].append(document["signatures"][0])), "/signatures"),
    "the vendor's first": (lambda: changed(lambda document: document["signatures"].reverse()), "/signatures/0/protected/kid"),
    "one signature twice": (lambda: with_second(VECTOR["document"]["signatures"][0]), "/signatures/1/protected/kid"),
    "an unprotected header": (lambda: changed(lambda document: document["signatures"][1].update(header={})), "/signatures/1/header"),
    "a signature with padding": (lambda: changed(lambda document: document["signatures"][1].update(signature=VECTOR["signatures"][1] + "==")), "/signatures/1/signature"),
    "a signature cut short": (lambda: changed(lambda document: document["signatures"][1].update(signature=VECTOR["signatures"][1][:-4])), "/signatures/1/signature"),
    "one key for both": (lambda: agreed(PERSON.jwk, lambda text: signature_of(KEYS[PERSON.kid], text, header_of(PERSON.kid))), "/signatures/1"),
    "a vendor's key that the person would not have": (
        lambda: agreed(VENDOR.jwk, lambda text: signature_of(EC, text, {**header_of(VENDOR.kid), "alg": "ES256"})), "/signatures/1/signature",
    ),
}  # fmt: skip


def header_of(kid: str) -> Document:
    return {"alg": "Ed25519", "kid": kid, "typ": agreements.TYP}


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("name", WRONG)
def test_what_is_refused(name: str) -> None:
    """Rule S4, beside the same document unchanged; the place is named."""
    assert agreements.verify(rfc8785.dumps(VECTOR["document"]))
    make, pointer = WRONG[name]
    with pytest.raises(Malformed) as refused:
        agreements.verify(rfc8785.dumps(make()))
    assert refused.value.errors[0]["pointer"] == pointer, refused.value


def test_a_vendor_may_sign_with_es256_and_the_person_not() -> None:
    public = {name: EC.as_dict(private=False)[name] for name in ("crv", "kty", "x", "y")}
    header = {"alg": "ES256", "kid": EC.thumbprint(), "typ": agreements.TYP}
    good = agreed(public, lambda text: signature_of(EC, text, header))
    assert agreements.verify(rfc8785.dumps(good))["second_party"]["jwk"] == public
    raw = rfc8785.dumps({**GOOD, "first_party": {**GOOD["first_party"], "jwk": public}})
    text = agreements.b64(raw)
    wrong = {"payload": text, "signatures": [signature_of(EC, text, header), signature_of(KEYS[VENDOR.kid], text, header_of(VENDOR.kid))]}
    with pytest.raises(Malformed) as refused:
        agreements.verify(rfc8785.dumps(wrong))
    assert refused.value.errors[0]["pointer"] == "/payload/first_party/jwk/crv"


@pytest.mark.parametrize("public", SMALL_ORDER, ids=bytes.hex)
def test_a_signature_that_anybody_can_make_is_none(public: bytes) -> None:
    """R = the key's neutral point and S = 0 hold over anything under the point of order 1."""
    key = weak(public)
    kid = OKPKey.import_key(key).thumbprint()
    constant = {"protected": agreements.b64(rfc8785.dumps(header_of(kid))), "signature": agreements.b64(b"\1" + b"\0" * 63)}
    with pytest.raises(Malformed) as refused:
        agreements.verify(rfc8785.dumps(agreed(key, lambda _text: constant)))
    assert refused.value.errors[0]["pointer"] == "/payload/second_party/jwk"
    assert "small order" in refused.value.errors[0]["detail"]


def test_a_vendors_key_must_have_been_registered() -> None:
    document = rfc8785.dumps(VECTOR["document"])
    assert agreements.verify(document, registered={VENDOR.kid, "another"})
    with pytest.raises(NotSigned) as refused:
        agreements.verify(document, registered={"another"})
    assert refused.value.errors[0]["pointer"] == "/payload/second_party/jwk"


def test_a_payload_that_leaves_no_room_for_signatures_is_refused() -> None:
    """Characters of four bytes are few in number and long in bytes."""
    gives = [{"kind": "gift", "text": "\U0001f4da" * 200} for _ in range(200)]
    with pytest.raises(Malformed) as refused:
        agreements.read_payload(rfc8785.dumps({**GOOD, "gives": gives, "notice": {**GOOD["notice"], "text": "\U0001f4da" * 40_000}}))
    assert refused.value.errors[0] == {"pointer": "/payload", "detail": f"Write at most {agreements.MOST_OF_PAYLOAD} bytes."}
