"""Exports have the shapes that their own documents give: field tables and cardinalities, written here as checks."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from policies.exports import dpv27560, kantara, odrl
from policies.purposes import PURPOSES
from policies.requests import Request
from policies.terms import DEFAULT_TERMS, Terms, VendorFacts
from policies.vocabulary import KINDS
from tests.policies import agreeing

VECTORS = Path(__file__).parent.parent / "vectors"
EXAMPLE = json.loads((VECTORS / "slices_negotiation.json").read_text())
AGREEMENT = EXAMPLE["agreement"]
Document = dict[str, Any]


def changes(clauses: list[Document], by: str = "vendor") -> list[Document]:
    """A pause, a narrowing down to `clauses`, and the end by somebody."""
    state = "dpv:ConsentWithdrawn" if by == "person" else "dpv:ConsentRevoked"
    return [
        {"state": "paused", "at": "2027-01-02T08:00:00Z"}, {"state": "resumed", "at": "2027-01-03T08:00:00Z"},
        {"state": "narrowed", "at": "2027-01-04T08:00:00Z", "clauses": clauses}, {"state": state, "at": "2027-01-05T08:00:00Z", "by": by},
    ]  # fmt: skip


CHANGES = changes(AGREEMENT["clauses"])


def several(value: Any) -> list[Any]:
    """JSON-LD writes one value with or without its list."""
    return value if isinstance(value, list) else [value]


def types(node: Document) -> list[str]:
    return several(node["@type"])


def check_names(node: Any, prefixes: set[str]) -> None:
    """Every member is a JSON-LD keyword or stands in a namespace of the context; there are no nulls."""
    if isinstance(node, list):
        for each in node:
            check_names(each, prefixes)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name != "@context":
                assert name.startswith("@") or name.partition(":")[0] in prefixes, name
                check_names(value, prefixes)
    else:
        assert node is not None


# The DPV guide's field tables (sections 8.1 to 8.5): what must be present in a record, at least once, and its concept.
MANDATORY = {
    "dct:conformsTo": None, "dpv:hasIdentifier": None, "dpv:hasDataSubject": "dpv:DataSubject", "dpv:hasNotice": "dpv:ConsentNotice", "dpv:hasProcess": "dpv:Process",
    "dpv:hasDataController": "dpv:DataController", "dpv:hasConsentControl": "dpv:WithdrawConsent", "dpv:hasJurisdiction": None,
    "dpv:hasRight": "dpv:DataSubjectRight", "dpv:hasConsentStatus": None,
}  # fmt: skip
OF_A_PROCESS = ("dpv:hasPurpose", "dpv:hasPersonalData", "dpv:hasStorageCondition", "dpv:hasRecipient")
OF_AN_EVENT = ("dpv:isIndicatedAtTime", "dpv:hasDuration", "dpv:isIndicatedBy")
OF_AN_ENTITY = ("dpv:hasName", "dpv:hasIdentifier", "schema:contactPoint", "schema:address")
STATES = {"dpv:ConsentRequested", "dpv:ConsentGiven", "dpv:ConsentWithdrawn", "dpv:ConsentRevoked", "dpv:ConsentStatusInvalidForProcessing"}
CONSENT_TYPES = {"dpv:ExplicitlyExpressedConsent"}


def check_record(record: Document) -> None:
    """A consent record by the field tables of the DPV guide."""
    assert types(record) == ["dpv:ConsentRecord"]
    for name, concept in MANDATORY.items():
        assert several(record[name]), name
        assert concept is None or all(concept in types(each) for each in several(record[name])), name
    assert isinstance(record["dct:conformsTo"], str), "cardinality 1"
    assert record["dct:conformsTo"].removeprefix("https://w3id.org/dpv/schema/dpv-27560#") in {"record", "record-eu-gdpr"}
    assert len(several(record["dpv:hasDataSubject"])) == 1
    for notice in several(record["dpv:hasNotice"]):
        assert notice["dct:language"]
    for process in record["dpv:hasProcess"]:
        assert all(several(process[name]) for name in OF_A_PROCESS)
        assert all(purpose in PURPOSES for purpose in process["dpv:hasPurpose"])
        assert all(each.startswith("pd:") if isinstance(each, str) else types(each) == ["dpv:SensitivePersonalData"] for each in process["dpv:hasPersonalData"])
        assert {kind for each in process["dpv:hasStorageCondition"] for kind in types(each)} <= {"dpv:StorageLocation", "dpv:StorageDuration", "dpv:StorageDeletion"}
    for controller in record["dpv:hasDataController"]:
        assert all(controller[name] for name in OF_AN_ENTITY)
    for event in record["dpv:hasConsentStatus"]:
        assert all(event[name] for name in OF_AN_EVENT)
        assert len(STATES & set(types(event))) == 1
        assert set(types(event)) <= STATES | CONSENT_TYPES
    check_names(record, set(dpv27560.CONTEXT))


def test_a_consent_record() -> None:
    record = dpv27560.record(AGREEMENT, CHANGES)
    check_record(record)
    assert record["dct:conformsTo"].endswith("#record-eu-gdpr")
    assert record["dpv:hasLegalBasis"] == "eu-gdpr:A6-1-a"
    first, second = record["dpv:hasProcess"]
    assert first["dpv:hasPersonalData"] == ["pd:Intention", "pd:Purchase"]
    assert {"@type": "dpv:StorageLocation", "dpv:hasLocation": ["loc:EEA"]} in first["dpv:hasStorageCondition"]
    assert {"@type": "dpv:StorageDuration", "dpv:hasDuration": "P30D"} in first["dpv:hasStorageCondition"]
    assert [rule["dpv:hasProcessing"] for rule in first["dpv:hasRule"]] == ["dpv:Profiling", "dpv:Tracking", "ai:ModelTraining"]
    assert second["dpv:hasPurpose"] == ["dpv:DirectMarketing"]
    states = [types(event)[0] for event in record["dpv:hasConsentStatus"]]
    assert states == ["dpv:ConsentRequested", "dpv:ConsentGiven", "dpv:ConsentStatusInvalidForProcessing", "dpv:ConsentGiven", "dpv:ConsentGiven", "dpv:ConsentRevoked"]
    assert record["dpv:hasConsentStatus"][-1]["dpv:isIndicatedBy"] == "https://books.example"
    # The guide's own examples repeat members, and so lose all but the last.
    json.loads(json.dumps(record), object_pairs_hook=lambda pairs: dict(pairs) if len(dict(pairs)) == len(pairs) else pytest.fail("a member stands twice"))


def test_every_format_tells_what_is_left_and_who_ended_it() -> None:
    """Not what was agreed first: what was narrowed away stands nowhere, and no vendor is named for what it did not do."""
    clause = AGREEMENT["clauses"][0]
    assert "price" in clause["fields"]
    assert "purchase" in clause["kinds"]
    fields = {name: level for name, level in clause["fields"].items() if name != "price"}
    left = {**clause, "kinds": ["purchase"], "fields": fields, "validity": {**clause["validity"], "until": "2027-03-01T00:00:00Z"}}
    who = {"person": AGREEMENT["first_party"]["id"], "vendor": "https://books.example", "broker": "https://broker.example"}
    agreement = {**AGREEMENT, "end": {**AGREEMENT["end"], "how": ["https://broker.example/grants/x"]}}
    for by, name in who.items():
        since = changes([left], by)
        record, receipt, policy = dpv27560.record(agreement, since), kantara.receipt(agreement, since), odrl.agreement(agreement, since)
        check_record(record)
        check_kantara(receipt)
        check_odrl(policy)
        (process,) = record["dpv:hasProcess"]
        assert process["dpv:hasPersonalData"] == ["pd:Purchase"]
        last = record["dpv:hasConsentStatus"][-1]
        assert (last["dct:description"], last["dpv:isIndicatedBy"]) == (since[-1]["state"], name)
        assert last["dpv:hasDuration"]["rdf:value"] == "2027-03-01T00:00:00Z"
        assert record["dpv:hasConsentStatus"][2]["dpv:hasDuration"]["rdf:value"] == AGREEMENT["validity"]["until"]
        (purpose,) = receipt["services"][0]["purposes"]
        assert purpose["piiCategory"] == ["what you bought"]
        assert purpose["termination"].startswith(f"The {by} ended this on 5 January 2027. They must delete each row within 30 days, and all within 7 days of the end.")
        (permission,) = policy["permission"]
        assert "price" not in json.dumps(policy)
        end = {"leftOperand": "dateTime", "operator": "lt", "rightOperand": {"@value": "2027-01-05T08:00:00Z", "@type": "xsd:dateTime"}}
        assert [each for each in permission["constraint"] if each["operator"] == "lt"] == [end]
        assert [each["uid"] for each in policy["obligation"]] == [each["uid"] for each in odrl.agreement({**agreement, "clauses": [left]})["obligation"]]
    assert "price" in json.dumps(odrl.agreement(agreement))
    assert odrl.agreement(agreement, changes([left])[:3])["permission"] == odrl.agreement({**agreement, "clauses": [left]})["permission"]


def test_no_text_of_an_export_holds_a_duration_or_an_instant() -> None:
    """Sentences are read by people; ISO 8601 stands alone, where a format wants it."""
    since = changes(AGREEMENT["clauses"])

    def texts(node: Any) -> Iterator[str]:
        if isinstance(node, dict | list):
            for each in node.values() if isinstance(node, dict) else node:
                yield from texts(each)
        elif isinstance(node, str) and " " in node:
            yield node

    for document in (dpv27560.record(AGREEMENT, since), kantara.receipt(AGREEMENT), kantara.receipt(AGREEMENT, since), odrl.agreement(AGREEMENT, since)):
        found = list(texts(document))
        assert not [text for text in found if re.search(r"\bP(T?[0-9]+[YMWDH])+\b|[0-9]{4}-[0-9]{2}", text)]
    assert "This ends on 30 May 2027." in kantara.receipt(AGREEMENT)["services"][0]["purposes"][0]["termination"]


def test_a_consent_receipt_holds_the_record() -> None:
    receipt = dpv27560.receipt({**AGREEMENT, "lawful_basis": "dpv:Consent", "jurisdiction": "US"})
    assert types(receipt) == ["dpv:ConsentReceipt"]
    assert receipt["dct:conformsTo"] == "https://w3id.org/dpv/schema/dpv-27560#receipt"
    assert receipt["dpv:hasIdentifier"]
    check_record({**receipt["dpv:hasRecordOfActivity"], "@context": receipt["@context"]})
    assert receipt["dpv:hasRecordOfActivity"]["dct:conformsTo"].endswith("#record")
    assert receipt["dpv:hasRecordOfActivity"]["dpv:hasRight"][0]["@type"] == ["dpv:DataSubjectRight"]


# Kantara CR 1.1, the JSON of its chapter on the receipt: member -> type, and whether it must be there.
RECEIPT: dict[str, tuple[Any, bool]] = {
    "version": (str, True), "jurisdiction": (str, True), "consentTimestamp": (int, True), "collectionMethod": (str, True), "consentReceiptID": (str, True),
    "publicKey": (str, False), "language": (str, False), "piiPrincipalId": (str, True), "piiControllers": (list, True), "policyUrl": (str, True),
    "services": (list, True), "sensitive": (bool, True), "spiCat": (list, True),
}  # fmt: skip
CONTROLLER: dict[str, tuple[Any, bool]] = {
    "piiController": (str, True), "onBehalf": (bool, False), "contact": (str, True), "address": (dict, True), "email": (str, True), "phone": (str, True),
    "piiControllerUrl": (str, False),
}  # fmt: skip
PURPOSE: dict[str, tuple[Any, bool]] = {
    "purpose": (str, False), "purposeCategory": (list, True), "consentType": (str, True), "piiCategory": (list, True), "primaryPurpose": (bool, False),
    "termination": (str, True), "thirdPartyDisclosure": (bool, True), "thirdPartyName": (str, False),
}  # fmt: skip


def check_members(node: Document, table: dict[str, tuple[Any, bool]]) -> None:
    assert set(node) <= set(table)
    for name, (kind, needed) in table.items():
        assert not needed or name in node, name
        assert name not in node or type(node[name]) is kind, name
        assert name not in node or kind is not str or node[name], name


def check_kantara(receipt: Document) -> None:
    """A receipt by the tables of Kantara CR 1.1."""
    check_members(receipt, RECEIPT)
    assert receipt["version"] == "KI-CR-v1.1.0"
    assert receipt["consentTimestamp"] > 1_500_000_000
    assert receipt["piiControllers"]
    for controller in receipt["piiControllers"]:
        check_members(controller, CONTROLLER)
    for service in receipt["services"]:
        check_members(service, {"service": (str, True), "purposes": (list, True)})
        assert service["purposes"]
        for purpose in service["purposes"]:
            check_members(purpose, PURPOSE)
            assert purpose["consentType"] == "EXPLICIT"
            assert purpose["purposeCategory"]
            assert purpose["piiCategory"]
            assert all(isinstance(each, str) for each in purpose["piiCategory"] + purpose["purposeCategory"])
            # Whoever passes it on has to say to whom.
            assert purpose["thirdPartyDisclosure"] == ("thirdPartyName" in purpose)
    assert receipt["sensitive"] == bool(receipt["spiCat"])


def test_a_kantara_receipt() -> None:
    receipt = kantara.receipt(AGREEMENT)
    check_kantara(receipt)
    assert receipt["consentTimestamp"] == 1796117400
    assert receipt["piiControllers"][0]["email"] == "privacy@books.example"
    first = receipt["services"][0]["purposes"][0]
    assert (first["purpose"], first["purposeCategory"]) == ("recommend products to you", ["dpv:ProvideProductRecommendations"])
    assert first["piiCategory"] == ["what you put in or took out of a cart", "what you bought"]
    assert first["termination"] == "This ends on 30 May 2027. They must delete each row within 30 days, and all within 7 days of the end."


def test_a_vendor_that_says_little_is_not_given_words() -> None:
    less = {**AGREEMENT, "second_party": {name: value for name, value in AGREEMENT["second_party"].items() if name not in {"address", "contact"}}}
    check_kantara(kantara.receipt(less))
    check_record(dpv27560.record(less))
    assert kantara.receipt(less)["piiControllers"][0]["address"] == {"streetAddress": "not given"}
    by_post = {**less, "second_party": {**less["second_party"], "contact": "by post"}}
    assert kantara.receipt(by_post)["piiControllers"][0]["email"] == "not given"
    assert dpv27560.record(by_post)["dpv:hasDataController"][0]["schema:contactPoint"][0]["schema:description"] == "by post"


# ODRL 2.2: the core vocabulary's terms that stand in our policies; anything else needs a profile and a namespace of its own.
ACTIONS = {"use", "read", "inform", "distribute"}
LEFT = {"purpose", "dateTime", "elapsedTime", "delayPeriod", "event", "recipient", "spatial"}
OPERATORS = {"isAnyOf", "isNoneOf", "eq", "gteq", "lteq", "lt", "gt"}
NEEDED = {"Agreement": ("assigner", "assignee"), "Offer": ("assigner",), "Request": ("assignee",)}
OWN_NAMES = ("urn:proffer:odrl:", "dpv:", "ai:")


def check_odrl(policy: Document) -> None:
    """A policy by the Information Model's MUSTs (sections 2.1 to 2.7)."""
    assert policy["@context"][0] == "http://www.w3.org/ns/odrl.jsonld"
    assert policy["@type"] in NEEDED
    assert ":" in policy["uid"]
    assert policy["profile"], "terms outside the core need a profile"
    assert policy["conflict"] == "prohibit"
    rules = {name: policy.get(name, []) for name in ("permission", "prohibition", "obligation")}
    assert sum(map(len, rules.values())) >= 1
    for kind, found in rules.items():
        assert kind not in policy or found
        for rule in found:
            check_rule(rule, kind, NEEDED[policy["@type"]])
    uids = [rule["uid"] for found in rules.values() for rule in found]
    assert len(uids) == len(set(uids))


