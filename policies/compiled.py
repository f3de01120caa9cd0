"""A slice as one fast function: what `covers` and `trim` do, with all that can be known first."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from policies.precision import SITE_PARTS, coarse, is_exact
from policies.slices import Alias, CarveOut, Event, Judge, Slice, category_is_in, normal_fields
from policies.times import event_time
from policies.vocabulary import FIELDS, FIELDS_WITH_ITEMS_CUT, SENSITIVE_CATEGORIES, SENSITIVE_CLASSES, SITE_CLASSES

_Copies = tuple[str, ...]
_Made = tuple[tuple[str, str, Callable[[Any], Any]], ...]


@dataclass(frozen=True, slots=True)
class _Plan:
    """How one kind of event becomes a row: fields copied, and made by (name, source, function)."""

    copies: _Copies
    made: _Made
    order: bool
    item_copies: _Copies
    item_made: _Made

    def row(self, event: Event, alias: Alias | None) -> dict[str, Any]:
        """Return the row, its items apart."""
        row = {"id": alias(event["id"]), "kind": event["kind"]} if alias else {"kind": event["kind"]}
        if "action" in event:
            row["action"] = event["action"]
        _fill(row, event, self.copies, self.made)
        if alias and self.order and "order_id" in event:
            row["order_id"] = alias(event["order_id"])
        return row

    def add_items(self, row: dict[str, Any], items: list[Event], *, cut: bool) -> None:
        """Add the covered items; where others were cut, take out what would tell of them (F4)."""
        if cut:
            for name in FIELDS_WITH_ITEMS_CUT:
                row.pop(name, None)
        if self.item_copies or self.item_made:
            shown = [filled for item in items if (filled := _fill({}, item, self.item_copies, self.item_made))]
            if shown:
                row["items"] = shown


def compile_slice(part: Slice) -> Judge:
    """Return `judge(event, alias=None)`: the trimmed row, or None where the slice does not cover.

    Carve-outs that change with the event's site or items, and what needs a second judgement (a
    referrer, a search), take the general path; all others are settled here, once.
    """
    if part.window.is_relative:
        raise ValueError("call at(now) first: this window still depends on the time")

    def general(event: Event, alias: Alias | None = None) -> dict[str, Any] | None:
        return part.trim(event, alias) if part.covers(event) else None

    if any(_depends_on_more(carve) for carve in part.except_):
        return general
    plans = {kind: _plan(part, kind) for kind in part.kinds}
    return _judge(part, {kind: plan for kind, plan in plans.items() if plan is not None}, general)


def _depends_on_more(carve: CarveOut) -> bool:
    """Say whether a carve-out is neither of sites or of classes alone, nor of fields alone, nor of kinds."""
    by_place = carve.sites is not None or carve.classes is not None
    both = carve.sites is not None and carve.classes is not None
    return carve.categories is not None or (by_place and carve.fields is not None) or both


def _plan(part: Slice, kind: str) -> _Plan | None:
    """Settle what is shown of a kind; None leaves it to the general path."""
    carves = [carve for carve in part.except_ if carve.kinds is None or kind in carve.kinds]
    wholly = [carve for carve in carves if carve.fields is None]
    hidden = {name for carve in carves for name in carve.fields or ()}
    fields = normal_fields({name: level for name, level in part.fields.items() if name not in hidden}, frozenset({kind}))
    if kind == "search" or "referrer" in fields or any(carve.kinds for carve in wholly):
        return None
    rows = {name: level for name, level in fields.items() if not FIELDS[name].item}
    items = {name: level for name, level in fields.items() if FIELDS[name].item}
    return _Plan(*_split(rows), "order_id" in fields, *_split(items))


def _split(fields: Mapping[str, str]) -> tuple[_Copies, _Made]:
    made = {name: level for name, level in fields.items() if name == "site" or not is_exact(FIELDS[name].order, level)}
    copies = tuple(name for name in fields if name not in made and name != "order_id")
    return copies, tuple((name, SITE_PARTS[level] if name == "site" else name, coarse(FIELDS[name].order, level)) for name, level in made.items())


def _judge(part: Slice, plans: Mapping[str, _Plan], general: Judge) -> Judge:
    kinds = part.kinds
    after = event_time(part.window.after) if part.window.after else ""
    before = event_time(part.window.before) if part.window.before else "~"
    holds_site = _site_test(part, [carve for carve in part.except_ if carve.fields is None and carve.kinds is None])
    holds_item = _item_test(part)
    any_category = "*" in part.categories

    def judge(event: Event, alias: Alias | None = None) -> dict[str, Any] | None:
        kind = event["kind"]
        if kind not in kinds or not after <= event["time"] < before or not holds_site(event):
            return None
        plan = plans.get(kind)
        if plan is None:
            return general(event, alias)
        stored = event.get("items")
        items = [item for item in stored if holds_item(item.get("category"))] if stored else []
        if not items and (stored or not any_category):
            return None
        row = plan.row(event, alias)
        if stored:
            plan.add_items(row, items, cut=len(items) < len(stored))
        return row

    return judge


def _fill(row: dict[str, Any], source: Event, copies: _Copies, made: _Made) -> dict[str, Any]:
    for name in copies:
        if name in source:
            row[name] = source[name]
    for name, origin, make in made:
        if origin in source:
            row[name] = make(source[origin])
    return row


def _site_test(part: Slice, carved: list[CarveOut]) -> Callable[[Event], bool]:
    """Return the judgement of sites and classes, less what is carved out of every kind."""
    classes = frozenset(SITE_CLASSES) if "*" in part.classes else part.classes
    classes -= frozenset(SENSITIVE_CLASSES) - part.sensitive
    classes = classes.difference(*(carve.classes or classes for carve in carved if carve.sites is None))
    refused = frozenset().union(*(carve.sites for carve in carved if carve.sites is not None))
    wanted = part.sites
    any_site = "*" in wanted

    def holds(event: Event) -> bool:
        if event["class"] not in classes:
            return False
        domain, host = event["domain"], f"={event['host']}"
        return domain not in refused and host not in refused and (any_site or domain in wanted or host in wanted)

    return holds if refused or not any_site else lambda event: event["class"] in classes


def _item_test(part: Slice) -> Callable[[str | None], bool]:
    """Return the judgement of an item's category. It remembers nothing: paths are the shop's words."""
    any_category = "*" in part.categories
    shut = frozenset(SENSITIVE_CATEGORIES) - part.sensitive
    tops = part.categories - shut
    paths = frozenset(path for path in part.categories if "/" in path)

    def holds(category: str | None) -> bool:
        if category is None:
            return any_category
        top = category.partition("/")[0]
        if top in tops or any_category:
            return top not in shut
        return top not in shut and category_is_in(paths, category)

    return holds
