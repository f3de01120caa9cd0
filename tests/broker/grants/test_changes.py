"""What is signed after the agreement: pause, resume, narrow and the end as a chain of statements, and receipts of reads, made from the ledger."""

import datetime as dt
import json
import re
from typing import Any

import pytest
from flask import Flask
from makers import Browser, Clock, Extension, Shop, purchase, purchases
from sqlalchemy import delete, select, update

from broker.errors import Conflict, Unprocessable, Unsealable
from broker.grants import actions, agreements, queries, statements
from broker.grants.models import changes
from broker.oauth import actions as oauth
from broker.vendors.models import vendors
from policies.clauses import Clause
from policies.documents import Malformed
from policies.vocabulary import FIELDS


@pytest.fixture
def reading(alice: Browser, bookshop: Shop, clock: Clock) -> Browser:
    """Alice with purchases, and a bookshop that reads."""
    alice.store(*[purchase(clock() - dt.timedelta(days=days), f"Book {days}") for days in (2, 3, 5)])
    bookshop.connect(alice, [purchases()])
    return alice


def grant_of(person: Browser, shop: Shop) -> bytes:
    return queries.to_bytes(shop.tokens["grant_id"])


def content_of(person: Browser, shop: Shop) -> dict[str, Any]:
    with person.app.extensions["broker"].reading() as tx:
        signed = queries.agreement(tx, person.ring, grant_of(person, shop))
    assert signed
    return signed.content


def kept(person: Browser, shop: Shop) -> list[str]:
    with person.app.extensions["broker"].reading() as tx:
        return queries.changes_of(tx, person.ring, grant_of(person, shop))


def clauses_of(person: Browser, shop: Shop) -> tuple[tuple[Clause, ...], int]:
    with person.app.extensions["broker"].reading() as tx:
        grant = queries.one(tx, person.ring, grant_of(person, shop))
    return grant.clauses, grant.version


def less(clause: Clause, **fields: str) -> Clause:
    """The clause with coarser or (as hidden) fewer fields."""
    form = clause.to_json()
    form["fields"] = {name: level for name, level in {**form["fields"], **fields}.items() if level != "hidden"}
    return Clause.parse(form)


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


def test_a_narrowed_grant_shows_less_at_once(reading: Browser, bookshop: Shop) -> None:
    """Row 85: for reads that start later and tokens issued later; the agreement stays as it was signed, the vendor is told."""
    before = bookshop.read().json["items"]
    assert all("price" in item for row in before for item in row["items"])
    (clause,), version = clauses_of(reading, bookshop)
    grant = bookshop.tokens["grant_id"]
    form = {"version": str(version), "c1.field.price": "hidden", "c1.field.category": "top", "until": ""}
    assert reading.post(f"/grants/{grant}/narrow", form, page=f"/grants/{grant}/narrow").status_code == 303
    after = bookshop.read().json["items"]
    assert [row["id"] for row in after] == [row["id"] for row in before]
    assert {key for row in after for item in row["items"] for key in item} == {"category"}
    assert {item["category"] for row in after for item in row["items"]} == {"books"}
    told = bookshop.call("GET").json
    assert told["authorization_details"][0]["fields"] == {"category": "top", "time": "day"}
    assert {"clause": "c1", "dim": "fields.price", "asked": "exact", "given": "hidden", "code": "coarser"} in told["narrowed"]
    assert Clause.parse(content_of(reading, bookshop)["clauses"][0]) == clause
    assert bookshop.refresh().json["authorization_details"][0]["fields"] == {"category": "top", "time": "day"}
    assert "You narrowed the grant of books.example." in reading.get("/ledger").text
    # What was sent before is shown as it was sent.
    first = reading.get("/ledger?act=read").text.rpartition('href="/ledger/')[2].partition('"')[0]
    assert "A Study" not in reading.get(f"/ledger/{first}").text
    assert "20.00 to" in reading.get(f"/ledger/{first}").text


