"""The files of a backup: they open by their passphrase or key alone, whole, in their order, and each as itself."""

import io
import json
import os

import pytest

from broker.vault import backups, slots
from broker.vault.backups import PIECE, BackupRefused, Reader

PASSPHRASE = "five unrelated words in a row"
MANIFEST = {"v": 1, "set": "ab"}


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Argon2id must cost is measured where slots are tested."""
    monkeypatch.setattr(slots, "START", dict(slots.FLOOR))
    monkeypatch.setattr(slots, "LEAST_SECONDS", 0.0)


def written(to: backups.To, content: bytes, file: str = "data", set_id: bytes = bytes(16)) -> bytes:
    out = io.BytesIO()
    backups.write(to, file, set_id, MANIFEST, io.BytesIO(content), out)
    return out.getvalue()


def opened(raw: bytes, text: str) -> bytes:
    reader = Reader(io.BytesIO(raw), "proffer-data.backup")
    manifest, *pieces = reader.pieces(reader.secret(text))
    assert json.loads(manifest) == MANIFEST
    return b"".join(pieces)


def frames(raw: bytes) -> tuple[bytes, list[bytes]]:
    """The header with what stands before it, and each piece with its length."""
    start = len(backups.MAGIC)
    start += 4 + int.from_bytes(raw[start : start + 4], "big")
    head, found = raw[:start], []
    while start < len(raw):
        end = start + 4 + int.from_bytes(raw[start : start + 4], "big")
        found.append(raw[start:end])
        start = end
    return head, found


@pytest.mark.parametrize("length", [0, 1, PIECE - 1, PIECE, 2 * PIECE + 5])
def test_both_ways_open(length: int) -> None:
    content = os.urandom(length)
    private, public = backups.new_recipient()
    assert opened(written(backups.to_passphrase(PASSPHRASE), content), PASSPHRASE) == content
    assert opened(written(backups.to_recipient(public), content), private) == content
    assert length < 16 or content not in written(backups.to_recipient(public), content)


def test_nothing_else_opens_it() -> None:
    private, public = backups.new_recipient()
    other, _ = backups.new_recipient()
    for to, texts in ((backups.to_passphrase(PASSPHRASE), ["five unrelated words in a roW", "", private]), (backups.to_recipient(public), [other, PASSPHRASE, public, ""])):
        raw = written(to, b"content")
        for text in texts:
            with pytest.raises(BackupRefused, match="not the passphrase"):
                opened(raw, text)


def test_a_mistyped_key_or_short_passphrase_is_refused_first() -> None:
    _, public = backups.new_recipient()
    for wrong in (public[:-1], public[:30] + ("a" if public[30] != "a" else "b") + public[31:], "age1xyz", ""):
        with pytest.raises(BackupRefused, match="new-recipient"):
            backups.to_recipient(wrong)
    with pytest.raises(BackupRefused, match="12 to 256"):
        backups.to_passphrase("short")


@pytest.fixture
def sealed() -> tuple[bytes, str]:
    private, public = backups.new_recipient()
    return written(backups.to_recipient(public), os.urandom(3 * PIECE)), private


def test_what_is_cut_swapped_or_added_to_is_refused(sealed: tuple[bytes, str]) -> None:
    raw, private = sealed
    head, pieces = frames(raw)
    assert len(pieces) == 4
    wrong = [head + b"".join(pieces[:n]) for n in range(4)]
    wrong += [head + b"".join([pieces[1], pieces[0], *pieces[2:]]), head + b"".join([pieces[0], pieces[2], pieces[1], pieces[3]])]
    wrong += [head + b"".join(pieces[:3]) + pieces[2] + pieces[3], head + b"".join([*pieces, pieces[3]]), raw + b"\0", raw[:-1], raw[: len(head) - 3], raw[:20]]
    for each in wrong:
        with pytest.raises(BackupRefused, match=r"was cut, altered|not the passphrase"):
            opened(each, private)
    with pytest.raises(BackupRefused, match="is no backup"):
        opened(b"SQLite format 3\0" + raw, private)


def test_every_flipped_bit_is_noticed(sealed: tuple[bytes, str]) -> None:
    raw, private = sealed
    head, pieces = frames(raw)
    for at in [*range(0, len(head), 7), *(len(head) + n for n in (0, 3, 4, 6, 25, 60)), len(raw) - len(pieces[-1]) + 2, len(raw) - 1]:
        hurt = bytearray(raw)
        hurt[at] ^= 1
        with pytest.raises(BackupRefused):
            opened(bytes(hurt), private)


def test_pieces_of_another_file_do_not_fit() -> None:
    """Even where both lie under one key: the place of a piece is its file's header."""
    private, public = backups.new_recipient()
    to = backups.to_recipient(public)
    (one, ours), (_, theirs) = (frames(written(to, os.urandom(PIECE), name)) for name in ("data", "keys"))
    with pytest.raises(BackupRefused):
        opened(one + ours[0] + theirs[1], private)


