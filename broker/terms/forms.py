"""The forms of a rule: what stands in their fields, and the rule that filled-in fields make."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from werkzeug.datastructures import MultiDict

from broker.events.sites import site_of
from policies.times import read_duration
from policies.vocabulary import CATEGORIES, FIELDS

Form = MultiDict[str, str]
Mistakes = dict[str, str]
CLASSES_OF_VENDORS: Final = ("*", "known", "prior-agreement")
USES: Final = ("profiling", "tracking", "ai_training", "portability")
DAYS: Final = {"max_age": "window", "min_age": "window", "retention": "duties", "on_end": "duties", "breach_notice": "duties", "longest": "validity"}
DEFAULTS: Final = {
    "max_age": "90", "min_age": "1", "reads": "24", "rows": "500", "retention": "30", "on_end": "7", "breach_notice": "3", "longest": "180",
    "form": "rows", "onward": "none",
}  # fmt: skip
_COUNTS: Final = {"reads": 10_000, "rows": 1_000_000}
_SETS: Final = ("kinds", "classes", "sensitive", "purposes", "answers", "actions")
_DIGITS: Final = re.compile(r"[0-9]{1,5}")
MISTAKES: Final = {
    "label": "Give it a name of at most 200 ordinary characters, so that you find it again.",
    "vendors": "Say for which vendors: tick at least one, or write addresses such as books.example, separated by commas.",
    "kinds": "Tick at least one kind of event.",
    "purposes": "Tick at least one purpose.",
    "fields": "Choose at least one thing that they may see of these kinds, and how exactly.",
    "answers": "Tick at least one answer.",
    "sites": "Write sites such as shop.example, separated by commas.",
    "topics": "Write products such as books/crime, separated by commas. The first part is one of the products above.",
    "processors": "Write names of at most 80 characters, separated by semicolons.",
    "storage": "Write EEA, EU or countries by two letters such as CH, separated by commas.",
    "reads": "Write a whole number from 1 to 10,000.",
    "rows": "Write a whole number from 1 to 1,000,000.",
    "max_age": "Write a number of days, such as 90; more than what the last days take away.",
    "min_age": "Write a number of days, such as 1.",
    "retention": "Write a number of days, such as 30.",
    "on_end": "Write a number of days, such as 7.",
    "breach_notice": "Write a number of days, such as 3.",
    "longest": "Write a number of days from 1 to 365.",
}
"""Field of a form -> what to do where it cannot be used."""


def blank(what: str) -> Form:
    """The fields of a new rule: careful ones, and nothing ticked."""
    return MultiDict(DEFAULTS) if what == "allow" else MultiDict()


def filled(what: str, rule: Mapping[str, Any]) -> Form:
    """The fields that make an existing rule."""
    form = blank(what)
    form["rule"] = rule["id"]
    form["label"] = rule.get("label", "")
    # An allow rule has a box for any vendor; elsewhere nothing filled in means any.
    named = rule.get("vendors", ()) if what == "allow" else _told(rule.get("vendors", ()))
    form.setlist("vendor", [name for name in named if name in CLASSES_OF_VENDORS])
    form["vendors"] = ", ".join(name.removeprefix("https://") for name in named if name not in CLASSES_OF_VENDORS)
    for name in _SETS:
        form.setlist(name, _told(rule.get(name, ())))
    sites = _told(rule.get("sites", ()))
    form.setlist("own", ["self"] if "self" in sites else [])
    form["sites"] = ", ".join(site for site in sites if site != "self")
    categories = _told(rule.get("categories", ()))
    form.setlist("categories", [each for each in categories if each in CATEGORIES])
    form["topics"] = ", ".join(each for each in categories if "/" in each)
    if what == "allow":
        _fill_allowed(form, rule)
    else:
        form.setlist("fields", list(rule.get("fields", ())))
    return form


def _fill_allowed(form: Form, rule: Mapping[str, Any]) -> None:
    for name, level in rule.get("fields", {}).items():
        form[f"field.{name}"] = level
    form["form"] = rule.get("form", "answers")
    form["base"] = rule.get("base", "")
    duties = rule.get("duties", {})
    for name, member in DAYS.items():
        written = rule.get(member, {}).get("max" if name == "longest" else name)
        if written is not None:
            form[name] = _as_days(written.removeprefix("delete:"))
    for name in _COUNTS:
        if name in rule.get("rate", {}):
            form[name] = rule["rate"][name].partition("/")[0]
    form["onward"] = duties.get("onward", "none")
    form["processors"] = "; ".join(duties.get("processors", ()))
    form["storage"] = ", ".join(_told(duties.get("storage", ())))
    form.setlist("uses", [use for use in USES if duties.get(use)])


def _told(entries: Iterable[str]) -> list[str]:
    """The entries that a form shows: none beside `*`, which includes them all."""
    every = list(entries)
    return [] if "*" in every else every


def _any_or(found: list[str], old: Iterable[str]) -> list[str]:
    """What was filled in, else `*` as it stood: a file may have had others beside it."""
    before = list(old)
    return found or (before if "*" in before else ["*"])


def _as_days(written: str) -> str:
    hours = read_duration(written, "")
    return written if hours % 24 else str(hours // 24)


def _parts(text: str, mark: str = ",", old: Iterable[str] = ()) -> list[str]:
    """The entries of a list; those that stood there before are known again, even where a file has given them the mark inside."""
    known = sorted((each for each in old if mark in each), key=len, reverse=True)
    one = "|".join([*map(re.escape, known), f"[^{mark}]*"])
    found = re.findall(rf"(?:^|{mark})\s*({one})\s*(?={mark}|$)", text)
    return list(dict.fromkeys(part if part in known else part.strip() for part in found if part.strip()))


def vendors(form: Form) -> list[str]:
    """The vendors of a form: classes ticked, and addresses however they were written."""
    return [*form.getlist("vendor"), *dict.fromkeys(vendor_id(each) for each in _parts(form.get("vendors", "").lower()))]


def vendor_id(text: str) -> str:
    """The id of the vendor at an address: `https://books.example` for `books.example` or any page there."""
    if text.startswith(("class:", "member:", "urn:", "http://")):
        return text
    try:
        return f"https://{urlsplit(text if '://' in text else f'https://{text}').netloc}"
    except ValueError:
        return text


def is_vendor(text: str) -> bool:
    """Whether a text is the id that a vendor of the web can have."""
    site = site_of(text)
    return site is not None and text in (f"https://{site.host}", f"http://{site.host}")


def _sites(form: Form) -> list[str]:
    """A domain stands for all its hosts, a host for itself; what is no site is left as it was written, to be refused."""
    found = []
    for each in _parts(form.get("sites", "").lower()):
        text = each.removeprefix("=")
        site = site_of(text if "://" in text else f"https://{text}/")
        whole = site is not None and site.host == site.domain and not each.startswith("=")
        found.append(each if site is None else site.domain if whole else f"={site.host}")
    return [*form.getlist("own"), *dict.fromkeys(found)]


def _categories(form: Form, old: Mapping[str, Any]) -> list[str]:
    topics = _parts(form.get("topics", ""), old=old.get("categories", ()))
    return [*form.getlist("categories"), *(each for each in topics if each not in form.getlist("categories"))]


def deny(form: Form, rule_id: str, old: Mapping[str, Any]) -> dict[str, Any]:
    """The deny that a form makes in the place of `old`; members without an entry are left out, which means any."""
    named = vendors(form) or (old["vendors"] if "*" in old.get("vendors", ()) else [])
    members = {"vendors": named, "sites": _sites(form), "categories": _categories(form, old), "fields": form.getlist("fields")}
    members |= {name: form.getlist(name) for name in ("actions", "purposes", "kinds", "classes")}
    return {"id": rule_id, **{name: found for name, found in members.items() if found}}


def deny_id(form: Form) -> str:
    """A new deny's id in files, by the first thing that it names; its person knows it by its sentence."""
    return next((f"no-{each}" for each in deny(form, "", {}) if each != "id"), "nothing-at-all")


