"""Malformed agreements: each is refused with a pointer to the place, though both parties have signed it."""

import base64
import copy
import json
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from broker.grants import agreements
from broker.vault.signing import Signer
from policies.documents import Malformed

VECTORS = Path(__file__).parents[2] / "vectors"
GOOD = json.loads(base64.urlsafe_b64decode(json.loads((VECTORS / "agreement.json").read_text())["document"]["payload"] + "=="))
ROWS = json.loads((VECTORS / "malformed_agreements.json").read_text())["rows"]
PERSON, VENDOR = Signer(b"\x01" * 32), Signer(b"\x02" * 32)


def signed(raw: bytes) -> bytes:
    """A payload that both have signed."""
    signatures = [dict(zip(("protected", "signature"), signer.sign(agreements.TYP, raw), strict=True)) for signer in (PERSON, VENDOR)]
    return agreements.joined(raw, signatures)


def payload(row: dict[str, Any]) -> bytes:
    """The payload of a row of the corpus, canonical where it can be."""
    if "text" in row:
        return str(row["text"]).encode()
    content = copy.deepcopy(GOOD)
    *path, last = row["at"][1:].split("/")
    place: Any = content
    for step in path:
        place = place[int(step) if isinstance(place, list) else step]
    key = int(last) if isinstance(place, list) else last
    if row.get("remove"):
        del place[key]
    else:
        place[key] = row["set"]
    return rfc8785.dumps(content)


def test_the_one_that_all_rows_change_holds() -> None:
    assert agreements.verify(signed(rfc8785.dumps(GOOD))) == GOOD
    assert len(ROWS) > 250
    assert len({row["says"] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["says"])
def test_it_is_refused_at_its_place(row: dict[str, Any]) -> None:
    with pytest.raises(Malformed) as refused:
        agreements.verify(signed(payload(row)))
    assert refused.value.errors[0]["pointer"] == row["pointer"], refused.value
    assert refused.value.errors[0]["detail"].endswith(".")


CANONICAL = rfc8785.dumps(GOOD)
WRITTEN = {
    "with spaces": json.dumps(GOOD, sort_keys=True, ensure_ascii=False).encode(),
    "out of order": json.dumps(dict(reversed(GOOD.items())), separators=(",", ":"), ensure_ascii=False).encode(),
    "with escapes": json.dumps(GOOD, sort_keys=True, separators=(",", ":")).encode(),
    "with a letter escaped": CANONICAL.replace(b'"Agreement"', b'"\\u0041greement"'),
    "with a line at its end": CANONICAL + b"\n",
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_payload_has_one_form(name: str) -> None:
    """RFC 8785: the same content in other bytes is refused, whoever signed it."""
    assert json.loads(WRITTEN[name]) == GOOD
    with pytest.raises(Malformed) as refused:
        agreements.verify(signed(WRITTEN[name]))
    assert refused.value.errors == [{"pointer": "/payload", "detail": "Write the payload in its canonical form (RFC 8785)."}]


DOCUMENTS = {
    "no JSON": (b"{", ""),
    "not UTF-8": (b"\xff\xfe", ""),
    "a list": (b"[]", ""),
    "no payload": (b'{"signatures":[]}', "/payload"),
    "no signatures": (b'{"payload":"e30"}', "/signatures"),
    "a stranger": (b'{"payload":"e30","signatures":[],"header":{}}', "/header"),
    "a payload that is no text": (b'{"payload":{},"signatures":[]}', "/payload"),
    "a payload that is no base64url": (b'{"payload":"a+b/","signatures":[]}', "/payload"),
    "a padded payload": (b'{"payload":"e30=","signatures":[]}', "/payload"),
    "a loose payload": (b'{"payload":"e31","signatures":[]}', "/payload"),
    "an empty payload": (b'{"payload":"","signatures":[]}', "/payload"),
    "signatures that are no list": (b'{"payload":"e30","signatures":{}}', "/signatures"),
    "too many signatures": (b'{"payload":"e30","signatures":[1,1,1,1,1,1,1,1,1,1,1]}', "/signatures"),
    "a compact JWS": (b"e30.e30.AA", ""),
    "a name twice": (b'{"payload":"e30","payload":"e30","signatures":[]}', ""),
    "1 MB of nesting": (b"[" * 1_000_000, ""),
    "deep nesting": (b'{"payload":' + b"[" * 50_000 + b"]" * 50_000 + b',"signatures":[]}', ""),
    "1 MB of nothing": (b" " * 1_000_000, ""),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_file_that_is_no_agreement(name: str) -> None:
    document, pointer = DOCUMENTS[name]
    with pytest.raises(Malformed) as refused:
        agreements.verify(document)
    assert refused.value.errors[0]["pointer"] == pointer, refused.value
