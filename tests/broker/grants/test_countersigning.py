"""An agreement at a broker: given, sealed, countersigned in time or not, and the routes by which a vendor meets its grant."""

import datetime as dt
import hashlib
import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import rfc8785
from flask import Flask
from makers import Browser, Clock, Extension, Shop, purchase, purchases, signature_of
from sqlalchemy import select, update

from broker.db import Prepared
from broker.grants import actions, agreed, agreements, queries
from broker.grants.models import agreements as rows
from broker.ledger import queries as ledger
from broker.oauth import actions as oauth
from broker.terms import queries as terms
from broker.terms.actions import set_terms
from broker.vendors.models import clients

Document = dict[str, Any]


@pytest.fixture
def stored(alice: Browser, clock: Clock) -> Browser:
    alice.store(purchase(clock() - dt.timedelta(days=3)))
    return alice


def signed_of(person: Browser, shop: Shop) -> agreed.Signed:
    with person.app.extensions["broker"].reading() as tx:
        found = agreed.agreement(tx, person.ring, queries.to_bytes(shop.tokens["grant_id"]))
    assert found
    return found


def test_giving_makes_an_agreement_with_the_persons_signature(stored: Browser, bookshop: Shop, clock: Clock) -> None:
    """S1-S3: what it says of the request, the terms and the page; the salt opens it and stays with the person."""
    bookshop.connect(stored, sign=False)
    signed = signed_of(stored, bookshop)
    content = agreements.read_payload(signed.payload)
    with stored.app.extensions["broker"].reading() as tx:
        grant = queries.one(tx, stored.ring, queries.to_bytes(bookshop.tokens["grant_id"]))
        given = ledger.page(tx, stored.ring, ledger.Wanted(act="give")).entries[0]
    assert content["clauses"] == [clause.to_json() for clause in grant.clauses]
    assert content["negotiation"]["request"] == agreements.digest_of(grant.details["request"])
    assert content["negotiation"]["shown"] == agreements.commitment(agreements.unb64(signed.opening["salt"], ""), grant.details["shown"])
    assert content["negotiation"]["terms"] == agreements.commitment(agreements.unb64(signed.opening["salt"], ""), signed.opening["terms"])
    assert grant.details["shown"]["text_sha256"] == content["notice"]["sha256"]
    assert grant.details["text"] == content["notice"]["text"]
    assert content["end"]["how"] == [f"http://localhost:8440/grants/{grant.id}"]
    assert given["agreement"] == agreements.digest(signed.payload)
    assert grant.agreement == hashlib.sha256(signed.payload).digest()
    assert content["second_party"]["jwk"]["kty"] == "EC"
    assert set(content["second_party"]) == {"role", "id", "name", "jwk"}


def many_rules(person: Browser, fields: tuple[str, ...]) -> None:
    """Terms by which each thing asked becomes as many clauses as there are fields."""
    broker = person.app.extensions["broker"]
    with broker.reading() as tx:
        document = terms.current(tx, person.ring).to_json()
    first = document["allow"][0]
    rules = [{**first, "id": f"r{number}", "fields": {"time": "day", name: "leaf" if name == "category" else "exact"}} for number, name in enumerate(fields)]
    set_terms(broker, person.person_id, {**document, "allow": rules})


FINE = {"time": "exact", "category": "leaf", "quantity": "exact", "confidence": "exact"}
LONG = [f"{'a' * 45}{number}.example" for number in range(400)]


@pytest.mark.parametrize(
    ("fields", "asked", "most"),
    [
        (("category", "quantity"), [purchases(fields=FINE, sites=[f"s{number}.example"]) for number in range(12)], 20),
        (("category", "quantity", "confidence"), [purchases(fields=FINE, sites=LONG)], 1),
    ],
    ids=["24 parts", "a text over 50,000 characters"],
)
def test_nothing_is_signed_that_would_be_refused(stored: Browser, bookshop: Shop, fields: tuple[str, ...], asked: list[Document], most: int) -> None:
    """What one agreement cannot hold is told on the page, where the person can leave parts out; then it is given and signed by both."""
    many_rules(stored, fields)
    path = stored.open(bookshop.ask(asked))
    form = stored.form(path)
    offered = form.pop("offered")
    assert len(offered) > most
    refused = stored.post("/oauth/authorize/decision", {**form, "give": offered, "answer": "give"}, page=path)
    assert refused.status_code == 422
    assert "That is more than one agreement can hold. Leave some parts out." in refused.text
    assert len(re.findall(r'name="give" value="[^"]+" checked', refused.text)) == len(offered)
    with stored.app.extensions["broker"].reading() as tx:
        assert queries.every(tx, stored.ring) == []
        assert ledger.page(tx, stored.ring, ledger.Wanted(act="give")).entries == []
    given = stored.post("/oauth/authorize/decision", {**form, "give": offered[:most], "answer": "give"}, page=path)
    assert given.status_code == 303
    assert bookshop.redeem(parse_qs(urlsplit(given.location).query)["code"][0]).status_code == 200
    assert bookshop.countersign().status_code == 204


