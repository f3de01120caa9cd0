"""One bit flips in any file of a stopped broker, which is then opened and used: nothing wrong is ever shown or served, nothing ended comes alive (K90)."""

import random
import re
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from flask import Flask
from flipped import NAMES, PAGES, Flip, Template, dump, everything, flips
from granted import PROOF_KEY, Granted
from makers import ORIGIN, Clock, page_visit, settings_in
from proofs import Prover
from verdicts import integrity

from broker import close_app, create_app, opening, verifying
from broker.db import DATA, KEYS, DatabaseFailed
from broker.errors import Unsealable
from broker.ledger.notes import RESTORED
from broker.oauth import dpop
from broker.opening import Broker
from broker.people import queries as people
from broker.vault import credentials
from broker.vault.envelope import ROWS, OpenKey

# Of each template; one costs some 0.3 seconds.
FLIPS, DEEP, CONTROL = 60, 2500, 16
LONGEST = 20.0
# What the broker itself says when something is wrong, from the surest on.
SURE = ("sealing", "ledger", "integrity_check", "database", "start")
# Sealed, hashed or signed: a changed bit is noticed as soon as it is used, and each of these is used here.
SEALED = frozenset(
    {
        "data.events.body", "data.ledger_entries.body", "data.ledger_entries.leaf_hash", "data.ledger_heads.root", "data.ledger_heads.frontier",
        "data.grants.clauses", "data.grants.details", "data.agreements.document", "data.agreements.countersignature", "data.agreements.opening",
        "data.consent_changes.statement", "data.people.name", "data.people.password", "data.people.terms_version", "data.sessions.device",
        "keys.epochs.wrapped_kek", "heads.checkpoints.note", "heads.checkpoints.root",
    }
)  # fmt: skip
# What differs from one look at a page to the next.
_CHANGES = re.compile(r'\([^()]* ago\)|(nonce|data-options)="[^"]*"|name="csrf_token" value="[^"]*"')


@dataclass
class Used:
    """What came of using it: everything that was wrong, what noticed the flip, what was served, and what stood on the pages."""

    wrong: list[str] = field(default_factory=list)
    noticed: set[str] = field(default_factory=set)
    served: dict[str, list[Any]] = field(default_factory=dict)
    lines: dict[str, set[str]] = field(default_factory=dict)
    # Whether the flip was one of the write-ahead log, which ends where a bit of it is wrong.
    of_log: bool = False

    def failed(self, why: Exception) -> None:
        """Something said honestly that it cannot be done."""
        known = "sealing" if isinstance(why, Unsealable) else "database" if isinstance(why, DatabaseFailed) else type(why).__name__
        self.noticed.add(known)


def use(template: Template, where: Path, before: Used | None = None, *, of_log: bool = False) -> Used:
    """Open it and do with it what people and vendors do; `before` is what came of it without the flip."""
    used = Used(of_log=of_log)
    try:
        app = create_app(settings_in(where), Clock())
    except Exception as why:
        used.failed(why)
        used.noticed.add("start")
        return used
    broker: Broker = app.extensions["broker"]
    try:
        _check(broker, used)
        _look(template, broker, used)
        _pages(template, app, used, before)
        _read(template, app, used, before)
        _change(template, app, used)
    finally:
        try:
            close_app(app)
        except Exception as why:
            used.failed(why)
    return used


def _look(template: Template, broker: Broker, used: Used) -> None:
    """Everything that opens is what was stored; or, where the write-ahead log lost its end and the ledger says so, what was stored before that."""
    shown = everything(broker, template.people, used.failed)
    strange = {name[0] for name in shown.keys() - template.truth.keys()} - {"entry"}
    used.wrong += [f"a {name} that never was" for name in sorted(strange)]
    lost = "ledger" in used.noticed and used.of_log
    for name, value in shown.items():
        stored = template.truth.get(name)
        if stored is None or _is_part(value, stored) or (lost and _is_earlier(template, name[0], value, stored)):
            continue
        # Entries are numbered through all logs by an open column: the same entry may stand under another number.
        if name[0] == "entry" and any(value == each for other, each in template.truth.items() if other[:2] == name[:2]):
            continue
        # Where the flip made an older copy of one store, the broker paused what is live, and the statements of that were added.
        if not ("restored" in used.noticed and name[0] == "changes" and value[: len(stored)] == stored):
            used.wrong.append(f"another {name[0]} is shown")
    if template.truth.keys() - shown.keys():
        used.noticed.add("missing")


