"""Terms in plain sentences: rules, denies, roster agreements, what changed, and what a deny takes from a running grant."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from policies.clauses import Clause
from policies.explain import clause_sentences, ending, join
from policies.purposes import PURPOSES
from policies.roster import ROSTER
from policies.slices import ANY, NONE, CarveOut, Slice, normal_fields
from policies.terms import Deny, Rule, Terms
from policies.vocabulary import DIMENSIONS, FIELDS, KINDS, SENSITIVE_CATEGORIES, SENSITIVE_CLASSES

REQUESTS: Mapping[str, str] = {
    "AgentAllowsRequests": "Any vendor may ask you.",
    "AgentAllowsRequestsOnlyKnownParty": "Only vendors you bought from or had an agreement with may ask you. Others are refused without being shown to you.",
    "AgentAllowsRequestsOnlyPriorAgreementParty": "Only vendors you had an agreement with may ask you. Others are refused without being shown to you.",
    "AgentDisallowsRequests": "Nobody may ask you. Every request is refused without being shown to you.",
}
"""From whom requests are taken (IEEE 7012) -> the sentence."""

TEMPLATES: Mapping[str, str] = {
    "roster": "They may use it {allowed}; they may not {refused}; {copy}.",
    "copy": "they must give you a copy when you ask",
    "no copy": "whether you get a copy is up to them",
    "vendors": "any vendor",
    "known": "vendors you bought from",
    "prior-agreement": "vendors you had an agreement with",
    "class": "vendors of the kind “{name}”",
    "member": "members of “{name}”",
    "base": "It stands on the agreement {base}: {sentence}",
    "ending": "A grant by this rule",
    "blocked": "{who} may see nothing, and what they ask is refused without being shown to you.",
    "nobody": "Nobody may {verbs} {what}.",
    "some": "{who} may not {verbs} {what}.",
    "extension": "Your extension may not add {what}.",
    "extension too": "Your extension may not add that either.",
    "read": "see",
    "contact": "write to you about",
    "ask": "ask you about",
    "anything": "anything",
    "fields": "the {fields} of {kinds}",
    "sites": " on {sites}",
    "classes": " on {classes} sites",
    "categories": ", where it is about {categories}",
    "purposes": ", if it is to {purposes}",
    "general base": "The agreement your rules stand on was {old} and is {new}.",
    "general requests": "Who may ask: {new}",
    "added": "New: “{name}”. {text}",
    "removed": "Gone: “{name}”. {text}",
    "changed": "Changed: “{name}”. {text}",
    "stops": "{name} may {verb} nothing more of this.",
    "stops purpose": "{name} may no longer use it to {purposes}.",
    "loses": "{name} may no longer {verb} {what}.",
    "comes back": "{name} may again {verb} {what}.",
    "comes back whole": "{name} may {verb} this again, as you gave it.",
    "comes back purpose": "{name} may again use it to {purposes}.",
}
"""One template per dimension, and those that put dimensions together; another language is another such table."""

_DIMENSIONS: Mapping[str, str] = {**DIMENSIONS, "fields": "What is shown of each", "": "Everything"}
_FAMILIES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "SD": ("serve me", ("give you the service you asked for",)),
    "PDC-INTENT": ("answer what I want to buy", ("answer what you want to buy", "tell you about their products")),
    "PDC-AI": ("do research and train AI", ("do research", "train AI")),
    "PDC-GOOD": ("serve the public", ("serve the public", "do research that earns no money")),
}
_USES: Mapping[str, tuple[str, str]] = {
    "analytics": ("analyse", "analyse how you use their service"),
    "tracking": ("track", "track you"),
    "profiling": ("profile", "build a profile of you"),
    "anonymised": ("pass on anonymously", "pass it on once nobody can tell that it is yours"),
}


def roster_label(base: str) -> str:
    """Name a roster agreement in a few words, such as `To serve me, analyse and track`."""
    row = ROSTER[base]
    uses = [short for use, (short, _) in _USES.items() if getattr(row, use)]
    name = f"To {join([_FAMILIES[row.family][0], *uses], 'and')}"
    return f"{name}, with a copy for me" if row.family == "SD" and row.portability else name


def roster_sentence(base: str) -> str:
    """Say in one sentence what a roster agreement lets vendors do."""
    row = ROSTER[base]
    uses = {use: words for use, (_, words) in _USES.items()}
    allowed = [f"to {words}" for words in (*_FAMILIES[row.family][1], *(words for use, words in uses.items() if getattr(row, use)))]
    refused = ["pass it on" if use == "anonymised" else words for use, words in uses.items() if not getattr(row, use)]
    if row.anonymised:
        refused.append("let others track or profile you")
    copy = TEMPLATES["copy" if row.portability else "no copy"]
    return TEMPLATES["roster"].format(allowed=join(allowed, "and"), refused=join(refused, "or"), copy=copy)


def vendors(names: Iterable[str]) -> str:
    """Name vendors and classes of vendors."""
    return join((_vendor(name) for name in sorted(names, key=lambda name: ("://" not in name, name))), "or")


def _vendor(name: str) -> str:
    if name == "*":
        return TEMPLATES["vendors"]
    if name in TEMPLATES:
        return TEMPLATES[name]
    kind, _, rest = name.partition(":")
    return TEMPLATES[kind].format(name=rest) if kind in ("class", "member") else name.removeprefix("https://")


def _subject(names: Iterable[str]) -> str:
    """Begin a sentence with vendors: a domain keeps its small letter."""
    said, named = vendors(names), any("://" in name for name in names)
    return said if named else said[0].upper() + said[1:]


def rule_sentences(rule: Rule, base: str) -> list[str]:
    """Say what an allow rule lets be offered; its own agreement only where it is not that of the terms."""
    sentences = clause_sentences(rule.clause, _subject(rule.vendors))
    if rule.clause.base not in ("", base):
        sentences.append(TEMPLATES["base"].format(base=rule.clause.base, sentence=roster_sentence(rule.clause.base)))
    return [*sentences, ending(rule.clause.validity, TEMPLATES["ending"])]


def deny_sentence(deny: Deny) -> str:
    """Say what a deny forbids, and to whom."""
    what = _what(deny)
    if deny.is_whole and deny.vendors is not None and "*" not in deny.vendors:
        return TEMPLATES["blocked"].format(who=_subject(deny.vendors))
    anybody = deny.vendors is None or "*" in deny.vendors
    # The extension is nobody's vendor, and has no purpose.
    adds = anybody and deny.purposes is None and (deny.actions is None or "write" in deny.actions)
    if deny.actions == frozenset({"write"}):
        return TEMPLATES["extension"].format(what=what)
    verbs = join((TEMPLATES[action] for action in ("read", "contact", "ask") if deny.actions is None or action in deny.actions), "or")
    if deny.actions is None:
        verbs = TEMPLATES["read"]
    who = "" if anybody else _subject(deny.vendors or ())
    sentence = TEMPLATES["nobody" if anybody else "some"].format(who=who, verbs=verbs, what=what)
    return f"{sentence} {TEMPLATES['extension too']}" if adds else sentence


def _what(deny: Deny) -> str:
    """Return what a deny takes away: fields, kinds, sites, classes, categories, purposes."""
    kinds = join((about.label for kind, about in KINDS.items() if kind in (deny.kinds or ())), "or") or TEMPLATES["anything"]
    parts = {
        "fields": join((FIELDS[name].noun for name in FIELDS if name in (deny.fields or ())), "or"),
        "sites": join((site.removeprefix("=") for site in sorted(deny.sites or ())), "or"),
        "classes": join(sorted(deny.classes or ()), "or"),
        "categories": join(sorted(deny.categories or ()), "or"),
        "purposes": join((about.label for name, about in PURPOSES.items() if name in (deny.purposes or ())), "or"),
    }
    said = TEMPLATES["fields"].format(fields=parts.pop("fields"), kinds=kinds) if parts["fields"] else kinds
    return said + "".join(TEMPLATES[name].format(**{name: words}) for name, words in parts.items() if words)


def terms_sentences(terms: Terms) -> list[str]:
    """Say whom the person hears, what the terms stand on, what they allow, rule by rule, and what they forbid."""
    rules = [" ".join(rule_sentences(rule, terms.base)) for rule in terms.allow]
    general = [REQUESTS[terms.requests], TEMPLATES["base"].format(base=terms.base, sentence=roster_sentence(terms.base))]
    return [*general, *rules, *(deny_sentence(deny) for deny in terms.deny)]


def changes(old: Terms, new: Terms) -> list[str]:
    """Say what is different in `new`, one sentence for each rule and each general condition."""
    lines = []
    if old.base != new.base:
        lines.append(TEMPLATES["general base"].format(old=old.base, new=f"{new.base}. {roster_sentence(new.base)}".removesuffix(".")))
    if old.requests != new.requests:
        lines.append(TEMPLATES["general requests"].format(new=REQUESTS[new.requests]))
    before, after = _said(old), _said(new)
    known, now = _alone(old), _alone(new)
    for name, (label, text) in after.items():
        if known.get(name) != now[name]:
            lines.append(TEMPLATES["changed" if name in before else "added"].format(name=label, text=text))
    return lines + [TEMPLATES["removed"].format(name=label, text=text) for name, (label, text) in before.items() if name not in after]


def _alone(terms: Terms) -> dict[str, Rule | Deny]:
    """Return rules by id, without the agreement they take from the terms: where that changes, it is said once."""
    alone = {rule.id: replace(rule, clause=replace(rule.clause, base="")) for rule in terms.allow if rule.clause.base == terms.base}
    return {**terms.rules, **alone}


def _said(terms: Terms) -> dict[str, tuple[str, str]]:
    """Return rule id -> its name and its first sentence."""
    rules = {rule.id: (rule.label or rule.id, rule_sentences(rule, terms.base)[0]) for rule in terms.allow}
    return rules | {deny.id: (deny.id, deny_sentence(deny)) for deny in terms.deny}


def within(deny: Deny, clause: Clause) -> Deny | None:
    """Return the part of a deny that takes something from a clause, or None where it takes nothing.

    Whether it speaks of the vendor and the action is for the caller to ask.
    """
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
        part = replace(part, kinds=clause.slice.kinds)
    return f"{label}: {template.format(name=name, verb=verb, what=_what(part), purposes=purposes)}"


def effects(old: Sequence[Deny], new: Sequence[Deny], clause: Clause, name: str) -> list[str]:
    """Say what a clause of a running grant loses by the denies that come, and gets back by those that go."""
    lost = [shrinking(deny, clause, name) for deny in new if deny not in old]
    again = [shrinking(deny, clause, name, back=True) for deny in old if deny not in new]
    return [line for line in (*lost, *again) if line is not None]
