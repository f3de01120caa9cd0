"""Ledgers made without the broker, by the words of the standards: what verifiers are tried with, whole and tampered."""

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

EMPTY = hashlib.sha256(b"").digest()


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def b64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def leaf_of(body: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + body).digest()


def root_of(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word by word."""
    if len(leaves) < 2:
        return leaves[0] if leaves else EMPTY
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\x01" + root_of(leaves[:split]) + root_of(leaves[split:])).digest()


def path(index: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962 section 2.1.1, word by word."""
    if len(leaves) == 1:
        return []
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    if index < split:
        return [*path(index, leaves[:split]), root_of(leaves[split:])]
    return [*path(index - split, leaves[split:]), root_of(leaves[:split])]


def subproof(old: int, leaves: list[bytes], *, known: bool = True) -> list[bytes]:
    """RFC 6962 section 2.1.2, word by word."""
    if old == len(leaves):
        return [] if known else [root_of(leaves)]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    if old <= split:
        return [*subproof(old, leaves[:split], known=known), root_of(leaves[split:])]
    return [*subproof(old - split, leaves[split:], known=False), root_of(leaves[:split])]


@dataclass
class Log:
    """A log with its key, all of it from one word."""

    word: str
    host: str = "broker.example"
    bodies: list[bytes] = field(default_factory=list)

    @property
    def log_id(self) -> str:
        return b64url(hashlib.sha256(f"log {self.word}".encode()).digest()[:16])

    @property
    def origin(self) -> str:
        return f"{self.host}/ledger/{self.log_id}"

    @property
    def private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"key {self.word}".encode()).digest())

    @property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes_raw()

    def key_id(self, name: str = "", kind: bytes = b"\x01") -> bytes:
        return hashlib.sha256((name or self.origin).encode() + b"\n" + kind + self.public).digest()[:4]

    def vkey(self, name: str = "") -> str:
        return f"{name or self.origin}+{self.key_id(name).hex()}+{b64(bytes([1]) + self.public)}"

    @property
    def leaves(self) -> list[bytes]:
        return [leaf_of(body) for body in self.bodies]

    def append(self, act: str = "read", **more: Any) -> "Log":
        seq = len(self.bodies)
        entry = {
            "v": 1, "log": self.log_id, "seq": seq, "prev": b64url(root_of(self.leaves)), "salt": b64url(hashlib.sha256(f"salt {self.word} {seq}".encode()).digest()),
            "at": f"2027-03-02T18:{seq // 60 % 60:02}:{seq % 60:02}Z", "act": act, "outcome": "permitted", "reasons": [], "by": {"role": "client", "id": "books-web"},
            "times": 1, "note": "Bücher für 12\u2009€", **more,
        }  # fmt: skip
        self.bodies.append(json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())
        return self

    def text(self, size: int | None = None) -> str:
        size = len(self.bodies) if size is None else size
        return f"{self.origin}\n{size}\n{b64(root_of(self.leaves[:size]))}\n"

    def note(self, size: int | None = None, text: str | None = None, name: str = "") -> str:
        text = self.text(size) if text is None else text
        return f"{text}\n{self.line(text, name)}"

    def line(self, text: str, name: str = "") -> str:
        return f"— {name or self.origin} {b64(self.key_id(name) + self.private.sign(text.encode()))}\n"

    def proof(self, index: int, size: int | None = None) -> str:
        size = len(self.bodies) if size is None else size
        hashes = "".join(f"{b64(each)}\n" for each in path(index, self.leaves[:size]))
        return f"c2sp.org/tlog-proof@v1\nindex {index}\n{hashes}\n{self.note(size)}"

    def files(self, *, part: list[int] | None = None, erased: tuple[int, ...] = ()) -> dict[str, bytes]:
        """The files of this log's bundle: whole, or only some entries."""
        chosen = range(len(self.bodies)) if part is None else part
        lines = [
            json.dumps({"leaf": b64(self.leaves[seq]), "seq": seq}, separators=(",", ":")).encode() if seq in erased else self.bodies[seq] for seq in chosen
        ]
        proven = [seq for seq in chosen if part or b'"act":"read"' in self.bodies[seq]]
        return {
            f"{self.log_id}/entries.jsonl": b"".join(line + b"\n" for line in lines),
            f"{self.log_id}/checkpoint": self.note().encode(),
            **{f"{self.log_id}/proofs/{seq}.tlog-proof": self.proof(seq).encode() for seq in proven},
        }

    def told(self, part: list[int] | None = None) -> dict[str, Any]:
        """What a manifest says of this log."""
        return {"log": self.log_id, "origin": self.origin, "key": self.vkey(), "entries": "all" if part is None else part}


def bundle(*logs: Log, part: list[int] | None = None, erased: tuple[int, ...] = ()) -> dict[str, bytes]:
    """The files of a bundle of some logs."""
    manifest = {"format": "proffer-ledger-bundle", "v": 1, "logs": [log.told(part) for log in logs]}
    files: dict[str, bytes] = {"manifest.json": json.dumps(manifest).encode()}
    for log in logs:
        files |= log.files(part=part, erased=erased)
    return files