def _is_part(shown: Any, stored: Any) -> bool:
    """The same; or fewer of several statements, each as it was."""
    return bool(shown == stored) or (isinstance(shown, list) and all(each in stored for each in shown))


def _is_earlier(template: Template, kind: str, shown: Any, stored: Any) -> bool:
    """What was there before; or what the broker did when it ended again, at its start, a grant whose end was lost."""
    if kind == "entry":
        return bool(shown["act"] == "revoke" and shown["reasons"] == ["restored"])
    if kind == "agreement":
        return bool(shown.payload == stored.payload and shown.countersignature is None)
    return kind == "changes" or (kind == "terms" and shown in template.earlier)


def _check(broker: Broker, used: Used) -> None:
    try:
        found = verifying.ledger(broker, None)
        used.noticed |= {"ledger"} if found.code else set()
        used.noticed |= {"restored"} if any(each["code"] == RESTORED for each in found.document["logs"]) else set()
    except Exception as why:
        used.failed(why)
        used.noticed.add("ledger")
    try:
        if list(integrity(broker)):
            used.noticed.add("integrity_check")
    except Exception:
        used.noticed.add("integrity_check")


def _pages(template: Template, app: Flask, used: Used, before: Used | None) -> None:
    for number, session in enumerate(template.sessions):
        client = app.test_client()
        client.set_cookie("session-8440", session, domain="localhost")
        for path in PAGES:
            answer = client.get(path, base_url=ORIGIN)
            if answer.status_code == 200:
                other = NAMES[1 - number]
                used.wrong += [f"{path} shows something of somebody else"] if f" of {other}" in answer.text else []
                used.lines[f"{number} {path}"] = set(_CHANGES.sub("", answer.text).splitlines())
            else:
                used.noticed.add(f"page {answer.status_code}")
        name = f"{number} /activity"
        if before and any(word in line for line in used.lines.get(name, set()) - before.lines[name] for word in ("Book ", "Page ", "Denied ")):
            used.wrong.append("a line that never was stands among the events")


def _read(template: Template, app: Flask, used: Used, before: Used | None) -> None:
    """Vendors read with what is live and with what has ended."""
    for each in template.live:
        answer = _get(app, each)
        if answer.status_code != 200:
            used.noticed.add(f"read {answer.status_code}")
            continue
        used.served[each.grant] = answer.json["items"]
        if before is not None:
            known = before.served[each.grant]
            used.wrong += ["a wrong row is served" for row in answer.json["items"] if row not in known]
            if len(answer.json["items"]) > len(known):
                used.wrong.append("more rows are served than before")
            if answer.json["items"] != known:
                used.noticed.add("missing")
    used.wrong += ["what ended is served" for each in template.dead if _get(app, each).status_code == 200]


def _get(app: Flask, grant: Granted) -> Any:
    return app.test_client().get("/v1/events", base_url=ORIGIN, headers=grant.headers("GET", "/v1/events"))


