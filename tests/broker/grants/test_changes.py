"""What is signed after the agreement: pause, resume, narrow and the end as a chain of statements, and receipts of reads, made from the ledger."""

import datetime as dt
import json
import re
from typing import Any

import pytest
from flask import Flask
from makers import Browser, Clock, Shop, purchases
from running_grants import clauses_of, content_of, grant_of, kept, less
from sqlalchemy import delete, select, update

from broker.errors import Unsealable
from broker.grants import actions, agreements, statements
from broker.grants.models import changes
from broker.oauth import actions as oauth
from broker.vendors.models import vendors
from policies.documents import Malformed


def test_every_change_is_a_signed_statement(reading: Browser, bookshop: Shop) -> None:
    broker, grant = reading.app.extensions["broker"], bookshop.tokens["grant_id"]
    reading.post(f"/grants/{grant}/pause", page="/grants")
    reading.post(f"/grants/{grant}/pause", page="/grants")
    reading.post(f"/grants/{grant}/resume", page="/grants")
    (clause,), version = clauses_of(reading, bookshop)
    actions.narrow(broker, reading.person_id, grant_of(reading, bookshop), [less(clause, price="band")], version=version)
    told = bookshop.call("GET").json["changes"]
    reading.post(f"/grants/{grant}/revoke", page="/grants")
    chain = kept(reading, bookshop)
    assert chain[:3] == told
    found = statements.verify(chain, statements.CHANGE, content_of(reading, bookshop), count=4)
    assert [each["state"] for each in found] == ["paused", "resumed", "narrowed", "dpv:ConsentWithdrawn"]
    assert found[2]["clauses"][0]["fields"]["price"] == "band"
    page = reading.get(f"/grants/{grant}").text
    for said in ("You paused it.", "You let it run again.", "You made it smaller", "You ended it."):
        assert said in page
    file = reading.get(f"/grants/{grant}/files/changes.json").json
    assert (file["count"], file["statements"], file["agreement"]) == (4, chain, agreements.digest_of(content_of(reading, bookshop)))


@pytest.mark.parametrize(("by", "state"), [("vendor", statements.REVOKED), ("operator", statements.REVOKED), ("broker", statements.REVOKED), ("time", None)])
def test_who_ended_it_is_said(reading: Browser, bookshop: Shop, clock: Clock, by: str, state: str | None) -> None:
    """The person withdraws, anybody else revokes; where its time is over, the agreement had said so."""
    broker = reading.app.extensions["broker"]
    if by == "vendor":
        assert bookshop.call("DELETE").status_code == 204
    elif by == "time":
        clock.advance(days=181)
        oauth.sweep(broker)
    else:
        actions.revoke(broker, reading.person_id, grant_of(reading, bookshop), by={"role": by}, reason="restored" if by == "broker" else "")
    found = statements.verify(kept(reading, bookshop), statements.CHANGE, content_of(reading, bookshop))
    assert [each["state"] for each in found] == ([state] if state else [])


