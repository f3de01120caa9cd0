"""Exports that were tampered with: refused as a whole, or the one thing kept out and said; nothing of it is ever kept, and none of it lives."""

import datetime as dt
import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from exporting import exported, files_in, lines, resealed, zipped
from makers import Browser, Clock, Shop, page_visit, purchase
from moving import ended, send, take_in, tried

from broker.db import metadata
from broker.moves import package
from broker.terms import actions as terms
from policies.terms import DEFAULT_TERMS

Files = dict[str, bytes]


@pytest.fixture
def files(alice: Browser, bookshop: Shop, otherstore: Shop, clock: Clock) -> Files:
    """What Alice took out of this broker; the ledger is left out, so that it may be Bob's who brings it in."""
    alice.store(purchase(clock() - dt.timedelta(days=2)), page_visit(clock() - dt.timedelta(days=1), title="A page"))
    terms.set_terms(alice.app.extensions["broker"], alice.person_id, DEFAULT_TERMS.to_json())
    bookshop.connect(alice)
    otherstore.connect(alice)
    grant = bookshop.tokens["grant_id"]
    for act in ("pause", "resume"):
        assert alice.post(f"/grants/{grant}/{act}", page=f"/grants/{grant}").status_code == 303
    found = exported(alice)
    del found["ledger.zip"]
    return files_in(resealed(found))


def nothing_of(person: Browser) -> bool:
    """Whether a person has nothing of what could be brought in."""
    with person.app.extensions["broker"].reading() as tx:
        counts = [
            len(tx.execute(table.select().where(table.c.person_id == person.person_id)).all())
            for name, table in metadata.tables.items()
            if name in {"events", "event_counts", "grants", "agreements", "consent_changes", "terms_versions", "old_ledgers"}
        ]
    return counts == [0] * 7


def with_line(name: str, line: bytes) -> Callable[[Files], bytes]:
    return lambda files: resealed({**files, name: files[name] + line + b"\n"})


def renamed(old: str, new: str) -> Callable[[Files], bytes]:
    return lambda files: resealed({new if name == old else name: raw for name, raw in files.items()})


def changed_byte(files: Files) -> bytes:
    return zipped({**files, "events/purchase.jsonl": files["events/purchase.jsonl"].replace(b"2450", b"2451")})


def twice(files: Files) -> bytes:
    made = io.BytesIO(zipped(files))
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(made, "a") as file:
        file.writestr("terms.json", files["terms.json"])
    return made.getvalue()


def bomb(files: Files) -> bytes:
    return resealed({**files, "events/page_visit.jsonl": b"\0" * (8 * 2**20)})


def encrypted(files: Files) -> bytes:
    raw = bytearray(zipped(files))
    at = raw.index(b"PK\x01\x02")
    raw[at + 8] |= 1
    return bytes(raw)


def event_with(**more: Any) -> Callable[[Files], bytes]:
    def make(files: Files) -> bytes:
        event = json.loads(files["events/purchase.jsonl"].splitlines()[0])
        return with_line("events/purchase.jsonl", json.dumps({**event, **more}).encode())(files)

    return make


def manifest_with(**more: Any) -> Callable[[Files], bytes]:
    return lambda files: resealed(files, **more)


def terms_with(**more: Any) -> Callable[[Files], bytes]:
    return lambda files: resealed({**files, "terms.json": json.dumps({**json.loads(files["terms.json"]), **more}).encode()})


def grant_with(**more: Any) -> Callable[[Files], bytes]:
    def make(files: Files) -> bytes:
        first, *rest = lines(files["grants.jsonl"])
        return resealed({**files, "grants.jsonl": b"\n".join(json.dumps(each).encode() for each in ({**first, **more}, *rest))})

    return make


