"""Slice: which events, which of their fields, and how precise; `a & b` is what both allow."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Literal, Self

from policies import documents
from policies.documents import Members
from policies.meeting import ANY, meet_categories, meet_sets, meet_sites
from policies.precision import SITE_PARTS, coarse
from policies.times import period_start
from policies.topics import topics
from policies.vocabulary import (
    ANSWERS,
    CATEGORIES,
    FIELDS,
    FIELDS_WITH_ITEMS_CUT,
    HIDDEN,
    KINDS,
    SENSITIVE,
    SENSITIVE_CATEGORIES,
    SENSITIVE_CLASSES,
    SITE_CLASSES,
    coarser,
    rank,
)
from policies.windows import ALWAYS, Window

if TYPE_CHECKING:
    from policies.compiled import Compiled

Event = Mapping[str, Any]
Alias = Callable[[str], str]
Judge = Callable[..., dict[str, Any] | None]
"""`judge(event, alias=None)`: the trimmed row of a covered event, else None."""

NONE: frozenset[str] = frozenset()
SELF = "self"

SITE = re.compile(r"(?!self$)=?(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
LONGEST_CATEGORY = 200
CATEGORY = re.compile(rf"({'|'.join(CATEGORIES)})(/[^/\x00-\x1f]{{1,40}}){{0,4}}")


@dataclass(frozen=True, slots=True)
class CarveOut:
    """What a standing deny takes out of a slice: None is any; no fields is the whole event."""

    kinds: frozenset[str] | None = None
    sites: frozenset[str] | None = None
    classes: frozenset[str] | None = None
    categories: frozenset[str] | None = None
    fields: frozenset[str] | None = None

    def matches(self, kind: str, host: str, domain: str, site_class: str) -> bool:
        """Say whether it speaks of such an event, its categories apart."""
        return (
            (self.kinds is None or kind in self.kinds)
            and (self.sites is None or site_is_in(self.sites, host, domain))
            and (self.classes is None or site_class in self.classes)
        )

    def matches_category(self, category: str | None) -> bool:
        """Say whether it speaks of an item of this category."""
        return self.categories is None or category_is_in(self.categories, category)

    @classmethod
    def parse(cls, value: object, pointer: str = "") -> "CarveOut":
        """Read one entry of `except`."""
        found = documents.members(value, pointer, tuple(CARVE_READERS))
        return cls(**{name: frozenset(CARVE_READERS[name](*entry)) for name, entry in found.items()})

    def to_json(self) -> dict[str, list[str]]:
        """Return the parts that are not `any`, sorted."""
        parts = {name: getattr(self, name) for name in CARVE_READERS}
        return {name: sorted(part) for name, part in parts.items() if part is not None}


def site_is_in(sites: frozenset[str], host: str, domain: str) -> bool:
    """Say whether a host lies in sites: `*`, its registrable domain, or `=` and the host."""
    return "*" in sites or domain in sites or f"={host}" in sites


def category_is_in(categories: frozenset[str], category: str | None) -> bool:
    """Say whether the path of an item begins with one of the paths, or these are `*`."""
    if "*" in categories or category is None:
        return "*" in categories
    return any(category == path or category.startswith(f"{path}/") for path in categories)


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the events. Build it with `parse`, or call `normal()` on one built by hand.

    `fields` maps field to level, without hidden ones. `form` is `rows` or `answers`.
    """

    kinds: frozenset[str] = NONE
    sites: frozenset[str] = ANY
    classes: frozenset[str] = ANY
    sensitive: frozenset[str] = NONE
    categories: frozenset[str] = ANY
    form: str = "rows"
    answers: frozenset[str] = NONE
    fields: Mapping[str, str] = field(default_factory=dict, hash=False)
    window: Window = ALWAYS
    except_: frozenset[CarveOut] = frozenset()

    def __and__(self, other: Self) -> "Slice":
        """What both allow, normalised."""
        kinds, rows = self.kinds & other.kinds, self.form == other.form == "rows"
        fields = {name: coarser(name, level, other.fields[name]) for name, level in self.fields.items() if name in other.fields} if rows else {}
        # The meets of sets are normal, so that only fields and answers are left to do.
        return Slice(
            kinds=kinds,
            sites=meet_sites(self.sites, other.sites),
            classes=meet_sets(self.classes, other.classes),
            sensitive=self.sensitive & other.sensitive,
            categories=meet_categories(self.categories, other.categories),
            form="rows" if rows else "answers",
            answers=self.answers & other.answers if "purchase" in kinds else NONE,
            fields=normal_fields(fields, kinds),
            window=self.window & other.window,
            except_=self.except_ | other.except_,
        )

    def __le__(self, other: Self) -> bool:
        """Whether it allows nothing that `other` does not: both have to be normal."""
        return self & other == self

    def normal(self) -> "Slice":
        """Return the form that is compared, shown and signed (F2): one form for one meaning."""
        return replace(
            self,
            sites=meet_sites(self.sites, self.sites),
            classes=meet_sets(self.classes, self.classes),
            categories=meet_categories(self.categories, self.categories),
            fields=normal_fields(self.fields, self.kinds) if self.form == "rows" else {},
            answers=self.answers if "purchase" in self.kinds else NONE,
        )

    def is_empty(self) -> bool:
        """Say whether nothing can be read through it, whatever the store holds."""
        kinds = self.kinds
        for carve in self.except_:
            if carve == CarveOut(kinds=carve.kinds):
                kinds -= carve.kinds or kinds
        shown = self.fields if self.form == "rows" else self.answers
        return not (kinds and self.sites and self.classes and self.categories and shown) or self.window.is_empty()

    def at(self, now: datetime) -> "Slice":
        """Return the slice with its window made absolute at `now` (F3); that of answers moves once a UTC day (F9)."""
        moment = period_start(now, "day") if self.form == "answers" else now
        return _placed(self, self.window.at(moment, self._time_level()))

    def period(self) -> Literal["day", "month"]:
        """The unit by which rows are judged before the first one leaves (section 8)."""
        return "month" if self._time_level() in (HIDDEN, "month") else "day"

    def _time_level(self) -> str:
        """Return the level of time that every row can keep to, also one whose time is carved out."""
        if any("time" in (carve.fields or NONE) for carve in self.except_):
            return HIDDEN
        return "day" if self.form == "answers" else self.fields.get("time", HIDDEN)

    def covers(self, event: Event) -> bool:
        """Say whether the slice holds the event. Raises ValueError while its window is relative."""
        if self.window.is_relative:
            raise ValueError("call at(now) first: this window still depends on the time")
        kind, host, domain, site_class = _place(event)
        return (
            kind in self.kinds
            and self.window.holds(event["time"])
            and self._holds_site(host, domain, site_class)
            and not any(carve.matches(kind, host, domain, site_class) for carve in self.except_ if carve.fields is None and carve.categories is None)
            and self._holds_content(event)
        )

    def _holds_site(self, host: str, domain: str, site_class: str) -> bool:
        listed = site_class in SITE_CLASSES and ("*" in self.classes or site_class in self.classes)
        return listed and site_is_in(self.sites, host, domain) and (site_class not in SENSITIVE_CLASSES or site_class in self.sensitive)

    def _holds_content(self, event: Event) -> bool:
        """Judge items by their categories (F4), and a search by its topics (U4)."""
        if event.get("items"):
            return bool(self.items_in(event))
        found = topics(event["query"]) if event.get("query") else []
        return "*" in self.categories and not any(self._is_shut(topic, event) for topic in found)

    def items_in(self, event: Event) -> list[Event]:
        """Return the items of an event that the slice holds (F4, U4)."""
        items = event.get("items") or []
        return [item for item in items if category_is_in(self.categories, item.get("category")) and not self._is_shut(item.get("category"), event)]

    def _is_shut(self, category: str | None, event: Event) -> bool:
        """Say whether a category is sensitive and not listed, or carved out of such events."""
        top = category.partition("/")[0] if category else None
        if top in SENSITIVE_CATEGORIES and top not in self.sensitive:
            return True
        return any(
            carve.fields is None and carve.categories is not None and carve.matches_category(category) and carve.matches(*_place(event))
            for carve in self.except_
        )

    def trim(self, event: Event, alias: Alias | None = None) -> dict[str, Any]:
        """Return the row that a covered event shows, with the field names of section 4.

        `alias` turns the event's id and its order id into pairwise ones (F7); without it both
        are hidden.
        """
        items = self.items_in(event)
        # All items speak here, also removed ones: else a second deny could uncover a field.
        fields = self._shown(event, self._hidden(event, event.get("items") or []))
        if len(items) < len(event.get("items") or []):
            fields = {name: level for name, level in fields.items() if name not in FIELDS_WITH_ITEMS_CUT}
        row: dict[str, Any] = {"id": alias(event["id"])} if alias else {}
        row |= {name: event[name] for name in ("kind", "action") if name in event}
        for name, level in fields.items():
            shown = SITE_PARTS[level] if name == "site" else name
            if FIELDS[name].item or shown not in event or (name == "referrer" and not self.holds_referrer(event)):
                continue
            if level != "pairwise":
                row[name] = coarse(FIELDS[name].order, level)(event[shown])
            elif alias:
                row[name] = alias(event[name])
        rows = [filled for item in items if (filled := self._trim_item(event, item))]
        return row | {"items": rows} if rows else row

    def _trim_item(self, event: Event, item: Event) -> dict[str, Any]:
        fields = self._shown(event, self._hidden(event, [item]))
        return {name: coarse(FIELDS[name].order, level)(item[name]) for name, level in fields.items() if FIELDS[name].item and name in item}

    def _hidden(self, event: Event, items: list[Event]) -> frozenset[str]:
        """Return the fields that carve-outs hide in this event, seen with these items."""
        found = [item.get("category") for item in items] or (topics(event["query"]) if event.get("query") else [None])
        place = _place(event)
        return NONE.union(
            *(
                carve.fields
                for carve in self.except_
                if carve.fields is not None and carve.matches(*place) and any(carve.matches_category(category) for category in found)
            )
        )

    def _shown(self, event: Event, hidden: frozenset[str]) -> Mapping[str, str]:
        return _left_of(self, hidden, event["kind"])

    def holds_referrer(self, event: Event) -> bool:
        """Judge the referrer as a site of its own (F5); one of unknown class stays hidden."""
        site, site_class = event["referrer"], event.get("referrer_class", "")
        return self._holds_site(site, site, site_class) and not any(
            carve.categories is None and (carve.fields is None or "site" in carve.fields) and carve.matches(event["kind"], site, site, site_class)
            for carve in self.except_
        )

    def compiled(self) -> "Compiled":
        """Return a fast function equal to `covers`, then `trim`; see `compiled.py`."""
        from policies.compiled import compile_slice  # noqa: PLC0415 - that module needs this one.

        return compile_slice(self)

    @classmethod
    def parse(cls, value: object, pointer: str = "") -> "Slice":
        """Read a slice that stands alone, such as a Permitted one. Raises `Malformed`."""
        return cls.read(documents.members(value, pointer, (*SLICE_MEMBERS, "except"), ("kinds",)), Slice())

    @classmethod
    def read(cls, found: Members, default: "Slice") -> "Slice":
        """Read the members of a slice among those of a clause; others are as in `default`."""
        parts: dict[str, Any] = {name: read(*found[name]) for name, read in _READERS.items() if name in found}
        if "window" in found:
            parts["window"] = Window.read(*found["window"], default.window)
        if "except" in found:
            parts["except_"] = frozenset(CarveOut.parse(*entry) for entry in documents.entries(*found["except"]))
        return replace(default, **parts).normal()

    def to_json(self) -> dict[str, Any]:
        """Return the canonical form: sets sorted, `except` only where there is one."""
        sets = ("kinds", "sites", "classes", "sensitive", "categories", "form", "answers")
        form: dict[str, Any] = {name: value if isinstance(value := getattr(self, name), str) else sorted(value) for name in sets}
        form |= {"fields": dict(sorted(self.fields.items())), "window": self.window.to_json()}
        if self.except_:
            form["except"] = sorted((carve.to_json() for carve in self.except_), key=documents.canonical)
        return form


