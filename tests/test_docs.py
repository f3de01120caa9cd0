"""The documentation under test: settings, routes, problems and commands without their words fail, and so do README blocks that are not true."""

import datetime as dt
import json
import re
from pathlib import Path

import click
import pytest
from flask import Flask
from makers import Browser, Clock, Shop, purchase, purchases

from broker import errors
from broker.__main__ import main
from broker.config import sentences
from broker.events import schemas
from broker.oauth import assertion
from policies.terms import Terms

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "broker" / "docs"


def headings(name: str) -> set[str]:
    return set(re.findall(r"^## (.+)$", (DOCS / f"{name}.md").read_text(encoding="utf-8"), re.MULTILINE))


def test_every_setting_has_its_heading_and_sentence() -> None:
    text = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")
    assert headings("reference/configuration") == set(sentences())
    for name, (_, sentence) in sentences().items():
        assert f"## {name}\n\n{sentence}" in text


def test_every_problem_has_its_heading() -> None:
    assert headings("reference/problems") >= {error.slug for error in errors.every_error()}


def test_every_problem_page_exists(app: Flask) -> None:
    client = app.test_client()
    for error in errors.every_error():
        answer = client.get(f"/problems/{error.slug}", base_url="http://localhost:8440")
        assert answer.status_code == 200, error.slug
        assert str(error.status) in answer.text


def test_every_api_route_has_its_heading(app: Flask) -> None:
    found = {
        f"{method} {rule.rule}" for rule in app.url_map.iter_rules() if rule.rule.startswith("/v1") for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    told = [headings("reference/events-api"), headings("reference/grants-api")]
    assert set.union(*told) == {re.sub(r"<([a-z_]+)>", r"{\1}", each) for each in found}
    assert not set.intersection(*told)


def section(name: str, heading: str) -> str:
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    return text.partition(f"## {heading}\n")[2].partition("\n## ")[0]


def rows(text: str) -> set[str]:
    """The names in the first column of a section's tables."""
    return {name for line in re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE) for name in re.findall(r"`([^`]+)`", line)}


def test_every_parameter_is_named() -> None:
    assert set(schemas._EVENTS.fields) <= rows(section("reference/events-api", "GET /v1/events"))
    assert set(schemas._ANSWERS.fields) <= rows(section("reference/events-api", "GET /v1/answers"))
    assert set(schemas.Batch().fields) <= rows(section("reference/events-api", "POST /v1/events"))


