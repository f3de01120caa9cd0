"""Checks bundles of ledgers offline: who signed, every entry in order, their tree, their proofs, and what the reader kept from before."""

import argparse
import base64
import json
import re
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from broker.ledger.merkle import EMPTY_ROOT, HASH_BYTES, Tree, leaf_hash, verify_inclusion
from broker.ledger.notes import (
    FORK,
    INCLUSION,
    MOST_NOTE,
    OK,
    ORDER,
    RESTORED,
    SIGNATURE,
    UNREADABLE,
    Checkpoint,
    Key,
    Proof,
    Wrong,
    open_checkpoint,
    read_checkpoint,
    read_note,
    unb64,
)  # fmt: skip

# Of several findings the first of these is the exit status.
WORST_FIRST: Final = (UNREADABLE, SIGNATURE, FORK, INCLUSION, ORDER, RESTORED)
FORMAT: Final = "proffer-ledger-bundle"
MOST_LINE: Final = 1024 * 1024
MOST_MANIFEST: Final = 1024 * 1024
_LOG: Final = re.compile(r"[A-Za-z0-9_-]{22}")


@dataclass(slots=True)
class Report:
    """What was found in a bundle: its findings, and each log as a line for programs. `trusted` says that the reader gave the keys."""

    trusted: bool = True
    findings: list[Wrong] = field(default_factory=list)
    logs: list[dict[str, Any]] = field(default_factory=list)
    # By the id of each log that a restore closed: when, and what the next log says of it.
    closed: dict[str, tuple[str, Any]] = field(default_factory=dict)

    @property
    def code(self) -> int:
        """The exit status."""
        return min((each.code for each in self.findings), key=WORST_FIRST.index, default=OK)

    @property
    def sentence(self) -> str:
        """What a person is told."""
        entries, erased = (sum(log[name] for log in self.logs) for name in ("entries", "erased"))
        told = f"{entries:,} {'entry' if entries == 1 else 'entries'} of a ledger {'was' if entries == 1 else 'were'} checked"
        if erased:
            told += f", {erased:,} of them erased, so that only the hash is left"
        worst = next((each for each in self.findings if each.code == self.code), None)
        if worst is not None:
            start = {RESTORED: "There is a gap, and it is declared", UNREADABLE: "This cannot be checked"}.get(self.code, "The ledger does not hold")
            return f"{start}: {worst.sentence}"
        unknown = "" if self.trusted else " No key was given, so this shows that it fits together, not that your broker signed it."
        return f"The ledger holds: {told}, none altered, none missing.{unknown}"


@dataclass(slots=True)
class _Log:
    """One log of a bundle while it is checked."""

    key: Key
    note: bytes
    checkpoint: Checkpoint
    # None where all entries are there; else the numbers of those that are.
    part: list[int] | None
    held: list[Checkpoint]
    leaves: dict[int, bytes] = field(default_factory=dict)
    erased: int = 0
    restored: str = ""


def check(bundle: "Bundle", keys: Sequence[Key] = (), since: Sequence[bytes] = ()) -> Report:
    """Everything that a bundle claims; `keys` are those the reader trusts, `since` notes that the reader kept from before."""
    report = Report(trusted=bool(keys))
    try:
        logs = _manifest(bundle)
        named = {key.name: key for key in keys or [Key.parse(_text(log.get("key"))) for log in logs]}
        held = [_held(note, named) for note in since]
        for log in logs:
            _check_log(bundle, log, named, held, report)
        here = {log["origin"] for log in report.logs}
        report.findings += [_of_another(each, report.closed) for each in held if each.origin not in here]
    except Wrong as wrong:
        report.findings.append(wrong)
    return report


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _manifest(bundle: "Bundle") -> list[dict[str, Any]]:
    try:
        found = json.loads(bundle.read("manifest.json", MOST_MANIFEST))
    except (ValueError, RecursionError):
        raise Wrong(UNREADABLE, "manifest.json is not JSON.") from None
    logs = found.get("logs") if isinstance(found, dict) and found.get("format") == FORMAT and found.get("v") == 1 else None
    if not isinstance(logs, list) or not logs or not all(isinstance(log, dict) and _LOG.fullmatch(_text(log.get("log"))) for log in logs):
        raise Wrong(UNREADABLE, "manifest.json is not that of a ledger's bundle.")
    if len({log["log"] for log in logs}) != len(logs):
        raise Wrong(UNREADABLE, "manifest.json names a log twice.")
    return logs


