"""Agreements as a person's broker would make them, for tests of the vendor's side."""

import base64
import hashlib
import json
from typing import Any

from joserfc.jwk import OKPKey
from makers import signature_of

CLAUSE = {
    "type": "personal_data_access",
    "identifier": "c1",
    "actions": ["read"],
    "datatypes": ["purchase"],
    "purposes": ["dpv:ProvideProductRecommendations"],
    "fields": {"time": "day", "category": "leaf", "price": "bucket:10"},
    "window": {"max_age": "P90D"},
}


TYP = "consent-agreement+jws"


def encoded(raw: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def canonical(value: Any) -> bytes:
    """Canonical JSON (RFC 8785) of what stands in these tests."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def agreed(person: OKPKey, vendor: dict[str, Any], **members: Any) -> dict[str, Any]:
    """What an agreement holds, as far as the SDK looks."""
    text = "books.example may see what you bought."
    clause = {"identifier": "id", "datatypes": "kinds"}
    given = {clause.get(name, name): value for name, value in CLAUSE.items() if name not in {"type", "actions"}} | {"action": "read"}
    return {
        "type": "Agreement", "version": 1, "made": "2026-12-01T09:30:00Z", "validity": {"from": "2026-12-01T09:30:00Z", "until": "2027-05-30T09:30:00Z"},
        "first_party": {"role": "Person", "id": "urn:proffer:pairwise:Zk3e9QvT1mB7xUoLw0hNcg", "jwk": person.as_dict(private=False)},
        "second_party": {"role": "Entity", "id": "https://books.example", "name": "Books & Co", "jwk": vendor},
        "notice": {"text": text, "sha256": f"sha-256:{encoded(hashlib.sha256(text.encode()).digest())}"}, "clauses": [given], **members,
    }  # fmt: skip


def signed(person: OKPKey, content: Any, **header: Any) -> dict[str, Any]:
    """An agreement with the person's signature."""
    payload = encoded(content if isinstance(content, bytes) else canonical(content))
    full = {"alg": "Ed25519", "kid": person.thumbprint(), "typ": TYP, **header}
    return {"payload": payload, "signatures": [signature_of(person, payload, full)]}
