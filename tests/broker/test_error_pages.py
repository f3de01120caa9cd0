"""Errors as people meet them: each says what happened and what to do, in words that need no manual; programs keep their own."""

import html
import re

import pytest
from makers import ORIGIN, Browser, Shop

from broker import errors


def said(text: str) -> str:
    """The words of the main part."""
    main = re.search(r"<main.*?</main>", text, re.DOTALL)
    assert main
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", main[0])).split())


def test_a_missing_page_says_where_to_go_on(alice: Browser) -> None:
    answer = alice.get("/nowhere")
    assert answer.status_code == 404
    assert "There is nothing here, or it is not yours. Look at the address again, or start from Home." in said(answer.text)


def test_an_expired_form_says_that_nothing_changed(alice: Browser) -> None:
    answer = alice.client.post("/grants/pause-all", data={}, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 403
    assert "Nothing was changed. Go back, load the page again and send the form once more." in said(answer.text)


def test_an_act_typed_as_an_address_leads_to_its_page(alice: Browser) -> None:
    answer = alice.get("/sign-out")
    assert answer.status_code == 405
    assert "This address belongs to a button. Nothing was done. Start from Home, and press the button there." in said(answer.text)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errors.TooLarge(), "What you sent is larger than this page takes. Nothing was kept. Go back and send less at a time."),
        (errors.RateLimit(retry_after=40), "You, or somebody at your address, did this too often. Wait 1 minute, then load the page again."),
        (errors.RateLimit(retry_after=600), "Wait 10 minutes, then load the page again."),
        (errors.BadRequest(), "Your browser sent something that this page does not understand. Nothing was changed. Go back, load the page again and try once more."),
        (ZeroDivisionError("secret"), "The broker made a mistake, and wrote it in its log. Try again. If it happens again, give whoever runs this broker the request below."),
    ],
)
def test_what_to_do_next_is_said_to_people_alone(alice: Browser, bookshop: Shop, error: Exception, words: str) -> None:
    def fail() -> None:
        raise error

    app = alice.app
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.view_functions["home.index"] = fail
    app.view_functions["events.read"] = fail
    shown = alice.get("/")
    assert words in said(shown.text)
    assert "Retry-After" not in said(shown.text)
    assert "secret" not in shown.text
    told = bookshop.client.get("/v1/events", base_url=ORIGIN)
    assert told.status_code == shown.status_code
    assert words not in told.json["detail"]
    assert "secret" not in told.text


def test_own_words_of_an_error_stay(alice: Browser) -> None:
    answer = alice.post("/oauth/authorize/decision", {"request": "00" * 16, "answer": "perhaps"})
    assert "This form has no answer. Go back and choose Give or Refuse." in said(answer.text)


@pytest.mark.parametrize(
    ("query", "name", "sentence"),
    [
        ("from=2027-13-13", "from", "“2027-13-13” is no day. Write one such as 2027-03-31."),
        ("to=soon", "to", "“soon” is no day. Write one such as 2027-03-31."),
        ("from=2027-03-31&to=2027-03-01", "to", "The last day lies before the first. Choose a later one, or leave it empty."),
        ("site=not a site", "site", "“not a site” is no site. Write one such as shop.example."),
        ("kind=nothing", "kind", "“nothing” is none of these. Choose one of the list."),
    ],
)
def test_a_wrong_filter_is_named_at_its_place(alice: Browser, query: str, name: str, sentence: str) -> None:
    from makers import purchase

    alice.store(purchase(alice.app.extensions["broker"].now()))
    for page in ("/activity", "/activity/forget"):
        answer = alice.get(f"{page}?{query}")
        assert answer.status_code == 422
        assert "<title>Error: " in answer.text
        text = html.unescape(answer.text)
        assert f'<a href="#f-{name}">{sentence}</a>' in text
        assert f'<span class="error" id="f-{name}-error">{sentence}</span>' in text
        assert 'aria-invalid="true"' in text
    assert "not a site" in html.unescape(alice.get("/activity?site=not a site").text)


def test_a_refused_sign_in_says_what_to_do(app: object, alice: Browser) -> None:
    client = alice.app.test_client()
    page = client.get("/sign-in", base_url=ORIGIN).text
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert token
    data = {"csrf_token": token[1], "name": "alice", "password": "wrong words here", "next": "/"}
    answer = client.post("/sign-in", data=data, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 422
    assert "Name or password is wrong. Type both again, as you chose them." in said(answer.text)
    assert 'value="alice"' in answer.text
    assert "wrong words here" not in answer.text
