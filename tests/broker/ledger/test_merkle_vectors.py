"""Merkle proofs against other people's vectors: the set of transparency-dev/merkle, where `--merkle-vectors DIR` says that it lies (K65)."""

import base64
import json
from collections import Counter
from typing import Any

import pytest

from broker.ledger import merkle

# Of the set's newest state: inclusion, consistency, and both for subtrees.
WHOLE = 518


def unb64(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def holds(kind: str, case: dict[str, Any]) -> bool:
    proof = [unb64(each) for each in case["proof"] or []]
    if kind == "inclusion":
        return merkle.verify_inclusion(case["leafIdx"], case["treeSize"], unb64(case["leafHash"]), proof, unb64(case["root"]))
    if kind == "consistency":
        return merkle.verify_consistency(case["size1"], case["size2"], unb64(case["root1"]), unb64(case["root2"]), proof)
    if kind == "subtreeinclusion":
        start, end = case["start"], case["end"]
        return merkle.is_subtree(start, end) and merkle.verify_inclusion(
            case["leafIdx"] - start, end - start, unb64(case["leafHash"]), proof, unb64(case["root"])
        )
    assert kind == "subtreeconsistency", kind
    return merkle.verify_subtree(case["start"], case["end"], case["size"], unb64(case["root1"]), unb64(case["root2"]), proof)


@pytest.mark.accepts("K65")
def test_every_published_vector(request: pytest.FixtureRequest) -> None:
    where = request.config.getoption("--merkle-vectors")
    if where is None:
        pytest.skip("The public vectors are not ours to keep here: give the folder testdata of transparency-dev/merkle by --merkle-vectors.")
    files = sorted(where.rglob("*.json"))
    assert len(files) >= WHOLE, "this is not the whole set"
    counted: Counter[tuple[str, str]] = Counter()
    missed = []
    for path in files:
        kind, case = path.relative_to(where).parts[0], json.loads(path.read_text(encoding="utf-8"))
        counted[kind, "refused" if case["wantErr"] else "held"] += 1
        if holds(kind, case) == case["wantErr"]:
            missed.append(str(path))
    print("\n" + ", ".join(f"{kind} {word}: {number}" for (kind, word), number in sorted(counted.items())))
    assert not missed
