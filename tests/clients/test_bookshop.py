"""The sample bookshop as a visitor meets it: connect, see what was given and cut, a no, a pause, an end, and forged requests."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from bookshop import Shop, create_app, metadata
from bookshop.vendor import in_words, prices, suggest, when
from flask import Response
from flask.testing import FlaskClient
from proffer_vendor import Cut


@pytest.fixture
def shop(broker: Any, tmp_path: Path) -> Shop:
    shop = Shop(broker=broker.issuer, port=5001, client_id="shop", folder=tmp_path)
    broker.keys = metadata(shop)["jwks"]["keys"]
    return shop


@pytest.fixture
def visitor(shop: Shop) -> Iterator[FlaskClient]:
    with create_app(shop).test_client() as client:
        yield client


def get(visitor: FlaskClient, path: str) -> Any:
    return visitor.get(path, base_url="http://127.0.0.1:5001", follow_redirects=True)


def press(visitor: FlaskClient, path: str) -> Any:
    token = re.search(r'name="form" value="([^"]+)"', get(visitor, "/").text)
    assert token is not None
    return visitor.post(path, base_url="http://127.0.0.1:5001", data={"form": token[1]})


def callback(visitor: FlaskClient, query: dict[str, str]) -> Any:
    return visitor.get("/callback", query_string=query, base_url="http://127.0.0.1:5001", follow_redirects=True)


def connect(visitor: FlaskClient, broker: Any) -> Any:
    return callback(visitor, broker.answer_to(press(visitor, "/connect").location))


def problem(status: int, slug: str) -> Response:
    answer = Response(f'{{"type": "/problems/{slug}", "detail": "About it."}}', status, content_type="application/problem+json")
    answer.headers["Retry-After"] = "7"
    return answer


def test_it_suggests_shows_its_rows_and_what_was_cut(visitor: FlaskClient, broker: Any) -> None:
    page = connect(visitor, broker)
    assert page.status_code == 200
    assert "<h1>Your next book</h1>" in page.text
    assert "5 rows" in page.text
    assert "A Study in Ink" in page.text
    assert "Salt on the Causeway" not in page.text
    assert "<li>Price: we asked for the exact price, you gave steps of 10</li>" in page.text
    assert "<li>What you put in a cart</li>" in page.text
    assert "we asked for this in vain, and you saw us ask" in page.text
    assert "at-1" not in page.text
    assert "rt-1" not in page.text


def test_where_nothing_was_cut_it_says_so(visitor: FlaskClient, broker: Any) -> None:
    broker.narrowed = []
    page = connect(visitor, broker)
    assert "Nothing: you gave what we asked for." in page.text
    assert "in vain" not in page.text


def test_a_no_is_fine(visitor: FlaskClient, broker: Any) -> None:
    query = broker.answer_to(press(visitor, "/connect").location)
    page = callback(visitor, {"error": "access_denied", "state": query["state"], "iss": query["iss"]})
    assert "<h1>You said no</h1>" in page.text
    assert broker.reads == []


@pytest.mark.parametrize(
    ("refusal", "heading"),
    [
        (problem(403, "grant-paused"), "You paused us"),
        (problem(403, "not-granted"), "Nothing to see"),
        (problem(429, "rate-limit"), "Come back in 7 seconds"),
        (problem(503, "sealed"), "That did not work"),
    ],
)
def test_each_refusal_is_said_plainly_and_passes(visitor: FlaskClient, broker: Any, refusal: Response, heading: str) -> None:
    connect(visitor, broker)
    broker.says = [refusal]
    assert heading in get(visitor, "/").text
    assert "Your next book" in get(visitor, "/").text


def test_an_ended_grant_is_said_and_its_tokens_are_gone(visitor: FlaskClient, broker: Any, shop: Shop) -> None:
    connect(visitor, broker)
    assert len(list((shop.folder / "tokens").glob("*.json"))) == 1
    broker.ended = True
    over = get(visitor, "/").text
    assert "You ended it, or its time ran out." in over
    assert "The person ended" not in over
    assert list((shop.folder / "tokens").glob("*.json")) == []
    # What was agreed outlives the grant: it says by when its rows must be gone.
    assert len(list((shop.folder / "tokens").glob("*.agreement"))) == 1


def test_disconnecting_ends_the_grant_at_the_broker(visitor: FlaskClient, broker: Any) -> None:
    connect(visitor, broker)
    assert press(visitor, "/leave").status_code == 303
    assert broker.ended
    assert "Connect my Proffer" in get(visitor, "/").text


def test_a_closed_browser_and_a_restarted_shop_forget_nobody(visitor: FlaskClient, broker: Any, shop: Shop) -> None:
    connect(visitor, broker)
    told = get(visitor, "/").headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Lax"} <= set(told.split("; "))
    expires = re.search(r"Expires=([^;]+)", told)
    assert expires is not None
    days = (parsedate_to_datetime(expires[1]) - datetime.now(UTC)).days
    assert 366 < days <= 400
    kept = visitor.get_cookie("bookshop", domain="127.0.0.1")
    assert kept is not None
    with create_app(shop).test_client() as later:
        later.set_cookie("bookshop", kept.value, domain="127.0.0.1")
        assert "<h1>Your next book</h1>" in get(later, "/").text
    assert (shop.folder / "cookie-key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("level", "said"), [("month", "September 2026"), ("day", "1 September 2026"), ("exact", "1 September 2026, 14:05 UTC"), ("hour", "1 September 2026, 14:05 UTC")]
)
def test_a_time_is_said_no_finer_than_it_was_given(level: str, said: str) -> None:
    assert when({"time": "2026-09-01T14:05:00.000Z"}, level) == said
    assert when({}, level) == "hidden"
    assert when({"time": "<b>"}, level) == "<b>"


def test_differences_are_said_in_words() -> None:
    assert in_words(Cut("field price", "exact", "band")) == "Price: we asked for the exact price, you gave a rough range"
    assert in_words(Cut("field time", "day", "month")) == "Time: we asked for the day, you gave the month"
    assert in_words(Cut("window max_age", "P365D", "P30D")) == "How far back: we asked for 365 days, you gave 30 days"
    assert in_words(Cut("kind cart", "yes", "nothing")) == "What you put in a cart"


def test_a_callback_of_another_browser_or_a_second_one_is_refused(visitor: FlaskClient, broker: Any, shop: Shop) -> None:
    query = broker.answer_to(press(visitor, "/connect").location)
    with create_app(shop).test_client() as other:
        assert callback(other, query).status_code == 400
    assert callback(visitor, query | {"state": "another"}).status_code == 400
    # What another site forged has not used the request up; the answer itself has.
    assert callback(visitor, query).status_code == 200
    assert callback(visitor, query).status_code == 400


def test_a_form_of_another_site_is_refused(visitor: FlaskClient, broker: Any) -> None:
    for data in ({}, {"form": "guess"}):
        assert visitor.post("/connect", base_url="http://127.0.0.1:5001", data=data).status_code == 403
    assert broker.forms == []
    assert press(visitor, "/connect").status_code == 303


def test_another_host_is_sent_to_ours(visitor: FlaskClient) -> None:
    answer = visitor.get("/", base_url="http://evil.example")
    assert (answer.status_code, answer.location) == (303, "http://127.0.0.1:5001/")


def test_the_pages_load_nothing_but_their_stylesheet(visitor: FlaskClient, broker: Any) -> None:
    page = get(visitor, "/")
    assert page.headers["Content-Security-Policy"] == (
        f"default-src 'none'; style-src 'self'; form-action 'self' {broker.issuer}; base-uri 'none'; frame-ancestors 'none'"
    )
    assert not re.search(r"<script|<style|\sstyle=|\son[a-z]+=", page.text)


def test_rows_cannot_write_markup(visitor: FlaskClient, broker: Any) -> None:
    connect(visitor, broker)
    row = '{"kind": "<img src=x>", "items": [{"category": "<script>", "price": {"currency": "<b>", "from_minor": 1, "to_minor": null}}]}'
    broker.says = [Response(f'{{"items": [{row}]}}', 200, content_type="application/json")]
    page = get(visitor, "/").text
    assert "&lt;img src=x&gt;" in page
    assert "<img" not in page
    assert "<script" not in page
    assert "0.01 to more &lt;b&gt;" in page


def test_suggestions_follow_the_most_frequent_category() -> None:
    rows: list[dict[str, Any]] = [
        {"items": [{"category": "books/cooking"}, {"category": "books/crime"}]},
        {"items": [{"category": "books/crime"}]},
        {"kind": "search"},
    ]
    assert [book.category for book in suggest(rows)] == ["books/crime", "books/crime", "books/cooking"]
    assert suggest([]) == []
    assert prices({"items": [{"price": {"amount_minor": 1299, "currency": "EUR"}}, {}]}) == ["12.99 EUR"]


def test_its_metadata_holds_the_public_key_alone(shop: Shop) -> None:
    told = metadata(shop)
    assert told["redirect_uris"] == ["http://127.0.0.1:5001/callback"]
    assert set(told["jwks"]["keys"][0]) == {"kty", "crv", "x", "kid", "alg", "use"}
