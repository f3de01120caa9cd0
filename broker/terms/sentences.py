"""What a change of terms does, in plain sentences: to the terms themselves, and to a clause of a running grant."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from policies import explain_terms
from policies.clauses import Clause
from policies.explain import join
from policies.meeting import ANY
from policies.purposes import PURPOSES
from policies.slices import NONE, CarveOut, Slice, normal_fields
from policies.terms import Deny, Rule, Terms
from policies.vocabulary import DIMENSIONS, FIELDS, KINDS, SENSITIVE_CATEGORIES, SENSITIVE_CLASSES

TEMPLATES: Mapping[str, str] = {
    "general base": "The agreement your rules stand on was {old} and is {new}. {meaning}",
    "agreement": "“{label}” ({base})",
    "general requests": "Who may ask: {new}",
    "added": "New: {text}",
    "removed": "Gone: {text}",
    "changed": "Changed: {text}",
    "named": "“{label}”. {text}",
    "renamed": "“{before}” is now called “{label}”. {text}",
    "in its place": "“{before}” is now “{after}”.",
    "stops": "{name} may {verb} nothing more of this.",
    "stops purpose": "{name} may no longer use it to {purposes}.",
    "loses": "{name} may no longer {verb} {what}.",
    "comes back": "{name} may again {verb} {what}.",
    "comes back whole": "{name} may {verb} this again, as you gave it.",
    "comes back purpose": "{name} may again use it to {purposes}.",
    "grant": "{kinds}, to {purposes}",
    "nothing": "Nothing could be offered by it: {why}.",
    "nothing requests": "your terms let nobody ask you",
    "nothing agreement": "the agreement it stands on allows none of these purposes",
    "nothing over": "its time is over or has not begun",
    "nothing sensitive": "it names only sensitive subjects, and lets none of them in",
    "nothing denied": "what is never given takes all of it",
}
"""One template for each thing that can change; another language is another such table."""

_DIMENSIONS: Mapping[str, str] = {**DIMENSIONS, "fields": "What is shown of each", "": "Everything"}


def changes(old: Terms, new: Terms) -> list[str]:
    """Say what is different in `new`, one sentence for each rule and each general condition."""
    lines = []
    if old.base != new.base:
        was, is_now = (TEMPLATES["agreement"].format(label=explain_terms.roster_label(base), base=base) for base in (old.base, new.base))
        lines.append(TEMPLATES["general base"].format(old=was, new=is_now, meaning=explain_terms.roster_sentence(new.base)))
    if old.requests != new.requests:
        lines.append(TEMPLATES["general requests"].format(new=explain_terms.REQUESTS[new.requests]))
    before, after = _alone(old), _alone(new)
    for rule_id, rule in new.rules.items():
        if rule_id not in before:
            lines.append(TEMPLATES["added"].format(text=_said(rule, new)))
        elif before[rule_id] != after[rule_id]:
            lines.append(TEMPLATES["changed"].format(text=_different(old.rules[rule_id], rule, old, new)))
    return lines + [TEMPLATES["removed"].format(text=_said(rule, old)) for rule_id, rule in old.rules.items() if rule_id not in after]


def grant(clauses: Sequence[Clause]) -> str:
    """Say in a few words what a grant is about, so that two of one vendor are told apart."""
    kinds = join((about.label for kind, about in KINDS.items() if any(kind in clause.slice.kinds for clause in clauses)), "and")
    purposes = join((about.label for name, about in PURPOSES.items() if any(name in clause.purposes for clause in clauses)), "or")
    return TEMPLATES["grant"].format(kinds=kinds, purposes=purposes) if purposes else kinds


def nothing(why: str) -> str:
    """Say why an allow rule lets nothing through: requests, agreement, over, sensitive or denied."""
    return TEMPLATES["nothing"].format(why=TEMPLATES[f"nothing {why}"])


def _alone(terms: Terms) -> dict[str, Rule | Deny]:
    """Return rules by id, without the agreement they take from the terms: where that changes, it is said once."""
    alone = {rule.id: replace(rule, clause=replace(rule.clause, base="")) for rule in terms.allow if rule.clause.base == terms.base}
    return {**terms.rules, **alone}


def _said(rule: Rule | Deny, terms: Terms) -> str:
    """Say a rule in short: what it is called, where its person gave it a name, and its first sentence."""
    if isinstance(rule, Deny):
        return explain_terms.deny_sentence(rule)
    text = explain_terms.rule_sentences(rule, terms.base)[0]
    return TEMPLATES["named"].format(label=rule.label, text=text) if rule.label else text


def _different(before: Rule | Deny, rule: Rule | Deny, old: Terms, new: Terms) -> str:
    """Say what a rule says now and did not say before."""
    if isinstance(before, Deny) or isinstance(rule, Deny):
        return TEMPLATES["in its place"].format(before=explain_terms.name(before), after=explain_terms.name(rule))
    known = explain_terms.rule_sentences(before, old.base)
    said = explain_terms.rule_sentences(rule, new.base)
    text = " ".join([sentence for sentence in said if sentence not in known] or said[:1])
    if before.label != rule.label:
        return TEMPLATES["renamed"].format(before=explain_terms.name(before), label=explain_terms.name(rule), text=text)
    return TEMPLATES["named"].format(label=explain_terms.name(rule), text=text)


def within(deny: Deny, clause: Clause) -> Deny | None:
    """Return the part of a deny that takes something from a clause, or None where it takes nothing.

    Whether it speaks of the vendor and the action is for the caller to ask.
    """
    if clause.action == "write" and deny.fields is not None:
        # An upload is judged by whole events (K3).
        return None
    purposes = None if deny.purposes is None else frozenset(purpose for purpose in clause.purposes if deny.hits(purpose))
    if purposes is not None and not purposes:
        return None
    carve = deny.carve_out
    if carve is None:
        return replace(deny, purposes=None if purposes == clause.purposes else purposes)
    part = _met(carve, clause.slice)
    if part is None:
        return None
    shared = (part.kinds, part.sites, part.classes, part.categories, part.fields)
    return Deny(deny.id, deny.vendors, deny.actions, None if purposes == clause.purposes else purposes, *shared)


def _met(carve: CarveOut, part: Slice) -> CarveOut | None:
    """Return kinds, sites, classes, categories and fields that a carve-out and a slice share; None in it where it takes all of them."""
    kinds = part.kinds if carve.kinds is None else part.kinds & carve.kinds
    shut = frozenset((*SENSITIVE_CLASSES, *SENSITIVE_CATEGORIES)) - part.sensitive
    both = part & Slice(kinds=kinds, sites=carve.sites or ANY, classes=carve.classes or ANY, categories=carve.categories or ANY, form=part.form)
    # A deny of fields speaks by all items of an event, also by those that the slice leaves out.
    categories = both.categories if carve.fields is None else carve.categories or ANY
    tops = categories if carve.fields is not None else frozenset(path for path in categories if path.partition("/")[0] not in shut)
    if not (kinds and both.sites and both.classes - shut and tops):
        return None
    fields = None
    if carve.fields is not None:
        left = normal_fields({name: level for name, level in part.fields.items() if name not in carve.fields}, part.kinds)
        fields = frozenset(part.fields) - frozenset(left)
        if not fields:
            return None
    shared = {"kinds": kinds, "sites": both.sites, "classes": both.classes - shut, "categories": tops}
    whole = {"kinds": part.kinds, "sites": part.sites, "classes": part.classes, "categories": part.categories}
    narrowed = {name: None if getattr(carve, name) is None or shared[name] == whole[name] else shared[name] for name in shared}
    return CarveOut(**narrowed, fields=fields)


def shrinking(deny: Deny, clause: Clause, name: str, *, back: bool = False) -> str | None:
    """Say by dimension what a deny takes from a clause of a running grant, or what comes back when it goes; None for nothing."""
    part = within(deny, clause)
    if part is None:
        return None
    verb = "add" if clause.action == "write" else "see"
    dims = [dim for dim in ("kinds", "sites", "classes", "categories", "fields", "purposes") if getattr(part, dim) is not None]
    if not dims:
        template = TEMPLATES["comes back whole" if back else "stops"]
    elif dims == ["purposes"]:
        template = TEMPLATES["comes back purpose" if back else "stops purpose"]
    else:
        template = TEMPLATES["comes back" if back else "loses"]
    purposes = join((PURPOSES[each].label for each in sorted(part.purposes or NONE)), "or")
    label = ", ".join(_DIMENSIONS[dim] for dim in dims) or _DIMENSIONS[""]
    if part.fields is not None and part.kinds is None:
        part = replace(part, kinds=frozenset(kind for kind in clause.slice.kinds if any(kind in FIELDS[hidden].kinds for hidden in part.fields)))
    return f"{label}: {template.format(name=name, verb=verb, what=explain_terms.what(part), purposes=purposes)}"


def effects(old: Sequence[Deny], new: Sequence[Deny], clause: Clause, name: str) -> list[str]:
    """Say what a clause of a running grant loses by the denies that come, and gets back by those that go."""
    lost = [shrinking(deny, clause, name) for deny in new if deny not in old]
    again = [shrinking(deny, clause, name, back=True) for deny in old if deny not in new]
    return [line for line in (*lost, *again) if line is not None]