def test_it_lies_sealed(stored: Browser, bookshop: Shop) -> None:
    """Neither what was agreed, nor who signed, nor the salt stands open in the store."""
    bookshop.connect(stored)
    signed = signed_of(stored, bookshop)
    with stored.app.extensions["broker"].reading() as tx:
        (row,) = tx.execute(select(rows).where(rows.c.person_id == stored.person_id))
    for column in (row.document, row.countersignature, row.opening):
        for secret in (b"eyJ", b"signature", b"Person", b"books", b"salt", signed.opening["salt"].encode(), signed.countersignature["signature"].encode()[:20]):
            assert secret not in column


def test_no_two_vendors_see_the_same_key_or_id(stored: Browser, bookshop: Shop, otherstore: Shop, bob: Browser) -> None:
    """S2, P15: one key and one id for each vendor; a second grant to the same vendor has the same."""
    found = []
    for person, shop in ((stored, bookshop), (stored, bookshop), (stored, otherstore), (bob, bookshop)):
        shop.connect(person)
        party = signed_of(person, shop).content["first_party"]
        found.append((party["id"], party["jwk"]["x"]))
    assert found[0] == found[1]
    assert len(set(found)) == 3
    assert len({each for pair in found for each in pair}) == 6


def test_nothing_is_read_before_the_vendor_has_signed(stored: Browser, bookshop: Shop) -> None:
    """Check 4: refused with a reason of its own, entered for the person; signed, the same token reads."""
    bookshop.connect(stored, sign=False)
    refused = bookshop.read()
    assert (refused.status_code, refused.json["type"]) == (403, "/problems/agreement-unsigned")
    assert "WWW-Authenticate" not in refused.headers
    with stored.app.extensions["broker"].reading() as tx:
        entry = ledger.page(tx, stored.ring).entries[0]
    assert (entry["act"], entry["outcome"], entry["reasons"]) == ("read", "denied", ["unsigned"])
    assert "has not signed the agreement yet" in stored.get(f"/grants/{bookshop.tokens['grant_id']}").text
    assert bookshop.countersign().status_code == 204
    assert len(bookshop.read().json["items"]) == 1
    assert "both signed it" in stored.get(f"/grants/{bookshop.tokens['grant_id']}").text


def test_the_ledgers_transaction_asks_once_more(stored: Browser, bookshop: Shop, clock: Clock) -> None:
    """Where a read is entered the row must still say that it is signed: what was decided before does not count."""
    bookshop.connect(stored, sign=False)
    grant_id = queries.to_bytes(bookshop.tokens["grant_id"])

    def holds(version: int) -> bool:
        with stored.app.extensions["broker"].reading() as tx:
            statement, given = queries.still_live(queries.AsOf(stored.person_id, grant_id, version, 0, 0), clock())
            assert isinstance(statement, Prepared)
            return statement.run(tx, given).fetchone() is not None

    assert not holds(1)
    bookshop.countersign()
    assert (holds(1), holds(2)) == (False, True)


def test_both_sides_hold_the_same_bytes(stored: Browser, bookshop: Shop) -> None:
    bookshop.connect(stored)
    theirs = rfc8785.dumps(bookshop.call("GET").json["agreement"])
    mine = stored.get(f"/grants/{bookshop.tokens['grant_id']}/files/agreement.json").data
    assert mine == theirs
    assert agreements.verify(mine)["second_party"]["id"] == "https://books.example"


