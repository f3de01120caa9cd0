"""Clauses, terms, proposals and decisions in plain sentences; the text of an agreement is signed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from policies.clauses import Clause, Validity
from policies.documents import Malformed
from policies.duties import Duties
from policies.meeting import ANY
from policies.negotiate import Narrowing
from policies.purposes import PURPOSES
from policies.sentences import CAUSES, REASONS, TEMPLATES
from policies.slices import SELF, Slice
from policies.times import read_duration, read_instant, write_instant
from policies.vocabulary import ANSWERS, DIMENSIONS, FIELDS, GROUPS, KINDS, REGIONS, SENSITIVE, SENSITIVE_CLASSES

_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")

_FIELDS = "fields."
_INNER_MARKS = {ord("“"): "‘", ord("”"): "’", ord("„"): "‚", ord('"'): "'", ord("«"): "‹", ord("»"): "›"}


def _say(template: str, **parts: str) -> str:
    return TEMPLATES[template].format(**parts)


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


def day(text: str) -> str:
    """Return the day of an instant in words."""
    return _date(read_instant(text, ""))


def _date(at: datetime) -> str:
    """Return the UTC date in words, such as `30 May 2027`."""
    text = write_instant(at)
    return f"{int(text[8:10])} {_MONTHS[int(text[5:7]) - 1]} {text[:4]}"


def _moment(at: datetime) -> str:
    """Return the UTC date, and the time where it is not midnight."""
    time = write_instant(at)[11:16]
    return _date(at) if time == "00:00" else _say("moment", date=_date(at), time=time)


def _quote(text: str) -> str:
    """Return a vendor's words in quotation marks, out of which they cannot get."""
    return f"“{text.translate(_INNER_MARKS)}”"


def category(path: str) -> str:
    """Return a category as a sentence has it: a top category is ours, the rest of a path is somebody's words."""
    return _quote(path) if "/" in path else path


def site(name: str) -> str:
    """Return a site as a sentence has it: a domain stands for all its hosts, and one host must not look like it."""
    if name == SELF:
        return TEMPLATES["self"]
    return _say("host", host=name[1:]) if name.startswith("=") else name


def _categories(paths: Iterable[str], last: str) -> str:
    return join((category(path) for path in sorted(paths)), last)


def clause_sentences(clause: Clause, vendor_domain: str) -> list[str]:
    """Return one sentence per dimension, in the order of section 10.

    What ends the clause and what the vendor gives is said once for all clauses: `grant_text`.
    """
    if clause.action == "write":
        return _write_sentences(clause, vendor_domain)
    if clause.action in ("contact", "ask"):
        return [_contact_sentence(clause, vendor_domain), *_agreement(clause)]
    part = clause.slice
    learnt = join((ANSWERS[name] for name in sorted(part.answers)), "and")
    scope = _say("scope" if part.form == "rows" else "scope of answers", name=vendor_domain, answers=learnt, events=_scope(part, "places"))
    sentences = [scope, *_sensitive(part, "sensitive")]
    if part.form == "rows":
        sentences += [_say("answers too", answers=learnt)] if part.answers else []
        sentences += _fields(part)
    sentences += _window(part)
    sentences += [_rate(clause), _say("purposes", purposes=_purposes(clause))]
    return [*sentences, *_duties(clause.duties), *_agreement(clause)]


def _scope(part: Slice, places: str) -> str:
    """Return which events: kinds, sites, classes, categories."""
    kinds = join((about.label for kind, about in KINDS.items() if kind in part.kinds), "and")
    classes = join(sorted(part.classes), "or")
    sites = join((site(name) for name in sorted(part.sites)), "and")
    if part.sites == ANY:
        sites = _say("any site" if part.classes == ANY else "any site of", classes=classes)
    elif part.classes != ANY:
        sites = _say("sites of", sites=sites, classes=classes)
    where = _say(places, kinds=kinds, sites=sites)
    return where if part.categories == ANY else _say("categories", places=where, categories=_categories(part.categories, "and"))


def _sensitive(part: Slice, template: str) -> list[str]:
    unlisted = [name for name in SENSITIVE_CLASSES if name not in part.sensitive]
    listed = [name for name in SENSITIVE if name in part.sensitive]
    sentences = [_say(template, classes=join(unlisted, "or"))] if unlisted else []
    return [*sentences, _say("sensitive listed", subjects=join(listed, "and"))] if listed else sentences