def test_a_file_cannot_ask_for_endless_memory() -> None:
    raw = written(backups.to_passphrase(PASSPHRASE), b"content")
    for name, value in (("memory", 2**40), ("memory", 256 * 1024 + 1), ("passes", 65), ("lanes", 5), ("lanes", -1), ("memory", 1), ("passes", "3"), ("salt", 5), ("salt", None)):
        head, pieces = frames(raw)
        told = json.loads(head[len(backups.MAGIC) + 4 :])
        told["params"][name] = value
        header = json.dumps(told, sort_keys=True).encode()
        with pytest.raises(BackupRefused):
            opened(backups.MAGIC + len(header).to_bytes(4, "big") + header + b"".join(pieces), PASSPHRASE)


def test_what_ours_ask_for_is_allowed() -> None:
    for name, most in backups._MOST_COST.items():
        assert {**slots.START, "passes": slots.MOST_PASSES}[name] <= most


@pytest.mark.parametrize("header", [b"[" * 4000, b"[]", b"5", b'{"file": 5}', json.dumps({"file": "data", "set": "00", "kind": "", "params": {}, "key": ""}).encode()])
def test_a_strange_header_is_refused(header: bytes) -> None:
    with pytest.raises(BackupRefused, match="was cut, altered"):
        Reader(io.BytesIO(backups.MAGIC + len(header).to_bytes(4, "big") + header), "proffer-data.backup")


MADE = {"v": 1, "set": "00" * 16, "broker": "ab", "made_at": "2026-01-01T00:00:00Z", "bytes": 7}


@pytest.mark.parametrize(
    "manifest",
    ["[" * 100_000, "[]", "{}", *(json.dumps({**MADE, **wrong}) for wrong in ({"made_at": 5}, {"made_at": "2026-01-01"}, {"bytes": "x"}, {"bytes": None}, {"set": "11" * 16}))],
)
def test_a_strange_manifest_is_refused(manifest: str) -> None:
    """Whoever knows a public key can seal something to it."""
    private, public = backups.new_recipient()
    reader = Reader(io.BytesIO(written(backups.to_recipient(public), b"content")), "proffer-data.backup")
    next(reader.pieces(reader.secret(private)))
    with pytest.raises(BackupRefused, match="was cut, altered"):
        reader.manifest(manifest.encode())


def test_a_manifest_of_now_is_read_and_one_of_later_is_refused() -> None:
    """An earlier one named the schemas as well, which nobody reads."""
    private, public = backups.new_recipient()
    reader = Reader(io.BytesIO(written(backups.to_recipient(public), b"content")), "proffer-data.backup")
    assert reader.secret(private)
    found = reader.manifest(json.dumps({**MADE, "schemas": {"data": "1"}}).encode())
    assert (found.made_at.isoformat(), found.bytes, found.set_id) == ("2026-01-01T00:00:00+00:00", 7, "00" * 16)
    with pytest.raises(BackupRefused, match="newer version"):
        reader.manifest(json.dumps({**MADE, "v": 2}).encode())