def test_the_grant_as_its_vendor_sees_it(stored: Browser, bookshop: Shop) -> None:
    """G11: what was given and where it is less; nothing of rules, causes or labels, whoever cut it."""
    asked = purchases(fields={"time": "exact", "category": "leaf", "price": "exact", "site": "domain"})
    bookshop.connect(stored, [asked], **{"1.field.price": "band"})
    answer = bookshop.call("GET")
    assert answer.status_code == 200
    assert set(answer.json) == {"id", "status", "person", "created", "expires_at", "authorization_details", "narrowed", "agreement", "changes"}
    assert (answer.json["id"], answer.json["status"], answer.json["changes"]) == (bookshop.tokens["grant_id"], "active", [])
    assert answer.json["authorization_details"] == bookshop.tokens["authorization_details"]
    assert answer.json["person"] == signed_of(stored, bookshop).content["first_party"]["id"]
    assert answer.json["narrowed"][0] == {"clause": "c1", "dim": "fields.price", "asked": "exact", "given": "band", "code": "coarser"}
    assert {line["dim"]: line["given"] for line in answer.json["narrowed"]} == {
        "fields.time": "day", "fields.site": "hidden", "fields.price": "band", "window.max_age": "P90D",
    }  # fmt: skip
    for secret in ("recommendations", "not-in-terms", "denied", "rule", "cause", "no-words", "alice"):
        assert secret not in answer.text, secret
    tag = answer.headers["ETag"]
    assert bookshop.call("GET", headers={"If-None-Match": tag}).status_code == 304


def test_a_part_of_which_nothing_was_given_looks_the_same_whoever_cut_it(stored: Browser, bookshop: Shop) -> None:
    """Cut by the terms (they give no searches) or not ticked: one line each, alike but for the item."""
    searches = {**purchases(), "datatypes": ["search"], "want": {"form": "rows", "fields": {"time": "day"}}}
    answer = stored.give(bookshop.ask([purchases(), searches, purchases()]), give=["i1~recommendations"])
    bookshop.redeem(answer["code"])
    narrowed = [line for line in bookshop.call("GET").json["narrowed"] if line["clause"] != "c1"]
    same = {"dim": "action", "asked": "read", "given": None, "code": "fewer"}
    assert narrowed == [{"clause": "i2", **same}, {"clause": "i3", **same}]


def test_the_three_routes_work_while_paused(stored: Browser, bookshop: Shop) -> None:
    bookshop.connect(stored, sign=False)
    grant = bookshop.tokens["grant_id"]
    stored.post(f"/grants/{grant}/pause", page="/grants")
    assert bookshop.call("GET").json["status"] == "paused"
    assert bookshop.countersign().status_code == 204
    assert bookshop.read().json["type"] == "/problems/grant-paused"
    assert bookshop.call("DELETE").status_code == 204


def test_another_grant_is_like_one_that_never_was(stored: Browser, bob: Browser, bookshop: Shop, otherstore: Shop) -> None:
    """Row 95: of the same vendor, of another, of nobody."""
    bookshop.connect(stored)
    first, token = dict(bookshop.tokens), bookshop.tokens
    bookshop.connect(stored)
    otherstore.connect(bob)
    bodies = set()
    for grant in (first["grant_id"], otherstore.tokens["grant_id"], "AAAAAAAAAAAAAAAAAAAAAA", "x"):
        bookshop.tokens = {**token, **bookshop.tokens, "grant_id": grant}
        for method, path, body in (("GET", "", None), ("DELETE", "", None), ("PUT", "/signature", {"protected": "AA", "signature": "AA"})):
            answer = bookshop.call(method, path, json=body)
            assert answer.status_code == 404
            bodies.add(json.dumps({**answer.json, "request_id": ""}))
    assert len(bodies) == 1
    bookshop.tokens = first
    assert bookshop.call("GET").status_code == 200


def test_the_extensions_token_opens_none_of_them(alice: Browser, bookshop: Shop) -> None:
    """Row 118; its own grant has nothing to sign and works at once."""
    extension = Extension.connect(alice)
    bookshop.tokens, bookshop.prover = extension.tokens, extension.prover
    for method, path in (("GET", ""), ("DELETE", ""), ("PUT", "/signature")):
        assert bookshop.call(method, path, json={}).status_code == 403
    with alice.app.extensions["broker"].reading() as tx:
        grant = queries.one(tx, alice.ring, queries.to_bytes(extension.tokens["grant_id"]))
        assert agreed.agreement(tx, alice.ring, grant.grant_id) is None
    assert (grant.agreement, grant.countersigned_at) == (None, grant.given_at)
    assert alice.get(f"/grants/{grant.id}/files/agreement.json").status_code == 404


