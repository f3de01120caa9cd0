"""`broker verify --agreement FILE`: offline, a sentence for each file, with its exit status, without a broker of one's own."""

import base64
import datetime as dt
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from makers import Browser, Clock, Shop, purchase

from broker.__main__ import main

VECTOR = json.loads((Path(__file__).parents[2] / "vectors" / "agreement.json").read_text())["document"]
Kept = Callable[..., Path]


def verify(nowhere: Path, *paths: Path, more: tuple[str, ...] = ()) -> Result:
    environment = {"BROKER_DATA_DIR": str(nowhere / "data"), "BROKER_KEY_FILE": str(nowhere / "key")}
    files = [word for path in paths for word in ("--agreement", str(path))]
    answer = CliRunner().invoke(main, ["verify", *files, *more], env=environment)
    assert not (nowhere / "data").exists(), "it opened a broker"
    assert answer.exception is None or isinstance(answer.exception, SystemExit)
    return answer


@pytest.fixture
def kept(alice: Browser, bookshop: Shop, clock: Clock, tmp_path: Path) -> Kept:
    """Takes a file of a grant away, as the page lets its person: read twice, paused and resumed."""
    alice.store(purchase(clock() - dt.timedelta(days=3)))
    bookshop.connect(alice)
    bookshop.read()
    bookshop.read()
    for act in ("pause", "resume"):
        alice.post(f"/grants/{bookshop.tokens['grant_id']}/{act}", page="/grants")

    def take(name: str, person: Browser = alice, shop: Shop = bookshop, change: Callable[[Any], Any] | None = None) -> Path:
        body = person.get(f"/grants/{shop.tokens['grant_id']}/files/{name}").data
        path = tmp_path / f"{person.name}-{name}"
        path.write_bytes(json.dumps(change(json.loads(body))).encode() if change else body)
        return path

    return take


def test_all_that_a_person_took_away(kept: Kept, tmp_path: Path) -> None:
    files = [kept(name) for name in ("receipts.json", "agreement.json", "changes.json")]
    answer = verify(tmp_path / "nowhere", *files)
    assert answer.exit_code == 0, answer.stdout
    receipts, agreement, changes = answer.stdout.splitlines()
    assert agreement.startswith(f"{files[1]}: the agreement of ")
    assert "“Books” (books.example) holds: both have signed it as it stands, and its text says what its clauses say; it lasts until " in agreement
    assert receipts.startswith(f"{files[0]}: 2 receipts of what was read under the agreement of ")
    assert changes.startswith(f"{files[2]}: 2 statements of what changed under the agreement of ")
    assert changes.endswith(" hold: signed by the person's side, in order, none altered or left out before the last.")
    told = json.loads(verify(tmp_path / "nowhere", *files, more=("--json",)).stdout)
    assert told["ok"] is True
    assert [(each["kind"], each["ok"]) for each in told["files"]] == [("receipt", True), ("agreement", True), ("statement", True)]


def flipped(document: Any) -> Any:
    """The agreement, with another promise inside the signed part."""
    content = json.loads(base64.urlsafe_b64decode(document["payload"] + "=="))
    content["gives"] = [{"kind": "discount", "text": "Everything"}]
    return {**document, "payload": base64.urlsafe_b64encode(json.dumps(content, separators=(",", ":"), sort_keys=True).encode()).rstrip(b"=").decode()}


def signature(document: Any, number: int) -> Any:
    """The agreement, the first character of one signature changed."""
    document["signatures"][number]["signature"] = ("B" if document["signatures"][number]["signature"][0] == "A" else "A") + document["signatures"][number]["signature"][1:]
    return document


@pytest.mark.parametrize(
    ("document", "code", "words"),
    [
        (VECTOR, 0, "holds: both have signed it"),
        ({**VECTOR, "signatures": VECTOR["signatures"][:1]}, 1, "does not verify: a signature is missing, or there are too many. Until the vendor has signed"),
        (signature(json.loads(json.dumps(VECTOR)), 0), 1, "does not verify: the person's signature does not fit what it says."),
        (signature(json.loads(json.dumps(VECTOR)), 1), 1, "does not verify: the vendor's signature does not fit what it says."),
        (flipped(VECTOR), 1, "does not verify: nobody could have signed what it says as an agreement."),
        ({**VECTOR, "payload": "e30"}, 1, "nobody could have signed what it says as an agreement."),
        ({**VECTOR, "payload": "__79"}, 1, "does not verify: what was signed is damaged: it can no longer be read as an agreement."),
        ({**VECTOR, "note": 1}, 1, "it is not in the form of a signed agreement."),
        ([], 2, "cannot be checked: it is no signed agreement, and holds neither statements of changes nor receipts."),
        ({"version": "KI-CR-v1.1.0"}, 2, "Only agreement.json, changes.json and receipts.json of a grant's page are signed."),
        ({"payload": "x" * 300_000, "signatures": []}, 1, "Send at most 256 KiB."),
    ],
)
def test_what_it_finds(tmp_path: Path, document: Any, code: int, words: str) -> None:
    file = tmp_path / "agreement.json"
    file.write_text(json.dumps(document))
    answer = verify(tmp_path / "nowhere", file)
    assert (answer.exit_code, answer.stdout.count("\n")) == (code, 1), answer.stdout
    assert answer.stdout.startswith(str(file))
    assert words in answer.stdout
    assert not re.search(r"At /|UTF-8|Add this", answer.stdout), "advice for whoever wrote the file"
    told = json.loads(verify(tmp_path / "nowhere", file, more=("--json",)).stdout)
    assert told["ok"] == (code == 0)
    assert told["files"][0]["sentence"] == answer.stdout.strip()


