"""`broker terms`: what `show` prints, `set` takes; what is malformed is refused with a pointer, and nothing changes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from broker import close_app, create_app
from broker.config import Settings
from broker.people import queries as people_queries
from broker.terms import queries
from policies.terms import DEFAULT_TERMS

ROOT = Path(__file__).resolve().parents[3]


def run(settings: Settings, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    environment = {"BROKER_DATA_DIR": str(settings.data_dir), "BROKER_KEY_FILE": str(settings.key_file), "PATH": os.environ["PATH"]}
    return subprocess.run([sys.executable, "-m", "broker", "terms", *arguments], input=text, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def version(settings: Settings, name: str) -> int:
    app = create_app(settings)
    broker = app.extensions["broker"]
    with broker.reading() as tx:
        found = queries.version(tx, people_queries.by_name(broker, tx, name).person_id)
    close_app(app)
    return found


def test_what_is_shown_can_be_set_again(settings: Settings) -> None:
    shown = run(settings, "show", "--person", "alice")
    assert json.loads(shown.stdout) == DEFAULT_TERMS.to_json()
    changed = {**json.loads(shown.stdout), "base": "SD-BASE-DP"}
    changed["allow"][0]["label"] = "Büchershops"
    said = run(settings, "set", "-", "--person", "alice", text=json.dumps(changed))
    assert (said.returncode, said.stdout) == (0, "Version 1 of your terms is in force.\n")
    again = run(settings, "show", "--person", "alice")
    assert json.loads(again.stdout) == changed
    assert "Büchershops" in again.stdout
    assert run(settings, "show", "--person", "alice", "--version", "0").stdout == shown.stdout
    assert "Any vendor may ask you." in run(settings, "show", "--person", "alice", "--words").stdout
    assert run(settings, "show", "--person", "alice", "--version", "2").returncode == 1
    assert json.loads(run(settings, "show", "--person", "bob").stdout) == DEFAULT_TERMS.to_json()


def with_rule(**members: Any) -> str:
    form = DEFAULT_TERMS.to_json()
    return json.dumps({**form, "allow": [{**form["allow"][0], **members}]})


def with_deny(**members: Any) -> str:
    return json.dumps({**DEFAULT_TERMS.to_json(), "deny": [{"id": "d", **members}]})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (with_rule(window={"max_age": "soon"}), "/allow/0/window/max_age: Give a duration"),
        (with_rule(sites=["www.shop.example"]), "/allow/0/sites/0: Give a registrable domain such as shop.example; for one host alone write ="),
        (with_deny(sites=["clinic.example", "portal.clinic.example"]), "/deny/0/sites/1: Give a registrable domain"),
        (with_deny(sites=["localhost"]), "/deny/0/sites/0: Give a registrable domain"),
        (with_deny(vendors=["https://Books.example"]), "/deny/0/vendors/0: Give the vendor's address in small letters"),
        (with_deny(vendors=["known", "https://books.example/"]), "/deny/0/vendors/1: Give the vendor's address"),
        (with_deny(vendors=["books.example"]), "/deny/0/vendors/0: Give *, known"),
        ('{"type":"Terms","type":"Terms"}', "/: Give each member once."),
        ('{"version":1.5}', "/version: Use an integer"),
        ("[" * 1_000_000, "/: Nest at most 16 levels."),
        ("nonsense", "/: Correct the JSON at line 1"),
        ("[]", "/: Give an object."),
    ],
    ids=lambda text: text[:30],
)
def test_what_is_malformed_is_refused_with_a_pointer(settings: Settings, text: str, said: str) -> None:
    refused = run(settings, "set", "-", "--person", "alice", text=text)
    assert refused.returncode == 2
    assert said in refused.stderr
    assert "nothing was changed" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert version(settings, "alice") == 0


def test_a_good_file_beside_them_is_taken(settings: Settings) -> None:
    """The control of the refusals above."""
    good = with_deny(sites=["clinic.example", "=portal.clinic.example"], vendors=["known", "https://books.example"])
    assert run(settings, "set", "-", "--person", "alice", text=good).returncode == 0
    assert version(settings, "alice") == 1