def tampered(good: dict[str, str], name: str) -> dict[str, str]:
    return {**good, name: ("B" if good[name][0] == "A" else "A") + good[name][1:]}


def test_a_wrong_signature_changes_nothing(stored: Browser, bookshop: Shop, otherstore: Shop) -> None:
    """422 with the place, or 400 where it is no JSON; the grant stays unsigned, and the right one still works."""
    bookshop.connect(stored, sign=False)
    good = bookshop.signature()
    payload = bookshop.call("GET").json["agreement"]["payload"]
    first = bookshop.call("GET").json["agreement"]["signatures"][0]
    before = signed_of(stored, bookshop)
    wrong: list[tuple[Any, str]] = [
        (tampered(good, "signature"), "/signature"),
        (tampered(good, "protected"), "/protected"),
        (first, "/protected/kid"),
        (signature_of(otherstore.key, payload, {"alg": "ES256", "kid": otherstore.key.thumbprint(), "typ": agreements.TYP}), "/protected/kid"),
        (signature_of(otherstore.key, payload, {"alg": "ES256", "kid": bookshop.key.thumbprint(), "typ": agreements.TYP}), "/signature"),
        (bookshop.signature(agreements.b64(b"another payload")), "/signature"),
        (bookshop.signature(typ="JWT"), "/protected/typ"),
        ({**good, "header": {}}, "/header"),
        ({"protected": good["protected"]}, "/signature"),
        ({**good, "signature": 7}, "/signature"),
        ([good], ""),
    ]
    for signature, pointer in wrong:
        answer = bookshop.call("PUT", "/signature", json=signature)
        assert (answer.status_code, answer.json["type"]) == (422, "/problems/unprocessable"), answer.text
        assert answer.json["errors"][0]["pointer"] == pointer, answer.text
    assert bookshop.call("PUT", "/signature", data="{", content_type="application/json").status_code == 400
    assert bookshop.call("PUT", "/signature", data="x", content_type="text/plain").status_code == 415
    assert bookshop.call("PUT", "/signature", data=" " * 5000, content_type="application/json").status_code == 413
    assert signed_of(stored, bookshop) == before
    assert bookshop.read().status_code == 403
    assert bookshop.countersign(good).status_code == 204
    assert bookshop.read().status_code == 200


def test_the_same_signature_again_is_fine_and_another_is_not(stored: Browser, bookshop: Shop) -> None:
    bookshop.connect(stored, sign=False)
    good, other = bookshop.signature(), bookshop.signature()
    assert good != other, "ES256 signs differently each time"
    assert [bookshop.countersign(each).status_code for each in (good, good, other, good)] == [204, 204, 409, 204]
    assert bookshop.call("GET").json["agreement"]["signatures"][1] == good


def test_an_agreement_unsigned_for_a_day_ends(stored: Browser, bookshop: Shop, otherstore: Shop, clock: Clock) -> None:
    """S1: by the sweep, or when the signature comes too late; a signed one and the extension's live on."""
    broker = stored.app.extensions["broker"]
    Extension.connect(stored)
    otherstore.connect(stored)
    bookshop.connect(stored, sign=False)
    clock.advance(hours=23, minutes=59)
    oauth.sweep(broker)
    assert bookshop.refresh().status_code == 200
    assert bookshop.call("GET").json["status"] == "active"
    clock.advance(minutes=2)
    oauth.sweep(broker)
    with broker.reading() as tx:
        states = {grant.name: (grant.status, grant.reason) for grant in queries.every(tx, stored.ring)}
    assert states == {"books.example": ("expired", "unsigned"), "other.example": ("active", ""), "Your extension": ("active", "")}
    assert bookshop.call("GET").status_code == 401
    assert bookshop.refresh().json["error"] == "invalid_grant"
    again = Browser.of(stored.app, "alice")
    assert "did not sign the agreement within 24 hours" in again.get(f"/grants/{bookshop.tokens['grant_id']}").text


def test_a_signature_that_comes_too_late_ends_the_grant(stored: Browser, bookshop: Shop, clock: Clock) -> None:
    bookshop.connect(stored, sign=False)
    good = bookshop.signature()
    clock.advance(hours=24, minutes=1)
    bookshop.refresh()
    assert bookshop.countersign(good).status_code == 401
    with stored.app.extensions["broker"].reading() as tx:
        grant = queries.one(tx, stored.ring, queries.to_bytes(bookshop.tokens["grant_id"]))
    assert (grant.status, grant.reason, grant.countersigned_at) == ("expired", "unsigned", None)


