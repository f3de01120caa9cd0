"""Terms, requests and agreements as ODRL 2.2 policies (Offer, Request, Agreement). Export only: a prohibition always wins."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from policies.clauses import Clause
from policies.exports.since import Changes, end, left
from policies.requests import Request
from policies.terms import Deny, Terms
from policies.times import write_duration
from policies.vocabulary import KINDS

OWN = "urn:proffer:odrl:"
"""Our own terms, where neither ODRL nor DPV has one: the fields and levels of policies.md."""

PROFILES = ["https://w3id.org/dpv/mappings/odrl#", f"{OWN}1"]
CONTEXT = [
    "http://www.w3.org/ns/odrl.jsonld",
    {
        "ai": "https://w3id.org/dpv/ai#",
        "dpv": "https://w3id.org/dpv#",
        "loc": "https://w3id.org/dpv/loc#",
        "pd": "https://w3id.org/dpv/pd#",
        "xsd": "http://www.w3.org/2001/XMLSchema#",
    },
]
EVENTS = f"{OWN}events"
_ACTIONS = {"read": "read", "write": "use", "contact": "inform", "ask": "inform"}
_USES = {"profiling": "dpv:Profiling", "tracking": "dpv:Tracking", "ai_training": "ai:ModelTraining"}

Rule = dict[str, Any]


def agreement(content: Mapping[str, Any], changes: Changes = ()) -> dict[str, Any]:
    """Return an agreement as an ODRL Agreement between the person and the vendor: what it still permits, and nothing from its end on."""
    parties = {"assigner": content["first_party"]["id"], "assignee": content["second_party"]["id"]}
    return _policy("Agreement", content["id"], [(_until(clause, end(changes)), parties) for clause in left(content, changes)])


def _until(clause: Clause, last: Mapping[str, Any] | None) -> Clause:
    """Return the clause with the end that it really had; what must be done after it stays."""
    until = clause.validity.until
    if last is None or until is None:
        return clause
    return replace(clause, validity=replace(clause.validity, until=min(until, datetime.fromisoformat(last["at"]))))


def offer(terms: Terms, person: str) -> dict[str, Any]:
    """Return terms as an ODRL Offer by `person` (an IRI): what a vendor may be given, and what nobody is."""
    uid = f"{person}:terms:{terms.version}"
    rules = [(rule.clause.with_id(rule.id), {"assigner": person, "assignee": _vendors(rule.vendors)}) for rule in terms.allow]
    policy = _policy("Offer", uid, rules)
    prohibited = [_denied(deny, f"{uid}#{deny.id}", person) for deny in terms.deny]
    return policy | {"prohibition": policy.get("prohibition", []) + prohibited} if prohibited else policy


def request(asked: Request, uid: str) -> dict[str, Any]:
    """Return a request as an ODRL Request by the vendor, under the IRI `uid`."""
    return _policy("Request", uid, [(item.clause.with_id(item.id), {"assignee": asked.facts.id}) for item in asked.items])


def _policy(type_: str, uid: str, clauses: Iterable[tuple[Clause, Mapping[str, Any]]]) -> dict[str, Any]:
    permissions: list[Rule] = []
    prohibitions: list[Rule] = []
    obligations: list[Rule] = []
    for clause, parties in clauses:
        permissions.append(_permission(clause, parties, uid))
        prohibitions += _prohibitions(clause, parties, uid)
        obligations += _obligations(clause, parties, uid)
    rules = {"permission": permissions, "prohibition": prohibitions, "obligation": obligations}
    policy = {"@context": CONTEXT, "@type": type_, "uid": uid, "profile": PROFILES, "conflict": "prohibit"}
    return policy | {name: found for name, found in rules.items() if found}


def _permission(clause: Clause, parties: Mapping[str, Any], uid: str) -> Rule:
    constraints = [_constraint("purpose", "isAnyOf", sorted(clause.purposes))] if clause.purposes else []
    for at, operator in ((clause.validity.since, "gteq"), (clause.validity.until, "lt")):
        constraints += [_constraint("dateTime", operator, _typed(at.isoformat().replace("+00:00", "Z"), "dateTime"))] if at else []
    if clause.validity.longest is not None:
        constraints.append(_constraint("elapsedTime", "lteq", _duration(clause.validity.longest)))
    constraints += [_constraint(f"{OWN}{name}", "lteq", _typed(str(count), "integer")) for name, count in sorted(clause.rate.items())]
    constraints += [_constraint(f"{OWN}channels", "isAnyOf", sorted(clause.channels))] if clause.channels else []
    return {"uid": f"{uid}#{clause.id}", "target": _target(clause), **parties, "action": _ACTIONS[clause.action], "constraint": constraints}


def _target(clause: Clause) -> dict[str, Any]:
    """Return which events, and how much of each, as refinements of the collection of all."""
    form = clause.to_json()
    refinements = []
    if clause.slice.kinds:
        refinements.append(_constraint("dpv:hasPersonalData", "isAnyOf", sorted({KINDS[kind].dpv for kind in clause.slice.kinds})))
    parts = {name: form.get(name, ["*"]) for name in ("kinds", "sites", "classes", "sensitive", "categories", "answers")}
    refinements += [_constraint(f"{OWN}{name}", "isAnyOf", part) for name, part in parts.items() if part and part != ["*"]]
    refinements += [_constraint(f"{OWN}field.{name}", "lteq", level) for name, level in sorted(form.get("fields", {}).items())]
    refinements += [_constraint(f"{OWN}window.{name}", "lteq" if name == "max_age" else "gteq", edge) for name, edge in sorted(form.get("window", {}).items())]
    return {"@type": "AssetCollection", "source": EVENTS, **({"refinement": refinements} if refinements else {})}


def _prohibitions(clause: Clause, parties: Mapping[str, Any], uid: str) -> list[Rule]:
    if clause.action != "read":
        return []
    target, duties = _target(clause), clause.duties
    rules = [{"target": target, **parties, "action": use} for name, use in _USES.items() if not getattr(duties, name)]
    if "*" not in duties.processors:
        # All constraints of a rule hold together: to others than these, and while it can still be told whose it is.
        others = [_constraint("recipient", "isNoneOf", sorted(duties.processors))] if duties.processors else []
        others += [_constraint(f"{OWN}anonymised", "eq", _typed("false", "boolean"))] if duties.onward == "anonymised" else []
        rules.append({"target": target, **parties, "action": "distribute", **({"constraint": others} if others else {})})
    return [{"uid": f"{uid}#{clause.id}-not-{number}", **rule} for number, rule in enumerate(rules, 1)]


def _obligations(clause: Clause, parties: Mapping[str, Any], uid: str) -> list[Rule]:
    """Return what must be done: each row deleted in time, all at the end, a leak told, the place kept to."""
    if clause.action != "read":
        return []
    duties = clause.duties
    actions: list[Any] = [
        _refined("delete", [_constraint("elapsedTime", "lteq", _duration(duties.retention))]),
        _refined("delete", [_constraint("delayPeriod", "lteq", _duration(duties.on_end)), _constraint("event", "gt", "odrl:policyUsage")]),
        _refined("inform", [_constraint("delayPeriod", "lteq", _duration(duties.breach_notice)), _constraint("event", "gt", f"{OWN}leak")]),
    ]
    if "*" not in duties.storage:
        actions.append(_refined("dpv:Store", [_constraint("spatial", "isAnyOf", [f"loc:{region}" for region in sorted(duties.storage)])]))
    if duties.portability:
        actions.append("dpv:MakeAvailable")
    return [{"uid": f"{uid}#{clause.id}-must-{number}", "target": _target(clause), **parties, "action": action} for number, action in enumerate(actions, 1)]


def _denied(deny: Deny, uid: str, person: str) -> Rule:
    """Return a deny: no use by anybody (or by some) of what it names."""
    form = deny.to_json()
    refinements = [_constraint(f"{OWN}{name}", "isAnyOf", form[name]) for name in ("kinds", "sites", "classes", "categories", "fields") if name in form]
    rule: Rule = {
        "uid": uid,
        "target": {"@type": "AssetCollection", "source": EVENTS, **({"refinement": refinements} if refinements else {})},
        "assigner": person,
        "action": "use",
    }
    constraints = [_constraint("purpose", "isAnyOf", form["purposes"])] if "purposes" in form else []
    constraints += [_constraint(f"{OWN}action", "isAnyOf", form["actions"])] if "actions" in form else []
    rule |= {"assignee": _vendors(deny.vendors)} if deny.vendors is not None else {}
    return rule | ({"constraint": constraints} if constraints else {})


def _vendors(vendors: Iterable[str]) -> dict[str, str]:
    return {"@type": "PartyCollection", "uid": f"{OWN}vendors:{','.join(sorted(vendors))}"}


def _refined(action: str, refinements: list[dict[str, Any]]) -> list[dict[str, Any]]:
    core = {"delete", "inform"}
    return [{"rdf:value": {"@id": f"odrl:{action}" if action in core else action}, "refinement": refinements}]


def _constraint(left: str, operator: str, right: Any) -> dict[str, Any]:
    return {"leftOperand": left, "operator": operator, "rightOperand": right}


def _typed(value: str, type_: str) -> dict[str, str]:
    return {"@value": value, "@type": f"xsd:{type_}"}


def _duration(hours: int) -> dict[str, str]:
    return _typed(write_duration(hours), "duration")
