"""The form of each kind of event as JSON Schema (2020-12), made from the shape that events are checked by."""

from collections.abc import Iterable
from functools import reduce
from operator import or_
from typing import Any, Final

import msgspec

from broker.events import shape
from policies.exports.jsonschema import one_of

Json = dict[str, Any]
# What is checked beside the form of each field.
_UNCLEAN: Final = r"^[^\x00-\x1f]*$"


def components(kinds: Iterable[type[shape.AnyEvent]], reference: str) -> tuple[Json, dict[str, Json]]:
    """The schema of an event of any of these kinds, and those it is made of by name; `reference` is how one is named, with `{name}` in it."""
    (union,), found = msgspec.json.schema_components([reduce(or_, kinds)], ref_template=reference)
    found["Money"]["properties"]["currency"] = one_of(sorted(shape.EXPONENTS))
    found["Item"]["properties"]["category"]["pattern"] = (
        rf"^(?:{'|'.join(sorted(shape.TOPS))})(?:/[^/\x00-\x1f]{{1,{shape.MAX_SEGMENT}}}){{0,{shape.MAX_DEPTH}}}$"
    )
    for component in found.values():
        for text in component["properties"].values():
            if text.get("type") == "string":
                text.setdefault("pattern", _UNCLEAN)
    return union, found


def document(kind: str) -> Json:
    """The schema of one kind of event by itself, as a line of an export holds it: without what only the broker adds."""
    _, found = components(shape.KINDS.values(), "#/$defs/{name}")
    name = shape.KINDS[kind].__name__
    mine = found.pop(name)
    del mine["properties"]["received"]
    used = {each: found[each] for each in ("Item", "Money") if "items" in mine["properties"]}
    for properties in (mine["properties"], *(each["properties"] for each in used.values())):
        for field in properties.values():
            if "pattern" in field:
                # As ECMA-262 writes the end.
                field["pattern"] = field["pattern"].replace(r"\Z", "$")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **mine, "title": kind, "$defs": used}
