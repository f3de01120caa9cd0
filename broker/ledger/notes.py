"""Signed checkpoints and proofs as files (C2SP signed-note, tlog-checkpoint, tlog-proof), and what can be wrong with them."""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from broker.ledger.merkle import HASH_BYTES

OK, SIGNATURE, INCLUSION, FORK, ORDER, RESTORED, UNREADABLE = 0, 10, 11, 12, 13, 14, 15
PROOF: Final = "c2sp.org/tlog-proof@v1"
ED25519: Final = b"\x01"
MOST_NOTE: Final = 64 * 1024
_KEY_NAME: Final = re.compile(r"[^\s+]+")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,14}")
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")


class Wrong(Exception):
    """A finding: its exit status, and a sentence."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code, self.sentence = code, sentence


def unb64(text: str, what: str) -> bytes:
    """The bytes of standard base64, in its one way of writing; else `Wrong` 15, which names `what`."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Wrong(UNREADABLE, f"{what} is not written in base64.") from None
    if base64.b64encode(raw).decode() != text:
        raise Wrong(UNREADABLE, f"{what} is not written in base64.")
    return raw


def key_id(name: str, public: bytes) -> bytes:
    """The four bytes by which a note's signature line names its Ed25519 key."""
    return hashlib.sha256(name.encode() + b"\n" + ED25519 + public).digest()[:4]


@dataclass(frozen=True, slots=True)
class Key:
    """The public key of one log: its name, which is the log's origin, and 32 bytes of Ed25519."""

    name: str
    public: bytes

    @classmethod
    def parse(cls, vkey: str) -> "Key":
        """A key from its line `name+<8 hex of the key id>+base64(0x01 || public key)`; `Wrong` 15."""
        name, _, rest = vkey.strip().partition("+")
        shown, _, text = rest.partition("+")
        raw = unb64(text, "The key")
        if not _KEY_NAME.fullmatch(name) or len(raw) != 1 + HASH_BYTES or raw[:1] != ED25519 or key_id(name, raw[1:]).hex() != shown:
            raise Wrong(UNREADABLE, "This is no key of a ledger. Copy the whole line, from the log's name to its end.")
        return cls(name, raw[1:])

    def __str__(self) -> str:
        return f"{self.name}+{key_id(self.name, self.public).hex()}+{base64.b64encode(ED25519 + self.public).decode()}"

    def signed(self, text: bytes, signature: bytes) -> bool:
        """Whether this key made this signature over the text."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log's operator signed: at this size the tree has this root."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The note's text (C2SP tlog-checkpoint)."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def read_note(note: bytes) -> tuple[str, list[tuple[str, bytes]]]:
    """A signed note's text, and its signatures as (name, key id and signature); nothing of it is trusted yet. `Wrong` 15."""
    unreadable = Wrong(UNREADABLE, "A checkpoint is not in the form of a signed note.")
    try:
        whole = note.decode() if len(note) <= MOST_NOTE else ""
    except UnicodeDecodeError:
        raise unreadable from None
    text, blank, lines = whole.rpartition("\n\n")
    if not blank or not lines.endswith("\n") or _CONTROL.search(whole):
        raise unreadable
    found = []
    for line in lines[:-1].split("\n"):
        dash, _, rest = line.partition(" ")
        name, _, signature = rest.partition(" ")
        raw = unb64(signature, "A signature")
        if dash != "\N{EM DASH}" or not _KEY_NAME.fullmatch(name) or len(raw) <= len("key "):
            raise unreadable
        found.append((name, raw))
    return text + "\n", found


def open_checkpoint(note: bytes, key: Key) -> Checkpoint:
    """The checkpoint in a note that this key signed; signatures of other keys are passed over. `Wrong` 10 or 15."""
    text, signatures = read_note(note)
    mine = [raw[4:] for name, raw in signatures if name == key.name and raw[:4] == key_id(key.name, key.public)]
    if not mine or not all(key.signed(text.encode(), each) for each in mine):
        raise Wrong(SIGNATURE, "A checkpoint is not signed by the key of its log.")
    said = read_checkpoint(text)
    if said.origin != key.name:
        raise Wrong(SIGNATURE, "A checkpoint is of another log than its key.")
    return said


def read_checkpoint(text: str) -> Checkpoint:
    """What a note's text says, whoever signed it. `Wrong` 15."""
    lines = text[:-1].split("\n")
    if len(lines) < len(("origin", "size", "root")) or not all(lines) or not _NUMBER.fullmatch(lines[1]):
        raise Wrong(UNREADABLE, "A checkpoint does not say its log, size and root.")
    root = unb64(lines[2], "A root")
    if len(root) != HASH_BYTES:
        raise Wrong(UNREADABLE, "A root has not 32 bytes.")
    return Checkpoint(lines[0], int(lines[1]), root)


@dataclass(frozen=True, slots=True)
class Proof:
    """That an entry is in a signed tree (C2SP tlog-proof)."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes

    @classmethod
    def parse(cls, raw: bytes) -> "Proof":
        """A proof from its file; `Wrong` 15."""
        unreadable = Wrong(UNREADABLE, "A proof is not in the form of a tlog-proof.")
        head, blank, note = raw.partition(b"\n\n")
        try:
            first, *lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError:
            raise unreadable from None
        if lines and lines[0].startswith("extra "):
            unb64(lines.pop(0).removeprefix("extra "), "The extra of a proof")
        word, _, number = lines.pop(0).partition(" ") if lines else ("", "", "")
        if first != PROOF or word != "index" or not _NUMBER.fullmatch(number) or not blank:
            raise unreadable
        return cls(int(number), tuple(unb64(line, "A hash") for line in lines), note)

    @property
    def file(self) -> bytes:
        """The proof as a file."""
        return "\n".join([PROOF, f"index {self.index}", *(base64.b64encode(each).decode() for each in self.hashes), "", ""]).encode() + self.checkpoint