def check_rule(rule: Document, kind: str, parties: tuple[str, ...]) -> None:
    assert set(rule) <= {"uid", "target", "assigner", "assignee", "action", "constraint"}
    assert kind == "obligation" or isinstance(rule["target"], dict), "one target"
    assert all(rule[party] for party in parties if not (kind == "prohibition" and party == "assignee" and rule.get("assigner")))
    assert len(several(rule["action"])) == 1
    for action in several(rule["action"]):
        name = action if isinstance(action, str) else action["rdf:value"]["@id"]
        assert name in ACTIONS or name.startswith(("odrl:", *OWN_NAMES)), name
    for constraint in constraints(rule):
        assert set(constraint) == {"leftOperand", "operator", "rightOperand"}
        assert constraint["leftOperand"] in LEFT or constraint["leftOperand"].startswith(OWN_NAMES), constraint
        assert constraint["operator"] in OPERATORS
        assert constraint["rightOperand"] not in (None, "", [])
    target = rule["target"]
    assert target["@type"] == "AssetCollection"
    assert target["source"], "a refined collection names its source"


def constraints(rule: Document) -> Iterator[Document]:
    yield from rule.get("constraint", [])
    yield from rule["target"].get("refinement", [])
    for action in several(rule["action"]):
        if isinstance(action, dict):
            yield from action["refinement"]