def _fields(part: Slice) -> list[str]:
    shown = [about.label(part.fields[name]) for name, about in FIELDS.items() if name in part.fields]
    hidden = list(_hidden(part))
    sentences = [_say("fields", fields=", ".join(shown))] if shown else []
    return [*sentences, _say("hidden", fields=", ".join(hidden))] if hidden else sentences


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
            yield from (_say("hidden field", field=FIELDS[name].noun) for name in hidden)


def _window(part: Slice) -> list[str]:
    window = part.window
    sentences = []
    newest = _time(window.min_age) if window.min_age else ""
    if window.max_age is not None:
        length = _time(window.max_age)
        counts = "count" if length[0].isdigit() else "counts"
        sentences.append(_say("window and newest" if newest else "window", length=length, counts=counts, newest=newest))
    elif newest:
        sentences.append(_say("newest", newest=newest))
    if window.after is not None:
        sentences.append(_say("after", date=_moment(window.after)))
    if window.before is not None:
        sentences.append(_say("before", date=_moment(window.before)))
    if part.form == "rows" and "time" not in part.fields:
        sentences.append(TEMPLATES["by asking often"])
    return sentences


def _times(count: int | str, noun: str) -> str:
    return f"{count} {noun}" if str(count) == "1" else f"{count} {noun}s"


def _rate(clause: Clause) -> str:
    rows = clause.slice.form == "rows"
    return _say("rate of rows" if rows else "rate", reads=_times(clause.rate["reads"], "time"), rows=_times(clause.rate["rows"], "row") if rows else "")


def _purposes(clause: Clause) -> str:
    return join((about.label for name, about in PURPOSES.items() if name in clause.purposes), "or")


def deletion(duties: Duties) -> str:
    """Say when rows must be deleted."""
    return _say("retention", retention=_within(duties.retention), on_end=_within(duties.on_end))


def _duties(duties: Duties) -> list[str]:
    uses = {"profiling": duties.profiling, "tracking": duties.tracking, "ai_training": duties.ai_training}
    forbidden = [TEMPLATES[use] for use, allowed in uses.items() if not allowed] + [TEMPLATES["onward"]] * (duties.onward == "none")
    permitted = [TEMPLATES[use] for use, allowed in uses.items() if allowed]
    sentences = [_say("must not", uses=join(forbidden, "or"))] if forbidden else []
    sentences += [_say("may", uses=join(permitted, "and"))] if permitted else []
    sentences += _onward(duties)
    sentences.append(deletion(duties))
    must = [] if "*" in duties.storage else [_say("storage", regions=join((REGIONS.get(name, name) for name in sorted(duties.storage)), "or"))]
    must += [TEMPLATES["portability"]] if duties.portability else []
    return [*sentences, _say("must", duties=join([*must, _say("breach_notice", length=_within(duties.breach_notice))], "and"))]


def _agreement(clause: Clause) -> list[str]:
    """Name the standard agreement where it permits more than the sentences before it, or is of another kind: two must not read alike."""
    usual = ("SD-BASE-DP" if clause.duties.portability else "SD-BASE") if clause.action == "read" else "PDC-INTENT"
    return [] if clause.base in ("", usual) else [_say("agreement", base=clause.base)]


def _onward(duties: Duties) -> list[str]:
    if duties.onward == "none":
        return []
    named = join((_quote(name) for name in sorted(duties.processors)), "and") or TEMPLATES["no processors"]
    return [_say("processors", names=named), *([TEMPLATES["anonymised"]] if duties.onward == "anonymised" else [])]


def _contact_sentence(clause: Clause, vendor_domain: str) -> str:
    topics = "" if clause.slice.categories == ANY else _say("topics", categories=_categories(clause.slice.categories, "and"))
    times = _times(clause.rate["questions" if clause.action == "ask" else "messages"], "time")
    channels = join(sorted(clause.channels), "and")
    return _say(clause.action, name=vendor_domain, channels=channels, times=times, topics=topics, purposes=_purposes(clause))


def _write_sentences(clause: Clause, name: str) -> list[str]:
    """Say what the person's own extension may add."""
    part = clause.slice
    coarse = [about.label(part.fields[field]) for field, about in FIELDS.items() if field in part.fields and part.fields[field] != about.levels[-1]]
    hidden = [_say("hidden field", field=about.noun) for field, about in FIELDS.items() if about.kinds & part.kinds and field not in part.fields]
    sentences = [_say("write", name=name, events=_scope(part, "sources")), *_sensitive(part, "write sensitive")]
    sentences += [_say("write fields", fields=", ".join(coarse))] if coarse else []
    return sentences + ([_say("write hidden", fields=", ".join(hidden))] if hidden else [])


