"""The broker's verifier, also as one file of its own, against `tests/vectors/ledger.json`: what holds, and each way of not holding with its exit status."""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import ledger_vectors
import pytest

from broker.ledger import standalone, verifier
from broker.ledger.merkle import verify_consistency, verify_inclusion
from broker.ledger.notes import INCLUSION, OK, Key, Proof, Wrong, open_checkpoint

VECTORS: dict[str, list[dict[str, Any]]] = json.loads(ledger_vectors.FILE.read_text(encoding="utf-8"))


def unb64(text: str) -> bytes:
    return base64.b64decode(text)


def each(kind: str) -> Any:
    return pytest.mark.parametrize("case", VECTORS[kind], ids=[case["what"] for case in VECTORS[kind]])


def test_the_file_is_what_its_maker_writes() -> None:
    assert json.loads(json.dumps(ledger_vectors.everything())) == VECTORS
    assert {kind: len(cases) for kind, cases in VECTORS.items()}.keys() == {"inclusion", "consistency", "notes", "proofs", "bundles"}
    assert {case["code"] for case in VECTORS["bundles"]} == {0, 10, 11, 12, 13, 14, 15}


@each("inclusion")
def test_inclusion(case: dict[str, Any]) -> None:
    assert verify_inclusion(case["index"], case["size"], unb64(case["leaf"]), [unb64(each) for each in case["proof"]], unb64(case["root"])) == case["holds"]


@each("consistency")
def test_consistency(case: dict[str, Any]) -> None:
    assert (
        verify_consistency(case["size1"], case["size2"], unb64(case["root1"]), unb64(case["root2"]), [unb64(each) for each in case["proof"]]) == case["holds"]
    )


@each("notes")
def test_notes(case: dict[str, Any]) -> None:
    try:
        found = open_checkpoint(case["note"].encode(), Key.parse(case["key"]))
        told = (OK, found.origin, found.size, found.root)
    except Wrong as wrong:
        told = (wrong.code, "", 0, b"")
    assert told == (case["code"], case.get("origin", ""), case.get("size", 0), unb64(case.get("root", "")))


@each("proofs")
def test_proofs(case: dict[str, Any]) -> None:
    try:
        proof = Proof.parse(case["proof"].encode())
        signed = open_checkpoint(proof.checkpoint, Key.parse(case["key"]))
        code = OK if verify_inclusion(proof.index, signed.size, unb64(case["leaf"]), proof.hashes, signed.root) else INCLUSION
    except Wrong as wrong:
        code = wrong.code
    assert code == case["code"]


def report_of(case: dict[str, Any], source: Any) -> verifier.Report:
    try:
        return verifier.check(verifier.Bundle(source), [Key.parse(key) for key in case["keys"]], [note.encode() for note in case["since"]])
    except Wrong as wrong:
        return verifier.Report(findings=[wrong])


