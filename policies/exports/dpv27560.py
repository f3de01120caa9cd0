"""Agreements as consent records of ISO/IEC TS 27560:2023, in the JSON-LD of the DPV guide (DPV-27560)."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from policies.clauses import Clause
from policies.exports.since import Changes, left
from policies.times import write_duration, write_instant
from policies.vocabulary import KINDS

CONTEXT = {
    "ai": "https://w3id.org/dpv/ai#",
    "dct": "http://purl.org/dc/terms/",
    "dpv": "https://w3id.org/dpv#",
    "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
    "loc": "https://w3id.org/dpv/loc#",
    "pd": "https://w3id.org/dpv/pd#",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "schema": "https://schema.org/",
    "skos": "http://www.w3.org/2004/02/skos/core#",
}
PROFILE = "https://w3id.org/dpv/schema/dpv-27560#"
UNTOLD = "not given"
"""What stands where a format demands what a vendor has not said."""

_STATES = {"paused": "dpv:ConsentStatusInvalidForProcessing", "resumed": "dpv:ConsentGiven", "narrowed": "dpv:ConsentGiven"}
"""A change that DPV has no word for -> the status that it leads to."""

_USES = {"profiling": "dpv:Profiling", "tracking": "dpv:Tracking", "ai_training": "ai:ModelTraining"}


def record(agreement: Mapping[str, Any], changes: Changes = ()) -> dict[str, Any]:
    """Return the consent record of an agreement, with what changed since it was made."""
    return {"@context": CONTEXT, **_record(agreement, changes)}


def receipt(agreement: Mapping[str, Any], changes: Changes = ()) -> dict[str, Any]:
    """Return the receipt that the person keeps: the whole record, and who handed it to whom."""
    return {
        "@context": CONTEXT,
        "@id": f"{agreement['id']}#receipt",
        "@type": "dpv:ConsentReceipt",
        "dct:identifier": f"{agreement['id']}#receipt",
        "dpv:hasIdentifier": f"{agreement['id']}#receipt",
        "dct:conformsTo": _profile("receipt", agreement),
        "dct:created": agreement["made"],
        "schema:recipient": agreement["first_party"]["id"],
        "dpv:hasRecordOfActivity": _record(agreement, changes),
    }


def _profile(name: str, agreement: Mapping[str, Any]) -> str:
    return f"{PROFILE}{name}{'-eu-gdpr' if agreement['lawful_basis'].startswith('eu-gdpr:') else ''}"


def _record(agreement: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    clauses = left(agreement, changes)
    vendor, how = agreement["second_party"]["id"], agreement["end"]["how"]
    right = ["dpv:DataSubjectRight", *(["eu-gdpr:A7-3"] if agreement["lawful_basis"].startswith("eu-gdpr:") else [])]
    return {
        "@id": agreement["id"],
        "@type": "dpv:ConsentRecord",
        "dct:conformsTo": _profile("record", agreement),
        "dct:identifier": agreement["id"],
        "dpv:hasIdentifier": agreement["id"],
        "dpv:hasDataSubject": {"@id": agreement["first_party"]["id"], "@type": "dpv:DataSubject"},
        "dpv:hasDataController": [_controller(agreement["second_party"])],
        "dpv:hasLegalBasis": agreement["lawful_basis"],
        "dpv:hasJurisdiction": f"loc:{agreement['jurisdiction']}",
        "dpv:hasNotice": [
            {
                "@type": "dpv:ConsentNotice",
                "dct:date": agreement["made"],
                "dct:description": agreement["notice"]["text"],
                "dct:identifier": agreement["notice"]["sha256"],
                "dct:language": agreement["notice"]["language"],
            }
        ],
        "dpv:hasProcess": [_process(clause, vendor) for clause in clauses],
        "dpv:hasConsentControl": [{"@type": ["dpv:WithdrawConsent"], "dpv:isExercisedAt": how}],
        "dpv:hasRight": [{"@type": right, "dct:title": "Right to withdraw consent", "dpv:isExercisedAt": how}],
        "dpv:hasConsentStatus": [
            *(_status(event, agreement) for event in agreement["events"]),
            *(_changed(change, agreement, changes[:number]) for number, change in enumerate(changes, 1)),
        ],
    }


def _controller(party: Mapping[str, Any]) -> dict[str, Any]:
    """Return the vendor as the guide's entity fields have it; who receives is a `dpv:Recipient`."""
    contact = party.get("contact")
    how = {} if contact is None else {"schema:email" if "@" in contact else "schema:description": contact}
    return {
        "@id": party["id"],
        "@type": ["dpv:DataController", "dpv:Recipient"],
        "dpv:hasIdentifier": party["id"],
        "dpv:hasName": party["name"],
        "schema:address": {"@type": "schema:PostalAddress", "schema:streetAddress": party.get("address", UNTOLD)},
        "schema:contactPoint": [{"@type": "schema:ContactPoint", "schema:url": party["id"], **how}],
    }