def ending(validity: Validity, subject: str = TEMPLATES["whole"]) -> str:
    """Say when a clause ends: on a date, or so long after the yes."""
    dates = [_say("on a date", date=_date(validity.until))] if validity.until else []
    lives = [_say("after your yes", length=_within(validity.longest))] if validity.longest is not None else []
    when = ", or ".join([*lives, *dates])
    return _say(("ends first" if lives and dates else "ends") if when else "no end", subject=subject, when=when)


def grant_text(clauses: Sequence[Clause], vendor_domain: str, gives: Sequence[Mapping[str, str]] = ()) -> str:
    """Return the whole text of a grant, as it is shown and signed: the same bytes every time."""
    together = len({clause.validity for clause in clauses}) == 1
    sentences: list[str] = []
    for clause in clauses:
        sentences += clause_sentences(clause, vendor_domain)
        sentences += [] if together else [ending(clause.validity, TEMPLATES["part"])]
    if gives:
        sentences.append(_say("gives", gifts=join((_quote(gift["text"]) for gift in gives), "and")))
    sentences += [ending(clauses[0].validity)] if together else []
    return " ".join([*sentences, TEMPLATES["at any time"]])


def narrowing(line: Narrowing) -> str:
    """Say what was asked, what the terms make of it, and why."""
    away = line.given is None and line.dim in ("action", "base")
    because = TEMPLATES["nothing of it"] if away and line.cause == "not-in-terms" else CAUSES[line.cause]
    because = _say("by a rule", because=because, rule=_quote(line.said)) if line.said else because
    if away:
        return _say("narrowed away", asked=TEMPLATES.get(f"asked to {line.asked}", TEMPLATES["asked otherwise"]), because=because)
    return _say("narrowed", what=_noun(line.dim), asked=_value(line.dim, line.asked), given=_value(line.dim, line.given), because=because)


def lessened(dim: str, before: Any, after: Any) -> str:
    """Say what a dimension of a clause is since its person narrowed it, and what it was."""
    if dim == "validity":
        before, after = (_say("until", date=day(each["until"])) for each in (before, after))
        return _say("lessened", what=_noun(dim), before=before, after=after)
    if isinstance(before, list) and isinstance(after, list) and after and set(after) < set(before):
        gone = [each for each in before if each not in after]
        return _say("fewer", what=_noun(dim), gone=_value(dim, gone), after=_value(dim, after))
    return _say("lessened", what=_noun(dim), before=_value(dim, before), after=_value(dim, after))


def _noun(dim: str) -> str:
    """Name a dimension, to begin a sentence."""
    noun = FIELDS[dim[len(_FIELDS) :]].noun if dim.startswith(_FIELDS) else DIMENSIONS[dim]
    return noun[0].upper() + noun[1:]


def _value(dim: str, value: Any) -> str:
    """Return one value of a dimension in words; unknown forms are shown as they are written."""
    member, _, name = dim.partition(".")
    if member == "fields":
        return "nothing" if value in ("hidden", None) else FIELDS[name].label(value)
    if isinstance(value, Mapping):
        return ending(Validity.read(value, "", Validity()), "an end that").removeprefix("an end that ends ").removesuffix(".") if value else "no end"
    if isinstance(value, list):
        labels = {kind: about.label for kind, about in KINDS.items()} | {name: about.label for name, about in PURPOSES.items()} | ANSWERS | {"*": "any"}
        word = {"duties.processors": _quote, "sites": site}.get(dim, category)
        return join((labels.get(entry) or word(entry) for entry in value), "and") or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "nothing"}[value]
    return _plain(str(value))


def _plain(text: str) -> str:
    """Return `90 days` for P90D, `24 in 1 day` for 24/P1D, the day of an instant; other words as they are."""
    if text.endswith("Z"):
        return day(text)
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
        sentences.append(TEMPLATES["bought nothing"] if number == "0" else _say("frequency", days=_times(number, "day")))
    if "monetary" in found:
        bands = join((money(band) for band in found["monetary"].values()), "and")
        sentences.append(_say("monetary", bands=bands) if bands else TEMPLATES["spent unknown"])
    if "recency" in found:
        weeks = found["recency"]
        within = TEMPLATES["bought unknown" if weeks is None else "bought lately"]
        sentences.append(_say("recency", weeks=_times(weeks, "week")) if weeks else within)
    return sentences


def reason(slug: str, detail: str = "") -> str:
    """Say why an attempt was refused; `detail` is what the ledger knows besides, in our words."""
    return f"{REASONS[slug]} {detail}".rstrip()
