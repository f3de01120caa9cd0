"""One change of the terms, from the form that asks for it: the same form is looked at first and then saved."""

from dataclasses import dataclass, field
from typing import Any, Final

from werkzeug.datastructures import MultiDict

from broker.errors import BadRequest, NotFound, Unprocessable
from broker.terms import forms, schemas
from broker.terms.actions import JOINABLE, free_id
from broker.terms.forms import MISTAKES, Form, Mistakes
from policies.terms import REQUESTS, Deny, Rule, Terms

OWN: Final = frozenset({"csrf_token", "based_on"})


class Mistaken(Exception):
    """A form that cannot be used; `mistakes` are sentences by field."""

    def __init__(self, mistakes: Mistakes) -> None:
        super().__init__("; ".join(mistakes.values()))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class Change:
    """What a form would make of the terms: `document` is the whole new version, `about` goes into the ledger."""

    what: str
    terms: Terms
    document: dict[str, Any]
    about: dict[str, Any]
    said: Form = field(repr=False)

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The form again, field by field, to be carried through the page that shows the effects."""
        return [(name, value) for name, value in self.said.items(multi=True) if name not in OWN]


def rule_of(terms: Terms, rule_id: str) -> tuple[str, dict[str, Any]]:
    """(allow or deny, the rule as it was written); `NotFound` where these terms have none of this id."""
    for part in ("allow", "deny"):
        found = next((rule for rule in terms.document[part] if rule["id"] == rule_id), None)
        if found is not None:
            return part, found
    raise NotFound


def read(form: Form, terms: Terms, earlier: Terms | None = None) -> Change:
    """The change that a form asks of the terms in force; `earlier` is the version to be restored, where it is about one.

    Raises `Mistaken` for what its person can mend, `NotFound` for a rule that is gone, `BadRequest` for no form of ours.
    """
    what = form.get("what", "")
    readers = {"general": _general, "allow": _rule, "deny": _rule, "remove": _remove, "unblock": _unblock}
    if what == "restore" and earlier is not None:
        document, about = earlier.to_json(), {"change": "restore", "restored": int(form["number"])}
    elif what in readers:
        document, about = readers[what](form, terms)
    else:
        raise BadRequest("This form could not be read. Nothing was changed; open your terms again.")
    try:
        return Change(what, schemas.read(document), document, about, MultiDict(form))
    except Unprocessable as refused:
        raise Mistaken(_by_field(refused, document, about)) from None


def _by_field(refused: Unprocessable, document: dict[str, Any], about: dict[str, Any]) -> Mistakes:
    """Pointers into the new document as sentences beside the fields of the rule that it is about."""
    part = about["change"]
    places = [f"/{part}/{number}" for number, rule in enumerate(document.get(part, ())) if rule["id"] == about.get("rule")]
    mistakes: Mistakes = {}
    for each in refused.errors:
        mine = bool(places) and each["pointer"].startswith(places[0])
        name = forms.field_of(each["pointer"].removeprefix(places[0])) if mine else ""
        mistakes[name] = MISTAKES[name] if name else f"{each['pointer']}: {each['detail']}"
    return mistakes


def _general(form: Form, terms: Terms) -> tuple[dict[str, Any], dict[str, Any]]:
    document = terms.to_json()
    document |= {"base": form.get("base", terms.base), "requests": form.get("requests", terms.requests)}
    return document, {"change": "general"}


def _rule(form: Form, terms: Terms) -> tuple[dict[str, Any], dict[str, Any]]:
    """A rule added, or put in the place of the one it was."""
    part, document, old_id = form["what"], terms.to_json(), form.get("rule", "")
    old: dict[str, Any] = {}
    if old_id:
        place, old = rule_of(terms, old_id)
        if place != part:
            raise NotFound
    if part == "allow":
        rule_id = old_id or free_id(terms, form.get("label", ""))
        rule, mistakes = forms.allow(form, rule_id, old)
        if mistakes:
            raise Mistaken(mistakes)
    else:
        rule = forms.deny(form, old_id or free_id(terms, forms.deny_id(form)), old)
    same = [rule if each["id"] == old_id else each for each in document[part]]
    document[part] = same if old_id else [*same, rule]
    return document, {"change": part, "rule": rule["id"]}


def _remove(form: Form, terms: Terms) -> tuple[dict[str, Any], dict[str, Any]]:
    document, rule_id = terms.to_json(), form.get("rule", "")
    part, _ = rule_of(terms, rule_id)
    document[part] = [rule for rule in document[part] if rule["id"] != rule_id]
    return document, {"change": "remove", "rule": rule_id}


def _unblock(form: Form, terms: Terms) -> tuple[dict[str, Any], dict[str, Any]]:
    """Every block by name without this vendor; a block of nobody else goes."""
    document, vendor = terms.to_json(), form.get("vendor", "")
    if vendor not in terms.blocked:
        raise NotFound
    whole = {deny.id for deny in terms.deny if deny.is_whole}
    kept = []
    for rule in document["deny"]:
        if rule["id"] not in whole or vendor not in rule.get("vendors", ()):
            kept.append(rule)
        elif len(rule["vendors"]) > 1:
            kept.append({**rule, "vendors": [name for name in rule["vendors"] if name != vendor]})
    return {**document, "deny": kept}, {"change": "unblock", "vendor": vendor}


def differing(old: Terms, new: Terms) -> list[Rule | Deny]:
    """The rules of the new version that are new or not as they were."""
    known = old.rules
    return [rule for name, rule in new.rules.items() if known.get(name) != rule]


def is_looser(old: Terms, new: Terms) -> bool:
    """Whether the new version could let anything through that the old one keeps; where that is hard to tell, it says so too."""
    asking = REQUESTS.index(new.requests) < REQUESTS.index(old.requests)
    allowing = not all(any((rule.vendors <= each.vendors or "*" in each.vendors) and rule.clause <= each.clause for each in old.allow) for rule in new.allow)
    forbidding = all(any(_forbids_all_of(each, deny) for each in new.deny) for deny in old.deny)
    return asking or allowing or not forbidding


def _forbids_all_of(deny: Deny, other: Deny) -> bool:
    """Whether a deny takes whatever the other one takes: in each of its lists it is open or names as much."""
    parts = [(getattr(deny, name), getattr(other, name)) for name in ("purposes", *JOINABLE)]
    return all(mine is None or (theirs is not None and theirs <= mine) for mine, theirs in parts)


def is_same(old: Terms, new: Terms) -> bool:
    """Whether nothing would change; the number of the version does not count."""
    return (old.base, old.requests, old.allow, old.deny) == (new.base, new.requests, new.allow, new.deny)