def allow(form: Form, rule_id: str, old: Mapping[str, Any]) -> tuple[dict[str, Any], Mistakes]:
    """The allow rule that a form makes, and what is missing in it; members that the form does not show stay as in `old`."""
    mistakes: Mistakes = {}
    label = form.get("label", "").strip()
    shown = {name: form[f"field.{name}"] for name in FIELDS if form.get(f"field.{name}", "hidden") != "hidden"}
    rows = form.get("form") != "answers"
    needed: dict[str, Any] = {"label": label, "vendors": vendors(form), "kinds": form.getlist("kinds"), "purposes": form.getlist("purposes")}
    needed |= {"fields": shown} if rows else {"answers": form.getlist("answers")}
    unnamed = bool(old) and "label" not in old
    mistakes |= {name: MISTAKES[name] for name, found in needed.items() if not (found or (unnamed and name == "label"))}
    times = {name: _days(form, name, mistakes) for name in DAYS}
    hours = {name: read_duration(times[name], "") for name in ("max_age", "min_age", "longest")}
    mistakes |= {"max_age": MISTAKES["max_age"]} if hours["max_age"] <= hours["min_age"] else {}
    mistakes |= {"longest": MISTAKES["longest"]} if hours["longest"] == 0 else {}
    rule = {
        "id": rule_id, "label": label, "vendors": needed["vendors"], "action": "read", "purposes": needed["purposes"], "kinds": needed["kinds"],
        "sites": _any_or(_sites(form), old.get("sites", ())),
        "classes": _any_or(form.getlist("classes"), old.get("classes", ())), "sensitive": form.getlist("sensitive"),
        "categories": _any_or(_categories(form, old), old.get("categories", ())),
        "form": "rows" if rows else "answers", "fields": shown, "answers": form.getlist("answers"),
        "window": {**old.get("window", {}), **{name: times[name] for name in ("max_age", "min_age")}},
        "rate": {name: _count(form, name, most, mistakes) for name, most in _COUNTS.items()},
        "duties": _duties(form, times, old.get("duties", {})),
        "validity": {**old.get("validity", {}), "max": times["longest"]},
    }  # fmt: skip
    if form.get("base"):
        rule["base"] = form["base"]
    if unnamed and not label:
        del rule["label"]
    return rule, mistakes