@pytest.mark.parametrize(("by", "named"), [("person", "person"), ("vendor", "vendor"), ("operator", "broker"), ("broker", "broker")])
def test_the_files_tell_what_is_left_and_who_ended_it(reading: Browser, bookshop: Shop, by: str, named: str) -> None:
    """All of them, and none names the vendor for what the broker did."""
    broker, grant = reading.app.extensions["broker"], bookshop.tokens["grant_id"]
    (clause,), version = clauses_of(reading, bookshop)

    def files() -> dict[str, str]:
        names = ("odrl.jsonld", "kantara.json", "consent-record.jsonld", "consent-receipt.jsonld", "agreement.html")
        return {name: reading.get(f"/grants/{grant}/files/{name}").text for name in names}

    before = files()
    assert "price" in before["odrl.jsonld"]
    assert "What is left" not in before["agreement.html"]
    assert not any("ended this" in text for text in before.values())
    actions.narrow(broker, reading.person_id, grant_of(reading, bookshop), [less(clause, price="hidden")], version=version)
    if by == "vendor":
        assert bookshop.call("DELETE").status_code == 204
    else:
        actions.revoke(broker, reading.person_id, grant_of(reading, bookshop), by={"role": by}, reason="restored" if by == "broker" else "")
    after = files()
    assert "price" not in after["odrl.jsonld"]
    assert "What is left" in after["agreement.html"]
    assert "You made it smaller. Price: now nothing, before the price in steps of 10." in after["agreement.html"]
    assert not re.search(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T", after["agreement.html"])
    for name in ("kantara.json", "agreement.html"):
        assert f"The {named} ended this on " in after[name]
    parties = content_of(reading, bookshop)
    who = {"person": parties["first_party"]["id"], "vendor": "https://books.example", "broker": "http://localhost:8440"}
    record = json.loads(after["consent-record.jsonld"])
    assert record["dpv:hasConsentStatus"][-1]["dpv:isIndicatedBy"] == who[named]
    assert json.loads(after["consent-receipt.jsonld"])["dpv:hasRecordOfActivity"] == {name: value for name, value in record.items() if name != "@context"}


def test_a_grant_that_nobody_signed_was_not_ended_by_its_vendor(reading: Browser, bookshop: Shop, clock: Clock) -> None:
    bookshop.connect(reading, sign=False)
    clock.advance(hours=25)
    oauth.sweep(reading.app.extensions["broker"])
    # The day has passed for the session too.
    alice = Browser.of(reading.app, "alice")
    record = json.loads(alice.get(f"/grants/{bookshop.tokens['grant_id']}/files/consent-record.jsonld").text)
    last = record["dpv:hasConsentStatus"][-1]
    assert (last["dct:description"], last["dpv:isIndicatedBy"]) == (statements.REVOKED, "http://localhost:8440")


def test_a_statement_cannot_be_taken_out_or_moved_in_the_store(reading: Browser, bookshop: Shop) -> None:
    """P21 at rest: what is sealed opens at its own place only, and the chain shows what is missing."""
    broker, grant = reading.app.extensions["broker"], bookshop.tokens["grant_id"]
    for act in ("pause", "resume", "pause"):
        reading.post(f"/grants/{grant}/{act}", page="/grants")
    mine = (changes.c.person_id == reading.person_id) & (changes.c.grant_id == grant_of(reading, bookshop))
    content = content_of(reading, bookshop)
    whole = kept(reading, bookshop)
    with broker.reading() as tx:
        rows = {row.n: row.statement for row in tx.execute(select(changes).where(mine))}
    assert not any(b"paused" in row or b"eyJ" in row for row in rows.values())
    with broker.data.writing() as tx:
        tx.execute(update(changes).where(mine, changes.c.n == 1).values(statement=rows[2]))
    with pytest.raises(Unsealable):
        kept(reading, bookshop)
    with broker.data.writing() as tx:
        tx.execute(delete(changes).where(mine, changes.c.n == 1))
    for wrong, count in ((kept(reading, bookshop), None), (whole[:2], 3), (whole[1:], 3), ([whole[0], whole[2], whole[1]], 3)):
        with pytest.raises(Malformed):
            statements.verify(wrong, statements.CHANGE, content, count=count)
    assert len(statements.verify(whole, statements.CHANGE, content, count=3)) == 3


def forged(reading: Browser, bookshop: Shop, **members: Any) -> list[str]:
    """A statement that our own key signed over what no broker would write."""
    content = content_of(reading, bookshop)
    about = agreements.digest_of(content)
    good = statements.change(about, [], "paused", dt.datetime(2026, 12, 2, tzinfo=dt.UTC))
    document = {name: value for name, value in {**good, **members}.items() if value is not None}
    return [statements.sign(reading.ring.signer("https://books.example"), statements.CHANGE, document)]


def test_what_no_statement_says(reading: Browser, bookshop: Shop) -> None:
    content = content_of(reading, bookshop)
    (clause,), _ = clauses_of(reading, bookshop)
    wider, same = less(clause, price="exact").to_json(), clause.to_json()
    assert statements.verify(forged(reading, bookshop), statements.CHANGE, content)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"type": "AccessReceipt"}, "/0/type"),
        ({"agreement": agreements.digest(b"")}, "/0/agreement"),
        ({"n": 2}, "/0/n"),
        ({"n": True}, "/0/n"),
        ({"prev": agreements.digest(b"")}, "/0/prev"),
        ({"prev": None}, "/0/prev"),
        ({"state": "gone"}, "/0/state"),
        ({"at": "2026-12-02T00:00:00"}, "/0/at"),
        ({"note": "x"}, "/0/note"),
        ({"clauses": [same]}, "/0/clauses"),
        ({"state": "narrowed"}, "/0/clauses"),
        ({"state": "narrowed", "clauses": []}, "/0/clauses"),
        ({"state": "narrowed", "clauses": [same]}, "/0/clauses"),
        ({"state": "narrowed", "clauses": [wider]}, "/0/clauses/0"),
        ({"state": "narrowed", "clauses": [{**same, "id": "c9"}]}, "/0/clauses/0"),
    ]
    for members, pointer in wrong:
        with pytest.raises(Malformed) as refused:
            statements.verify(forged(reading, bookshop, **members), statements.CHANGE, content)
        assert refused.value.errors[0]["pointer"] == pointer, refused.value
    for text in ("", "a.b", "a.b.c.d", "x" * 200_000, 7):
        with pytest.raises(Malformed):
            statements.verify([text], statements.CHANGE, content)  # type: ignore[list-item]


def test_a_statement_has_one_form(reading: Browser, bookshop: Shop) -> None:
    content, signer = content_of(reading, bookshop), reading.ring.signer("https://books.example")
    (good,) = forged(reading, bookshop)
    raw = json.dumps(statements.content(good)).encode()
    protected, signature = signer.sign(statements.CHANGE, raw)
    with pytest.raises(Malformed) as refused:
        statements.verify([f"{protected}.{agreements.b64(raw)}.{signature}"], statements.CHANGE, content)
    assert "canonical" in refused.value.errors[0]["detail"]


