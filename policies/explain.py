"""Clauses, terms, proposals and decisions in plain sentences; the text of an agreement is signed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from policies.clauses import Clause, Validity
from policies.documents import Malformed
from policies.duties import Duties
from policies.negotiate import Narrowing
from policies.purposes import PURPOSES
from policies.slices import ANY, SELF, Slice
from policies.times import read_duration, read_instant, write_instant
from policies.vocabulary import ANSWERS, DIMENSIONS, FIELDS, GROUPS, KINDS, REGIONS, SENSITIVE, SENSITIVE_CLASSES

_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")

REASONS = {
    "other-client": "The token belongs to another client.",
    "grant-ended": "The grant has ended.",
    "not-yet": "The grant has not begun yet.",
    "grant-paused": "You have paused this grant.",
    "unsigned": "The vendor has not signed the agreement.",
    "no-clause": "Nothing in the grant is for what was asked.",
    "wrong-purpose": "The purpose is not one that you allowed.",
    "denied-by-terms": "Your terms forbid it.",
    "wrong-form": "Rows or answers were asked that you did not allow.",
    "filter-too-fine": "The filter was finer than what they may see.",
    "out-of-slice": "What was asked and what you allowed have nothing in common.",
    "rate": "They have looked as often as you allowed for today.",
    "too-fast": "They asked too often in a short time.",
    "token-ended": "The token had been given back.",
    "client-disabled": "This vendor's program is out of service here.",
    "bad-request": "The request was not well formed.",
    "invalid-cursor": "The place to go on from was not one we had given.",
}
"""Reason slug -> the sentence that the person reads."""

CAUSES = {
    "denied": "Your terms forbid it",
    "not-in-terms": "Your terms give no more",
    "sensitive": "Your terms do not open this sensitive subject",
    "unknown-vendor": "Your terms say nothing to this vendor",
    "base": "The standard agreement does not allow it",
    "not-available": "This broker cannot do it yet",
}
_ACTIONS = {"read": "to see events of yours", "contact": "to write to you", "ask": "to ask you questions"}
_FIELDS = "fields."


def join(words: Iterable[str], last: str) -> str:
    """Return `a, b and c`, with the given last connection."""
    every = list(words)
    return f" {last} ".join([", ".join(every[:-1]), every[-1]] if len(every) > 1 else every)


def _time(hours: int) -> str:
    """Return `90 days`, and `1 day` without its number, as in "the last day"."""
    number, unit = (hours, "hour") if hours % 24 else (hours // 24, "day")
    return unit if number == 1 else f"{number} {unit}s"


def _within(hours: int) -> str:
    """Return `1 day` with its number, as in "within 1 day"."""
    return _time(hours) if _time(hours)[0].isdigit() else f"1 {_time(hours)}"


def _date(at: datetime) -> str:
    """Return the UTC date in words, such as `30 May 2027`."""
    day = write_instant(at)
    return f"{int(day[8:10])} {_MONTHS[int(day[5:7]) - 1]} {day[:4]}"


def _quote(text: str) -> str:
    return f"“{text}”"


def clause_sentences(clause: Clause, vendor_domain: str) -> list[str]:
    """Return one sentence per dimension, in the order of section 10.

    What ends the clause and what the vendor gives is said once for all clauses: `grant_text`.
    """
    if clause.action == "write":
        return _write_sentences(clause, vendor_domain)
    if clause.action in ("contact", "ask"):
        return [_contact_sentence(clause, vendor_domain)]
    part = clause.slice
    sentences = [f"{vendor_domain} may {_view(part)} {_scope(part)}.", *_sensitive(part, "Nothing")]
    if part.form == "rows":
        sentences += [f"They may also learn {_answers(part)}."] if part.answers else []
        sentences += _fields(part)
    sentences += _window(part)
    sentences += [_rate(clause), f"They may use it only to {_purposes(clause)}."]
    return sentences + _duties(clause.duties)


def _view(part: Slice) -> str:
    return "see" if part.form == "rows" else f"learn {_answers(part)}, worked out from"


def _answers(part: Slice) -> str:
    return join((ANSWERS[name] for name in sorted(part.answers)), "and")


def _scope(part: Slice, verb: str = "on") -> str:
    """Return which events: kinds, sites, classes, categories."""
    kinds = join((about.label for kind, about in KINDS.items() if kind in part.kinds), "and")
    classes = "" if part.classes == ANY else f"{join(sorted(part.classes), 'or')} "
    sites = f"any {classes}site" if part.sites == ANY else join((_site(site) for site in sorted(part.sites)), "and")
    if classes and part.sites != ANY:
        sites += f", if a {classes}site"
    only = "" if part.categories == ANY else f", only {join(sorted(part.categories), 'and')}"
    return f"{kinds}, {verb} {sites}{only}"


def _site(site: str) -> str:
    return "their own sites" if site == SELF else site.removeprefix("=")


def _sensitive(part: Slice, nothing: str) -> list[str]:
    unlisted = [name for name in SENSITIVE_CLASSES if name not in part.sensitive]
    listed = [name for name in SENSITIVE if name in part.sensitive]
    sentences = [f"{nothing} from {join(unlisted, 'or')} sites, and no such products."] if unlisted else []
    if listed:
        sentences.append(f"This includes {join(listed, 'and')}: sites, products and searches.")
    return sentences


def _fields(part: Slice) -> list[str]:
    shown = [about.label(part.fields[name]) for name, about in FIELDS.items() if name in part.fields]
    hidden = list(_hidden(part))
    sentences = [f"For each: {', '.join(shown)}."] if shown else []
    return [*sentences, f"They may not see {', '.join(hidden)}."] if hidden else sentences


def _hidden(part: Slice) -> Iterable[str]:
    """Yield each group that is hidden as a whole, and the hidden fields of groups partly shown."""
    for label, names in GROUPS:
        # Any event on a page comes from somewhere, so that is said also where no field holds it.
        carrier = "url" if label == "where you came from" else None
        carried = [name for name in names if FIELDS[carrier or name].kinds & part.kinds]
        hidden = [name for name in carried if name not in part.fields]
        if hidden and len(hidden) == len(carried):
            yield label
        else:
            yield from (f"the {FIELDS[name].noun}" for name in hidden)


def _window(part: Slice) -> list[str]:
    window = part.window
    sentences = []
    newest = f"nothing from the last {_time(window.min_age)}" if window.min_age else ""
    if window.max_age is not None:
        length = _time(window.max_age)
        sentences.append(f"Only the last {length} count{'' if length[0].isdigit() else 's'}{', and ' + newest if newest else ''}.")
    elif newest:
        sentences.append(f"{newest.capitalize()} counts.")
    if window.after is not None:
        sentences.append(f"Nothing before {_date(window.after)} counts.")
    if window.before is not None:
        sentences.append(f"Nothing from {_date(window.before)} on counts.")
    if part.form == "rows" and "time" not in part.fields:
        sentences.append("By asking often they can work out the month.")
    return sentences


def _times(count: int | str, noun: str) -> str:
    return f"{count} {noun}" if str(count) == "1" else f"{count} {noun}s"


def _rate(clause: Clause) -> str:
    rows = f" and get {_times(clause.rate['rows'], 'row')} a day" if clause.slice.form == "rows" else ""
    return f"They may look {_times(clause.rate['reads'], 'time')} a day{rows}, at most."


def _purposes(clause: Clause) -> str:
    return join((about.label for name, about in PURPOSES.items() if name in clause.purposes), "or")


def _duties(duties: Duties) -> list[str]:
    uses = {"build a profile of you": duties.profiling, "track you": duties.tracking, "train AI with it": duties.ai_training}
    forbidden = [use for use, allowed in uses.items() if not allowed] + ["pass it on"] * (duties.onward == "none")
    permitted = [use for use, allowed in uses.items() if allowed]
    sentences = [f"They must not {join(forbidden, 'or')}."] if forbidden else []
    sentences += [f"They may {join(permitted, 'and')}."] if permitted else []
    sentences += _onward(duties)
    sentences.append(f"They must delete each row within {_within(duties.retention)}, and all within {_within(duties.on_end)} of the end.")
    keep = [] if "*" in duties.storage else [f"keep it in {join((REGIONS.get(name, name) for name in sorted(duties.storage)), 'or')}"]
    copy = ["give you a copy when you ask"] if duties.portability else []
    leak = f"tell you of a leak within {_within(duties.breach_notice)}"
    return [*sentences, f"They must {join([*keep, *copy, leak], 'and')}."]


def _onward(duties: Duties) -> list[str]:
    if duties.onward == "none":
        return []
    named = join((_quote(name) for name in sorted(duties.processors)), "and") if duties.processors else "nobody yet named"
    sentences = [f"They may pass it on to those who work for them: {named}."]
    if duties.onward == "anonymised":
        sentences.append("They may pass it on to others once nobody can tell that it is yours.")
    return sentences


def _contact_sentence(clause: Clause, vendor_domain: str) -> str:
    topics = "" if clause.slice.categories == ANY else f", only about {join(sorted(clause.slice.categories), 'and')}"
    purposes = f", to {_purposes(clause)}"
    if clause.action == "ask":
        return f"{vendor_domain} may ask you questions here, at most {_times(clause.rate['questions'], 'time')} in 30 days{topics}{purposes}."
    channels = join(sorted(clause.channels), "and")
    return f"{vendor_domain} may write to your {channels} here, at most {_times(clause.rate['messages'], 'time')} in 30 days{topics}{purposes}."


def _write_sentences(clause: Clause, name: str) -> list[str]:
    """Say what the person's own extension may add."""
    part = clause.slice
    coarse = [about.label(part.fields[field]) for field, about in FIELDS.items() if field in part.fields and part.fields[field] != about.levels[-1]]
    hidden = [f"the {about.noun}" for field, about in FIELDS.items() if about.kinds & part.kinds and field not in part.fields]
    sentences = [f"{name} may add {_scope(part, 'from')}; nothing leaves your broker by this.", *_sensitive(part, "It may add nothing")]
    sentences += [f"Of these it adds only {', '.join(coarse)}."] if coarse else []
    return sentences + ([f"It may not add {', '.join(hidden)}."] if hidden else [])


