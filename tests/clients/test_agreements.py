"""What the vendor's SDK signs, refuses to sign, and verifies offline; the vector is that of policies.md section 11."""

import base64
import copy
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agreed import TYP, agreed, canonical, encoded, signed
from joserfc import jws
from joserfc.jwk import OctKey, OKPKey
from makers import SMALL_ORDER, signature_of, weak
from proffer_vendor import Ask, NotSigned, ProfferError, Tokens, Vendor, countersign, verify, verify_changes

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "agreement.json").read_text())
FILE = canonical(VECTOR["document"])
PERSON, VENDOR = OKPKey.generate_key("Ed25519", private=True), OKPKey.generate_key("Ed25519", private=True)
Document = dict[str, Any]


def public(key: OKPKey) -> dict[str, Any]:
    return dict(key.as_dict(private=False))


def whole(content: Any = None, by: OKPKey = VENDOR, **header: Any) -> Document:
    """An agreement that both have signed; `header` changes the vendor's."""
    document = signed(PERSON, agreed(PERSON, public(VENDOR)) if content is None else content)
    full = {"alg": "Ed25519", "kid": by.thumbprint(), "typ": TYP, **header}
    document["signatures"].append(signature_of(by, document["payload"], {name: value for name, value in full.items() if value is not None}))
    return document


def forged(algorithm: str, key: Any) -> Document:
    """The vendor's place taken by a signature that another algorithm made."""
    document = whole()
    header = {"alg": algorithm, "kid": VENDOR.thumbprint(), "typ": TYP}
    if algorithm == "none":
        document["signatures"][1] = {"protected": encoded(canonical(header)), "signature": "AAAA"}
        return document
    raw = base64.urlsafe_b64decode(document["payload"] + "==")
    protected, _, signature = jws.serialize_compact(header, raw, key, algorithms=[algorithm]).split(".")
    document["signatures"][1] = {"protected": protected, "signature": signature}
    return document


def with_notice(text: str) -> Document:
    content = agreed(PERSON, public(VENDOR))
    content["notice"]["text"] = text
    return whole(content)


def changed(change: Callable[[Document], Any]) -> Document:
    document = whole()
    change(document)
    return document


def test_the_vector_verifies() -> None:
    agreement = verify(FILE)
    assert agreement.document == FILE
    assert agreement.digest == VECTOR["digest"]
    assert agreement.sentence.startswith("The agreement of 2026-12-01 between urn:proffer:pairwise:Zk3e9QvT1mB7xUoLw0hNcg and “Books & Co” holds")


def test_any_bit_flipped_fails() -> None:
    """P20, one bit of every byte; the payload, both headers, both signatures and what holds them together."""
    for at in range(len(FILE)):
        altered = bytearray(FILE)
        altered[at] ^= 1 << at % 8
        with pytest.raises(NotSigned):
            verify(bytes(altered))


WRONG: dict[str, Any] = {
    "nobody signed": lambda: changed(lambda document: document.update(signatures=[])),
    "one signature": lambda: changed(lambda document: document["signatures"].pop()),
    "three signatures": lambda: changed(lambda document: document["signatures"].append(document["signatures"][1])),
    "the vendor first": lambda: changed(lambda document: document["signatures"].reverse()),
    "another's signature": lambda: whole(by=OKPKey.generate_key("Ed25519", private=True)),
    "another's signature under the vendor's kid": lambda: whole(by=OKPKey.generate_key("Ed25519", private=True), kid=VENDOR.thumbprint()),
    "one key for both": lambda: whole(agreed(PERSON, public(PERSON)), by=PERSON),
    "alg none": lambda: forged("none", None),
    "alg HS256 with the public key": lambda: forged("HS256", OctKey.import_key(base64.urlsafe_b64decode(public(VENDOR)["x"] + "=="))),
    "alg EdDSA": lambda: forged("EdDSA", VENDOR),
    "crit": lambda: whole(crit=["typ"]),
    "another typ": lambda: whole(typ="consent-change+jws"),
    "no typ": lambda: whole(typ=None),
    "no kid": lambda: whole(kid=None),
    "more in the header": lambda: whole(jwk=public(VENDOR)),
    "an unprotected header": lambda: changed(lambda document: document["signatures"][1].update(header={})),
    "a stranger in the document": lambda: changed(lambda document: document.update(note="x")),
    "a payload that is not canonical": lambda: whole(json.dumps(agreed(PERSON, public(VENDOR))).encode()),
    "a name twice": lambda: whole(canonical(agreed(PERSON, public(VENDOR))).replace(b'"version":1', b'"version":1,"version":1')),
    "a decimal number": lambda: whole(agreed(PERSON, public(VENDOR), version=1.5)),
    "another version": lambda: whole(agreed(PERSON, public(VENDOR), version=2)),
    "another text than was shown": lambda: with_notice("books.example may see everything."),
    "no clauses": lambda: whole(agreed(PERSON, public(VENDOR), clauses=[])),
    "not an object": lambda: whole([1]),
    "no JSON": lambda: b"{",
    "deep nesting": lambda: b"[" * 200_000,
    "1 MB": lambda: b" " * 1_000_000,
    "padding": lambda: changed(lambda document: document["signatures"][1].update(signature=document["signatures"][1]["signature"] + "==")),
    "loose base64url": lambda: changed(lambda document: document["signatures"][1].update(signature=document["signatures"][1]["signature"][:-1] + "_")),
    "half a character": lambda: whole(b'{"a":"\\ud800"}'),
}


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("name", WRONG)
def test_what_was_not_signed_as_it_stands_is_refused(name: str) -> None:
    verify(canonical(whole()))
    wrong = WRONG[name]()
    with pytest.raises(NotSigned):
        verify(wrong if isinstance(wrong, bytes) else canonical(wrong))