@lru_cache(maxsize=1024)
def _placed(part: Slice, window: Window) -> Slice:
    """One object for one meaning, so that what is compiled of it is found again at once."""
    return replace(part, window=window)


@lru_cache(maxsize=1024)
def _left_of(part: Slice, hidden: frozenset[str], kind: str) -> Mapping[str, str]:
    """Return the fields that an event of a kind shows where some are hidden."""
    return normal_fields({name: level for name, level in part.fields.items() if name not in hidden}, frozenset({kind}))


def _place(event: Event) -> tuple[str, str, str, str]:
    return event["kind"], event["host"], event["domain"], event["class"]


def normal_fields(fields: Mapping[str, str], kinds: frozenset[str]) -> dict[str, str]:
    """Hide what coarser fields would give away, and what no such kind carries (F2)."""
    levels = {name: fields[name] for name in FIELDS if fields.get(name, HIDDEN) != HIDDEN and FIELDS[name].kinds & kinds}
    if levels.get("site") != "host":
        levels.pop("url", None)
    if rank("url", levels.get("url", HIDDEN)) < rank("url", "no_query"):
        levels.pop("title", None)
    if "product" not in levels:
        for name in ("gtin", "sku", "variant"):
            levels.pop(name, None)
    return levels


def read_site(value: object, pointer: str) -> str:
    """Read `shop.example` or `=www.shop.example`."""
    return documents.text(value, pointer, SITE, "a registrable domain such as shop.example, or = and one host, in lower-case ASCII")


