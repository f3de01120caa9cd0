"""The agreement of a grant, which person and vendor both sign: a JWS in general JSON form (RFC 7515 section 7.2.1)."""

import base64
import json
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey, import_key

from proffer_vendor.errors import BrokerRefused, NotABroker
from proffer_vendor.keys import SigningKey
from proffer_vendor.tokens import Tokens
from proffer_vendor.vendor import Vendor

TYP = "consent-agreement+jws"
NOT_FOUND = 404


def countersign(vendor: Vendor, tokens: Tokens) -> dict[str, Any] | None:
    """Checks the agreement of the grant and sends our signature, unless it is there already; returns the agreement's content.

    None where the broker keeps no agreement for this grant. NotABroker, and no signature, if the agreement is not signed by the person's key,
    names another key as ours, or holds other clauses than were given.
    """
    try:
        grant = vendor.grant(tokens)
    except BrokerRefused as refused:
        if refused.status == NOT_FOUND:
            return None
        raise
    document = grant.get("agreement")
    if document is None:
        return None
    payload, content = _checked(document, vendor.key)
    if sorted(clause.get("id", "") for clause in content["clauses"]) != sorted(given.get("identifier", "") for given in grant.get("authorization_details", [])):
        raise NotABroker("The agreement holds other clauses than the grant.")
    if vendor.key.kid not in {_header(one).get("kid") for one in document["signatures"]}:
        protected, signature = vendor.key.sign(payload, {"typ": TYP})
        vendor.transport.send("PUT", vendor.grant_address(tokens) + "/signature", tokens=tokens, json={"protected": protected, "signature": signature})
    return content


def _checked(document: dict[str, Any], ours: SigningKey) -> tuple[bytes, dict[str, Any]]:
    try:
        payload = _decoded(document["payload"])
        content: dict[str, Any] = json.loads(payload)
        person = OKPKey.import_key(content["first_party"]["jwk"])
        theirs = next(one for one in document["signatures"] if _header(one).get("kid") == person.thumbprint())
        header = _header(theirs)
        compact = f"{theirs['protected']}.{document['payload']}.{theirs['signature']}"
        jws.deserialize_compact(compact, person, algorithms=["Ed25519"])
        second = import_key(content["second_party"]["jwk"])
        if header.get("typ") != TYP or "crit" in header or second.thumbprint() != ours.kid or not isinstance(content["clauses"], list):
            raise NotABroker("The agreement is not one between this person and us.")
    except (JoseError, KeyError, TypeError, ValueError, StopIteration) as error:
        raise NotABroker("The agreement does not carry the person's signature.") from error
    return payload, content


def _header(signature: dict[str, Any]) -> dict[str, Any]:
    header = json.loads(_decoded(signature["protected"]))
    if not isinstance(header, dict):
        raise NotABroker("A signature's header is not a JSON object.")
    return header


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
