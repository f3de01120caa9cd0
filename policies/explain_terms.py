"""Terms in plain sentences: rules, denies and roster agreements."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from policies.explain import category, clause_sentences, ending, join, site
from policies.negotiate import Proposal, capped
from policies.purposes import PURPOSES
from policies.roster import ROSTER
from policies.terms import Deny, Rule, Terms
from policies.vocabulary import FIELDS, KINDS

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
    "no purpose": "Its agreement allows none of these purposes, so nothing can be offered by it.",
    "ending": "A grant by this rule",
    "blocked": "{who} may see nothing, and what they ask is refused without being shown to you.",
    "nobody": "Nobody may {verbs} {what}.",
    "some": "{who} may not {verbs} {what}.",
    "extension": "Your extension may not add {what}.",
    "extension whole": "What your extension adds is taken or refused whole, so a rule about single details of it forbids nothing.",
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
}
"""One template per dimension, and those that put dimensions together; another language is another such table."""

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
    """Say what an allow rule lets be offered, no more than its agreement allows; which one that is, only where it is not that of the terms."""
    # Which agreement it is stands in a sentence of its own, with what it means.
    clause = replace(capped(rule.clause), base="")
    # With no purpose left it offers nothing, and the purposes that were meant say why.
    sentences = clause_sentences(clause if clause.purposes else replace(clause, purposes=rule.clause.purposes), _subject(rule.vendors))
    if rule.clause.purposes and not clause.purposes:
        sentences.append(TEMPLATES["no purpose"])
    if rule.clause.base not in ("", base):
        sentences.append(TEMPLATES["base"].format(base=rule.clause.base, sentence=roster_sentence(rule.clause.base)))
    return [*sentences, ending(rule.clause.validity, TEMPLATES["ending"])]


def name(rule: Rule | Deny) -> str:
    """Return how its person knows a rule: by the label they gave it, else by what it says first. Ids are for files."""
    if isinstance(rule, Rule):
        return rule.label or clause_sentences(rule.clause, _subject(rule.vendors))[0].removesuffix(".")
    return _forbids(rule).removesuffix(".")


def named(proposal: Proposal, terms: Terms) -> Proposal:
    """Return a proposal whose narrowings name the rules as their person knows them."""
    rules = terms.rules
    lines = tuple(replace(line, said=name(rules[line.rule])) if line.rule else line for line in proposal.narrowed)
    return replace(proposal, narrowed=lines)


def deny_sentence(deny: Deny) -> str:
    """Say what a deny forbids, and to whom."""
    # The extension is nobody's vendor, has no purpose, and adds events whole (K3).
    anybody = deny.vendors is None or "*" in deny.vendors
    adds = anybody and deny.purposes is deny.fields is None and (deny.actions is None or {"write"} < deny.actions)
    return f"{_forbids(deny)} {TEMPLATES['extension too']}" if adds else _forbids(deny)


def _forbids(deny: Deny) -> str:
    """Return what is said first of a deny: all but that the extension may not add it either."""
    said = what(deny)
    if deny.is_whole and deny.vendors is not None and "*" not in deny.vendors:
        return TEMPLATES["blocked"].format(who=_subject(deny.vendors))
    if deny.actions == frozenset({"write"}):
        return TEMPLATES["extension"].format(what=said) if deny.fields is None else TEMPLATES["extension whole"]
    verbs = join((TEMPLATES[action] for action in ("read", "contact", "ask") if deny.actions is None or action in deny.actions), "or")
    if deny.actions is None:
        verbs = TEMPLATES["read"]
    if deny.vendors is None or "*" in deny.vendors:
        return TEMPLATES["nobody"].format(verbs=verbs, what=said)
    return TEMPLATES["some"].format(who=_subject(deny.vendors), verbs=verbs, what=said)


def what(deny: Deny) -> str:
    """Return what a deny takes away: fields, kinds, sites, classes, categories, purposes."""
    kinds = join((about.label for kind, about in KINDS.items() if kind in (deny.kinds or ())), "or") or TEMPLATES["anything"]
    parts = {
        "fields": join((FIELDS[name].noun for name in FIELDS if name in (deny.fields or ())), "or"),
        "sites": join((site(name) for name in sorted(deny.sites or ())), "or"),
        "classes": join(sorted(deny.classes or ()), "or"),
        "categories": join((category(path) for path in sorted(deny.categories or ())), "or"),
        "purposes": join((about.label for name, about in PURPOSES.items() if name in (deny.purposes or ())), "or"),
    }
    said = TEMPLATES["fields"].format(fields=parts.pop("fields"), kinds=kinds) if parts["fields"] else kinds
    return said + "".join(TEMPLATES[name].format(**{name: words}) for name, words in parts.items() if words)


def terms_sentences(terms: Terms) -> list[str]:
    """Say whom the person hears, what the terms stand on, what they allow, rule by rule, and what they forbid."""
    rules = [" ".join(rule_sentences(rule, terms.base)) for rule in terms.allow]
    general = [REQUESTS[terms.requests], TEMPLATES["base"].format(base=terms.base, sentence=roster_sentence(terms.base))]
    return [*general, *rules, *(deny_sentence(deny) for deny in terms.deny)]