def _process(clause: Clause, vendor: str) -> dict[str, Any]:
    duties = clause.duties
    rules = [{"@type": "dpv:Prohibition", "dpv:hasProcessing": use} for name, use in _USES.items() if not getattr(duties, name)]
    process: dict[str, Any] = {
        "@type": "dpv:Process",
        "dct:identifier": clause.id,
        "dpv:hasPurpose": sorted(clause.purposes),
        "dpv:hasPersonalData": _personal_data(clause),
        "dpv:hasProcessing": ["dpv:Obtain" if clause.action == "read" else "dpv:Use"],
        "dpv:hasRecipient": [vendor, *sorted(duties.processors)],
        "dpv:hasStorageCondition": _storage(clause),
    }
    return process | ({"dpv:hasRule": rules} if clause.action == "read" and rules else {})


def _personal_data(clause: Clause) -> list[Any]:
    """Return the DPV categories of the kinds; whoever only writes to the person has an id for them."""
    kinds: list[Any] = sorted({about.dpv for kind, about in KINDS.items() if kind in clause.slice.kinds}) if clause.action == "read" else ["pd:Identifier"]
    return kinds + [{"@type": "dpv:SensitivePersonalData", "dct:title": name} for name in sorted(clause.slice.sensitive)]


def _storage(clause: Clause) -> list[dict[str, Any]]:
    if clause.action != "read":
        return [{"@type": "dpv:StorageDuration", "dpv:hasDuration": {"@type": "dpv:UntilEventDuration", "rdf:value": "the end of the agreement"}}]
    duties = clause.duties
    regions = ["dpv:VariableLocation"] if "*" in duties.storage else [f"loc:{region}" for region in sorted(duties.storage)]
    return [
        {"@type": "dpv:StorageLocation", "dpv:hasLocation": regions},
        {"@type": "dpv:StorageDuration", "dpv:hasDuration": write_duration(duties.retention)},
        {"@type": "dpv:StorageDeletion", "dpv:hasDuration": write_duration(duties.on_end)},
    ]


def _status(event: Mapping[str, Any], agreement: Mapping[str, Any]) -> dict[str, Any]:
    types = [event["state"], event["type"]] if "type" in event else [event["state"]]
    return {
        "@type": types,
        "dpv:isIndicatedBy": agreement[event["by"]]["id"],
        "dpv:isIndicatedAtTime": event["at"],
        "dpv:hasIndicationMethod": "a page of the person's own broker" if event["by"] == "first_party" else "a request to the person's broker",
        "dpv:hasDuration": {"@type": "dpv:UntilTimeDuration", "rdf:value": agreement["validity"]["until"]},
    }


def _changed(change: Mapping[str, Any], agreement: Mapping[str, Any], so_far: Changes) -> dict[str, Any]:
    """Return a later change, by the person unless it says otherwise: the end may also be by the vendor, or by the broker that keeps the agreement."""
    state = change["state"]
    ends = [clause.validity.until for clause in left(agreement, so_far) if clause.validity.until]
    return {
        "@type": [_STATES.get(state, state)],
        "dct:description": state,
        "dpv:isIndicatedBy": _indicator(change.get("by", "person"), agreement),
        "dpv:isIndicatedAtTime": change["at"],
        "dpv:hasIndicationMethod": "a signed statement",
        "dpv:hasDuration": {"@type": "dpv:UntilTimeDuration", "rdf:value": write_instant(max(ends))},
    }


def _indicator(by: str, agreement: Mapping[str, Any]) -> str:
    if by == "broker":
        page = urlsplit(agreement["end"]["how"][0])
        return f"{page.scheme}://{page.netloc}"
    return str(agreement["first_party" if by == "person" else "second_party"]["id"])