def zipped(case: dict[str, Any]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, raw in case["files"].items():
            bundle.writestr(name, unb64(raw))
    return made.getvalue()


@each("bundles")
def test_bundles(case: dict[str, Any]) -> None:
    """As files, and as a zip."""
    files = {name: unb64(raw) for name, raw in case["files"].items()}
    found = report_of(case, files)
    assert found.code == case["code"], found
    assert verifier.document(report_of(case, io.BytesIO(zipped(case)))) == verifier.document(found)
    assert found.sentence.endswith(".")
    assert verifier.document(found)["ok"] == (case["code"] == 0)


def test_an_outside_note() -> None:
    """The example of Go's own package for signed notes."""
    key = Key.parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    signature = unb64("x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=")
    assert str(key) == "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    assert key.signed(text.encode(), signature[4:])
    assert not key.signed(text.encode() + b" ", signature[4:])


@pytest.mark.parametrize(
    ("what", "raw"),
    [
        ("nothing", b""), ("no zip", b"PK nothing of the kind"), ("cut short", zipped(VECTORS["bundles"][0])[:-60]),
        ("a byte changed", bytes(byte ^ (number == 700) for number, byte in enumerate(zipped(VECTORS["bundles"][0])))),
    ],
)  # fmt: skip
def test_what_is_no_bundle(what: str, raw: bytes) -> None:
    found = report_of(VECTORS["bundles"][0], io.BytesIO(raw))
    assert found.code == 15, (what, found)
    assert found.sentence.startswith("This cannot be checked: ")


def test_one_name_twice_is_refused() -> None:
    made = io.BytesIO(zipped(VECTORS["bundles"][0]))
    with zipfile.ZipFile(made, "a") as bundle, pytest.warns(UserWarning, match="Duplicate"):
        bundle.writestr("manifest.json", "{}")
    assert report_of(VECTORS["bundles"][0], made).code == 15


def test_the_one_file_says_the_same(tmp_path: Path) -> None:
    """Run apart from the broker: no package of ours can be imported there."""
    program = tmp_path / "proffer_verify.py"
    program.write_text(standalone.text(), encoding="utf-8")
    compile(program.read_text(encoding="utf-8"), str(program), "exec")
    assert "broker" not in {line.split()[1].split(".")[0] for line in standalone.text().splitlines() if line.startswith(("import ", "from "))}
    wanted = {code: next(case for case in VECTORS["bundles"] if case["code"] == code) for code in (0, 10, 11, 12, 13, 14, 15)}
    for code, case in wanted.items():
        (tmp_path / "bundle.zip").write_bytes(zipped(case))
        since = []
        for number, note in enumerate(case["since"]):
            (tmp_path / f"note-{number}").write_text(note, encoding="utf-8")
            since += ["--since", str(tmp_path / f"note-{number}")]
        keys = [option for key in case["keys"] for option in ("--key", key)]
        run = subprocess.run(
            [sys.executable, "-I", str(program), str(tmp_path / "bundle.zip"), *keys, *since], capture_output=True, text=True, timeout=60, check=False
        )
        assert run.returncode == code, (case["what"], run.stdout, run.stderr)
        assert run.stdout.strip() == report_of(case, io.BytesIO(zipped(case))).sentence
    usage = subprocess.run([sys.executable, "-I", str(program)], capture_output=True, text=True, timeout=60, check=False)
    assert usage.returncode == 2


@pytest.fixture(scope="session")
def in_javascript() -> dict[str, list[Any]]:
    """What the JavaScript verifier finds for every vector."""
    node = shutil.which("node")
    if node is None:
        if os.environ.get("CI"):
            pytest.fail("Node is not installed.")
        pytest.skip("Node is not installed, and the JavaScript verifier needs it here.")
    here = Path(__file__).parent
    verifier_file = here.parents[2] / "clients" / "verifier" / "ledger.js"
    run = subprocess.run(
        [node, str(here / "node" / "vectors.mjs"), verifier_file.as_uri(), str(ledger_vectors.FILE)], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, list[Any]] = json.loads(run.stdout)
    return found


@pytest.mark.accepts("K70")
def test_javascript_says_the_same(in_javascript: dict[str, list[Any]]) -> None:
    """Every vector, with the same status; of bundles every finding and what is said of each log."""
    assert {kind: len(found) for kind, found in in_javascript.items()} == {kind: len(cases) for kind, cases in VECTORS.items()}
    for kind in ("inclusion", "consistency"):
        assert in_javascript[kind] == [case["holds"] for case in VECTORS[kind]]
    for kind in ("notes", "proofs"):
        wanted = [{name: case[name] for name in ("code", "origin", "size", "root") if name in case} for case in VECTORS[kind]]
        assert in_javascript[kind] == wanted
    for case, found in zip(VECTORS["bundles"], in_javascript["bundles"], strict=True):
        ours = report_of(case, {name: unb64(raw) for name, raw in case["files"].items()})
        assert found == {"code": ours.code, "findings": [each.code for each in ours.findings], "logs": ours.logs}, case["what"]