def test_every_member_of_an_answer_is_named(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    alice.store(purchase(clock() - dt.timedelta(days=3)))
    tokens = bookshop.connect(alice, [purchases(), {**purchases(), "want": {"form": "answers", "answers": ["recency"]}}])
    told = bookshop.call("GET").json
    grants = rows(section("reference/grants-api", "GET /v1/grants/{grant_id}"))
    for found in (told, told["authorization_details"][0], told["narrowed"][0]):
        assert set(found) <= grants, set(found) - grants
    assert set(tokens) <= rows(section("reference/oauth-api", "POST /oauth/token"))
    events = section("reference/events-api", "GET /v1/events")
    assert {"items", "next", "id", "kind", "action"} <= rows(events)
    assert set(bookshop.push().json) <= rows(section("reference/oauth-api", "POST /oauth/par"))


def test_every_refusal_of_a_call_is_named() -> None:
    both = {"no-token", "invalid-token", "not-granted", "rate-limit", "unprocessable", "bad-request", "ledger-unavailable"}
    for name, heading, more in (
        ("events-api", "GET /v1/events", {"grant-paused", "agreement-unsigned", "invalid-cursor", *both}),
        ("events-api", "GET /v1/answers", {"grant-paused", "agreement-unsigned", *both}),
        ("events-api", "POST /v1/events", {"too-large", "unsupported-media-type", "storage-full", "grant-paused", *both} - {"ledger-unavailable"}),
        ("grants-api", "PUT /v1/grants/{grant_id}/signature", {"conflict", "too-large", "unsupported-media-type", "not-found", "bad-request", "unprocessable"}),
    ):
        assert more <= set(re.findall(r"`([a-z-]+)`", section(f"reference/{name}", heading))), (heading, more - set(re.findall(r"`([a-z-]+)`", section(f"reference/{name}", heading))))


def test_what_every_call_with_a_proof_can_be_refused_with_is_named() -> None:
    both = {"invalid-proof", "use-nonce", "no-token", "invalid-token"}
    for name, heading in (("events-api", "GET /v1/events"), ("events-api", "GET /v1/answers"), ("events-api", "POST /v1/events")):
        assert both <= set(re.findall(r"`([a-z-]+)`", section(f"reference/{name}", heading))), heading
    text = (DOCS / "reference" / "grants-api.md").read_text(encoding="utf-8")
    assert both <= set(re.findall(r"`([a-z-]+)`", text.partition("\n## ")[0]))
    assert "Bearer …" not in (DOCS / "reference" / "events-api.md").read_text(encoding="utf-8")


def test_every_refusal_of_the_token_endpoint_is_named(app: Flask) -> None:
    told = set(re.findall(r"^\| `([a-z_]+)` \| [45]", section("reference/oauth-api", "POST /oauth/token"), re.MULTILINE))
    proof = {"invalid_dpop_proof", "use_dpop_nonce"}
    assert told == {
        *proof, "invalid_client", "invalid_grant", "invalid_request", "invalid_scope", "invalid_authorization_details", "unsupported_grant_type",
        "temporarily_unavailable",
    }  # fmt: skip
    answer = app.test_client().post("/oauth/revoke", data={"token": "x"}, base_url="http://localhost:8440")
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_client")
    assert "`invalid_client` 401" in section("reference/oauth-api", "POST /oauth/revoke")
    alone = (DOCS / "reference" / "oauth-api.md").read_text(encoding="utf-8").partition("\n## ")[0]
    assert all(f"`{each}`" in alone for each in assertion.ALGORITHMS)


def test_every_oauth_endpoint_has_its_heading(app: Flask) -> None:
    found = {rule.rule for rule in app.url_map.iter_rules() if rule.rule.startswith(("/oauth/", "/.well-known/"))}
    told = {heading.partition(" ")[2] for heading in headings("reference/oauth-api") | headings("reference/well-known") if heading.startswith(("GET ", "POST "))}
    assert {rule for rule in found if "<" not in rule and not rule.startswith("/oauth/authorize/")} == told


def test_every_option_is_named() -> None:
    """Options that only one command has stand beside it, those of several once below."""
    text = (DOCS / "reference" / "commands.md").read_text(encoding="utf-8")

    def options(command: click.Command) -> set[str]:
        own = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        return own.union(*(options(each) for each in command.commands.values())) if isinstance(command, click.Group) else own

    assert {option for option in options(main) if option not in text and not option.endswith("-column")} == set()


def test_every_scope_is_named() -> None:
    text = (DOCS / "reference" / "events-api.md").read_text(encoding="utf-8")
    assert "`events:read`" in text
    assert "`events:write`" in text


def commands(group: click.Group, before: str = "broker") -> list[str]:
    found = []
    for name, command in group.commands.items():
        found += commands(command, f"{before} {name}") if isinstance(command, click.Group) else [f"{before} {name}"]
    return found


def test_every_command_is_named() -> None:
    text = (DOCS / "reference" / "commands.md").read_text(encoding="utf-8")
    for command in commands(main):
        head, _, last = command.rpartition(" ")
        assert command in text or (head in text and f"`{last}" in text), command


def test_readme_commands_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {"run", "test"} <= set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE)) <= targets
    assert text.index("make run") < text.index("make test")
    for command in re.findall(r"\.venv/bin/broker ?([a-z]*)", text):
        assert not command or command in main.commands


def test_pages_that_name_a_command_say_how_to_run_it(app: Flask) -> None:
    text = app.test_client().get("/sign-up/none", base_url="http://localhost:8440").text
    assert '<code>broker person add</code> (<a href="/docs/reference/commands">how to run it</a>)' in text
    for page in ("people/sign_in", "people/link_over", "grants/grant"):
        source = (ROOT / "broker" / "templates" / f"{page}.html").read_text(encoding="utf-8")
        assert "<code>broker " in source
        assert "url_for('documentation.document', name='reference/commands')" in source, page
    assert "`.venv/bin/broker`" in (DOCS / "reference" / "commands.md").read_text(encoding="utf-8")


def test_what_is_told_to_type_is_there() -> None:
    """In blocks of commands, programs are named by where `make run` puts them; the sample shop's stand from the project's root."""
    readme = ROOT / "clients" / "vendor" / "README.md"
    for path in (*DOCS.rglob("*.md"), readme):
        assert not re.search(r"^(?:    )?(?:broker|python) ", path.read_text(encoding="utf-8"), re.MULTILINE), path
    assert ".venv/bin/python -m bookshop metadata" in readme.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [*sorted(DOCS.rglob("*.md")), ROOT / "README.md"], ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (path.parent / target).exists(), target


def test_json_blocks_are_json() -> None:
    for path in DOCS.rglob("*.md"):
        for block in re.findall(r"```json\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            json.loads(block)


def test_python_blocks_compile() -> None:
    for path in DOCS.rglob("*.md"):
        for block in re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            compile(block, str(path), "exec")


def test_decisions_are_numbered_once() -> None:
    numbers = [path.name[:4] for path in (DOCS / "decisions").glob("0*.md")]
    assert len(numbers) == len(set(numbers))


def test_every_error_class_is_drawn() -> None:
    drawn = errors.__doc__ or ""
    for error in errors.every_error():
        assert error.__name__ in drawn or error is errors.Internal, error.__name__


def test_the_example_of_terms_parses() -> None:
    text = (ROOT / "broker/docs/how-to/set-terms-from-a-file.md").read_text()
    example = re.search(r"```json\n(.*?)```", text, re.DOTALL)
    assert example
    assert Terms.parse(json.loads(example[1])).allow