def _held(note: bytes, named: Mapping[str, Key]) -> Checkpoint:
    text, _ = read_note(note)
    said = read_checkpoint(text)
    # One of a log that a restore closed is signed by a key that nobody has any more: what it says is compared with what the next log says of that one.
    return open_checkpoint(note, named[said.origin]) if said.origin in named else said


def _of_another(held: Checkpoint, closed: Mapping[str, tuple[str, Any]]) -> Wrong:
    """What a checkpoint shows that is of none of the logs here: of one that was closed, or of a strange one."""
    at, said = closed.get(held.origin.rpartition("/")[2], ("", None))
    if not isinstance(said, dict) or type(said.get("size")) is not int:
        return Wrong(FORK, "The checkpoint you kept is of a log that is not here, or whose key was not given.")
    root = base64.urlsafe_b64encode(held.root).rstrip(b"=").decode()
    signed = said.get("signed")
    more = type(signed) is int and held.size > max(signed, said["size"])
    if more or (held.size == said["size"] and root != said.get("root")):
        return Wrong(FORK, f"The checkpoint you kept is of a log that was closed on {at[:10]}, and does not fit what is said of it.")
    sentence = f"The checkpoint you kept is of a log that was closed on {at[:10]}, when a backup was put back. It shows nothing about later entries."
    return Wrong(RESTORED, sentence)


def _check_log(bundle: "Bundle", told: dict[str, Any], named: Mapping[str, Key], held: Sequence[Checkpoint], report: Report) -> None:
    """One log: who signed, the entries in order, their tree, the proofs, and what the reader kept."""
    name = told["log"]
    line: dict[str, Any] = {"log": name, "origin": _text(told.get("origin")), "entries": 0, "erased": 0, "size": 0, "root": ""}
    report.logs.append(line)
    key, part = named.get(line["origin"]), told.get("entries")
    if key is None or not key.name.endswith(f"/{name}"):
        raise Wrong(SIGNATURE, f"No key was given for the log {name}.")
    if part != "all" and not (isinstance(part, list) and part and all(type(each) is int for each in part)):
        raise Wrong(UNREADABLE, "manifest.json does not say which entries are here.")
    note = bundle.read(f"{name}/checkpoint", MOST_NOTE)
    checkpoint = open_checkpoint(note, key)
    log = _Log(key, note, checkpoint, None if part == "all" else part, [each for each in held if each.origin == key.name])
    line |= {"size": checkpoint.size, "root": base64.b64encode(checkpoint.root).decode()}
    try:
        (_whole if log.part is None else _some)(bundle, name, log, report)
        _proofs(bundle, name, log)
    finally:
        line |= {"entries": len(log.leaves), "erased": log.erased}
        report.findings += [
            Wrong(FORK, f"You hold a checkpoint over {each.size:,} entries, and this one has fewer: some were taken back.")
            for each in log.held
            if each.size > checkpoint.size
        ]
    if log.restored:
        report.findings.append(Wrong(RESTORED, f"A backup was put back on {log.restored[:10]}. What happened between the backup and that day is not here."))


