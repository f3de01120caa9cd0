"""The issuer in every answer that goes through the browser (RFC 9207 section 2; attack rows 25, 26, 30, 32)."""

from urllib.parse import parse_qs, urlsplit

import pytest
from makers import ORIGIN, Browser, Shop, purchases

from broker.terms.actions import block


def decided(person: Browser, shop: Shop, answer: str) -> str:
    """Where the browser is sent after a decision."""
    form = person.form(person.open(shop.ask()))
    offered = form.pop("offered")
    give = {"give": offered} if answer == "give" else {}
    data = {**form, **give, "answer": "give" if answer == "nothing" else answer}
    sent = person.client.post("/oauth/authorize/decision", data=data, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"})
    assert sent.status_code == 303, "never 307, which would send the form on (row 32)"
    return str(sent.location)


@pytest.mark.parametrize(("answer", "told"), [("give", "code"), ("refuse", "error"), ("nothing", "error"), ("block", "error")])
def test_every_decision_names_the_issuer(alice: Browser, bookshop: Shop, answer: str, told: str) -> None:
    """Rows 25, 26, 30 and 32: with a code and with each kind of no."""
    address = urlsplit(decided(alice, bookshop, answer))
    found = parse_qs(address.query)
    assert f"{address.scheme}://{address.netloc}{address.path}" == bookshop.redirect_uri
    assert set(found) == {told, "state", "iss"}
    assert (found["iss"], found["state"]) == ([ORIGIN], ["s-1"])
    assert told == "code" or found["error"] == ["access_denied"]


def test_what_nobody_decided_names_it_too(alice: Browser, bookshop: Shop) -> None:
    """Row 30: a silent request, and one that the person's terms refuse unseen, whose way back is a link."""
    silent = alice.get(bookshop.ask(prompt="none"))
    assert silent.status_code == 303
    assert parse_qs(urlsplit(silent.location).query) == {"error": ["consent_required"], "state": ["s-1"], "iss": [ORIGIN]}
    broker = alice.app.extensions["broker"]
    terms = block(broker, alice.person_id, "https://books.example")
    broker.write(terms.insert)
    page = alice.get(alice.open(bookshop.ask([purchases()]))).text
    assert "error=access_denied&amp;state=s-1&amp;iss=http%3A%2F%2Flocalhost%3A8440" in page
    assert "code=" not in page
