"""Forms of pages as a browser without scripts would send them."""

from html.parser import HTMLParser
from typing import Any


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[dict[str, Any]] = []
        self._select: dict[str, Any] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        about = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append({"action": about.get("action", ""), "fields": {}, "buttons": []})
        if not self.forms:
            return
        form = self.forms[-1]
        if tag == "input" and "name" in about:
            chosen = about.get("type") not in {"checkbox", "radio"} or "checked" in about
            if chosen:
                form["fields"].setdefault(about["name"], []).append(about.get("value", "on" if about.get("type") == "checkbox" else ""))
        elif tag == "select":
            self._select = {"name": about["name"], "options": [], "chosen": None}
        elif tag == "option" and self._select is not None:
            self._select["options"].append(about.get("value", ""))
            if "selected" in about:
                self._select["chosen"] = about["value"]
        elif tag == "button":
            form["buttons"].append(about.get("formaction", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "select" and self._select is not None:
            chosen = self._select["chosen"] if self._select["chosen"] is not None else self._select["options"][0]
            self.forms[-1]["fields"].setdefault(self._select["name"], []).append(chosen)
            self._select = None


def forms_of(text: str, action: str) -> list[dict[str, list[str]]]:
    """The fields of each form of a page that is sent to `action`."""
    parser = _Forms()
    parser.feed(text)
    return [form["fields"] for form in parser.forms if form["action"] == action]


def form_of(text: str, action: str, **fields: str) -> dict[str, list[str]]:
    """The one form with this action, and these values among its own."""
    found = [form for form in forms_of(text, action) if all(form.get(name) == [value] for name, value in fields.items())]
    assert len(found) == 1, (action, fields, len(found))
    return found[0]
