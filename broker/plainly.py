"""JSON Schema in words, for the page of the API: what a value looks like, and what an object's members are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from flask import url_for
from markupsafe import Markup

from broker import documentation

Json = dict[str, Any]
_FORMS: Final = {"date-time": "time, RFC 3339", "date": "day, such as 2027-03-02", "uri": "address", "uuid": "UUID"}
_PLAIN: Final = {"string": "text", "boolean": "true or false", "object": "object", "null": "null"}
MOST_WORDS: Final = 60


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: a member or a parameter."""

    name: str
    form: Markup
    meaning: Markup
    needed: bool = False
    where: str = ""


def prose(text: str) -> Markup:
    """One paragraph of Markdown, without the paragraph."""
    return documentation.render(text, "index").strip().removeprefix("<p>").removesuffix("</p>")


def form(schema: Mapping[str, Any]) -> Markup:
    """What a value looks like."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return Markup('<a href="{}">{}</a>').format(url_for("description.form", name=name), name)
    if "const" in schema:
        return Markup("<code>{}</code>").format(_written(schema["const"]))
    if "enum" in schema:
        return Markup(", ").join(Markup("<code>{}</code>").format(_written(word)) for word in schema["enum"])
    for several in ("anyOf", "allOf"):
        if several in schema:
            return Markup(" or ").join(form(each) for each in schema[several])
    return _of_type(schema)


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value).rstrip("\n")


def _of_type(schema: Mapping[str, Any]) -> Markup:
    kinds = schema.get("type", "")
    if isinstance(kinds, list):
        return Markup(" or ").join(_of_type({**schema, "type": kind}) for kind in kinds)
    if kinds == "array":
        return Markup("list{} of {}").format(_bounds(schema, "minItems", "maxItems", ""), form(schema.get("items", {})))
    if kinds == "integer":
        return Markup("whole number{}").format(_bounds(schema, "minimum", "maximum", ""))
    if kinds == "object" and isinstance(schema.get("additionalProperties"), dict) and schema["additionalProperties"]:
        return Markup("object of {}").format(form(schema["additionalProperties"]))
    if "contentSchema" in schema:
        return Markup("JSON text: {}").format(form(schema["contentSchema"]))
    if kinds != "string":
        return Markup("{}").format(_PLAIN.get(kinds, "anything"))
    text = Markup("{}{}").format(_FORMS.get(schema.get("format", ""), "text"), _bounds(schema, "minLength", "maxLength", " characters"))
    pattern = schema.get("pattern", "")
    # What merely has no control characters in it is text to anybody.
    return text + Markup(" like <code>{}</code>").format(pattern) if 0 < len(pattern) <= MOST_WORDS and not pattern.startswith("^[^") else text


def _bounds(schema: Mapping[str, Any], least: str, most: str, unit: str) -> str:
    low, high = schema.get(least), schema.get(most)
    if low is not None and low == high:
        return f", {low:,}{unit}"
    if high is None:
        return f", at least {low:,}{unit}" if low else ""
    return f", {low:,} to {high:,}{unit}" if low is not None else f", at most {high:,}{unit}"


def members(schema: Mapping[str, Any], before: str = "") -> list[Row]:
    """The members of an object, and of the objects inside it that have no name of their own."""
    rows: list[Row] = []
    for name, each in schema.get("properties", {}).items():
        rows.append(Row(before + name, form(each), prose(each.get("description", "")), name in schema.get("required", ())))
        inside = each.get("items", {}) if each.get("type") == "array" else each
        rows += members(inside, f"{before}{name}.")
    return rows