DEEP = b"[" * 100_000 + b"]" * 100_000
REFUSED: dict[str, tuple[Callable[[Files], bytes], str]] = {
    "a changed byte": (changed_byte, "events/purchase.jsonl in this export is not as it was written"),
    "a file that is not listed": (lambda files: zipped({**files, "settings2.json": b"{}"}), "other files than its manifest.json lists"),
    "a listed file that is missing": (lambda files: zipped({name: raw for name, raw in files.items() if name != "terms.json"}), "other files than its manifest.json lists"),
    "a way out of the folder": (renamed("terms.json", "../terms.json"), "a file that no export has"),
    "a path from the root": (renamed("terms.json", "/etc/terms.json"), "a file that no export has"),
    "a way out in the middle": (renamed("events/purchase.csv", "events/../../purchase.csv"), "a file that no export has"),
    "an unknown kind": (renamed("events/purchase.csv", "events/secrets.csv"), "a file that no export has"),
    "two files of one name": (twice, "two files of one name"),
    "a bomb by its ratio": (bomb, "packed tighter than any file"),
    "a way of packing that needs a password": (encrypted, "packed in a way that no export is"),
    "a manifest of another version": (manifest_with(format="proffer-export/2"), "another version than this broker knows"),
    "a deep line": (with_line("events/purchase.jsonl", DEEP), "Line 2 of events/purchase.jsonl in this export is not JSON"),
    "a deep manifest": (lambda files: zipped({**files, "manifest.json": DEEP}), "manifest.json in this export is not JSON"),
    "deep terms": (lambda files: resealed({**files, "terms.json": DEEP}), "terms.json in this export is not JSON"),
    "a deep grant": (with_line("grants.jsonl", DEEP), "Line 3 of grants.jsonl in this export cannot be read"),
    "a line that is too long": (with_line("events/purchase.jsonl", Random(7).randbytes(2**19).hex().encode()), "longer than it can be"),
    "a line that is no object": (with_line("events/purchase.jsonl", b"[]"), "is no event of this kind"),
    "an event of another kind": (event_with(kind="search"), "is no event of this kind"),
    "an event with a member nobody knows": (event_with(host="x.example"), "is no event: /host"),
    "an event that says when it was received": (event_with(received="2026-01-01T00:00:00.000Z"), "is no event of this kind"),
    "an event of the year 3000": (event_with(time="3000-01-01T00:00:00.000Z"), "is no event: /time"),
    "an event of no public site": (event_with(site="localhost"), "is no event: /site"),
    "terms that are none": (terms_with(versions=[{"version": 1}]), "terms.json in this export does not hold terms"),
    "versions out of order": (lambda files: terms_with(versions=json.loads(files["terms.json"])["versions"] * 2)(files), "does not count its versions"),
    "a grant of no status": (grant_with(status="live"), "is no grant: /status"),
    "a grant without clauses": (grant_with(clauses=[]), "is no grant: /clauses"),
    "a grant given tomorrow": (grant_with(given_at="2099-01-01T00:00:00Z"), "is no grant: /given_at"),
    "a grant with an id that is none": (grant_with(id="A" * 21 + "B"), "is no grant: /id"),
    "a vendor's name with marks nobody sees": (
        lambda files: grant_with(details={**lines(files["grants.jsonl"])[0]["details"], "client": {"domain": "shop.example\u202e", "vendor": "", "name": ""}})(files),
        "is no grant: /details/client/domain",
    ),
    "a grant twice": (lambda files: resealed({**files, "grants.jsonl": files["grants.jsonl"] * 2}), "a second time"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_as_a_whole(files: Files, bob: Browser, name: str) -> None:
    make, said = REFUSED[name]
    answer = send(bob, make(files))
    page = answer.text if answer.status_code == 422 else ended(bob, answer.location)
    assert said in page, page[page.find("<main"):][:3000]
    assert "could not be read" in page or answer.status_code == 422
    assert nothing_of(bob)


def test_the_same_files_untouched_come_in(files: Files, bob: Browser) -> None:
    """The control: only what was done to them is refused."""
    assert "Taken in" in take_in(bob, tried(bob, resealed(files)))
    there = exported(bob)
    assert there["events/purchase.jsonl"] == files["events/purchase.jsonl"]
    assert len([name for name in there if name.startswith("agreements/")]) == 6


def changed(files: Files, name: str, change: Callable[[Any], Any]) -> bytes:
    return resealed({**files, name: json.dumps(change(json.loads(files[name])), separators=(",", ":")).encode()})


def first_grant(files: Files) -> str:
    return str(next(each["id"] for each in lines(files["grants.jsonl"]) if each["details"]["client"]["domain"] == "books.example"))


def second_grant(files: Files) -> str:
    return str(next(each["id"] for each in lines(files["grants.jsonl"]) if each["details"]["client"]["domain"] != "books.example"))


def edited(files: Files, change: Callable[[dict[str, Any]], None]) -> bytes:
    found = lines(files["grants.jsonl"])
    change(next(each for each in found if each["id"] == first_grant(files)))
    return resealed({**files, "grants.jsonl": b"\n".join(json.dumps(each).encode() for each in found)})


def other_signature(files: Files) -> bytes:
    signature = json.loads(files[f"agreements/{second_grant(files)}.json"])["signatures"][0]
    return changed(files, f"agreements/{first_grant(files)}.json", lambda it: {**it, "signatures": [signature, it["signatures"][1]]})


def somebody_elses(files: Files) -> bytes:
    """The agreement of another grant, whole and signed, under this one's number, and the digest to fit."""
    other = next(each for each in lines(files["grants.jsonl"]) if each["id"] == second_grant(files))
    taken = {**files, **{f"agreements/{first_grant(files)}{end}": files[f"agreements/{second_grant(files)}{end}"] for end in (".json", ".opening.json", ".changes.jsonl")}}
    return edited(taken, lambda grant: grant.update(agreement=other["agreement"], clauses=other["clauses"], given_at=other["given_at"]))


def without(files: Files, end: str) -> bytes:
    return resealed({name: raw for name, raw in files.items() if name != f"agreements/{first_grant(files)}{end}"})


def statements(files: Files, change: Callable[[list[Any]], list[Any]]) -> bytes:
    name = f"agreements/{first_grant(files)}.changes.jsonl"
    return resealed({**files, name: b"\n".join(json.dumps(each).encode() for each in change(lines(files[name])))})


KEPT_OUT: dict[str, tuple[Callable[[Files], bytes], str]] = {
    "another's signature": (other_signature, "its agreement does not hold"),
    "one signature of two": (
        lambda files: changed(files, f"agreements/{first_grant(files)}.json", lambda it: {**it, "signatures": it["signatures"][:1]}), "not signed as the grant says",
    ),
    "another grant's agreement": (somebody_elses, "that of another grant, or of somebody else"),
    "written in another form": (lambda files: changed(files, f"agreements/{first_grant(files)}.json", lambda it: dict(reversed(it.items()))), "not in the one form"),
    "no agreement": (lambda files: without(files, ".json"), "is not in the export"),
    "nothing that opens it": (lambda files: without(files, ".opening.json"), "is not in the export"),
    "something else that opens it": (
        lambda files: changed(files, f"agreements/{first_grant(files)}.opening.json", lambda it: {**it, "terms": {}}), "what should open its agreement does not",
    ),
    "a statement left out": (lambda files: statements(files, lambda found: [{**found[1], "n": 1}]), "its agreement does not hold"),
    "a statement moved": (lambda files: statements(files, lambda found: found[::-1]), "not in order"),
    "wider than was agreed": (
        lambda files: edited(files, lambda grant: grant["clauses"][0]["fields"].update(product="exact")), "it says something else than its agreement",
    ),
    "another vendor's name": (lambda files: edited(files, lambda grant: grant["details"]["client"].update(domain="bank.example")), "that of another grant"),
    "another page": (lambda files: edited(files, lambda grant: grant["details"]["shown"].update(sec_gpc=True)), "is another one"),
    "a page that cannot be shown": (lambda files: edited(files, lambda grant: grant["details"]["shown"].pop("ticked")), "cannot be read"),
    "a vendor's grant under no vendor": (
        lambda files: edited(files, lambda grant: (grant.update(agreement=None), grant["details"]["client"].update(vendor=""))), "has no agreement",
    ),
    "a vendor's grant as that of an extension": (lambda files: edited(files, lambda grant: grant.update(agreement=None)), "has no agreement"),
}


@pytest.mark.parametrize("name", KEPT_OUT)
def test_a_grant_is_kept_out_and_that_is_said(files: Files, bob: Browser, name: str) -> None:
    make, said = KEPT_OUT[name]
    batch = tried(bob, make(files))
    assert said in bob.get(batch).text
    page = take_in(bob, batch)
    assert said in page
    there = exported(bob)
    assert [each["id"] for each in lines(there["grants.jsonl"])] == [second_grant(files)]
    assert [name for name in there if first_grant(files) in name] == []
    assert there["events/purchase.jsonl"] == files["events/purchase.jsonl"]


@pytest.mark.parametrize("status", ["active", "paused"])
def test_no_grant_comes_in_alive(files: Files, bob: Browser, status: str) -> None:
    raw = edited(files, lambda grant: grant.update(status=status, expires_at="2098-01-01T00:00:00Z", ended_at=None))
    take_in(bob, tried(bob, raw))
    assert {each["status"] for each in lines(exported(bob)["grants.jsonl"])} == {"revoked"}
    assert "Pause" not in bob.get(f"/grants/{first_grant(files)}").text.partition("<main")[2]


def test_a_ledger_in_it_is_looked_at_like_the_zip_itself(bob: Browser, files: Files) -> None:
    """A bomb in the inner zip, and one that was packed again."""
    inner = zipped({"manifest.json": b" " * (4 * 2**20)})
    page = bob.get(tried(bob, resealed({**files, "ledger.zip": inner}))).text
    assert "packed tighter than any file" in page
    page = bob.get(tried(bob, resealed({**files, "ledger.zip": inner}, repacked=True))).text
    assert "was packed again" in page
    assert nothing_of(bob)


def test_more_than_all_may_be_is_refused_by_the_sum(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "TIMES_LARGER", 1)
    path = tmp_path / "x.zip"
    path.write_bytes(resealed({**files, "README.md": bytes(range(256)) * 4096}))
    with pytest.raises(package.Refused, match="unpacks to more than"), package.opened(path, 2**20):
        pass
    with package.opened(path, 2**22):
        pass


@pytest.mark.parametrize("cut", [1, 22, 23, 500])
def test_a_zip_that_was_cut_is_no_export(files: Files, tmp_path: Path, cut: int) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(zipped(files)[:-cut])
    assert not package.is_package(path)


def test_a_huge_index_is_not_even_read(files: Files, tmp_path: Path) -> None:
    """What the end of a zip announces is believed before anything is made of it; a comment or a ZIP64 record hides nothing."""
    raw = bytearray(zipped(files))
    raw[-10:-6] = struct.pack("<I", 64 * 2**20)
    path = tmp_path / "x.zip"
    path.write_bytes(raw)
    with pytest.raises(package.Refused, match="lists more files"), package.opened(path, 2**20):
        pass
    path.write_bytes(zipped(files)[:-22] + b"PK\x06\x07" + bytes(16) + zipped(files)[-22:])
    with pytest.raises(package.Refused, match="damaged"), package.opened(path, 2**20):
        pass
    assert not package.is_package(path)


def test_a_zip_without_a_manifest_is_told_to_be_unpacked(bob: Browser) -> None:
    answer = send(bob, zipped({"History": b"x"}))
    assert answer.status_code == 422
    assert "Unpack it" in answer.text
    answer = send(bob, zipped({"manifest.json": b'{"format": "proffer-ledger-bundle", "v": 1}'}))
    page = answer.text if answer.status_code == 422 else ended(bob, answer.location)
    assert "This is no export of a Proffer broker" in page
