"""`/openapi.json`, the description of the API, and `/docs/api`, the same for people: rendered here, with nothing from elsewhere."""

from typing import Final

import orjson
from flask import Blueprint, Response, current_app, render_template
from markupsafe import Markup

from broker import documentation, errors, headers, openapi, plainly
from broker.openapi import Json, Part

description: Final = Blueprint("description", __name__)
_SAID_ONCE: Final = {str(error.status) for error in openapi.EVERYWHERE}
PART: Final = Part({"description.machine": openapi.document("", {"type": "object"})})


def described() -> Json:
    """The description of the running application."""
    made: Json = current_app.extensions["openapi"]()
    return made


@description.get("/openapi.json")
def machine() -> Response:
    """The description that you are reading (OpenAPI 3.1)."""
    return headers.kept(orjson.dumps(described()))


@description.get("/docs/api")
def page() -> str:
    """The calls of the API, for people."""
    found = described()
    parts = []
    for tag in found["tags"]:
        calls = [(path, *call) for path, methods in found["paths"].items() for call in methods.items()]
        parts.append((tag["name"], tag["description"].rstrip("."), [_shown(*call) for call in calls if tag["name"] in call[2]["tags"]]))
    intro = documentation.render(documentation.documents()["api"].text, "api")
    return render_template("docs_api.html", title="The API", intro=intro, parts=parts)


@description.get("/docs/api/forms/<name>")
def form(name: str) -> str:
    """One form that calls name, for people."""
    schema = described()["components"]["schemas"].get(name)
    if schema is None:
        raise errors.NotFound
    words, rows = _of_schema(schema)
    told = plainly.prose(schema.get("description", ""))
    return render_template("docs_form.html", title=name, told=told, words=words, rows=rows)


def _of_schema(schema: Json) -> tuple[Markup | str, list[plainly.Row]]:
    """What a schema is in words where it has no members, and its members."""
    rows = plainly.members(schema)
    return ("" if rows else plainly.form(schema), rows)


def _shown(path: str, method: str, operation: Json) -> Json:
    """One operation as the page shows it."""
    parameters = [
        plainly.Row(each["name"], plainly.form(each["schema"]), plainly.prose(each["description"]), each.get("required", False), each["in"])
        for each in operation.get("parameters", ())
    ]
    bodies = [(media, *_body(content["schema"])) for media, content in operation.get("requestBody", {}).get("content", {}).items()]
    return {
        "anchor": operation["operationId"], "method": method.upper(), "path": path, "summary": plainly.prose(operation["summary"]),
        "page": operation.get("externalDocs", {}).get("url", ""), "security": _security(operation["security"]), "parameters": parameters, "bodies": bodies,
        "answers": [_answer(status, answer) for status, answer in operation["responses"].items() if status not in _SAID_ONCE],
    }  # fmt: skip


def _body(schema: Json) -> tuple[Markup | str, list[plainly.Row]]:
    return (plainly.form(schema), []) if "$ref" in schema else _of_schema(schema)


def _answer(status: str, answer: Json) -> tuple[str, Markup, Markup]:
    forms = []
    for media, content in answer.get("content", {}).items():
        told = "$ref" in content["schema"] or media in {"text/plain", openapi.PROBLEM}
        forms.append(plainly.form(content["schema"]) if told else Markup("<code>{}</code>").format(media))
    return status, plainly.prose(answer["description"]), Markup(", ").join(forms)


def _security(ways: list[Json]) -> str:
    """What a call has to carry, in a sentence."""
    if not ways:
        return "It takes no token."
    if {} in ways:
        return "It may carry a DPoP proof."
    way = ways[0]
    if "token" in way:
        return f"It carries an access token of scope {way['token'][0]}, and a DPoP proof."
    return "It carries a DPoP proof." if "proof" in way else "It carries an invite as a bearer token."