def test_an_odrl_agreement() -> None:
    policy = odrl.agreement(AGREEMENT)
    check_odrl(policy)
    assert policy["uid"] == AGREEMENT["id"]
    read, contact = policy["permission"]
    assert (read["action"], contact["action"]) == ("read", "inform")
    assert {"leftOperand": "purpose", "operator": "isAnyOf", "rightOperand": ["dpv:ProvideProductRecommendations"]} in read["constraint"]
    assert [rule["action"] for rule in policy["prohibition"]] == ["dpv:Profiling", "dpv:Tracking", "ai:ModelTraining", "distribute"]
    deleted = policy["obligation"][0]["action"][0]
    assert deleted["rdf:value"] == {"@id": "odrl:delete"}
    assert deleted["refinement"][0]["rightOperand"] == {"@value": "P30D", "@type": "xsd:duration"}
    assert {rule["assignee"] for rule in policy["permission"]} == {"https://books.example"}


def test_passing_on_is_prohibited_but_to_those_who_may_have_it() -> None:
    def constraints_of(**duties: Any) -> Any:
        clause = {**AGREEMENT["clauses"][0], "base": "SD-BASE-ATP-S3P", "duties": {**AGREEMENT["clauses"][0]["duties"], **duties}}
        policy = odrl.agreement({**AGREEMENT, "clauses": [clause]})
        check_odrl(policy)
        return [rule.get("constraint", []) for rule in policy["prohibition"] if rule["action"] == "distribute"]

    named = {"leftOperand": "recipient", "operator": "isNoneOf", "rightOperand": ["Parcel Ltd"]}
    known = {"leftOperand": "urn:proffer:odrl:anonymised", "operator": "eq", "rightOperand": {"@value": "false", "@type": "xsd:boolean"}}
    assert constraints_of(onward="none") == [[]]
    assert constraints_of(onward="processors") == [[]]
    assert constraints_of(onward="processors", processors=["Parcel Ltd"]) == [[named]]
    assert constraints_of(onward="anonymised", processors=["Parcel Ltd"]) == [[named, known]]


