"""A ledger that its operator rewrote, with every key at hand, against a checkpoint that was kept: edit, drop, insert, reorder, truncate, swap, re-sign (K66, K67)."""

import io
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from granted import a_person
from ledgers import EMPTY, b64, b64url, leaf_of
from makers import settings_in

from broker import close_app, create_app
from broker.ledger import actions, bundles, checkpoints, verifier
from broker.ledger.merkle import Tree
from broker.ledger.notes import Key, key_id
from broker.people import actions as people

MUTATIONS, DEEP = 200, 10_000
HELD, WHOLE = 30, 45
Entry = dict[str, Any]


@dataclass(frozen=True)
class Log:
    """A person's log as its operator has it: the entries, the true key, and the note that the person kept when it was shorter."""

    log_id: str
    origin: str
    vkey: str
    sign: Callable[[bytes], bytes]
    public: bytes
    held: bytes
    entries: list[Entry]

    def bundle(self) -> dict[str, bytes]:
        """The files of its bundle, signed now over whatever the entries are."""
        lines = [rfc8785.dumps(entry) for entry in self.entries]
        tree = Tree()
        for line in lines:
            tree.grow(leaf_of(line))
        text = f"{self.origin}\n{tree.size}\n{b64(tree.root)}\n"
        signature = b64(key_id(self.origin, self.public) + self.sign(text.encode()))
        manifest = {"format": verifier.FORMAT, "v": 1, "logs": [{"log": self.log_id, "origin": self.origin, "key": self.vkey, "entries": "all"}]}
        return {
            "manifest.json": json.dumps(manifest).encode(),
            f"{self.log_id}/entries.jsonl": b"".join(line + b"\n" for line in lines),
            f"{self.log_id}/checkpoint": f"{text}\n— {self.origin} {signature}\n".encode(),
        }

    def carefully(self) -> "Log":
        """With numbers and `prev` that fit again, as somebody writes it who can write everything."""
        tree, found = Tree(), []
        for entry in self.entries:
            found.append({**entry, "seq": tree.size, "prev": b64url(tree.root if tree.size else EMPTY), "log": self.log_id})
            tree.grow(leaf_of(rfc8785.dumps(found[-1])))
        return replace(self, entries=found)


def code_of(files: dict[str, bytes], log: Log, *, held: bool = True) -> int:
    return verifier.check(verifier.Bundle(files), [Key.parse(log.vkey)], [log.held] if held else []).code


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Log, Log]:
    """Two people's logs on one broker, each with a checkpoint kept at 30 of 45 entries."""
    app = create_app(settings_in(tmp_path_factory.mktemp("mutations")))
    broker = app.extensions["broker"]
    found = []
    for number, person_id in enumerate((a_person(broker), people.add(broker, "bob", "correct horse battery staple"))):
        ring = broker.keyring(person_id)
        while checkpoints.states(broker, ring)[0].size < HELD:
            actions.record(broker, person_id, actions.Entry("forget", broker.now(), about={"count": 100 * number + 1}))
        held = checkpoints.sign(broker, person_id)[0]
        while checkpoints.states(broker, ring)[0].size < WHOLE - 1:
            actions.record(broker, person_id, actions.Entry("read", broker.now(), by={"role": "client", "id": "books"}, about={"count": 3}))
        taken = bundles.take(broker, person_id)
        raw = b"".join(bundles.written(broker, taken))
        state, signer = taken.logs[0], ring.log_signer(taken.logs[0].log_id)
        lines = list(verifier.Bundle(io.BytesIO(raw)).lines(f"{b64url(state.log_id)}/entries.jsonl"))
        assert state.signed
        found.append(
            Log(b64url(state.log_id), state.signed.origin, checkpoints.vkey(ring, state), signer.sign, signer.public, held.note, [json.loads(line) for line in lines])
        )
    close_app(app)
    return found[0], found[1]


def edit(log: Log, _other: Log, chance: random.Random) -> Log:
    """One member of one entry, below what was held."""
    entries = list(log.entries)
    at = chance.randrange(HELD)
    entry = dict(entries[at])
    name = chance.choice(["at", "act", "outcome", "by", "count", "salt", "times"])
    entry[name] = {
        "at": "2020-01-01T00:00:00Z", "act": "key", "outcome": "denied", "by": {"role": "operator"}, "count": chance.randrange(10**6, 10**7),
        "salt": b64url(chance.randbytes(32)), "times": chance.randrange(2, 99),
    }[name]  # fmt: skip
    entries[at] = entry
    return replace(log, entries=entries)