def _change(template: Template, app: Flask, used: Used) -> None:
    """An upload; and a revoke, after which nothing is read."""
    broker: Broker = app.extensions["broker"]
    batch = {
        "schema": "events/1", "batch": "0195d0c2-7a10-7c3e-9b41-5d1f0a2b3c4d", "client": {"version": "1.0.0", "browser": "chromium"},
        "notice_version": "2027-1", "collection_version": 1, "events": [page_visit(broker.now())],
    }  # fmt: skip
    device = template.devices[0]
    answer = app.test_client().post("/v1/events", base_url=ORIGIN, json=batch, headers=device.headers("POST", "/v1/events"))
    if answer.status_code != 200 or answer.json["results"][0]["status"] != "accepted":
        used.noticed.add(f"upload {answer.status_code}")
    client = app.test_client()
    client.set_cookie("session-8440", template.sessions[0], domain="localhost")
    page = client.get("/requests", base_url=ORIGIN)
    token = page.text.partition('name="csrf_token" value="')[2].partition('"')[0]
    path = f"/grants/{template.live[0].grant}/revoke"
    ended = client.post(path, data={"csrf_token": token}, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"})
    if ended.status_code != 303 or ended.location.endswith("/sign-in"):
        used.noticed.add(f"revoke {ended.status_code}")
    elif _get(app, template.live[0]).status_code == 200:
        used.wrong.append("a grant is read after its revoke")


@dataclass
class Tally:
    """What came of many flips."""

    noticed: Counter[str] = field(default_factory=Counter)
    open: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[Flip, list[str]]] = field(default_factory=list)
    slowest: float = 0.0

    def add(self, template: Template, flip: Flip, used: Used, after: dict[str, Any]) -> None:
        """Count one by what noticed it; where nothing did, by the columns that it changed."""
        if used.wrong:
            self.wrong.append((flip, used.wrong))
        sure = [each for each in SURE if each in used.noticed]
        changed = sorted(changes(template, after))
        self.noticed[sure[0] if sure else "another answer" if used.noticed else "an open column" if changed else "nothing: no content changed"] += 1
        if not used.noticed:
            self.open.update(changed)

    def __str__(self) -> str:
        return f"{dict(self.noticed.most_common())}; not noticed, in {dict(self.open.most_common())}; the slowest took {self.slowest:.1f} s"


def changes(template: Template, after: dict[str, list[tuple[Any, ...]]]) -> set[str]:
    """The columns that a flip changed, as `store.table.column`; the table alone where rows came or went."""
    found = set()
    for table, rows in after.items():
        gone = [row for row in template.rows.get(table, []) if row not in rows]
        come = [row for row in rows if row not in template.rows.get(table, [])]
        if len(gone) != len(come):
            found.add(table)
        names = template.columns.get(table, [])
        found |= {f"{table}.{name}" for old, new in zip(gone, come, strict=False) for name, one, two in zip(names, old, new, strict=False) if one != two}
    return found


def run(template: Template, chance: random.Random, number: int) -> Tally:
    """Flip, use, judge, `number` times."""
    work = template.where.parent / "work"
    tally = Tally()
    before = _used(template, work)
    assert not before.wrong
    assert not before.noticed
    assert all(before.served.values())
    for flip in islice(flips(template, chance), number):
        shutil.rmtree(work)
        shutil.copytree(template.where, work)
        flip.do(work)
        assert (work / flip.file).read_bytes() != (template.where / flip.file).read_bytes(), "the fault did not fire"
        after = dump(work)
        start = time.monotonic()
        used = use(template, work, before, of_log=flip.file.endswith("-wal"))
        tally.slowest = max(tally.slowest, time.monotonic() - start)
        tally.add(template, flip, used, after)
    print(f"{number} flips: {tally}")
    return tally


def _used(template: Template, work: Path) -> Used:
    shutil.copytree(template.where, work)
    return use(template, work)


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power is lost here, so nothing waits for the disk."""
    monkeypatch.setattr(opening, "DATA", {**DATA, "synchronous": 0})
    monkeypatch.setattr(opening, "KEYS", {**KEYS, "synchronous": 0})


@pytest.fixture(params=[True, False], ids=["closed", "with its log"])
def template(request: pytest.FixtureRequest, tmp_path: Path) -> Template:
    """Closed in order; or as it lies there after a kill, with all that was written in the write-ahead log."""
    return Template.make(tmp_path, stopped=request.param)


@pytest.mark.accepts("K90")
def test_no_flip_shows_or_serves_anything_wrong(template: Template, chance: random.Random, *, deep: bool) -> None:
    tally = run(template, chance, DEEP if deep else FLIPS)
    assert tally.wrong == []
    assert tally.slowest < LONGEST
    assert not SEALED & set(tally.open), "a sealed value changed, and nothing noticed"


def _without_tags(patch: pytest.MonkeyPatch) -> None:
    """The planted defect: sealed values are decrypted, and their tags and places not looked at."""

    def decrypt(secret: bytes, envelope: bytes) -> bytes:
        # The first block of GCM's counter mode has the number 2.
        cipher = Cipher(algorithms.AES(secret), modes.CTR(envelope[18:30] + (2).to_bytes(4)))
        return cipher.decryptor().update(envelope[30:-16])

    made = OpenKey.__init__
    secrets: dict[int, bytes] = {}

    def remember(self: OpenKey, key_id: bytes, secret: bytes, alg: int = ROWS) -> None:
        made(self, key_id, secret, alg)
        secrets[id(self)] = secret
        kept.append(self)

    kept: list[OpenKey] = []
    patch.setattr(OpenKey, "__init__", remember)
    sure = OpenKey.unseal
    patch.setattr(OpenKey, "unseal", lambda self, place, envelope: decrypt(secrets[id(self)], envelope) if self._alg == ROWS else sure(self, place, envelope))
    patch.setattr(OpenKey, "between", lambda self, _head, _tail: lambda _part, envelope: decrypt(secrets[id(self)], envelope))


def test_the_control_is_noticed(tmp_path: Path, chance: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the tags of AEAD, flips in the bodies of events are shown and served as if they were true."""
    _without_tags(monkeypatch)
    template = Template.make(tmp_path, stopped=True)
    wanted = list(islice(_in_bodies(template, chance), CONTROL))
    found: Counter[str] = Counter()
    work = tmp_path / "work"
    before = _used(template, work)
    assert not before.wrong
    for flip in wanted:
        shutil.rmtree(work)
        shutil.copytree(template.where, work)
        flip.do(work)
        found.update(set(use(template, work, before).wrong))
    print(f"without tags, {CONTROL} flips in bodies: {dict(found)}")
    assert found["another event is shown"] >= CONTROL // 3
    assert found["a wrong row is served"] > 0


