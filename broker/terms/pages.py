"""The pages of the terms: rules as sentences, what a change would do before it is saved, every version, and blocks."""

from typing import Any, Final

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.datastructures import MultiDict

from broker import current, errors
from broker.confirming import fresh
from broker.grants import queries as grants
from broker.oauth import queries as oauth
from broker.session import own_path, person, signed_in
from broker.terms import actions, changes, effects, folds, forms, queries, sentences
from broker.terms.changes import Mistaken
from broker.terms.forms import Form, Mistakes
from broker.vendors import queries as vendors
from broker.words import many
from policies import explain_terms
from policies.purposes import PURPOSES
from policies.roster import ROSTER
from policies.terms import DEFAULT_TERMS, Terms
from policies.vocabulary import ANSWERS, CATEGORIES, FIELDS, HIDDEN, KINDS, SENSITIVE, SITE_CLASSES

pages: Final = Blueprint("terms", __name__)
SAVED: Final = {
    "general": "Your terms are saved.", "allow": "The rule is saved.", "deny": "The rule is saved.", "remove": "The rule is gone.",
    "restore": "The earlier version is in force again.", "unblock": "Unblocked. The vendor may ask you again.",
}  # fmt: skip
_ANSWERS: Final = {
    "frequency": "How often you bought", "monetary": "Roughly how much you spent", "recency": "How many weeks ago you last bought",
}  # fmt: skip
_ACTIONS: Final = {"read": "see it", "write": "add it (your own extension)", "contact": "write to you about it", "ask": "ask you about it"}
_USES: Final = {"profiling": "build a profile of you", "tracking": "track you", "ai_training": "train AI with it"}
_ONWARD: Final = {"none": "Nobody", "processors": "Those who work for them, by name", "anonymised": "Also others, once nobody can tell that it is yours"}


def _in_force() -> tuple[int, Terms]:
    with current.broker().reading() as tx:
        number = queries.version(tx, person().person_id)
        return number, queries.at(tx, person().ring, number)


@pages.get("/terms")
@signed_in
def index() -> Any:
    """The terms in force, as sentences."""
    return _index()


def _index(mistakes: Mistakes | None = None) -> Any:
    """The terms in force; with mistakes, as the form of a block was filled in."""
    broker, who = current.broker(), person()
    with broker.reading() as tx:
        number = queries.version(tx, who.person_id)
        terms = queries.at(tx, who.ring, number)
        last = sentences.changes(queries.at(tx, who.ring, number - 1), terms) if number else []
        made_at = queries.made_at(tx, who.person_id, number)
        undoes = queries.last_change(tx, who.person_id, number)
        given = grants.every(tx, who.ring)
        asking = [vendors.client(tx, each.client_id) for each in oauth.waiting(tx, who.person_id, broker.now())]
    met = {grant.vendor_id: grant.domain for grant in given if grant.vendor_id} | {each.vendor_id: each.domain for each in asking if each and each.vendor_id}
    running = [grant.vendor_id for grant in given if grant.state(broker.now()) in grants.LIVE]
    blocked = [(vendor, vendor.partition("://")[2], running.count(vendor)) for vendor in terms.blocked]
    page = render_template(
        "terms/index.html", errors=mistakes or {}, failed=bool(mistakes), typed=request.form.get("vendor", ""),
        terms=terms, number=number, made_at=made_at, last=last, undoes=undoes, words=explain_terms, now=broker.now(), blocked=blocked,
        met=sorted((domain, vendor) for vendor, domain in met.items() if vendor not in terms.blocked), is_default=changes.is_same(terms, DEFAULT_TERMS),
        denies=[deny for deny in terms.deny if not (deny.is_whole and deny.vendors is not None and deny.vendors <= set(terms.blocked))],
    )  # fmt: skip
    return page, 422 if mistakes else 200


@pages.get("/terms/general")
@signed_in
def general() -> Any:
    """The form of what stands above the rules: who may ask, and the agreement the rules stand on."""
    number, terms = _in_force()
    return _form(MultiDict({"what": "general", "base": terms.base, "requests": terms.requests}), number)


@pages.get("/terms/<any(allow, deny):what>")
@signed_in
def new_rule(what: str) -> Any:
    """An empty form for a rule."""
    form = forms.blank(what)
    form["what"] = what
    return _form(form, _in_force()[0])