def test_a_revoked_grant_cannot_be_signed(stored: Browser, bookshop: Shop) -> None:
    """Whoever ended it has the last word, also where the signature was checked before."""
    bookshop.connect(stored, sign=False)
    good, broker = bookshop.signature(), stored.app.extensions["broker"]
    grant_id = queries.to_bytes(bookshop.tokens["grant_id"])
    actions.revoke(broker, stored.person_id, grant_id)
    assert bookshop.countersign(good).status_code == 401
    with pytest.raises(Exception, match="already done"):
        actions.countersign(broker, stored.person_id, grant_id, good)
    assert signed_of(stored, bookshop).countersignature is None


def test_the_vendor_may_end_it(stored: Browser, bookshop: Shop) -> None:
    bookshop.connect(stored)
    assert bookshop.call("DELETE").status_code == 204
    assert bookshop.read().status_code == 401
    assert bookshop.call("DELETE").status_code == 401
    page = stored.get(f"/grants/{bookshop.tokens['grant_id']}").text
    assert "books.example handed it back" in page
    assert "It was ended, and not by you." in page


def test_a_vendor_that_could_not_sign_gets_nothing(app: Flask, stored: Browser, bookshop: Shop) -> None:
    """A client may have come without a signing key: no grant is made."""
    url = bookshop.ask()
    with app.extensions["broker"].data.writing() as tx:
        tx.execute(update(clients).where(clients.c.client_id == bookshop.client_id).values(jwks={"keys": []}))
    path = stored.open(url)
    form = stored.form(path)
    answer = stored.post("/oauth/authorize/decision", {**form, "give": form.pop("offered"), "answer": "give"}, page=path)
    assert answer.status_code == 409
    assert "no key that it could sign" in answer.text
    assert "No vendor may read anything." in stored.get("/grants").text


def card(person: Browser, grant_id: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", person.get(f"/grants/{grant_id}").text).split())


def test_a_grant_says_what_it_waits_for(stored: Browser, bookshop: Shop, clock: Clock) -> None:
    """Nobody has come for it: a minute. Come for and not signed: a day. Signed: neither."""
    code = stored.give(bookshop.ask())["code"]
    (grant,) = _ids(stored)
    page = card(stored, grant)
    assert "books.example has not come for it yet. Until it has, it can read nothing; if it does not within a minute, by" in page
    assert "has not signed the agreement yet" not in page
    bookshop.redeem(code)
    page = card(stored, grant)
    assert "books.example has not signed the agreement yet. Until it has, it can read nothing; if it does not by" in page
    assert "has not come for it" not in page
    bookshop.countersign()
    page = card(stored, grant)
    assert "has not signed" not in page
    assert "has not come for it" not in page
    # What a minute means, and what is said after it.
    stored.give(bookshop.ask())
    newest = _ids(stored)[0]
    clock.advance(minutes=1, seconds=1)
    oauth.sweep(stored.app.extensions["broker"])
    assert "because books.example never came to use it" in card(stored, newest)


def test_the_consent_page_tells_what_can_be_read_by_earlier_grants(stored: Browser, bookshop: Shop, clock: Clock) -> None:
    for sign in (True, True, True, True, False):
        clock.advance(minutes=1)
        stored.sign_in_again()
        bookshop.connect(stored, sign=sign)
    stored.post(f"/grants/{_ids(stored)[1]}/pause", page="/grants")
    page = " ".join(re.sub(r"<[^>]+>", "", stored.get(stored.open(bookshop.ask())).text).split())
    with stored.app.extensions["broker"].reading() as tx:
        unsigned, paused, third, second, first = (f"the grant of {grant.given_at:%-d %b %Y, %H:%M}" for grant in queries.every(tx, stored.ring))
    assert (
        f"You gave it 5 grants before; it can still read by {third}, {second} and {first}; it can read nothing yet, until it signs, by {unsigned}; "
        f"it can read nothing, until you resume it, by {paused}. What two grants show"
    ) in page


def _ids(person: Browser) -> list[str]:
    """The grants as their list has them, newest first."""
    return list(dict.fromkeys(re.findall(r'href="/grants/([A-Za-z0-9_-]{22})"', person.get("/grants").text)))
