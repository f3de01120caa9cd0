"""A slice as one fast function for each kind: what `covers` and `trim` do, written out once as Python source.

Only names from the vocabulary stand in that source. Whatever a person or a vendor wrote reaches it
as a variable.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from policies.precision import SITE_PARTS, coarse, is_exact
from policies.slices import Alias, CarveOut, Event, Judge, Slice, category_is_in, normal_fields
from policies.times import event_time
from policies.vocabulary import FIELDS, FIELDS_WITH_ITEMS_CUT, KINDS, SENSITIVE_CATEGORIES, SENSITIVE_CLASSES, SITE_CLASSES


@dataclass(frozen=True, slots=True)
class KindJudge:
    """`judge` for events of one kind. It looks at these members of the event and of its items; None is all of them."""

    judge: Judge
    members: frozenset[str] | None = None
    item_members: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Compiled:
    """A slice's judges by kind; called, it judges an event of any kind."""

    of_kind: Mapping[str, KindJudge]

    def __call__(self, event: Event, alias: Alias | None = None) -> dict[str, Any] | None:
        """Return the trimmed row of a covered event, else None."""
        found = self.of_kind.get(event["kind"])
        return found.judge(event, alias) if found else None


def compile_slice(part: Slice) -> Compiled:
    """Compile a slice whose window is absolute.

    Carve-outs that change with the event's site or items, and what needs a second judgement (a
    referrer, a search), take the general path; all others are settled here, once.
    """
    if part.window.is_relative:
        raise ValueError("call at(now) first: this window still depends on the time")

    def general(event: Event, alias: Alias | None = None) -> dict[str, Any] | None:
        return part.trim(event, alias) if part.covers(event) else None

    simple = not any(_depends_on_more(carve) for carve in part.except_)
    return Compiled({kind: (_written(part, kind) if simple else None) or KindJudge(general) for kind in part.kinds})


def _depends_on_more(carve: CarveOut) -> bool:
    """Say whether a carve-out is neither of sites or of classes alone, nor of fields alone, nor of kinds."""
    by_place = carve.sites is not None or carve.classes is not None
    both = carve.sites is not None and carve.classes is not None
    return carve.categories is not None or (by_place and carve.fields is not None) or both


@dataclass(slots=True)
class _Source:
    """The source of a judge in the making: its lines, the values it names, the members it looks at."""

    lines: list[str] = field(default_factory=list)
    names: dict[str, Any] = field(default_factory=dict)
    members: dict[str, set[str]] = field(default_factory=lambda: {"event": {"id"}, "item": set()})

    def add(self, depth: int, *lines: str) -> None:
        """Add lines at a depth."""
        self.lines += ["    " * depth + line for line in lines]

    def member(self, source: str, name: str) -> str:
        """Return the expression for a member of the event or of an item."""
        self.members[source].add(name)
        return f"{source}[{name!r}]"

    def fill(self, depth: int, target: str, source: str, fields: Mapping[str, str]) -> None:
        """Add what brings each field that is there to its level."""
        for name, level in fields.items():
            shown = SITE_PARTS[level] if name == "site" else name
            value = self.member(source, shown)
            if level == "pairwise":
                self.add(depth, f"if alias and {name!r} in {source}: {target}[{name!r}] = alias({value})")
                continue
            if level != "exact" and name != "site" and not is_exact(FIELDS[name].order, level):
                self.names[f"make_{name}"] = coarse(FIELDS[name].order, level)
                value = f"make_{name}({value})"
            self.add(depth, f"if {shown!r} in {source}: {target}[{name!r}] = {value}")

    def judge(self) -> KindJudge:
        """Return the function that the lines say."""
        exec("\n".join(["def judge(event, alias=None):", *self.lines]), self.names)  # noqa: S102 - names of the vocabulary only
        return KindJudge(self.names["judge"], frozenset(self.members["event"]), frozenset(self.members["item"]))