def ending(validity: Validity, subject: str = "This") -> str:
    """Say when a clause ends: on a date, or so long after the yes."""
    dates = [f"on {_date(validity.until)}"] if validity.until else []
    lives = [f"{_within(validity.longest)} after your yes"] if validity.longest is not None else []
    when = ", or ".join([*lives, *dates])
    return f"{subject} ends {when}{', whichever is first' if lives and dates else ''}." if when else f"{subject} has no end of its own."


def grant_text(clauses: Sequence[Clause], vendor_domain: str, gives: Sequence[Mapping[str, str]] = ()) -> str:
    """Return the whole text of a grant, as it is shown and signed: the same bytes every time."""
    together = len({clause.validity for clause in clauses}) == 1
    sentences: list[str] = []
    for clause in clauses:
        sentences += clause_sentences(clause, vendor_domain)
        sentences += [] if together else [ending(clause.validity, "This part")]
    if gives:
        sentences.append(f"In return they say: {join((_quote(gift['text']) for gift in gives), 'and')}.")
    sentences += [ending(clauses[0].validity)] if together else []
    return " ".join([*sentences, "You can end it at any time, at once."])


def narrowing(line: Narrowing) -> str:
    """Say what was asked, what the terms make of it, and why."""
    rule = f" (rule {_quote(line.rule)})" if line.rule else ""
    because = f"{CAUSES[line.cause]}{rule}."
    if line.given is None and line.dim in ("action", "base"):
        nothing = "Your terms give nothing of it" if line.cause == "not-in-terms" else CAUSES[line.cause]
        return f"Of one thing they asked for ({_ACTIONS.get(str(line.asked), 'on other conditions')}) nothing can be given. {nothing}{rule}."
    noun = FIELDS[line.dim[len(_FIELDS) :]].noun if line.dim.startswith(_FIELDS) else DIMENSIONS[line.dim]
    name = noun[0].upper() + noun[1:]
    return f"{name}: they asked for {_value(line.dim, line.asked)}, your terms allow {_value(line.dim, line.given)}. {because}"


