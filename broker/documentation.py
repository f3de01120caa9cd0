"""The documentation in the running broker: Markdown files at /docs, and the meaning of each problem at /problems/<slug>."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Any

from flask import Blueprint, abort, redirect, render_template, url_for
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup
from werkzeug.wrappers import Response

FOLDER = Path(__file__).parent / "docs"
PROBLEMS = "reference/problems"
documentation = Blueprint("documentation", __name__)


@dataclass(frozen=True)
class Document:
    """One Markdown file: `name` is its path below broker/docs without .md, `title` its first heading, `text` the source."""

    name: str
    title: str
    text: str


@documentation.get("/docs")
def index() -> str:
    """The entrance of the documentation."""
    return _show("index")


@documentation.get("/docs/", defaults={"name": ""})
@documentation.get("/docs/<path:name>")
def document(name: str) -> str | Response:
    """One page of the documentation; a folder shows its index.md, with or without a slash at its end."""
    plain = name.rstrip("/")
    if plain != name or not name:
        return redirect(url_for(".document", name=plain) if plain else url_for(".index"), 308)
    return _show(name)


@documentation.get("/problems/<slug>")
def problem(slug: str) -> str:
    """What one error of the API means and what to do about it: its section of the page of problems."""
    section = sections().get(slug)
    if section is None:
        abort(404)
    crumbs = [("Documentation", url_for(".index")), ("Problems", url_for(".document", name=PROBLEMS))]
    return render_template("docs.html", title=slug, crumbs=crumbs, content=render(section.replace("## ", "# ", 1), PROBLEMS), listed=[])


@cache
def documents() -> dict[str, Document]:
    """Every page by its name. An address is looked up here and never becomes a path, so none can lead out of the folder."""
    found = {}
    for path in sorted(FOLDER.rglob("*.md")):
        name = path.relative_to(FOLDER).with_suffix("").as_posix()
        text = path.read_text(encoding="utf-8")
        heading = re.search(r"^# (.+)$", text, re.MULTILINE)
        found[name] = Document(name, heading[1] if heading else name, text)
    return found


@cache
def sections() -> dict[str, str]:
    """Markdown of each section of the page of problems, by its heading: the slug of an error."""
    page = documents().get(PROBLEMS)
    parts = re.split(r"^(?=## )", page.text if page else "", flags=re.MULTILINE)[1:]
    return {part.split("\n", 1)[0].removeprefix("## ").strip(" `"): part for part in parts}


@cache
def render(text: str, name: str) -> Markup:
    """`text` as HTML: raw HTML stays text, links between the Markdown files become addresses, nothing carries a style attribute."""
    return Markup(_markdown().render(text, {"name": name}))  # noqa: S704 - the source is our own file and raw HTML is off.


def section(page: str, heading: str) -> str:
    """The Markdown below one heading of the second order, such as "GET /v1/events"; empty where there is none."""
    found = documents().get(page)
    return found.text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0].strip() if found else ""


def meanings(page: str, heading: str) -> dict[str, str]:
    """What the tables of a section say of each name in their first column, in Markdown whose links hold anywhere on this broker."""
    found: dict[str, str] = {}
    for names, meaning in re.findall(r"^\| (`[^|]+) \| ([^|]+) \|", section(page, heading), re.MULTILINE):
        found |= {name: _anywhere(meaning.strip(), page) for name in re.findall(r"`([^`]+)`", names) if name not in found}
    return found


def first_paragraph(page: str, heading: str) -> str:
    """How a section begins, in Markdown whose links hold anywhere on this broker."""
    return _anywhere(section(page, heading).partition("\n\n")[0].replace("\n", " "), page)


def anchor(heading: str) -> str:
    """The id of a heading within its page."""
    words = re.sub(r"[^\w\s-]", "", heading.lower())
    return re.sub(r"\s+", "-", words.strip()) or "section"


def _anywhere(text: str, page: str) -> str:
    return re.sub(r"\]\(([^):#]+)\.md(#[^)]*)?\)", lambda link: f"](/docs/{normpath(join(dirname(page), link[1]))}{link[2] or ''})", text)


def _show(name: str) -> str:
    found = documents().get(name) or documents().get(f"{name}/index")
    if found is None:
        abort(404)
    folder = found.name.removesuffix("index") if found.name.endswith("/index") else ""
    below = [d for d in documents().values() if folder and d.name.startswith(folder) and d is not found]
    crumbs = [("Documentation", url_for(".index"))] if found.name != "index" else []
    listed = [(d.title, url_for(".document", name=d.name)) for d in below]
    return render_template("docs.html", title=found.title, crumbs=crumbs, content=render(found.text, found.name), listed=listed)


@cache
def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    for rule in (_heading_open, _link_open, _table_open, _table_close, _cell_open, _fence):
        names = ("th_open", "td_open") if rule is _cell_open else (rule.__name__.removeprefix("_"),)
        for token in names:
            markdown.add_render_rule(token, rule)
    return markdown


# The rules below have the signature markdown-it gives them; `env["name"]` is the page they stand on.
Env = Mapping[str, Any]


def _heading_open(self: RendererHTML, tokens: Sequence[Token], idx: int, options: Any, env: Env) -> str:
    del env
    tokens[idx].attrSet("id", anchor(tokens[idx + 1].content))
    return self.renderToken(tokens, idx, options, {})


def _link_open(self: RendererHTML, tokens: Sequence[Token], idx: int, options: Any, env: Env) -> str:
    target, _, anchor = str(tokens[idx].attrGet("href") or "").partition("#")
    if target.endswith(".md") and ":" not in target:
        name = normpath(join(dirname(env["name"]), target)).removesuffix(".md")
        address = url_for("documentation.index") if name == "index" else url_for("documentation.document", name=name.removesuffix("/index"))
        tokens[idx].attrSet("href", address + (f"#{anchor}" if anchor else ""))
    return self.renderToken(tokens, idx, options, {})


def _table_open(_self: RendererHTML, tokens: Sequence[Token], idx: int, _options: Any, _env: Env) -> str:
    heading = next((tokens[at + 1].content for at in range(idx, -1, -1) if tokens[at].type == "heading_open"), "")
    # Several tables may stand under one heading; a region's label is to tell them apart.
    count = sum(t.type == "table_open" for t in tokens[: idx + 1])
    label = Markup("Table {}: {}").format(count, heading[:80])
    return f'<div class="table-region" role="region" aria-label="{label}" tabindex="0"><table>\n'


def _table_close(_self: RendererHTML, _tokens: Sequence[Token], _idx: int, _options: Any, _env: Env) -> str:
    return "</table></div>\n"


def _cell_open(_self: RendererHTML, tokens: Sequence[Token], idx: int, _options: Any, _env: Env) -> str:
    # markdown-it aligns with a style attribute, which our policy refuses.
    right = "right" in str(tokens[idx].attrGet("style") or "")
    return f'<{tokens[idx].tag} class="num">' if right else f"<{tokens[idx].tag}>"


def _fence(_self: RendererHTML, tokens: Sequence[Token], idx: int, _options: Any, _env: Env) -> str:
    return Markup('<pre tabindex="0"><code>{}</code></pre>\n').format(tokens[idx].content)
