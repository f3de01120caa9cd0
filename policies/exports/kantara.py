"""Agreements as consent receipts of the Kantara Initiative, version 1.1."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from policies import explain
from policies.clauses import Clause
from policies.documents import canonical
from policies.exports.since import Changes, ended, left
from policies.purposes import PURPOSES
from policies.vocabulary import KINDS

VERSION = "KI-CR-v1.1.0"
UNTOLD = "not given"
"""What stands where the format demands what a vendor has not said."""


def receipt(agreement: Mapping[str, Any], changes: Changes = ()) -> dict[str, Any]:
    """Return the receipt of an agreement, with what changed since it was made. Times are whole seconds since 1970."""
    vendor = agreement["second_party"]
    clauses, end = left(agreement, changes), ended(changes)
    sensitive = sorted({name for clause in clauses for name in clause.slice.sensitive})
    return {
        "version": VERSION,
        "jurisdiction": agreement["jurisdiction"],
        "consentTimestamp": int(datetime.fromisoformat(agreement["made"]).timestamp()),
        "collectionMethod": "A page of the person's own broker, on which each part was ticked by hand",
        "consentReceiptID": agreement["id"],
        "publicKey": canonical(vendor["jwk"]),
        "language": agreement["notice"]["language"],
        "piiPrincipalId": agreement["first_party"]["id"],
        "piiControllers": [_controller(vendor)],
        "policyUrl": agreement["end"]["how"][0],
        "services": [{"service": vendor["name"], "purposes": [_purpose(clause, name, end) for clause in clauses for name in sorted(clause.purposes)]}],
        "sensitive": bool(sensitive),
        "spiCat": sensitive,
    }


def _controller(vendor: Mapping[str, Any]) -> dict[str, Any]:
    contact = vendor.get("contact", UNTOLD)
    return {
        "piiController": vendor["name"],
        "onBehalf": False,
        "contact": contact,
        "address": {"streetAddress": vendor.get("address", UNTOLD)},
        "email": contact if "@" in contact else UNTOLD,
        "phone": UNTOLD,
        "piiControllerUrl": vendor["id"],
    }


def _purpose(clause: Clause, name: str, end: str) -> dict[str, Any]:
    duties = clause.duties
    passed = duties.onward != "none"
    kinds = [about.label for kind, about in KINDS.items() if kind in clause.slice.kinds] if clause.action == "read" else ["an id made for them alone"]
    purpose: dict[str, Any] = {
        "purpose": PURPOSES[name].label,
        "purposeCategory": [name],
        "consentType": "EXPLICIT",
        "piiCategory": kinds,
        "primaryPurpose": True,
        "termination": _termination(clause, end),
        "thirdPartyDisclosure": passed,
    }
    return purpose | ({"thirdPartyName": ", ".join(sorted(duties.processors)) or UNTOLD} if passed else {})


def _termination(clause: Clause, end: str) -> str:
    end = end or explain.ending(clause.validity)
    return f"{end} {explain.deletion(clause.duties)}" if clause.action == "read" else end