MOST_DAYS: Final = 36_500


def _days(form: Form, name: str, mistakes: Mistakes) -> str:
    text = form.get(name, "").strip() or DEFAULTS[name]
    if _DIGITS.fullmatch(text) and int(text) <= MOST_DAYS:
        return f"P{text}D"
    # Hours, as a file may give them, are kept as they were.
    if not (re.fullmatch(r"PT[0-9]{1,6}H", text) and int(text[2:-1]) <= MOST_DAYS * 24):
        mistakes[name] = MISTAKES[name]
        return f"P{DEFAULTS[name]}D"
    return text


def _count(form: Form, name: str, most: int, mistakes: Mistakes) -> str:
    text = form.get(name, "").strip() or DEFAULTS[name]
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and 1 <= int(text) <= most):
        mistakes[name] = MISTAKES[name]
        return text
    return f"{int(text)}/P1D"


def _duties(form: Form, times: Mapping[str, str], old: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "retention": times["retention"], "on_end": f"delete:{times['on_end']}", "breach_notice": times["breach_notice"],
        "onward": form.get("onward", "none"), "processors": _parts(form.get("processors", ""), ";", old.get("processors", ())),
        **{use: use in form.getlist("uses") for use in USES},
        "storage": _any_or([region.upper() for region in _parts(form.get("storage", ""))], old.get("storage", ())),
    }  # fmt: skip


_OF_POINTER: Final = {"categories": "topics"}


def field_of(pointer: str) -> str:
    """The field of a form that a pointer within a rule speaks of; empty for the rule as a whole."""
    first, _, rest = pointer.removeprefix("/").partition("/")
    if first == "validity":
        return "longest"
    within = rest.partition("/")[0] if first in ("window", "rate", "duties") else first
    return _OF_POINTER.get(within, within) if within in MISTAKES or within in _OF_POINTER else ""