def test_nothing_follows_the_end(reading: Browser, bookshop: Shop) -> None:
    content = content_of(reading, bookshop)
    about, signer = agreements.digest_of(content), reading.ring.signer("https://books.example")
    chain: list[str] = []
    for state in (statements.WITHDRAWN, "resumed"):
        chain.append(statements.sign(signer, statements.CHANGE, statements.change(about, chain, state, dt.datetime(2026, 12, 2, tzinfo=dt.UTC))))
    assert statements.verify(chain[:1], statements.CHANGE, content)
    with pytest.raises(Malformed):
        statements.verify(chain, statements.CHANGE, content)


def test_a_receipt_of_every_read(reading: Browser, bookshop: Shop, otherstore: Shop, clock: Clock) -> None:
    """From the ledger's entries, numbered by this agreement's reads alone, the same each time they are asked for."""
    bookshop.read("?limit=2")
    otherstore.connect(reading)
    otherstore.read()
    bookshop.read("?kind=search")
    body = bookshop.read("?after=2020-01-01T00:00:00Z").data
    grant, content = bookshop.tokens["grant_id"], content_of(reading, bookshop)
    file = reading.get(f"/grants/{grant}/files/receipts.json").json
    assert file == reading.get(f"/grants/{grant}/files/receipts.json").json
    found = statements.verify(file["statements"], statements.RECEIPT, content, count=2)
    assert [each["rows"] for each in found] == [2, 3]
    last = found[1]
    assert (last["clause"], last["purpose"], last["fields"]) == ("c1", "dpv:ProvideProductRecommendations", ["category", "price", "time"])
    assert last["body"] == agreements.digest(body)
    assert (last["oldest"], last["newest"]) == tuple((clock() - dt.timedelta(days=days)).date().isoformat() for days in (5, 2))
    for wrong in (file["statements"][1:], file["statements"][::-1], [file["statements"][0]] * 2, file["statements"][:1]):
        with pytest.raises(Malformed):
            statements.verify(wrong, statements.RECEIPT, content, count=2)
    with pytest.raises(Malformed):
        statements.verify(file["statements"], statements.CHANGE, content)
    assert json.dumps(file).count("eyJ") >= 2


def test_a_receipt_tells_no_day_that_the_vendor_did_not_see() -> None:
    entry = {
        "clause": "c1", "purpose": "p", "at": "2026-12-03T10:00:00Z", "count": 3, "from": "2026-09-05", "to": "2026-12-01", "fields": {"time": "month"}, "body": "x",
    }  # fmt: skip
    receipt = statements.receipt("a", 1, None, entry)
    assert (receipt["oldest"], receipt["newest"]) == ("2026-09-01", "2026-12-01")
    hidden = statements.receipt("a", 1, None, {**entry, "fields": {"category": "top"}})
    assert (hidden["oldest"], hidden["newest"]) == (None, None)


def test_another_persons_files_are_like_missing_ones(reading: Browser, bob: Browser, bookshop: Shop) -> None:
    grant = bookshop.tokens["grant_id"]
    names = ["agreement.json", "agreement.html", "consent-record.jsonld", "consent-receipt.jsonld", "kantara.json", "odrl.jsonld", "changes.json", "receipts.json"]
    page = reading.get(f"/grants/{grant}").text
    for name in names:
        answer = reading.get(f"/grants/{grant}/files/{name}")
        assert answer.status_code == 200
        assert answer.headers["Content-Disposition"].startswith("attachment; filename=books.example-")
        assert answer.mimetype in {"application/json", "application/ld+json", "text/html"}
        assert f"/grants/{grant}/files/{name}" in page
        assert bob.get(f"/grants/{grant}/files/{name}").status_code == 404
    assert reading.get(f"/grants/{grant}/files/other.json").status_code == 404


def test_the_readable_file_cannot_carry_markup(app: Flask, alice: Browser) -> None:
    """The vendor's own words are escaped, wherever they stand."""
    shop = Shop.register(app, "evil.example")
    with app.extensions["broker"].data.writing() as tx:
        tx.execute(update(vendors).where(vendors.c.vendor_id == "https://evil.example").values(name="<script>x</script>", address="<img src=x>", contact="a@evil.example"))
    shop.connect(alice, [{**purchases(), "gives": [{"kind": "discount", "text": "<b>5%</b>"}]}])
    grant = shop.tokens["grant_id"]
    text = alice.get(f"/grants/{grant}/files/agreement.html").text
    page = alice.get(f"/grants/{grant}").text
    assert "In return they say: “&lt;b&gt;5%&lt;/b&gt;”." in text
    assert "<b>5%" not in page
    for markup in ("<script", "<img", "<b>"):
        assert markup not in text
    assert "Both sides have signed it." in text
    assert "&lt;img src=x&gt;" in text