@pages.get("/terms/rules/<rule_id>")
@signed_in
def rule(rule_id: str) -> Any:
    """The form of one rule, filled in."""
    number, terms = _in_force()
    what, written = changes.rule_of(terms, rule_id)
    if what == "allow" and written["action"] != "read":
        raise errors.NotFound("This kind of rule can only be changed from a file, or removed.")
    form = forms.filled(what, written)
    form["what"] = what
    return _form(form, number)


def _form(form: Form, number: int, mistakes: Mistakes | None = None) -> Any:
    """The form of a change, as filled in so far."""
    if form["what"] == "general":
        bases = [(base, explain_terms.roster_label(base), explain_terms.roster_sentence(base)) for base in ROSTER]
        requests = list(explain_terms.REQUESTS.items())
        page = render_template("terms/general.html", form=form, number=number, errors=mistakes or {}, failed=bool(mistakes), requests=requests, bases=bases)
    else:
        page = render_template("terms/rule.html", form=form, number=number, errors=mistakes or {}, failed=bool(mistakes), said=folds.said(form), **_choices())
    return page, 422 if mistakes else 200


def _choices() -> dict[str, Any]:
    """What the form of a rule offers, with plain labels."""
    levels = {name: [(level, "not shown" if level == HIDDEN else about.label(level)) for level in about.levels] for name, about in FIELDS.items()}
    purposes = sorted(((name, about.label) for name, about in PURPOSES.items()), key=lambda each: each[1])
    first = [(name, PURPOSES[name].label) for name in folds.FIRST_PURPOSES]
    return {
        "kinds": [(kind, about.label) for kind, about in KINDS.items()], "fields": [(name, about.noun) for name, about in FIELDS.items()], "levels": levels,
        "first_fields": [(name, FIELDS[name].noun) for name in folds.FIRST_FIELDS], "first_purposes": first,
        "more_fields": [(name, about.noun) for name, about in FIELDS.items() if name not in folds.FIRST_FIELDS],
        "more_purposes": [each for each in purposes if each not in first],
        "classes": [(each, each) for each in SITE_CLASSES], "sensitive": [(each, each) for each in SENSITIVE],
        "categories": [(each, each) for each in CATEGORIES], "purposes": purposes, "answers": [(each, _ANSWERS[each]) for each in ANSWERS],
        "actions": list(_ACTIONS.items()), "uses": list(_USES.items()), "onward": list(_ONWARD.items()),
        "bases": [("", "The one of my terms"), *((base, f"{explain_terms.roster_label(base)} ({base})") for base in ROSTER)],
    }  # fmt: skip


def _read(form: Form, terms: Terms) -> changes.Change:
    """The change that a sent form asks for."""
    earlier = None
    if form.get("what") == "restore":
        with current.broker().reading() as tx:
            earlier = queries.at(tx, person().ring, _number(form.get("number", "")))
    return changes.read(form, terms, earlier)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):  # noqa: PLR2004 - nobody has a billion versions
        raise errors.NotFound
    return int(text)


def _mistaken(form: Form, number: int, mistakes: Mistakes) -> Any:
    if form.get("what") not in {"general", "allow", "deny"}:
        raise errors.Unprocessable(f"Nothing was changed. {next(iter(mistakes.values()))}")
    return _form(form, number, mistakes)


@pages.post("/terms/preview")
@signed_in
def preview() -> Any:
    """What a change would do; writes nothing."""
    number, terms = _in_force()
    try:
        return _effects(_read(request.form, terms), number, terms)
    except Mistaken as mistaken:
        return _mistaken(request.form, number, mistaken.mistakes)


def _effects(change: changes.Change, number: int, terms: Terms, *, moved: bool = False) -> Any:
    broker = current.broker()
    with broker.reading() as tx:
        found = effects.find(tx, person().ring, terms, change.terms, broker.now())
    same = changes.is_same(terms, change.terms)
    form = change.what in {"general", "allow", "deny"}
    page = render_template("terms/preview.html", change=change, number=number, effects=found, same=same, moved=moved, form=form, opened=effects.OPENED)
    return page, 409 if moved else 200


@pages.post("/terms/edit")
@signed_in
def edit() -> Any:
    """Back from the effects to the form, with everything that was filled in."""
    if request.form.get("what") not in {"general", "allow", "deny"}:
        return redirect(url_for("terms.index"), 303)
    return _form(request.form, _in_force()[0])