def _lines(bundle: "Bundle", name: str, log: _Log) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Each entry's leaf hash and its members; of an erased one only `seq` and `leaf` are left."""
    for line in bundle.lines(f"{name}/entries.jsonl"):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            raise Wrong(UNREADABLE, f"A line of the entries, after {len(log.leaves):,} that can be read, is not JSON.") from None
        if not isinstance(entry, dict):
            raise Wrong(UNREADABLE, "A line of the entries is not an object.")
        if set(entry) == {"leaf", "seq"}:
            log.erased += 1
            leaf = unb64(_text(entry["leaf"]), "The hash of an erased entry")
            if len(leaf) != HASH_BYTES:
                raise Wrong(UNREADABLE, "The hash of an erased entry has not 32 bytes.")
            yield leaf, entry
        else:
            yield leaf_hash(line), entry


def _whole(bundle: "Bundle", name: str, log: _Log, report: Report) -> None:
    """All entries: in order, each tied to those before it, and together the tree that was signed."""
    tree, roots = Tree(), {each.size: b"" for each in log.held}
    findings = report.findings
    for leaf, entry in _lines(bundle, name, log):
        seq = tree.size
        if entry.get("seq") != seq:
            raise Wrong(ORDER, f"Entry {seq:,} is missing: another one stands in its place.")
        if "prev" in entry or "v" in entry:
            _follows(entry, tree, name, findings)
            if seq == 0 and entry.get("act") == "restored":
                log.restored = _text(entry.get("at"))
                before = entry.get("before")
                said = [each for each in before if isinstance(each, dict)] if isinstance(before, list) else []
                report.closed |= {_text(each.get("log")): (log.restored, each) for each in said}
        log.leaves[seq] = leaf
        tree.grow(leaf)
        if tree.size in roots:
            roots[tree.size] = tree.root
    if tree.size != log.checkpoint.size:
        raise Wrong(ORDER, f"{log.checkpoint.size:,} entries were signed, and {tree.size:,} are here.")
    if tree.root != log.checkpoint.root:
        raise Wrong(INCLUSION, "The entries are not those that were signed: one was altered.")
    for each in log.held:
        if each.size <= tree.size and (roots[each.size] if each.size else EMPTY_ROOT) != each.root:
            findings.append(Wrong(FORK, f"Your checkpoint over the first {each.size:,} entries has another root: what came before it was changed since."))


def _follows(entry: dict[str, Any], tree: Tree, name: str, findings: list[Wrong]) -> None:
    """Note where an entry does not say the log it is in, or the root over all entries before it."""
    root = base64.urlsafe_b64encode(tree.root).rstrip(b"=").decode()
    if (entry.get("prev") != root or entry.get("log") != name) and not any(each.code == ORDER for each in findings):
        findings.append(Wrong(ORDER, f"Entry {tree.size:,} does not follow from the entries before it."))


def _some(bundle: "Bundle", name: str, log: _Log, report: Report) -> None:
    """Some entries: those that are announced, each with its proof."""
    for leaf, entry in _lines(bundle, name, log):
        if entry.get("seq") not in log.part or entry["seq"] in log.leaves or entry.get("log", name) != name:  # type: ignore[operator]
            raise Wrong(ORDER, "An entry is here that was not announced.")
        log.leaves[entry["seq"]] = leaf
    for seq in log.part or ():
        if seq not in log.leaves:
            raise Wrong(ORDER, f"Entry {seq:,} is missing.")
        if not bundle.has(f"{name}/proofs/{seq}.tlog-proof"):
            raise Wrong(INCLUSION, f"Entry {seq:,} has no proof.")
    for each in log.held:
        if each.size == log.checkpoint.size and each.root != log.checkpoint.root:
            report.findings.append(Wrong(FORK, "Your checkpoint has as many entries and another root: there are two ledgers."))
        elif each.size < log.checkpoint.size:
            raise Wrong(UNREADABLE, "A bundle of single entries cannot be compared with an older checkpoint. Take the bundle of the whole ledger.")