def test_odrl_offers_and_requests() -> None:
    for terms in (Terms.parse(EXAMPLE["terms"]), DEFAULT_TERMS):
        offer = odrl.offer(terms, "urn:proffer:person:x")
        check_odrl(offer)
        assert len(offer["permission"]) == len(terms.allow)
        assert sum(rule["uid"].rpartition("#")[2] in {deny.id for deny in terms.deny} for rule in offer["prohibition"]) == len(terms.deny)
    nothing = Terms.parse({**EXAMPLE["terms"], "allow": [], "deny": [{"id": "d", "vendors": ["https://books.example"], "kinds": ["search"]}]})
    check_odrl(odrl.offer(nothing, "urn:proffer:person:x"))
    facts = VendorFacts("https://books.example", frozenset({"books.example"}))
    request = odrl.request(Request.parse(EXAMPLE["request"], facts), "urn:proffer:request:1")
    check_odrl(request)
    recipients = [each["rightOperand"] for rule in request["prohibition"] for each in rule.get("constraint", []) if each["leftOperand"] == "recipient"]
    assert recipients == [["Parcel Ltd"]]
    assert "assigner" not in request["permission"][0]


@given(agreeing.WORLD)
def test_every_agreement_can_be_exported(world: Document) -> None:
    """Whatever may be agreed: the shapes hold, and nothing of the agreement is changed by it."""
    clauses = agreeing.given(world["terms"], world["request"])
    check_odrl(odrl.request(world["request"], "urn:proffer:request:1"))
    if not clauses:
        return
    agreement = agreeing.content_of(clauses, world["request"], world["terms"])
    before = json.dumps(agreement)
    since = changes(agreement["clauses"][:1], "broker")
    check_record(dpv27560.record(agreement, since))
    for told in ((), since):
        check_kantara(kantara.receipt(agreement, told))
        check_odrl(odrl.agreement(agreement, told))
    assert json.dumps(agreement) == before