def _written(part: Slice, kind: str) -> KindJudge | None:
    """Settle what is covered and shown of a kind; None leaves it to the general path."""
    carves = [carve for carve in part.except_ if carve.kinds is None or kind in carve.kinds]
    wholly = [carve for carve in carves if carve.fields is None]
    hidden = {name for carve in carves for name in carve.fields or ()}
    fields = normal_fields({name: level for name, level in part.fields.items() if name not in hidden}, frozenset({kind}))
    if kind == "search" or "referrer" in fields or any(carve.kinds for carve in wholly):
        return None
    source = _Source()
    _judge_place(source, part, wholly)
    if KINDS[kind].items:
        _judge_items(source, part, {name: level for name, level in fields.items() if FIELDS[name].item})
    elif "*" not in part.categories:
        return KindJudge(lambda _event, _alias=None: None, frozenset())
    source.names["kind"] = kind
    source.add(1, "row = {'id': alias(event['id']), 'kind': kind} if alias else {'kind': kind}")
    if KINDS[kind].actions:
        source.fill(1, "row", "event", {"action": "exact"})
    shown = {name: level for name, level in fields.items() if not FIELDS[name].item}
    if KINDS[kind].items:
        source.fill(1, "row", "event", {name: level for name, level in shown.items() if name not in FIELDS_WITH_ITEMS_CUT})
        _add_items(source, {name: level for name, level in shown.items() if name in FIELDS_WITH_ITEMS_CUT})
    else:
        source.fill(1, "row", "event", shown)
    source.add(1, "return row")
    return source.judge()


def _judge_place(source: _Source, part: Slice, wholly: Iterable[CarveOut]) -> None:
    """Judge time, class and site, less what is carved out of every kind."""
    classes = frozenset(SITE_CLASSES) if "*" in part.classes else part.classes
    classes -= frozenset(SENSITIVE_CLASSES) - part.sensitive
    classes = classes.difference(*(carve.classes or classes for carve in wholly if carve.sites is None))
    refused = frozenset().union(*(carve.sites for carve in wholly if carve.sites is not None))
    source.names |= {"classes": classes, "refused": refused, "sites": part.sites}
    source.names["after"] = event_time(part.window.after) if part.window.after else ""
    source.names["before"] = event_time(part.window.before) if part.window.before else "~"
    source.add(1, f"if not after <= {source.member('event', 'time')} < before or {source.member('event', 'class')} not in classes: return None")
    if refused or "*" not in part.sites:
        source.add(1, f"domain, host = {source.member('event', 'domain')}, '=' + {source.member('event', 'host')}")
        if refused:
            source.add(1, "if domain in refused or host in refused: return None")
        if "*" not in part.sites:
            source.add(1, "if domain not in sites and host not in sites: return None")


def _judge_items(source: _Source, part: Slice, fields: Mapping[str, str]) -> None:
    """Judge items by their category, and keep what is shown of those covered (F4). Categories are the shop's words: none is remembered."""
    shut = frozenset(SENSITIVE_CATEGORIES) - part.sensitive
    paths = frozenset(path for path in part.categories if "/" in path)
    source.names |= {"shut": shut, "tops": part.categories - shut, "holds": lambda category: category_is_in(paths, category)}
    source.members["event"].add("items")
    source.members["item"].add("category")
    source.add(1, "stored, items, held = event.get('items') or (), [], 0", "for item in stored:", "    category = item.get('category')")
    if "*" in part.categories:
        source.add(2, "if category is not None and category.partition('/')[0] in shut: continue")
    else:
        source.add(2, "if category is None: continue", "top = category.partition('/')[0]")
        source.add(2, "if top not in tops and (top in shut or not holds(category)): continue")
    source.add(2, "held += 1", "shown = {}")
    source.fill(2, "shown", "item", fields)
    source.add(2, "if shown: items.append(shown)")
    source.add(1, "if not held and stored: return None" if "*" in part.categories else "if not held: return None")


def _add_items(source: _Source, cut: Mapping[str, str]) -> None:
    """Add the covered items; where others were cut, leave out what would tell of them (F4)."""
    if cut:
        source.add(1, "if held == len(stored):")
        source.fill(2, "row", "event", cut)
    source.add(1, "if items: row['items'] = items")