@pytest.mark.parametrize("raw", [b"", b"\xff\xfe", b"<!doctype html>", json.dumps(VECTOR).encode()[:-40], b"[" * 100_000])
def test_what_is_no_json_or_was_cut_short(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "agreement.json"
    file.write_bytes(raw)
    answer = verify(tmp_path / "nowhere", file)
    assert (answer.exit_code, answer.stdout) == (2, f"{file} cannot be read: it is not JSON, or was cut short. Download it again from the grant's page.\n")


def test_what_is_of_another_person(kept: Kept, bob: Browser, tmp_path: Path) -> None:
    """An agreement is whoever's it says; its parts and what is about it cannot be another's."""
    shop = Shop.register(bob.app, "books.example")
    shop.connect(bob)
    mine, theirs = kept("agreement.json"), kept("agreement.json", bob, shop)
    first = json.loads(theirs.read_bytes())["signatures"][0]
    mixed = kept("agreement.json", change=lambda document: {**document, "signatures": [first, document["signatures"][1]]})
    answer = verify(tmp_path / "nowhere", mixed)
    assert answer.exit_code == 1
    assert "the person's signature does not fit what it says" in answer.stdout
    for name in ("changes.json", "receipts.json"):
        assert verify(tmp_path / "nowhere", kept("agreement.json"), kept(name)).exit_code == 0
        answer = verify(tmp_path / "nowhere", theirs, kept(name))
        assert answer.exit_code == 1
        assert "is about another agreement than the one given with it. Give the agreement.json of the same grant." in answer.stdout
    assert verify(tmp_path / "nowhere", theirs, mine, kept("changes.json")).exit_code == 0


@pytest.mark.parametrize("name", ["changes.json", "receipts.json"])
def test_a_chain_that_was_altered(kept: Kept, tmp_path: Path, name: str) -> None:
    agreement = kept("agreement.json")
    good = kept(name)
    assert verify(tmp_path / "nowhere", agreement, good).exit_code == 0
    alone = verify(tmp_path / "nowhere", good)
    assert (alone.exit_code, f"Give both: broker verify --agreement agreement.json --agreement {good}" in alone.stdout) == (2, True)
    changes: list[Callable[[Any], Any]] = [
        lambda file: {**file, "statements": file["statements"][:1]},
        lambda file: {**file, "statements": file["statements"][1:], "count": 1},
        lambda file: {**file, "statements": file["statements"][::-1]},
        lambda file: {**file, "statements": [file["statements"][0], f"{file['statements'][1][:-4]}AAAA"]},
        lambda file: {**file, "statements": [7, {}]},
    ]
    for change in changes:
        answer = verify(tmp_path / "nowhere", agreement, kept(name, change=change))
        assert answer.exit_code == 1, answer.stdout
        assert "does not verify: " in answer.stdout.splitlines()[1]


@pytest.mark.parametrize("name", ["changes.json", "receipts.json"])
def test_a_file_with_nothing_in_it_proves_nothing(kept: Kept, tmp_path: Path, name: str) -> None:
    agreement = kept("agreement.json")
    empty = verify(tmp_path / "nowhere", agreement, kept(name, change=lambda file: {**file, "statements": [], "count": 0}))
    said = empty.stdout.splitlines()[1]
    assert empty.exit_code == 0
    assert "no receipts and no statements of changes in it: nothing is proven." in said
    assert "hold" not in said
    cut = verify(tmp_path / "nowhere", agreement, kept(name, change=lambda file: {**file, "statements": []}))
    assert (cut.exit_code, "not all of them are here" in cut.stdout) == (1, True)


@pytest.mark.parametrize("count", ["2", 2.0, True, None, [2]])
def test_a_count_that_is_no_number_is_not_passed_over(kept: Kept, tmp_path: Path, count: Any) -> None:
    agreement = kept("agreement.json")
    answer = verify(tmp_path / "nowhere", agreement, kept("receipts.json", change=lambda file: {**file, "count": count}))
    assert (answer.exit_code, "cannot be checked: it does not say in a whole number how many there are" in answer.stdout) == (2, True), answer.stdout


def test_the_worst_counts(tmp_path: Path) -> None:
    good, wrong, strange = (tmp_path / name for name in ("good", "wrong", "strange"))
    good.write_text(json.dumps(VECTOR))
    wrong.write_text(json.dumps({**VECTOR, "signatures": []}))
    strange.write_text("")
    codes = [verify(tmp_path / "nowhere", *files).exit_code for files in ((good, strange), (strange, wrong, good), (wrong, strange))]
    assert codes == [2, 1, 1]


def test_the_process_ends_with_the_status(tmp_path: Path) -> None:
    good, wrong = tmp_path / "good", tmp_path / "wrong"
    good.write_text(json.dumps(VECTOR))
    wrong.write_text(json.dumps({**VECTOR, "signatures": []}))
    run = [sys.executable, "-m", "broker", "verify", "--agreement"]
    ended = [subprocess.run([*run, str(file)], env={**os.environ, "BROKER_DATA_DIR": str(tmp_path / "data")}, capture_output=True, check=False) for file in (good, wrong)]
    assert [(each.returncode, each.stderr) for each in ended] == [(0, b""), (1, b"")]


def test_a_file_that_is_not_there_and_a_person(tmp_path: Path) -> None:
    missing = verify(tmp_path / "nowhere", tmp_path / "none")
    assert (missing.exit_code, "No such file" in missing.stderr) == (2, True)
    assert verify(tmp_path / "nowhere", tmp_path).exit_code == 2
    good = tmp_path / "good"
    good.write_text(json.dumps(VECTOR))
    assert verify(tmp_path / "nowhere", good, more=("--person", "alice")).exit_code == 2