def _value(dim: str, value: Any) -> str:
    """Return one value of a dimension in words; unknown forms are shown as they are written."""
    member, _, name = dim.partition(".")
    if member == "fields":
        return "nothing" if value in ("hidden", None) else FIELDS[name].label(value)
    if isinstance(value, Mapping):
        return ending(Validity.read(value, "", Validity()), "an end that").removeprefix("an end that ends ").removesuffix(".") if value else "no end"
    if isinstance(value, list):
        labels = {kind: about.label for kind, about in KINDS.items()} | {name: about.label for name, about in PURPOSES.items()} | ANSWERS
        return join((labels.get(entry, _quote(entry) if dim == "duties.processors" else "any" if entry == "*" else entry) for entry in value), "and") or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "nothing"}[value]
    return _plain(str(value))


def _plain(text: str) -> str:
    """Return `90 days` for P90D, `24 in 1 day` for 24/P1D, the day of an instant; other words as they are."""
    if text.endswith("Z"):
        return _date(read_instant(text, ""))
    count, _, period = text.removeprefix("delete:").rpartition("/")
    try:
        length = _within(read_duration(period, ""))
    except Malformed:
        return text
    return f"{count} in {length}" if count else length


def answers(found: Mapping[str, Any], money: Callable[[Mapping[str, Any]], str]) -> list[str]:
    """Say what answers tell; `money` writes a band. What is unknown is said as the vendor sees it: like nothing."""
    sentences = []
    if "frequency" in found:
        number = found["frequency"]
        sentences.append("You bought nothing in this time." if number == "0" else f"You bought on {_times(number, 'day')} in this time.")
    if "monetary" in found:
        bands = join((money(band) for band in found["monetary"].values()), "and")
        sentences.append(f"On such a day you spent {bands} on average." if bands else "Nothing of what you spent.")
    if "recency" in found:
        weeks = found["recency"]
        sentences.append("Nothing of when you last bought." if weeks is None else f"You last bought {_times(weeks, 'week')} ago.")
    return sentences


def reason(slug: str, detail: str = "") -> str:
    """Say why an attempt was refused; `detail` is what the ledger knows besides, in our words."""
    return f"{REASONS[slug]} {detail}".rstrip()