def drop(log: Log, _other: Log, chance: random.Random) -> Log:
    """One entry, or several in a row."""
    start = chance.randrange(HELD)
    return replace(log, entries=log.entries[:start] + log.entries[start + chance.randint(1, 5) :])


def insert(log: Log, other: Log, chance: random.Random) -> Log:
    """An entry that never was: made up, another person's, or one of its own twice."""
    at = chance.randrange(HELD)
    more = chance.choice([{**log.entries[at], "salt": b64url(chance.randbytes(32))}, chance.choice(other.entries), chance.choice(log.entries)])
    return replace(log, entries=[*log.entries[:at], more, *log.entries[at:]])


def reorder(log: Log, _other: Log, chance: random.Random) -> Log:
    """Two entries change places."""
    one, two = sorted(chance.sample(range(HELD), 2))
    entries = list(log.entries)
    entries[one], entries[two] = entries[two], entries[one]
    return replace(log, entries=entries)


def truncate(log: Log, _other: Log, chance: random.Random) -> Log:
    """The end goes, and some of what was held with it."""
    return replace(log, entries=log.entries[: chance.randrange(HELD)])


def swap(log: Log, other: Log, chance: random.Random) -> Log:
    """Another person's entries, whole or from somewhere on, under this person's name."""
    at = chance.choice([0, chance.randrange(HELD)])
    return replace(log, entries=log.entries[:at] + other.entries[at:])


def resign(log: Log, _other: Log, chance: random.Random) -> Log:
    """The same entries, signed by a key that the person does not know."""
    key = Ed25519PrivateKey.from_private_bytes(chance.randbytes(32))
    return replace(log, sign=key.sign, public=chance.choice([log.public, key.public_key().public_bytes_raw()]))


KINDS = (edit, drop, insert, reorder, truncate, swap, resign)


def mutated(logs: tuple[Log, Log], kind: Callable[[Log, Log, random.Random], Log], chance: random.Random, *, careful: bool) -> dict[str, bytes]:
    """The files after one mutation; unless it is careful, the old checkpoint still lies beside the new entries in one of two cases."""
    changed = kind(*logs, chance)
    made = changed.carefully() if careful else changed
    files = made.bundle()
    if not careful and kind is not resign and chance.random() < 0.5:
        files[f"{made.log_id}/checkpoint"] = logs[0].bundle()[f"{made.log_id}/checkpoint"]
    return files


@pytest.mark.accepts("K66")
@pytest.mark.accepts("K67")
def test_every_mutation_is_found(logs: tuple[Log, Log], chance: random.Random, *, deep: bool) -> None:
    before = logs[0].bundle()
    assert code_of(before, logs[0]) == 0
    found: Counter[tuple[str, int]] = Counter()
    missed = []
    for number in range(DEEP if deep else MUTATIONS):
        kind, careful = KINDS[number % len(KINDS)], number % 2 == 0
        files = mutated(logs, kind, chance, careful=careful)
        assert files != before, "the fault did not fire"
        code = code_of(files, logs[0])
        found[kind.__name__, code] += 1
        if code not in {10, 11, 12, 13}:
            missed.append((number, kind.__name__, careful, code))
    print("; ".join(f"{kind} {code}: {times}" for (kind, code), times in sorted(found.items())))
    assert not missed


def test_the_control_lets_some_through(logs: tuple[Log, Log], chance: random.Random) -> None:
    """With no checkpoint kept, a careful rewrite that the true key signs looks like a true ledger."""
    through = Counter(
        kind.__name__ for number in range(70) for kind in [KINDS[number % len(KINDS)]] if code_of(mutated(logs, kind, chance, careful=True), logs[0], held=False) == 0
    )
    print(f"without a kept checkpoint: {dict(through)} of 70")
    assert {"edit", "drop", "insert", "reorder", "truncate"} <= set(through)
    assert "resign" not in through
