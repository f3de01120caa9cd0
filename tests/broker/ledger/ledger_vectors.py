"""The vectors that every verifier of ledgers must agree on; run it to write `tests/vectors/ledger.json` anew."""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from ledgers import EMPTY, Log, b64, b64url, bundle, leaf_of, path, root_of, subproof

FILE = Path(__file__).parents[2] / "vectors" / "ledger.json"
Case = dict[str, Any]
LEAVES = [leaf_of(f"leaf {number}".encode()) for number in range(23)]
OTHER = leaf_of(b"another")


def hashes(found: list[bytes]) -> list[str]:
    return [b64(each) for each in found]


def inclusion() -> list[Case]:
    cases: list[Case] = []

    def case(what: str, index: int, size: int, proof: list[bytes], *, leaf: bytes | None = None, root: bytes | None = None, holds: bool = False) -> None:
        leaf = LEAVES[index % 23] if leaf is None else leaf
        root = root_of(LEAVES[:size]) if root is None else root
        cases.append({"what": what, "index": index, "size": size, "leaf": b64(leaf), "proof": hashes(proof), "root": b64(root), "holds": holds})

    for size in (1, 2, 3, 4, 5, 7, 8, 11, 16, 23):
        for index in sorted({0, 1, size // 2, size - 2, size - 1} & set(range(size))):
            good = path(index, LEAVES[:size])
            case(f"leaf {index} of {size}", index, size, good, holds=True)
            case(f"another leaf at {index} of {size}", index, size, good, leaf=OTHER)
            case(f"leaf {index} of {size}, another root", index, size, good, root=OTHER)
            case(f"leaf {index} of {size}, a hash too many", index, size, [*good, OTHER])
            case(f"leaf {index} of {size}, the root as a hash too many", index, size, [*good, root_of(LEAVES[:size])])
            if good:
                case(f"leaf {index} of {size}, a hash too few", index, size, good[:-1])
                case(f"leaf {index} of {size}, first hash changed", index, size, [OTHER, *good[1:]])
                case(f"leaf {index} of {size}, last hash cut to 31 bytes", index, size, [*good[:-1], good[-1][:31]])
                case(f"leaf {index} of {size}, at the next index", index + 1, size, good, leaf=LEAVES[index])
    case("leaf 0 of the empty tree", 0, 0, [], root=EMPTY)
    case("an index beyond the tree", 5, 5, path(4, LEAVES[:5]), leaf=LEAVES[4])
    case("an index below zero", -1, 5, path(4, LEAVES[:5]), leaf=LEAVES[4])
    case("a leaf of 31 bytes that equals the root", 0, 1, [], leaf=OTHER[:31], root=OTHER[:31])
    case("an empty leaf that equals the root", 0, 1, [], leaf=b"", root=b"")
    return cases


def consistency() -> list[Case]:
    cases: list[Case] = []

    def case(what: str, size1: int, size2: int, proof: list[bytes], *, root1: bytes | None = None, root2: bytes | None = None, holds: bool = False) -> None:
        root1 = root_of(LEAVES[:size1]) if root1 is None else root1
        root2 = root_of(LEAVES[:size2]) if root2 is None else root2
        cases.append({"what": what, "size1": size1, "size2": size2, "root1": b64(root1), "root2": b64(root2), "proof": hashes(proof), "holds": holds})

    for size1, size2 in ((1, 1), (1, 2), (1, 8), (2, 5), (3, 7), (4, 8), (5, 7), (6, 8), (7, 8), (8, 16), (11, 23), (16, 23), (22, 23), (23, 23)):
        good = subproof(size1, LEAVES[:size2])
        case(f"{size1} to {size2}", size1, size2, good, holds=True)
        case(f"{size1} to {size2}, another old root", size1, size2, good, root1=OTHER)
        case(f"{size1} to {size2}, another new root", size1, size2, good, root2=OTHER)
        case(f"{size1} to {size2}, the roots swapped", size2, size1, good) if size1 != size2 else None
        case(f"{size1} to {size2}, a hash too many", size1, size2, [*good, OTHER])
        if good:
            case(f"{size1} to {size2}, a hash too few", size1, size2, good[:-1])
            case(f"{size1} to {size2}, first hash changed", size1, size2, [OTHER, *good[1:]])
            case(f"{size1} to {size2}, first hash cut to 31 bytes", size1, size2, [good[0][:31], *good[1:]])
            case(f"{size1} to {size2}, no hashes", size1, size2, [])
    case("from the empty tree", 0, 5, [], root1=EMPTY)
    case("from the empty tree to itself", 0, 0, [], root1=EMPTY, root2=EMPTY)
    case("from a size below zero", -1, 5, [], root1=EMPTY)
    case("to a smaller tree", 5, 3, [])
    case("one size, two roots", 5, 5, [], root2=OTHER)
    return cases


def log(word: str = "alice", number: int = 6) -> Log:
    made = Log(word)
    for seq in range(number):
        made.append("give" if seq == 0 else "read" if seq % 2 else "sign_in")
    return made


def notes() -> list[Case]:
    good, other = log(), log("bob")
    text = good.text()
    cases: list[Case] = []

    def case(what: str, note: str, code: int, key: str = good.vkey()) -> None:
        cases.append(
            {
                "what": what,
                "note": note,
                "key": key,
                "code": code,
                **({"origin": good.origin, "size": 6, "root": b64(root_of(good.leaves))} if not code else {}),
            }
        )

    case("a checkpoint", good.note(), 0)
    case("with another's signature before and after", f"{text}\n{other.line(text)}{good.line(text)}{other.line(text, 'witness.example')}", 0)
    case("with an extension line", good.note(text=f"{text}more\n"), 0)
    case("signed by another alone", f"{text}\n{other.line(text)}", 10)
    case("signed by another under this name", f"{text}\n{other.line(text, good.origin)}", 10)
    case("the key of another log", good.note(), 10, other.vkey())
    case("two lines of its key, one false", f"{text}\n{good.line(text)}{good.line(good.text(5))}", 10)
    case("another size", good.note().replace("\n6\n", "\n7\n"), 10)
    case("of another log, signed by this key", good.note(text=other.text()), 10)
    case("a size with a leading zero", good.note(text=text.replace("\n6\n", "\n06\n")), 15)
    case("a size with a sign", good.note(text=text.replace("\n6\n", "\n+6\n")), 15)
    case("a size in other digits", good.note(text=text.replace("\n6\n", "\n٦\n")), 15)
    case("a root of 31 bytes", good.note(text=f"{good.origin}\n6\n{b64(OTHER[:31])}\n"), 15)
    case("a root in base64url", good.note(text=f"{good.origin}\n6\n{b64url(bytes([255] * 32))}\n"), 15)
    case("a root whose last bits are not zero", good.note(text=f"{good.origin}\n6\n{'A' * 42}B=\n"), 15)
    case("no root", good.note(text=f"{good.origin}\n6\n"), 15)
    case("an empty extension line", good.note(text=f"{text}\nmore\n"), 15)
    case("no signature", f"{text}\n", 15)
    case("no blank line", good.note().replace("\n\n", "\n"), 15)
    case("no newline at the end", good.note()[:-1], 15)
    case("a carriage return", good.note().replace("\n6\n", "\r\n6\n"), 15)
    case("a hyphen for the dash", good.note().replace("—", "-"), 15)
    case("a signature line in bad base64", good.note()[:-4] + "*==\n", 15)
    case("a signature of only a key id", f"{text}\n— {good.origin} {b64(good.key_id())}\n", 15)
    case("empty", "", 15)
    case("a key of another type", good.note(), 15, f"{good.origin}+{good.key_id(kind=bytes([4])).hex()}+{b64(bytes([4]) + good.public)}")
    case("a key whose id is another's", good.note(), 15, good.vkey().replace(good.key_id().hex(), other.key_id().hex()))
    case("a key of 31 bytes", good.note(), 15, f"{good.origin}+{good.key_id().hex()}+{b64(bytes([1]) + good.public[:31])}")
    case("a key without its name", good.note(), 15, good.vkey().partition("+")[2])
    case("no key", good.note(), 15, "")
    return cases


def tlog_proofs() -> list[Case]:
    good = log()
    leaf, text = good.leaves[3], good.proof(3)
    cases: list[Case] = []

    def case(what: str, proof: str, code: int, leaf: bytes = leaf) -> None:
        cases.append({"what": what, "proof": proof, "key": good.vkey(), "leaf": b64(leaf), "code": code})

    case("a proof", text, 0)
    case("with extra data", text.replace("index", f"extra {b64(b'more')}\nindex"), 0)
    case("under an older checkpoint", good.proof(3, 5), 0)
    case("of another leaf", text, 11, good.leaves[4])
    case("at another index", text.replace("index 3", "index 2"), 11)
    case("beyond the tree", text.replace("index 3", "index 6"), 11)
    lines = text.split("\n")
    case("a hash too few", "\n".join([*lines[:2], *lines[3:]]), 11)
    case("a hash twice", "\n".join([*lines[:3], *lines[2:]]), 11)
    case("under a checkpoint that another signed", text.replace(good.note(), log("bob").note()), 10)
    case("under a checkpoint whose size was changed", text.replace("\n6\n", "\n7\n"), 10)
    case("of another version", text.replace("@v1", "@v2"), 15)
    case("an index with a leading zero", text.replace("index 3", "index 03"), 15)
    case("no index", text.replace("index 3\n", ""), 15)
    case("a hash in bad base64", text.replace(lines[2], lines[2][:-1] + "*"), 15)
    case("no checkpoint", text.partition("\n\n")[0] + "\n", 15)
    case("empty", "", 15)
    return cases


class Bundles:
    """Bundles of one good log and of what is done to it; each part adds its cases."""

    def __init__(self) -> None:
        self.good, self.stranger = log(), log("bob")
        self.key = self.good.vkey()
        self.entries, self.checkpoint = f"{self.good.log_id}/entries.jsonl", f"{self.good.log_id}/checkpoint"
        self.cases: list[Case] = []

    def case(self, what: str, files: dict[str, bytes], code: int, *, keys: list[str] | None = None, since: list[str] | None = None) -> None:
        told = {name: b64(raw) for name, raw in files.items()}
        self.cases.append({"what": what, "files": told, "keys": [self.key] if keys is None else keys, "since": since or [], "code": code})

    def changed(self, name: str, raw: bytes) -> dict[str, bytes]:
        return {**bundle(self.good), name: raw}

    def lined(self, *lines: bytes) -> dict[str, bytes]:
        return self.changed(self.entries, b"".join(line + b"\n" for line in lines))

    def whole(self) -> None:
        """Bundles that hold, and what may be missing from them."""
        good, other, older = self.good, self.stranger, self.good.note(4)
        self.case("a whole log", bundle(good), 0)
        self.case("a whole log, no key given", bundle(good), 0, keys=[])
        self.case("since an older checkpoint", bundle(good), 0, since=[older])
        self.case("since the same checkpoint", bundle(good), 0, since=[good.note()])
        self.case("since the empty log", bundle(good), 0, since=[good.note(0)])
        self.case("an erased entry", bundle(good, erased=(2, 3)), 0, since=[older])
        self.case("one entry", bundle(good, part=[3]), 0)
        self.case("one entry, since the same checkpoint", bundle(good, part=[3]), 0, since=[good.note()])
        self.case("two logs", bundle(good, other), 0, keys=[self.key, other.vkey()])

    def edited(self) -> None:
        """Entries changed, dropped, added, moved."""
        other, b, older = self.stranger, self.good.bodies, self.good.note(4)
        self.case("an edited entry", self.lined(*b[:2], b[2].replace(b"sign_in", b"sign_on"), *b[3:]), 11)
        self.case("the last entry edited", self.lined(*b[:5], b[5].replace(b"permitted", b"forbidden")), 11)
        self.case("an edited entry, since an older checkpoint", self.lined(*b[:2], b[2].replace(b"sign_in", b"sign_on"), *b[3:]), 11, since=[older])
        self.case("a dropped entry", self.lined(*b[:2], *b[3:]), 13)
        self.case("an entry twice", self.lined(*b[:3], b[2], *b[3:]), 13)
        self.case("two entries changed about", self.lined(b[0], b[2], b[1], *b[3:]), 13)
        self.case("the end cut off", self.lined(*b[:5]), 13)
        self.case("an entry more than was signed", self.lined(*b, log(number=7).bodies[6]), 13)
        self.case("an entry of another person", self.lined(*b[:3], other.bodies[3], *b[4:]), 11)

    def other(self) -> None:
        """Other logs, older ones, and forks."""
        good, other, b, older = self.good, self.stranger, self.good.bodies, self.good.note(4)
        self.case("an older checkpoint put back", {**bundle(log(number=4))}, 12, since=[good.note()])
        self.case("a checkpoint kept of another log", bundle(good), 12, since=[other.note()], keys=[self.key, other.vkey()])
        forked = Log("alice", bodies=[*b[:3]])
        for _ in range(4):
            forked.append("forget")
        self.case("a fork", bundle(forked), 12, since=[good.note()])
        self.case("a fork after what was kept", bundle(forked), 0, since=[good.note(3)])
        self.case("one entry of a fork of the same size", bundle(Log("alice", bodies=forked.bodies[:6]), part=[3]), 12, since=[good.note()])
        self.case("one entry, since an older checkpoint", bundle(good, part=[3]), 15, since=[older])
        resigned = Log("mallory", bodies=b)
        self.case("signed by another key", self.changed(self.checkpoint, good.text().encode() + b"\n" + resigned.line(good.text(), good.origin).encode()), 10)
        self.case("another person's log", bundle(other), 10)
        self.case(
            "another person's log under this name",
            {name.replace(other.log_id, good.log_id): raw.replace(other.log_id.encode(), good.log_id.encode()) for name, raw in bundle(other).items()},
            10,
        )
        self.case("two logs and one key", bundle(good, other), 10)
        self.case("a kept checkpoint that another signed", bundle(good), 10, since=[good.text() + "\n" + resigned.line(good.text(), good.origin)])

    def single(self) -> None:
        """One entry with its proof."""
        good, other, b = self.good, self.stranger, self.good.bodies
        proof = f"{good.log_id}/proofs/3.tlog-proof"
        self.case("a proof of another entry", self.changed(proof, good.proof(5).encode()), 11)
        self.case("a proof under another checkpoint", self.changed(proof, good.proof(3, 5).encode()), 11)
        self.case("a proof whose own checkpoint is another's", self.changed(proof, good.proof(3).replace(good.note(), f"{good.text()}\n{other.line(good.text(), good.origin)}").encode()), 11)
        one = bundle(good, part=[3])
        self.case("one entry without its proof", {name: raw for name, raw in one.items() if name != proof}, 11)
        self.case("one entry edited", {**one, self.entries: b[3].replace(b"read", b"rode") + b"\n"}, 11)
        self.case("one entry of two that are announced", {**bundle(good, part=[1, 3]), self.entries: b[3] + b"\n"}, 13)
        self.case("an entry that is not announced", {**one, self.entries: b[3] + b"\n" + b[4] + b"\n"}, 13)

    def restored(self) -> None:
        """Logs that began with a restored backup."""
        other = self.stranger
        back = Log("carol").append("restored", log_before="x").append()
        self.case("a log that began with a restored backup", bundle(back), 14, keys=[back.vkey()])
        gone = log("dora")
        said = {"log": gone.log_id, "size": 4, "root": b64url(root_of(gone.leaves[:4])), "signed": 6}
        after = Log("erna").append("restored", before=[said]).append()
        keys = [after.vkey()]
        for size in (2, 4, 6):
            self.case(f"a checkpoint over {size} entries of a log that was closed", bundle(after), 14, since=[gone.note(size)], keys=keys)
        self.case("one over more entries than were signed of it", bundle(after), 12, since=[log("dora", 7).note()], keys=keys)
        strange = Log("dora", bodies=[body.replace(b"sign_in", b"sign_on") for body in gone.bodies])
        self.case("one of as many entries and another root", bundle(after), 12, since=[strange.note(4)], keys=keys)
        self.case("one of a log that none names", bundle(after), 12, since=[other.note()], keys=keys)
        for before in ("x", [3], [{"log": gone.log_id}], [{**said, "size": True}]):
            self.case(f"closed logs that are {before!r}", bundle(Log("erna").append("restored", before=before)), 12, since=[gone.note(4)], keys=keys)
        self.case("and one that does not hold", {**bundle(back, other), f"{other.log_id}/entries.jsonl": b""}, 13, keys=[back.vkey(), other.vkey()])

    def malformed(self) -> None:
        """What is no bundle at all."""
        good, b = self.good, self.good.bodies
        self.case("no manifest", {name: raw for name, raw in bundle(good).items() if name != "manifest.json"}, 15)
        self.case("a manifest that is no JSON", self.changed("manifest.json", b"{"), 15)
        self.case("a manifest of something else", self.changed("manifest.json", b'{"format":"another","v":1,"logs":[]}'), 15)
        self.case("a manifest without logs", self.changed("manifest.json", b'{"format":"proffer-ledger-bundle","v":1,"logs":[]}'), 15)
        self.case("a log twice", self.changed("manifest.json", json.dumps({"format": "proffer-ledger-bundle", "v": 1, "logs": [good.told(), good.told()]}).encode()), 15)
        self.case(
            "a log whose name leads out",
            self.changed("manifest.json", json.dumps({"format": "proffer-ledger-bundle", "v": 1, "logs": [{**good.told(), "log": "../../../../../../../x"}]}).encode()),
            15,
        )
        self.case("no checkpoint", {name: raw for name, raw in bundle(good).items() if name != self.checkpoint}, 15)
        self.case("no entries", {name: raw for name, raw in bundle(good).items() if name != self.entries}, 15)
        self.case("a line that is no JSON", self.lined(*b[:3], b"{", *b[4:]), 15)
        self.case("a line that is no object", self.lined(*b[:3], b"[]", *b[4:]), 15)
        self.case("a last line without its end", self.changed(self.entries, b"\n".join(b)), 15)
        self.case("an erased entry without its hash", self.lined(*b[:3], b'{"leaf":3,"seq":3}', *b[4:]), 15)
        self.case("a key that is none", bundle(good), 15, keys=["broker.example"])


def bundles() -> list[Case]:
    made = Bundles()
    for part in (made.whole, made.edited, made.other, made.single, made.restored, made.malformed):
        part()
    return made.cases


def everything() -> dict[str, list[Case]]:
    return {"inclusion": inclusion(), "consistency": consistency(), "notes": notes(), "proofs": tlog_proofs(), "bundles": bundles()}


if __name__ == "__main__":
    FILE.write_text(json.dumps(everything(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
