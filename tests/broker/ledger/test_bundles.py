"""A ledger downloaded and checked elsewhere: from the page and by the command, whole and one entry, against keys and checkpoints kept from before."""

import datetime as dt
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from makers import Browser, Clock, Shop, purchase
from sqlalchemy import delete, update

from broker.ledger import bundles, checkpoints, models, queries, verifier
from broker.ledger.notes import Key
from broker.vault import heads, slots
from broker.vault.models import person_keys


@pytest.fixture
def log(alice: Browser, bookshop: Shop, clock: Clock) -> Browser:
    """A log with some entries, two of them reads."""
    alice.store(purchase(clock() - dt.timedelta(days=2), "A Study in Ink"))
    bookshop.connect(alice)
    for _ in range(2):
        assert bookshop.read().status_code == 200
    return alice


def key_of(person: Browser) -> str:
    broker = person.app.extensions["broker"]
    return checkpoints.vkey(person.ring, checkpoints.states(broker, person.ring)[0])


def download(person: Browser, path: str = "/ledger/bundle") -> bytes:
    answer = person.post(path, page="/ledger/verify")
    assert (answer.status_code, answer.mimetype) == (200, "application/zip"), answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.data


def check(raw: bytes, *keys: str, since: bytes | None = None) -> verifier.Report:
    return verifier.check(verifier.Bundle(io.BytesIO(raw)), [Key.parse(key) for key in keys], [since] if since else [])


def note_in(raw: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(raw)) as file:
        return file.read(next(name for name in file.namelist() if name.endswith("/checkpoint")))


def entries_in(raw: bytes) -> list[dict[str, Any]]:
    with zipfile.ZipFile(io.BytesIO(raw)) as file:
        return [json.loads(line) for line in file.read(next(name for name in file.namelist() if name.endswith(".jsonl"))).splitlines()]


def newest(person: Browser) -> dict[str, Any]:
    with person.app.extensions["broker"].reading() as tx:
        return queries.page(tx, person.ring, limit=1).entries[0]


def test_the_whole_ledger(log: Browser) -> None:
    raw = download(log)
    key = key_of(log)
    report = check(raw, key)
    assert (report.code, report.logs[0]["entries"], report.logs[0]["erased"]) == (0, report.logs[0]["size"], 0)
    assert check(raw).code == 0
    assert "No key was given" in check(raw).sentence
    with zipfile.ZipFile(io.BytesIO(raw)) as file:
        reads = {entry["seq"] for entry in entries_in(raw) if entry["act"] == "read"}
        assert {int(re.findall(r"/proofs/(\d+)\.tlog-proof", name)[0]) for name in file.namelist() if "/proofs/" in name} == reads
        assert len(reads) == 2
    # That it was taken stands in it.
    assert (entries_in(raw)[-1]["act"], entries_in(raw)[-1]["what"]) == ("export", "ledger")
    assert "You took a copy of your ledger with you." in log.get("/ledger").text


def test_the_next_download_continues_the_last(log: Browser, bookshop: Shop) -> None:
    first = download(log)
    bookshop.read()
    second, key = download(log), key_of(log)
    assert check(second, key, since=note_in(first)).code == 0
    assert check(first, key, since=note_in(second)).code == 12


def test_one_entry_with_its_proof(log: Browser) -> None:
    raw = download(log, "/ledger/2/proof")
    assert [entry["seq"] for entry in entries_in(raw)] == [2]
    assert check(raw, key_of(log)).code == 0
    assert newest(log)["entry"] == 2


def test_an_entry_of_the_page_leads_to_its_proof(log: Browser) -> None:
    found = re.search(r'action="(/ledger/\d+/proof)"', log.get("/ledger/2").text)
    assert found
    assert check(download(log, found[1]), key_of(log)).code == 0