def test_a_narrowing_is_told_in_words(reading: Browser, bookshop: Shop, clock: Clock) -> None:
    """From what to what, and when: beside each statement on the grant's page, and in the ledger."""
    bookshop.connect(reading, [purchases(), purchases(fields={"time": "month", "category": "top"})])
    clauses, version = clauses_of(reading, bookshop)
    grant, page = bookshop.tokens["grant_id"], f"/grants/{bookshop.tokens['grant_id']}/narrow"
    until, before = (clock() + dt.timedelta(days=10)).date(), clauses[0].validity.until
    assert before
    reading.post(page, {"version": str(version), "c1.field.price": "band", "c1.field.category": "hidden", "until": until.isoformat()}, page=page)
    reading.post(page, {"version": str(version + 1), "c1.field.price": "hidden", "without": "c2"}, page=page)
    first = [
        "Part 1. Price: now the price as a rough range, before the price in steps of 10.", "Part 1. Category: now nothing, before the category.",
        f"Part 1. How long it lasts: now until {until.day} {until:%B %Y}, before until {before.day} {before:%B %Y}.",
    ]  # fmt: skip
    second = [
        "Part 1. Price: now nothing, before the price as a rough range.",
        "Part 2 was taken away whole. Before, books.example could see what you bought, on any site.",
    ]  # fmt: skip
    shown = reading.get(f"/grants/{grant}").text
    ledger = reading.get(f"/ledger?grant={grant}&act=narrow").text
    for text in (shown, ledger):
        for sentence in (*first, *second):
            assert sentence in text, sentence
    entries = [reading.get(f"/ledger/{seq}").text for seq in re.findall(r'href="/ledger/(\d+)"', ledger)]
    assert [all(sentence in entry for sentence in said) for entry, said in zip(entries, (second, first), strict=True)] == [True, True]
    assert first[0] not in entries[0]


def test_a_narrowing_of_every_kind_is_told(reading: Browser, bookshop: Shop) -> None:
    """Also what no form offers today, and of the extension's grant, which has no statements."""
    (clause,), version = clauses_of(reading, bookshop)
    form = clause.to_json() | {"rate": {"reads": "4/P1D", "rows": "100/P1D"}, "sites": ["shop.example"], "window": {"max_age": "P30D", "min_age": "P1D"}}
    actions.narrow(reading.app.extensions["broker"], reading.person_id, grant_of(reading, bookshop), [Clause.parse(form)], version=version)
    text = reading.get("/ledger").text
    for said in ("Sites: now shop.example, before any.", "How often: now 4 in 1 day, before 24 in 1 day.", "How far back: now 30 days, before 90 days."):
        assert said in text
    grant = Extension.connect(reading).tokens["grant_id"]
    reading.post(f"/grants/{grant}/narrow", {"version": "1", "c1.without": ["page_visit"]}, page=f"/grants/{grant}/narrow")
    assert "Kinds of event: no longer pages you visited, still what you put in" in reading.get(f"/grants/{grant}").text


def test_a_part_taken_away_is_refused_and_the_others_work(reading: Browser, bookshop: Shop) -> None:
    """Row 92."""
    bookshop.connect(reading, [purchases(), purchases(fields={"time": "month", "category": "top"})])
    _, version = clauses_of(reading, bookshop)
    grant = bookshop.tokens["grant_id"]
    assert bookshop.read("?clause=c1").status_code == bookshop.read("?clause=c2").status_code == 200
    reading.post(f"/grants/{grant}/narrow", {"version": str(version), "without": "c1"}, page=f"/grants/{grant}/narrow")
    assert bookshop.read("?clause=c1").json["type"] == "/problems/not-granted"
    assert bookshop.read("?clause=c2").status_code == 200
    lines = bookshop.call("GET").json["narrowed"]
    assert {"clause": "i1", "dim": "action", "asked": "read", "given": None, "code": "fewer"} in lines


