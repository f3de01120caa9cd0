"""`broker verify --agreement FILE`: offline, in one sentence, with its exit status, without a broker of one's own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from makers import Browser, Shop

VECTOR = json.loads((Path(__file__).parents[2] / "vectors" / "agreement.json").read_text())["document"]


def verify(path: Path, nowhere: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "BROKER_DATA_DIR": str(nowhere / "data"), "BROKER_KEY_FILE": str(nowhere / "key")}
    run = [sys.executable, "-m", "broker", "verify", "--agreement", str(path), *more]
    answer = subprocess.run(run, env=environment, capture_output=True, text=True, check=False)
    assert not (nowhere / "data").exists(), "it opened a broker"
    return answer


def test_one_that_a_person_took_away(alice: Browser, bookshop: Shop, tmp_path: Path) -> None:
    bookshop.connect(alice)
    file = tmp_path / "agreement.json"
    file.write_bytes(alice.get(f"/grants/{bookshop.tokens['grant_id']}/files/agreement.json").data)
    answer = verify(file, tmp_path / "nowhere")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("The agreement of ")
    assert "“Books” (books.example) holds: both have signed it as it stands, and its text says what its clauses say" in answer.stdout
    assert answer.stdout.count("\n") == 1


def spoiled(**members: Any) -> dict[str, Any]:
    return {**VECTOR, **members}


@pytest.mark.parametrize(
    ("document", "code", "words"),
    [
        (VECTOR, 0, "holds: both have signed it"),
        (spoiled(signatures=VECTOR["signatures"][:1]), 10, "at /signatures: Give exactly two signatures"),
        (spoiled(signatures=[{**each, "signature": "A" * 86} for each in VECTOR["signatures"]]), 10, "at /signatures/0/signature: Sign these very bytes"),
        (spoiled(payload="e30"), 15, "at /payload/type: Add this member."),
        ([], 15, "at its start: Give an object."),
        ("x" * 300_000, 15, "at its start: Send at most 256 KiB."),
    ],
)
def test_what_it_finds(tmp_path: Path, document: Any, code: int, words: str) -> None:
    file = tmp_path / "agreement.json"
    file.write_text(json.dumps(document))
    answer = verify(file, tmp_path / "nowhere")
    assert (answer.returncode, answer.stdout.count("\n")) == (code, 1), answer.stderr
    assert words in answer.stdout
    told = json.loads(verify(file, tmp_path / "nowhere", "--json").stdout)
    assert told["ok"] == (code == 0)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert verify(tmp_path / "none", tmp_path / "nowhere").returncode == 2