def test_it_refuses_another_person(log: Browser, bob: Browser) -> None:
    """The same number is Bob's own entry or none; his download holds nothing of hers, and her key does not fit it."""
    mine, theirs = download(log), download(bob)
    assert b"books.example" in json.dumps(entries_in(mine)).encode()
    assert b"books.example" not in json.dumps(entries_in(theirs)).encode()
    assert check(theirs, key_of(log)).code == 10
    assert [bob.post(f"/ledger/{number}/proof", page="/ledger/verify").status_code for number in ("99", "x", "-1")] == [404] * 3
    assert bob.client.post("/ledger/bundle").status_code in {403, 421}


def test_an_erased_entry_leaves_its_hash(log: Browser) -> None:
    """Where the key of a month is destroyed, the tree still proves the rest."""
    broker = log.app.extensions["broker"]
    download(log)
    mine = (person_keys.c.person_id == log.person_id) & (person_keys.c.kind == "ledger") & (person_keys.c.role == "data")
    with broker.keys.writing() as tx:
        keys = list(tx.execute(delete(person_keys).where(mine).returning(person_keys.c.key_id)).scalars())
    assert keys
    broker.vault._rings.clear()
    # Lost is not erased: no check takes the one for the other.
    assert check(taken_now(log), key_of(log)).code == 15
    heads.note_destroyed(broker.heads, log.person_id, keys, broker.now())
    report = check(taken_now(log), key_of(log))
    assert (report.code, report.logs[0]["erased"]) == (0, report.logs[0]["size"])
    assert "erased" in report.sentence


def taken_now(person: Browser) -> bytes:
    """A copy as it comes out without a signature before it."""
    broker = person.app.extensions["broker"]
    ring = broker.keyring(person.person_id)
    return b"".join(bundles.written(broker, bundles.Taken(ring, tuple(checkpoints.states(broker, ring)), None, broker.now())))


def test_what_comes_after_the_signature_is_left_for_the_next_copy(log: Browser, bookshop: Shop) -> None:
    """A read between the checkpoint and the file: the copy ends where its checkpoint does."""
    size = note_of(log)
    assert bookshop.read().status_code == 200
    raw = taken_now(log)
    assert len(entries_in(raw)) == size
    assert check(raw, key_of(log)).code == 0


def note_of(person: Browser) -> int:
    """Sign, and tell the size."""
    return checkpoints.sign(person.app.extensions["broker"], person.person_id)[0].size


def test_a_damaged_entry_is_no_erased_one(log: Browser) -> None:
    """One bit of a stored entry: its line says nothing that a check could believe."""
    download(log)
    body = "CAST(substr(body, 1, length(body) - 1) || x'01' AS BLOB)"
    damage = f"UPDATE ledger_entries SET body = {body} WHERE person_id = ? AND seq = 2"
    assert check(download(log), key_of(log)).code == 0
    log.app.extensions["broker"].write(lambda tx: tx.exec_driver_sql(damage, (log.person_id,)))
    raw = download(log)
    assert entries_in(raw)[2] == {"leaf": None, "seq": 2}
    assert check(raw, key_of(log)).code == 15


def test_the_operator_gets_no_copy_of_a_ledger_that_does_not_hold(log: Browser, tmp_path: Path) -> None:
    """Under an alarm the command says so, and leaves no file; the person still gets theirs."""
    download(log)
    log.app.extensions["broker"].write(
        lambda tx: tx.execute(update(models.heads).where(models.heads.c.person_id == log.person_id).values(root=bytes(32)))
    )
    file = tmp_path / "ledger.zip"
    refused = run(log, "bundle", "--person", "alice", str(file))
    assert (refused.returncode, file.exists()) == (1, False)
    assert "does not continue what was signed" in refused.stderr
    download(log)


def test_under_an_alarm_the_person_still_gets_what_shows_it(log: Browser) -> None:
    kept = note_in(download(log))
    log.app.extensions["broker"].write(
        lambda tx: tx.execute(update(models.heads).where(models.heads.c.person_id == log.person_id).values(root=bytes(32)))
    )
    checkpoints.sweep(log.app.extensions["broker"])
    assert "This ledger is not the one that was signed." in log.get("/ledger").text
    raw = download(log)
    assert note_in(raw) == kept
    log.app.extensions["broker"].write(lambda tx: tx.execute(delete(models.entries).where(models.entries.c.person_id == log.person_id, models.entries.c.seq == 3)))
    assert check(download(log), key_of(log)).code == 13