def test_a_grant_can_only_become_smaller(reading: Browser, bookshop: Shop) -> None:
    broker, grant_id = reading.app.extensions["broker"], grant_of(reading, bookshop)
    (clause,), version = clauses_of(reading, bookshop)
    empty = Clause.parse(clause.to_json() | {"validity": {"from": "2027-01-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}})
    for clauses in ([], [clause], [less(clause, price="exact")], [clause.with_id("c2")], [less(clause, price="band")] * 2, [empty]):
        with pytest.raises(Unprocessable):
            actions.narrow(broker, reading.person_id, grant_id, clauses, version=version)
    with pytest.raises(Conflict):
        actions.narrow(broker, reading.person_id, grant_id, [less(clause, price="band")], version=version - 1)
    assert kept(reading, bookshop) == []
    actions.narrow(broker, reading.person_id, grant_id, [less(clause, price="band")], version=version)
    assert clauses_of(reading, bookshop)[1] == version + 1


def test_the_page_says_what_was_mistyped(reading: Browser, bob: Browser, bookshop: Shop) -> None:
    grant = bookshop.tokens["grant_id"]
    page = f"/grants/{grant}/narrow"
    _, version = clauses_of(reading, bookshop)
    for form, words in (
        ({"until": "soon"}, "Write the end as a day"),
        ({"c1.without": "purchase"}, "Nothing would be left of this part"),
        ({"c1.field.price": "hidden", "c1.field.time": "hidden", "c1.field.category": "hidden"}, "Nothing would be left of this part"),
        ({}, "Nothing is less than before"),
        ({"without": "c1"}, "something of it must be left"),
        ({"c1.field.price": "exact"}, "something of it must be left"),
    ):
        answer = reading.post(page, {"version": str(version), **form}, page=page)
        assert answer.status_code == 422, form
        assert words in answer.text
        assert "<title>Error:" in answer.text
    assert reading.post(page, {"version": "9", "c1.field.price": "band"}, page=page).status_code == 409
    assert reading.post(page, {"c1.field.price": "band"}, page=page).status_code == 409
    assert bob.get(page).status_code == bob.post(page, {}, page="/").status_code == 404
    assert kept(reading, bookshop) == []
    reading.post(f"/grants/{grant}/revoke", page="/grants")
    assert reading.get(page).status_code == 409


def test_an_earlier_end_and_fewer_kinds(reading: Browser, clock: Clock) -> None:
    """The extension's own grant can be narrowed too; nothing is signed, since nobody else is party to it."""
    extension = Extension.connect(reading)
    grant = extension.tokens["grant_id"]
    until = (clock() + dt.timedelta(days=10)).date().isoformat()
    form = {"version": "1", "own.x": "", "c1.without": ["page_visit", "search"], "until": until}
    assert reading.post(f"/grants/{grant}/narrow", form, page=f"/grants/{grant}/narrow").status_code == 303
    with reading.app.extensions["broker"].reading() as tx:
        found = queries.one(tx, reading.ring, queries.to_bytes(grant))
        assert queries.changes_of(tx, reading.ring, found.grant_id) == []
    assert not {"page_visit", "search"} & found.clauses[0].slice.kinds
    assert found.expires_at == dt.datetime.fromisoformat(f"{until}T23:59:59+00:00")
    clock.advance(days=11)
    assert extension.upload().status_code == 401


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


def test_what_narrows_nothing_says_why(reading: Browser, bookshop: Shop, clock: Clock) -> None:
    """An end that is no earlier is a mistake of its field; a form sent as it stands is none of any field."""
    grant = bookshop.tokens["grant_id"]
    page = f"/grants/{grant}/narrow"
    today, found = clock().date(), grant_of(reading, bookshop)
    version = str(clauses_of(reading, bookshop)[1])
    with reading.app.extensions["broker"].reading() as tx:
        last = queries.one(tx, reading.ring, found).expires_at.date()
    for until, said in (
        (last, f"It ends on {last.day} {last:%B %Y} as it is."),
        (last + dt.timedelta(days=30), f"It ends on {last.day} {last:%B %Y} as it is."),
        (today - dt.timedelta(days=1), "This day is over."),
    ):
        answer = reading.post(page, {"version": version, "until": until.isoformat()}, page=page)
        assert answer.status_code == 422
        assert f'<span class="error" id="f-until-error">{said}' in answer.text
        assert f'value="{until.isoformat()}"' in answer.text
    answer = reading.post(page, {"version": version}, page=page)
    assert (answer.status_code, "Nothing is less than before" in answer.text, 'class="error"' in answer.text) == (422, True, False)
    assert reading.post(page, {"version": version, "until": (last - dt.timedelta(days=1)).isoformat()}, page=page).status_code == 303


def test_levels_stand_in_the_order_of_the_consent_page(reading: Browser, bookshop: Shop) -> None:
    """From not shown up to what was given."""
    grant = bookshop.tokens["grant_id"]
    text = reading.get(f"/grants/{grant}/narrow").text
    select = re.search(r'<select id="l-c1-time".*?</select>', text, re.DOTALL)
    assert select
    values = re.findall(r'value="([^"]+)"', select[0])
    assert values == list(FIELDS["time"].levels[: len(values)])
    assert len(values) > 1