BROKEN: dict[str, tuple[Callable[[Document], Any], Callable[[], Document], Callable[[Document], None]]] = {
    "a record without purpose": (lambda made: made["dpv:hasProcess"][0].pop("dpv:hasPurpose"), lambda: dpv27560.record(AGREEMENT), check_record),
    "a record without jurisdiction": (lambda made: made.pop("dpv:hasJurisdiction"), lambda: dpv27560.record(AGREEMENT), check_record),
    "a record with a strange name": (lambda made: made.update(stranger=1), lambda: dpv27560.record(AGREEMENT), check_record),
    "a receipt with milliseconds": (lambda made: made.update(consentTimestamp=1.5), lambda: kantara.receipt(AGREEMENT), check_kantara),
    "a receipt without phone": (lambda made: made["piiControllers"][0].pop("phone"), lambda: kantara.receipt(AGREEMENT), check_kantara),
    "a policy that permits first": (lambda made: made.update(conflict="perm"), lambda: odrl.agreement(AGREEMENT), check_odrl),
    "a permission for nobody": (lambda made: made["permission"][0].pop("assignee"), lambda: odrl.agreement(AGREEMENT), check_odrl),
    "two actions": (lambda made: made["permission"][0].update(action=["read", "use"]), lambda: odrl.agreement(AGREEMENT), check_odrl),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_checks_can_fail(name: str) -> None:
    spoil, make, check = BROKEN[name]
    check(make())
    made = json.loads(json.dumps(make()))
    spoil(made)
    with pytest.raises((AssertionError, KeyError)):
        check(made)


def test_every_kind_has_a_category_that_dpv_knows() -> None:
    assert {about.dpv for about in KINDS.values()} == {
        "pd:BrowserHistory", "pd:BrowsingBehaviour", "pd:Interest", "pd:Intention", "pd:Purchase", "pd:PurchasesAndSpendingHabit",
    }  # fmt: skip


def test_the_vendors_key_can_be_read_back() -> None:
    assert len(base64.urlsafe_b64decode(json.loads(kantara.receipt(AGREEMENT)["publicKey"])["x"] + "=")) == 32