@pytest.mark.parametrize("point", SMALL_ORDER, ids=bytes.hex)
def test_a_signature_that_anybody_can_make_is_none(point: bytes) -> None:
    """One that holds over anything under the point of order 1, whoever is said to have made it."""
    key = weak(point)
    kid = OKPKey.import_key(key).thumbprint()
    constant = {"protected": encoded(canonical({"alg": "Ed25519", "kid": kid, "typ": TYP})), "signature": encoded(b"\1" + b"\0" * 63)}
    theirs = signed(PERSON, agreed(PERSON, key))
    theirs["signatures"].append(constant)
    ours = whole({**agreed(PERSON, public(VENDOR)), "first_party": {**agreed(PERSON, public(VENDOR))["first_party"], "jwk": key}})
    ours["signatures"][0] = constant
    for document in (theirs, ours):
        with pytest.raises(NotSigned, match="small order"):
            verify(canonical(document))


@pytest.fixture
def tokens(vendor: Vendor, broker: Any, ask: Ask) -> Tokens:
    pending = vendor.begin([ask])
    return vendor.finish(pending, broker.answer_to(pending.url))


def test_it_countersigns_over_the_same_bytes_once(vendor: Vendor, broker: Any, tokens: Tokens) -> None:
    agreement = countersign(vendor, tokens)
    assert agreement.document == canonical(broker.agreement)
    assert verify(agreement.document) == agreement
    assert countersign(vendor, tokens) == agreement
    assert len(broker.signatures) == 1


def test_a_wrong_agreement_is_not_signed(vendor: Vendor, broker: Any, tokens: Tokens) -> None:
    ours = vendor.key.public
    good = agreed(broker.person, ours)
    other_clause = copy.deepcopy(good)
    other_clause["clauses"][0]["fields"]["price"] = "band"
    wrong: list[Any] = [
        None,
        {"payload": 1, "signatures": []},
        {**signed(broker.person, good), "signatures": []},
        signed(OKPKey.generate_key("Ed25519", private=True), good),
        signed(broker.person, agreed(broker.person, public(VENDOR))),
        signed(broker.person, other_clause),
        signed(broker.person, {**good, "clauses": [*good["clauses"], {**good["clauses"][0], "id": "c2"}]}),
        signed(broker.person, good, typ="JWT"),
    ]
    for document in wrong:
        broker.agreement = document
        if document is None:
            broker.agreement_now = lambda: None
        with pytest.raises(ProfferError):
            countersign(vendor, tokens)
        broker.__dict__.pop("agreement_now", None)
    assert broker.signatures == []
    broker.agreement = signed(broker.person, good)
    assert countersign(vendor, tokens).content == good


def statements(number: int) -> list[str]:
    """A chain about the agreement of `whole()`."""
    agreement = verify(canonical(whole()))
    made: list[str] = []
    before = agreement.digest
    for n in range(1, number + 1):
        content = {"type": "ConsentChange", "agreement": agreement.digest, "n": n, "prev": before, "state": "paused", "at": "2027-01-05T08:00:00Z"}
        payload = encoded(canonical(content))
        signature = signature_of(PERSON, payload, {"alg": "Ed25519", "kid": PERSON.thumbprint(), "typ": "consent-change+jws"})
        made.append(f"{signature['protected']}.{payload}.{signature['signature']}")
        before = f"sha-256:{encoded(hashlib.sha256(canonical(content)).digest())}"
    return made


def test_changes_are_a_chain() -> None:
    """P21: a change that is removed, altered or out of order is found."""
    agreement, chain = verify(canonical(whole())), statements(3)
    assert [content["n"] for content in verify_changes(agreement, chain)] == [1, 2, 3]
    header, payload, signature = chain[1].split(".")
    altered = ".".join((header, payload, ("B" if signature[0] == "A" else "A") + signature[1:]))
    for wrong in (chain[1:], [chain[0], chain[2]], chain[::-1], [chain[0], chain[0]], [chain[0], altered], ["x"], [f"{chain[0]}.x"]):
        with pytest.raises(NotSigned):
            verify_changes(agreement, wrong)


def test_the_command_says_it_in_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "agreement.json"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "clients" / "vendor")}

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([sys.executable, "-m", "proffer_vendor", *arguments], env=environment, capture_output=True, text=True, check=False)

    for content, code, words in ((FILE, 0, "holds: both have signed it"), (FILE.replace(b'"payload":"ey', b'"payload":"eY'), 1, "does not verify: ")):
        file.write_bytes(content)
        answer = run("verify", str(file))
        assert (answer.returncode, answer.stdout.count("\n")) == (code, 1), answer.stderr
        assert words in answer.stdout
    file.write_bytes(FILE[:-40])
    for arguments, words in ((["verify", str(tmp_path / "none")], "No such file"), (["verify", str(file)], "cut short"), (["verify"], "verify FILE"), (["sign", "x"], "verify FILE")):
        answer = run(*arguments)
        assert (answer.returncode, answer.stdout) == (2, "")
        assert words in answer.stderr
