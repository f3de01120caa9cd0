"""Where an event lies is judged by its host and its registrable domain: no filter, ask or rule reaches further than the signed words say."""

import datetime as dt
import html
from typing import Any

import pytest
from makers import Browser, Clock, Extension, Shop, page_visit, purchase, purchases

from broker.errors import Unprocessable
from broker.terms import schemas
from broker.terms.actions import set_terms
from policies.terms import DEFAULT_TERMS

FIELDS = {"time": "day", "price": "exact", "site": "host"}


def terms(person: Browser, *denies: dict[str, Any], **rule: Any) -> None:
    allow = {
        "id": "r", "label": "r", "vendors": ["*"], "action": "read", "purposes": ["dpv:ProvideProductRecommendations"], "kinds": ["purchase", "page_visit"],
        "form": "rows", "fields": {"time": "day", "price": "exact", "site": "host", "url": "no_query"}, "window": {"max_age": "P90D"}, **rule,
    }  # fmt: skip
    set_terms(person.app.extensions["broker"], person.person_id, {**DEFAULT_TERMS.to_json(), "allow": [allow], "deny": list(denies)})


def sites_of(shop: Shop, query: str = "") -> list[str]:
    answer = shop.read(query)
    return [row["site"] for row in answer.json["items"]] if answer.status_code == 200 else []


@pytest.fixture
def bought(alice: Browser, clock: Clock) -> Browser:
    """Alice bought at a platform and at a shop on it, which have nothing to do with each other."""
    at = clock() - dt.timedelta(days=3)
    alice.store(purchase(at, site="amazonaws.com", minor=1111), purchase(at, site="x.s3.amazonaws.com", minor=6666), purchase(at, site="www.shop.example"))
    return alice


def test_a_filter_reaches_no_further_than_the_clause(bought: Browser, bookshop: Shop) -> None:
    """`=host` of another registrable domain, though its name ends like the clause's."""
    terms(bought, sites=["amazonaws.com", "shop.example"])
    bookshop.connect(bought, [purchases(fields=FIELDS)])
    assert sorted(sites_of(bookshop)) == ["amazonaws.com", "www.shop.example"]
    assert sites_of(bookshop, "?site==x.s3.amazonaws.com") == []
    assert sites_of(bookshop, "?site=x.s3.amazonaws.com") == []
    assert sites_of(bookshop, "?site==amazonaws.com") == ["amazonaws.com"]
    assert sites_of(bookshop, "?site==www.shop.example") == ["www.shop.example"]
    assert sites_of(bookshop, "?site=shop.example") == ["www.shop.example"]


@pytest.mark.parametrize("site", ["com", "co.uk", "myshopify.com", "github.io", "www.amazon.com", "localhost", "x"])
def test_what_is_nobodys_domain_is_neither_asked_nor_ruled(alice: Browser, bookshop: Shop, site: str) -> None:
    """A public suffix stands above many; a host is written with `=`."""
    for part in ({"want": {**purchases(fields=FIELDS)["want"], "sites": [site]}}, {"minimum": {"sites": [site]}}):
        refused = bookshop.push([{**purchases(fields=FIELDS, sites=["shop.example"]), **part}])
        assert (refused.status_code, refused.json["error"]) == (400, "invalid_authorization_details"), part
        assert f"/0/{next(iter(part))}/sites/0" in refused.json["error_description"]
    for part in ("allow", "deny"):
        document = DEFAULT_TERMS.to_json()
        document[part] = [{**(document["allow"][0] if part == "allow" else {"id": "d"}), "sites": [site]}]
        with pytest.raises(Unprocessable):
            schemas.read(document)
    assert bookshop.push([purchases(fields=FIELDS, sites=["=www.amazon.com", "amazon.com"])]).status_code == 201


MAIL = ("mail.google.com", "accounts.google.com", "mail.z.example", "login.z.example", "outlook.live.com", "mail.yahoo.com")


def test_mail_and_sign_in_hosts_are_what_signed_words_say(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    """"Nothing from … mail or sign-in sites": of vendors and of the extension, and the page says the same as the read."""
    terms(alice)
    at = clock() - dt.timedelta(days=3)
    alice.store(*[page_visit(at, f"https://{host}/inbox") for host in (*MAIL, "www.google.com", "www.z.example")])
    ask = {**purchases(fields={"time": "day", "site": "host", "url": "no_query"}), "datatypes": ["page_visit"]}
    text = html.unescape(alice.get(alice.open(bookshop.ask([ask]))).text)
    assert not [host for host in MAIL if host in text]
    bookshop.connect(alice, [ask])
    assert sorted(sites_of(bookshop)) == ["www.google.com", "www.z.example"]
    assert [sites_of(bookshop, f"?site=={host}") for host in MAIL] == [[]] * len(MAIL)
    extension = Extension.connect(alice)
    answer = extension.upload(*[page_visit(clock(), f"https://{host}/inbox") for host in (*MAIL, "www.google.com")])
    assert [each["status"] for each in answer.json["results"]] == ["refused"] * len(MAIL) + ["accepted"]


def test_rows_are_read_by_the_one_clause_that_gives_rows(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    """Where the person gave rows and answers, neither has to name its clause."""
    rule = DEFAULT_TERMS.to_json()["allow"][0]
    answering = {**rule, "id": "a", "label": "a", "form": "answers", "answers": ["recency"], "fields": {}, "rate": {"reads": "5/P1D", "rows": "1/P1D"}}
    set_terms(alice.app.extensions["broker"], alice.person_id, {**DEFAULT_TERMS.to_json(), "allow": [rule, answering]})
    alice.store(purchase(clock() - dt.timedelta(days=3)))
    bookshop.connect(alice)
    forms = [entry["form"] for entry in bookshop.call("GET").json["authorization_details"]]
    assert sorted(forms) == ["answers", "rows"]
    assert len(bookshop.read().json["items"]) == 1
    assert "recency" in bookshop.answers().json["answers"]