@pages.post("/terms/save")
@signed_in
def save() -> Any:
    """Put a change in force that its person has looked at; the effects are shown again where the terms have moved on."""
    broker, who, form = current.broker(), person(), request.form
    number, terms = _in_force()
    try:
        change = _read(form, terms)
        if form.get("based_on", "") != str(number):
            return _effects(change, number, terms, moved=True)
        if changes.is_looser(terms, change.terms):
            fresh("looser")
        if not changes.is_same(terms, change.terms):
            actions.set_terms(broker, who.person_id, change.document, based_on=number, about=change.about)
    except Mistaken as mistaken:
        return _mistaken(form, number, mistaken.mistakes)
    except errors.Conflict:
        number, terms = _in_force()
        return _effects(_read(form, terms), number, terms, moved=True)
    flash(f"{SAVED[change.what]} Running grants keep to it from this moment.", "good")
    return redirect(url_for("terms.index"), 303)


@pages.post("/terms/undo")
@signed_in
def undo() -> Any:
    """Put the version before the last change that still stands in force again, as a new one; pressed again, it goes one change further back."""
    broker, who = current.broker(), person()
    number, terms = _in_force()
    with broker.reading() as tx:
        undone = queries.last_change(tx, who.person_id, number)
    if undone == 0 or request.form.get("based_on", "") != str(number):
        raise errors.Conflict("Your terms were changed meanwhile, so nothing was undone. Look at them again.")
    with broker.reading() as tx:
        earlier = queries.at(tx, who.ring, undone - 1)
    if changes.is_looser(terms, earlier):
        fresh("looser")
    about = {"change": "restore", "restored": undone - 1}
    actions.set_terms(broker, who.person_id, earlier.to_json(), based_on=number, about=about)
    flash("Undone. Your terms are what they were before.", "good")
    return redirect(url_for("terms.index"), 303)


@pages.post("/terms/block")
@signed_in
def block() -> Any:
    """Deny one vendor everything, at once; asks nothing."""
    broker, who, form = current.broker(), person(), request.form
    vendor = forms.vendor_id(form.get("vendor", "").strip().lower())
    domain = vendor.removeprefix("https://")
    if not forms.is_vendor(vendor):
        return _index({"vendor": "Nobody was blocked. Write the vendor's address, such as books.example."})
    new = actions.block(broker, who.person_id, vendor)
    if new is not None:
        broker.write(new.insert, ending=True)
    flash(blocked_sentence(domain, _running(vendor)), "good")
    return redirect(own_path(form.get("next", "/terms")), 303)


def _running(vendor: str) -> int:
    with current.broker().reading() as tx:
        return sum(grant.vendor_id == vendor and grant.state(current.broker().now()) in grants.LIVE for grant in grants.every(tx, person().ring))


def blocked_sentence(domain: str, running: int) -> str:
    """What a block has done."""
    first = f"Blocked. {domain} can see nothing, and what it asks is refused without being shown to you."
    stay = "shows it nothing as long as the block stands; revoke it to end it for good." if running == 1 else (
        "show it nothing as long as the block stands; revoke them to end them for good."
    )  # fmt: skip
    return f"{first} Its {many(running, 'running grant')} {stay}" if running else first


@pages.get("/terms/versions")
@signed_in
def versions() -> Any:
    """Every version with its day and what it changed, newest first."""
    who = person()
    below = _number(request.args["below"]) if request.args.get("below") else None
    with current.broker().reading() as tx:
        found = queries.history(tx, who.ring, below)
        in_force = queries.version(tx, who.person_id)
    lines = [
        (each, sentences.changes(found[place + 1].terms, each.terms) if each.number else []) for place, each in enumerate(found[: queries.PAGE])
    ]  # fmt: skip
    more = url_for("terms.versions", below=lines[-1][0].number) if len(found) > queries.PAGE else ""
    return render_template("terms/versions.html", lines=lines, in_force=in_force, more=more, first=below is not None, now=current.broker().now())


@pages.get("/terms/versions/<int(max=999999999):number>")
@signed_in
def version(number: int) -> Any:
    """One version whole, and how the one in force differs from it."""
    who = person()
    with current.broker().reading() as tx:
        terms = queries.at(tx, who.ring, number)
        in_force = queries.version(tx, who.person_id)
        now = queries.at(tx, who.ring, in_force)
        made_at = queries.made_at(tx, who.person_id, number)
    back = sentences.changes(now, terms)
    return render_template(
        "terms/version.html", terms=terms, number=number, in_force=in_force, made_at=made_at, back=back, words=explain_terms, same=changes.is_same(now, terms)
    )