def _proofs(bundle: "Bundle", name: str, log: _Log) -> None:
    start, end = f"{name}/proofs/", ".tlog-proof"
    for path in bundle.names():
        if not path.startswith(start):
            continue
        proof = Proof.parse(bundle.read(path, MOST_NOTE))
        if path != f"{start}{proof.index}{end}" or proof.checkpoint != log.note or proof.index not in log.leaves:
            raise Wrong(INCLUSION, f"The proof {path} is of another entry or another checkpoint.")
        if not verify_inclusion(proof.index, log.checkpoint.size, log.leaves[proof.index], proof.hashes, log.checkpoint.root):
            raise Wrong(INCLUSION, f"Entry {proof.index:,} is not in the tree that was signed.")


class Bundle:
    """The files of a bundle: a zip, or (of tests and other programs) a mapping from names to bytes."""

    def __init__(self, source: Path | IO[bytes] | Mapping[str, bytes]) -> None:
        """Raises `Wrong` 15 where a zip cannot be read, or holds a name twice."""
        self._files = source if isinstance(source, Mapping) else None
        try:
            self._zip = None if isinstance(source, Mapping) else zipfile.ZipFile(source)
        except (OSError, ValueError, zipfile.BadZipFile):
            raise Wrong(UNREADABLE, "The bundle is not a zip, or was cut short.") from None
        names = self.names()
        if len(set(names)) != len(names):
            raise Wrong(UNREADABLE, "The bundle holds two files of one name.")
        self._known = frozenset(names)

    def names(self) -> list[str]:
        """Every file."""
        return list(self._files or ()) if self._zip is None else self._zip.namelist()

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return name in self._known

    def read(self, name: str, most: int) -> bytes:
        """A whole file of at most so many bytes."""
        raw = b"".join(self._read(name, most + 1, whole=True))
        if len(raw) > most:
            raise Wrong(UNREADABLE, f"{name} is too large.")
        return raw

    def lines(self, name: str) -> Iterator[bytes]:
        """The lines of a file, without their ends; one at a time is in memory."""
        for line in self._read(name, MOST_LINE, whole=False):
            if not line.endswith(b"\n"):
                raise Wrong(UNREADABLE, f"{name} was cut short, or has a line that is too long.")
            yield line[:-1]

    def _read(self, name: str, most: int, *, whole: bool) -> Iterator[bytes]:
        if not self.has(name):
            raise Wrong(UNREADABLE, f"The bundle holds no {name}.")
        if self._zip is None:
            raw = (self._files or {})[name]
            yield from [raw] if whole else raw.splitlines(keepends=True)
            return
        try:
            with self._zip.open(name) as file:
                if whole:
                    yield file.read(most)
                    return
                while line := file.readline(most):
                    yield line
        except (OSError, ValueError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error):
            raise Wrong(UNREADABLE, f"{name} in the bundle is damaged.") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the bundle that the command line names, say what was found, and return the exit status."""
    parser = argparse.ArgumentParser(prog="proffer_verify", description="Check a ledger that was downloaded from a Proffer broker; offline.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--key", action="append", default=[], help="the key of the log, as the Ledger page shows it; again for each log")
    parser.add_argument("--since", action="append", default=[], type=Path, help="a checkpoint you kept from before")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    given = parser.parse_args(arguments)
    report = check_file(given.bundle, given.key, given.since)
    sys.stdout.write((json.dumps(document(report)) if given.json else report.sentence) + "\n")
    return report.code


def check_file(path: Path, keys: Sequence[str], since: Sequence[Path]) -> Report:
    """Check a bundle's file by keys as text and notes in files."""
    try:
        notes = [note.read_bytes()[: MOST_NOTE + 1] for note in since]
        return check(Bundle(path), [Key.parse(key) for key in keys], notes)
    except OSError as failed:
        return Report(findings=[Wrong(UNREADABLE, f"{failed.filename} cannot be read.")])
    except Wrong as wrong:
        return Report(findings=[wrong])


def document(report: Report) -> dict[str, Any]:
    """A report for programs."""
    findings = [{"code": each.code, "sentence": each.sentence} for each in report.findings]
    return {"ok": report.code == OK, "code": report.code, "key_given": report.trusted, "findings": findings, "logs": report.logs}


if __name__ == "__main__":
    sys.exit(main())
