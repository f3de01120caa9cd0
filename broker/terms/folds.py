"""What is set inside the folded parts of a rule's form, in a few words each."""

import re
from collections.abc import Iterable
from typing import Final

from broker.terms.forms import USES, Form
from broker.words import joined, many
from policies.explain import site
from policies.purposes import PURPOSES
from policies.vocabulary import FIELDS, HIDDEN

FIRST_FIELDS: Final = ("time", "site", "category", "product", "price")
"""What most rules show; the other fields are folded."""
FIRST_PURPOSES: Final = (
    "dpv:ProvideProductRecommendations", "dpv:ServicePersonalisation", "dpv:PersonalisedBenefits", "dpv:CustomerCare", "dpv:CustomerOrderManagement",
    "dpv:DeliveryOfGoods", "dpv:DirectMarketing", "dpv:ScientificResearch",
)  # fmt: skip
"""What most rules are for; the other purposes are folded."""
_USES: Final = {"profiling": "a profile of you", "tracking": "tracking you", "ai_training": "training AI", "portability": "a copy for you"}
_MOST: Final = 6


def said(form: Form) -> dict[str, str]:
    """The folded parts by name, each with what is set inside it."""
    if form["what"] == "allow":
        return {"where": _where(form), "fields": _fields(form), "often": _often(form), "purposes": _purposes(form), "keep": _keep(form)}
    hidden = [about.noun for name, about in FIELDS.items() if name in form.getlist("fields")]
    return {"where": _where(form), "fields": _listed(hidden, "whole events"), "purposes": _purposes(form)}


def _listed(words: Iterable[str], nothing: str) -> str:
    every = [word for word in words if word]
    more = [f"{len(every) - _MOST} more"] if len(every) > _MOST else []
    return joined([*every[:_MOST], *more]) if every else nothing


def _written(form: Form, name: str) -> list[str]:
    return [each.strip() for each in form.get(name, "").split(",")]


def _where(form: Form) -> str:
    allows = form["what"] == "allow"
    own = ["their own sites"] * ("self" in form.getlist("own"))
    sites = _listed([*own, *(site(each) for each in _written(form, "sites"))], "any site")
    classes = _listed(form.getlist("classes"), "")
    products = _listed([*form.getlist("categories"), *_written(form, "topics")], "any product")
    open_to = f"sensitive: {_listed(form.getlist('sensitive'), 'nothing')}" if allows else ""
    return "; ".join(part for part in (sites, classes and f"kinds of site: {classes}", products, open_to) if part)


def _fields(form: Form) -> str:
    shown = (name for name in FIELDS if name not in FIRST_FIELDS and form.get(f"field.{name}", HIDDEN) != HIDDEN)
    return _listed((FIELDS[name].noun for name in shown), "none shown")


def _often(form: Form) -> str:
    looks, rows, days = (form.get(name, "") for name in ("reads", "rows", "longest"))
    return f"{_count(looks, 'look')} and {_count(rows, 'row')} a day; a grant lasts {_count(days, 'day')}"


def _count(text: str, noun: str) -> str:
    if re.fullmatch(r"[0-9]{1,7}", text):
        return many(int(text), noun)
    # A file may give hours; what was mistyped is shown as it is.
    hours = re.fullmatch(r"PT([0-9]{1,6})H", text)
    return many(int(hours[1]), "hour") if hours else f"“{text}” {noun}s"


def _purposes(form: Form) -> str:
    ticked = form.getlist("purposes")
    more = (about.label for name, about in PURPOSES.items() if name in ticked and (form["what"] != "allow" or name not in FIRST_PURPOSES))
    return _listed(more, "none of them" if form["what"] == "allow" else "whatever for")


def _keep(form: Form) -> str:
    row, end = (_count(form.get(name, ""), "day") for name in ("retention", "on_end"))
    uses = _listed((_USES[use] for use in USES if use in form.getlist("uses")), "")
    passed = {"processors": "passed on to those who work for them", "anonymised": "passed on anonymously"}.get(form.get("onward", ""), "passed on to nobody")
    where = _listed((region.upper() for region in _written(form, "storage")), "")
    parts = (f"each row deleted within {row}, all within {end} of the end", passed, uses and f"with {uses}", where and f"kept in {where}")
    return "; ".join(part for part in parts if part)