def _in_bodies(template: Template, chance: random.Random) -> Iterator[Flip]:
    """In the ciphertext of events."""
    file = "data/data.db"
    raw = (template.where / file).read_bytes()
    bodies = [row[-1] for row in template.rows["data.events"]]
    while True:
        body = chance.choice(bodies)
        yield Flip(file, raw.rfind(body) + chance.randrange(30, len(body) - 16), chance.randrange(8))


def test_older_terms_are_never_in_force_again(tmp_path: Path) -> None:
    """The number of the terms in force lies open: set to that of other terms, which deny less, nothing is served by them."""
    template = Template.make(tmp_path, stopped=True)
    for number in (0, 1, 3):
        work = tmp_path / f"work{number}"
        shutil.copytree(template.where, work)
        with closing(sqlite3.connect(work / "data" / "data.db")) as connection, connection:
            assert connection.execute("UPDATE people SET terms_version = ?", (number,)).rowcount == 2
        app = create_app(settings_in(work), Clock())
        assert [_get(app, each).status_code for each in template.live] == [500, 500]
        close_app(app)


def test_what_lies_open_prolongs_no_grant_and_no_freshness(tmp_path: Path) -> None:
    """Dates lie open: a later end of a grant gives no read, as its clauses are sealed; a proof of who one is from the time to come is none."""
    template = Template.make(tmp_path, stopped=True)
    with closing(sqlite3.connect(template.where / "data" / "data.db")) as connection, connection:
        for table in ("grants", "tokens", "sessions"):
            connection.execute(f"UPDATE {table} SET expires_at = '6' || substr(expires_at, 2)")
        connection.execute("UPDATE sessions SET fresh_at = '6' || substr(fresh_at, 2), seen_at = '6' || substr(seen_at, 2)")
    clock = Clock()
    app = create_app(settings_in(template.where), clock)
    client = app.test_client()
    client.set_cookie("session-8440", template.sessions[0], domain="localhost")
    page = client.get("/erase", base_url=ORIGIN)
    assert page.status_code == 200
    broker: Broker = app.extensions["broker"]
    with broker.reading() as tx:
        credential = credentials.parse(broker.vault.route_key, "ss", template.sessions[0])
        assert credential
        session = people.session(broker, tx, credential)
        assert session
        assert not session.is_fresh(broker.now())
    nonce_key = template.live[0].nonce_key
    assert _get(app, template.live[0]).status_code == 200
    clock.advance(days=400)
    prover = Prover(lambda: dpop.nonce(nonce_key, broker.now()), key=PROOF_KEY, clock=lambda: broker.now().timestamp())
    answer = app.test_client().get("/v1/events", base_url=ORIGIN, headers=prover.headers("GET", "/v1/events", template.live[0].token))
    assert answer.status_code in {401, 403}
    close_app(app)