def _read_site_of_clause(value: object, pointer: str) -> str:
    return value if value in ("*", SELF) and isinstance(value, str) else read_site(value, pointer)


def read_category(value: object, pointer: str) -> str:
    """Read a path such as `books/crime`."""
    found = documents.text(value, pointer, CATEGORY, "a top category, then at most 4 parts of 40 characters, such as books/crime")
    # A path is the vendor's own words, and stands in the text that is signed.
    return documents.prose(found, pointer, LONGEST_CATEGORY)


def _read_category_of_clause(value: object, pointer: str) -> str:
    return "*" if value == "*" else read_category(value, pointer)


def _read_fields(value: object, pointer: str) -> dict[str, str]:
    found = documents.members(value, pointer, tuple(FIELDS))
    return {name: documents.choice(*entry, FIELDS[name].levels) for name, entry in found.items()}


Words = Callable[[object, str], frozenset[str]]


def _set_of(one: Callable[[object, str], str]) -> Words:
    return lambda value, pointer: frozenset(documents.words(value, pointer, one))


def _some_of(one: Callable[[object, str], str]) -> Words:
    return partial(documents.some_words, one=one)


CARVE_READERS: Mapping[str, Words] = {
    "kinds": _some_of(documents.one_of(KINDS)),
    "sites": _some_of(read_site),
    "classes": _some_of(documents.one_of(SITE_CLASSES)),
    "categories": _some_of(read_category),
    "fields": _some_of(documents.one_of(FIELDS)),
}
"""The event-dependent members of a deny."""

_READERS: Mapping[str, Callable[[object, str], Any]] = {
    "kinds": _some_of(documents.one_of(KINDS)),
    "sites": _set_of(_read_site_of_clause),
    "classes": _set_of(documents.one_of(("*", *SITE_CLASSES))),
    "sensitive": _set_of(documents.one_of(SENSITIVE)),
    "categories": _set_of(_read_category_of_clause),
    "form": lambda value, pointer: documents.choice(value, pointer, ("rows", "answers")),
    "answers": _set_of(documents.one_of(ANSWERS)),
    "fields": _read_fields,
}
SLICE_MEMBERS = (*_READERS, "window")
