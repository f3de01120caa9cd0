"""A ledger of a million entries: its leaves and root, everything checked in the store and in a bundle, and what its page costs."""

import base64
import datetime as dt
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from granted import a_person
from makers import settings_in
from report import Line, cost

from broker import close_app, create_app
from broker.ledger import actions, bundles, checkpoints, queries, verifier
from broker.ledger.merkle import Tree, leaf_hash
from broker.ledger.notes import Key
from broker.opening import Broker, opened
from broker.vault import heads

# Of the design, for a million entries.
LEAVES, EVERYTHING, PAGE = 10.0, 30.0, 50_000.0
JOB = 20_000
ABOUT = {
    "version": 3, "agreement": "sha-256:" + "A" * 43, "clause": "c1", "purpose": "dpv:ServicePersonalisation", "kinds": ["purchase"],
    "fields": {"category": "leaf", "time": "day"}, "from": "2027-01-01", "to": "2027-02-28", "asked": {}, "slice": "sha-256:" + "B" * 43, "count": 12,
    "body": "sha-256:" + "C" * 43,
}  # fmt: skip
BY = {"role": "client", "id": "books-web", "vendor": "https://books.example"}


def measured(work: Path, number: int) -> list[Line]:
    """The lines for a log of `number` entries; bounds in seconds are for a million, and smaller for fewer."""
    app = create_app(settings_in(work / "ledger"))
    broker: Broker = app.extensions["broker"]
    person_id = a_person(broker)
    appending = _fill(broker, person_id, number)
    settings = broker.settings
    close_app(app)
    with opened(settings) as broker:
        lines = [cost("ledger append, grouped", "µs", ([appending / number * 1e6], [0.0]), None, f"{number:,} entries in groups of {JOB:,}")]
        return lines + _checked(broker, person_id, number)


def _fill(broker: Broker, person_id: bytes, number: int) -> float:
    """Entries of reads, a minute apart up to now; seconds."""
    ring, start = broker.keyring(person_id), broker.now() - dt.timedelta(minutes=number)
    began = time.perf_counter()
    for first in range(0, number, JOB):
        times = [start + dt.timedelta(minutes=seq) for seq in range(first, min(first + JOB, number))]
        keys = {at.month: actions.entry_key(ring, at) for at in times}

        def job(tx: Any, times: list[dt.datetime] = times, keys: Any = keys) -> None:
            for at in times:
                actions.append(tx, ring, keys[at.month], actions.Entry("read", at, by=BY, grant="b7Yq0mAAAAAAAAAAAAAAAA", request=str(at), about=ABOUT))

        broker.write(job)
    return time.perf_counter() - began


def _seconds(job: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    found = job()
    return time.perf_counter() - began, found


def _hashed(bodies: list[bytes]) -> tuple[float, bytes]:
    """Every leaf, and the root: seconds, and the root."""

    def root() -> bytes:
        tree = Tree()
        for body in bodies:
            tree.grow(leaf_hash(body))
        return tree.root

    return _seconds(root)


def _checked(broker: Broker, person_id: bytes, number: int) -> list[Line]:
    ring, share = broker.keyring(person_id), number / 1_000_000
    signing, _ = _seconds(lambda: checkpoints.sign(broker, person_id))
    with broker.reading() as tx:
        known = heads.checkpoints_of(broker.heads, person_id)
        verifying, verdicts = _seconds(lambda: queries.verify(tx, ring, known))
    assert [each.code for each in verdicts] == [0]
    writing, raw = _seconds(lambda: b"".join(bundles.written(broker, bundles.take(broker, person_id))))
    key = Key.parse(checkpoints.vkey(ring, checkpoints.states(broker, ring)[0]))
    bundle = verifier.Bundle(io.BytesIO(raw))
    hashing, root = _hashed(list(bundle.lines(next(name for name in bundle.names() if name.endswith(".jsonl")))))
    checking, report = _seconds(lambda: verifier.check(bundle, [key]))
    assert report.code == 0, report
    assert verifier.document(report)["logs"][0]["root"] == base64.b64encode(root).decode()
    size = f"{number:,} entries, {len(raw) / 1e6:,.0f} MB"
    return [
        cost("ledger: leaves and root", "s", ([hashing], [0.0]), LEAVES * share, size),
        cost("ledger: everything, in the store", "s", ([verifying], [0.0]), EVERYTHING * share, "unsealed, each entry against those before"),
        cost("ledger: everything, in a bundle", "s", ([checking], [0.0]), EVERYTHING * share, "broker verify BUNDLE --key"),
        cost("ledger: first checkpoint", "s", ([signing], [0.0]), None, "every entry unsealed"),
        cost("ledger: bundle written", "s", ([writing], [0.0]), None, size),
        *_listed(broker, person_id, number),
    ]


def _listed(broker: Broker, person_id: bytes, number: int) -> list[Line]:
    """What the queries of the page take, microseconds: the newest, and those of a day in the middle."""
    ring, middle = broker.keyring(person_id), broker.now() - dt.timedelta(minutes=number // 2)
    lines = []
    for name, wanted in (("newest", queries.EVERYTHING), ("of one day", queries.Wanted(since=middle, until=middle + dt.timedelta(days=1)))):
        with broker.reading() as tx:
            times = [_seconds(lambda wanted=wanted, tx=tx: queries.page(tx, ring, wanted))[0] * 1e6 for _ in range(5)]
        lines.append(cost(f"ledger: 50 entries, {name}", "µs", (times, [0.0] * 5), PAGE))
    return lines