def test_the_page_says_what_was_signed(log: Browser, bookshop: Shop) -> None:
    assert "Not signed yet" in log.get("/ledger").text
    checkpoints.sweep(log.app.extensions["broker"])
    page = log.get("/ledger").text
    assert re.search(r"Signed.*with \d+ entries, and nothing before was changed\.", page, re.DOTALL)
    assert "will be signed within a minute" not in page
    bookshop.read()
    assert "1 entry has come since" in log.get("/ledger").text
    assert key_of(log).replace("+", "&#43;") in log.get("/ledger/verify").text or key_of(log) in log.get("/ledger/verify").text


def run(person: Browser, *arguments: str) -> subprocess.CompletedProcess[str]:
    settings = person.app.extensions["broker"].settings
    environment = {**os.environ, "BROKER_DATA_DIR": str(settings.data_dir), "BROKER_KEY_FILE": str(settings.key_file)}
    return subprocess.run([sys.executable, "-m", "broker", *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_the_commands(log: Browser, tmp_path: Path) -> None:
    """`broker bundle` writes it, once and only for its owner; `broker verify` checks it without a broker, with its exit statuses."""
    file, key = tmp_path / "ledger.zip", tmp_path / "note"
    written = run(log, "bundle", "--person", "alice", str(file))
    assert (written.returncode, file.stat().st_mode & 0o777) == (0, 0o600), written.stderr
    assert (newest(log)["act"], newest(log)["by"]) == ("export", {"role": "operator"})
    assert "The operator took a copy of your ledger with them." in log.get("/ledger").text
    assert run(log, "bundle", "--person", "alice", str(file)).returncode == 2
    assert run(log, "bundle", "--person", "alice", "--entry", "999", str(tmp_path / "none.zip")).returncode == 1
    assert not (tmp_path / "none.zip").exists()
    key.write_bytes(note_in(file.read_bytes()))
    good = run(log, "verify", str(file), "--key", key_of(log), "--since", str(key))
    assert good.returncode == 0, good.stdout
    assert re.fullmatch(r"The ledger holds: \d+ entries of a ledger were checked, none altered, none missing\.\n", good.stdout)
    assert json.loads(run(log, "verify", str(file), "--key", key_of(log), "--json").stdout)["ok"] is True
    assert run(log, "verify", str(file), "--key", key_of(log)[:-5]).returncode == 15
    assert run(log, "verify", str(tmp_path / "nothing.zip")).returncode == 15
    assert run(log, "verify", "--key", key_of(log)).returncode == 2
    assert run(log, "verify", str(file), "--person", "alice").returncode == 2
    alone = tmp_path / "proffer_verify.py"
    alone.write_text(run(log, "verify", "--standalone").stdout, encoding="utf-8")
    elsewhere = subprocess.run([sys.executable, "-I", str(alone), str(file), "--key", key_of(log)], capture_output=True, text=True, timeout=60, check=False)
    assert (elsewhere.returncode, elsewhere.stdout) == (0, good.stdout)


def test_a_revoke_of_all_goes_through_while_nothing_can_be_signed(log: Browser, bookshop: Shop) -> None:
    """Sealed, with two grants: both end, and the signature comes later."""
    other, vault = Shop.register(log.app, "music.example"), log.app.extensions["broker"].vault
    other.connect(log)
    vault.add_passphrase("three words and another")
    vault.remove_slot(next(slot.id for slot in vault.slots() if slot.kind == slots.KEY_FILE))
    ended = run(log, "revoke", "--all", "--person", "alice")
    assert (ended.returncode, ended.stdout.count("Ended ")) == (0, 2), ended.stderr
    assert [each.read().status_code for each in (bookshop, other)] == [401, 401]


def test_a_revoke_by_the_command_is_signed_by_it(log: Browser) -> None:
    assert run(log, "revoke", "--all", "--person", "alice").returncode == 0
    state = checkpoints.states(log.app.extensions["broker"], log.ring)[0]
    assert state.signed
    assert state.signed.size == state.size
