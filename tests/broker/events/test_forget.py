"""Forgetting: one event by one press, many after an exact count; gone for good, and entered in the ledger."""

import datetime as dt
import re

from makers import ORIGIN, Browser, Clock, Extension, Shop, page_visit, purchase

from broker.events import queries
from broker.ledger import queries as ledger


def left(person: Browser) -> dict[str, int]:
    with person.app.extensions["broker"].reading() as tx:
        return queries.totals(tx, person.person_id)


def newest(person: Browser) -> dict[str, object]:
    with person.app.extensions["broker"].reading() as tx:
        return ledger.page(tx, person.ring, limit=1).entries[0]


def tags(person: Browser, path: str = "/activity") -> list[str]:
    return re.findall(r'action="(/activity/forget/[0-9a-f]{32})"', person.get(path).text)


def fill(person: Browser, clock: Clock) -> None:
    visits = [page_visit(clock() - dt.timedelta(days=days), f"https://{host}/p") for days, host in ((1, "a.example"), (2, "a.example"), (3, "b.example"))]
    person.store(*visits, purchase(clock() - dt.timedelta(days=2)))


def test_one_event_is_one_press(alice: Browser, clock: Clock) -> None:
    fill(alice, clock)
    answer = alice.post(tags(alice)[0], {"back": "/activity/sites?site=a.example"}, page="/activity")
    assert (answer.status_code, answer.location) == (303, "/activity/sites?site=a.example")
    assert "1 event was forgotten on" in alice.get("/activity").text
    assert left(alice) == {"page_visit": 2, "purchase": 1}
    entry = newest(alice)
    assert (entry["act"], entry["count"], entry["kinds"]) == ("forget", 1, ["page_visit"])


def test_it_cannot_come_back(alice: Browser, clock: Clock) -> None:
    extension = Extension.connect(alice)
    event = page_visit(clock() - dt.timedelta(hours=1))
    extension.upload(event)
    alice.post(tags(alice)[0], page="/activity")
    assert extension.upload(event).json["results"][0]["reason"] == "forgotten"
    assert alice.store(event) == {event["id"]: "forgotten"}
    assert left(alice) == {}


def test_many_are_counted_first_then_forgotten(alice: Browser, clock: Clock) -> None:
    fill(alice, clock)
    page = alice.get("/activity/forget?site=a.example").text
    assert "<strong>2 events</strong> would be forgotten" in page
    assert "This cannot be undone." in page
    assert left(alice) == {"page_visit": 3, "purchase": 1}
    answer = alice.post("/activity/forget", {"site": "a.example", "number": "2"}, page="/activity/forget?site=a.example")
    assert (answer.status_code, answer.location) == (303, "/activity")
    assert "2 events were forgotten on" in alice.get("/activity").text
    assert left(alice) == {"page_visit": 1, "purchase": 1}
    assert newest(alice)["count"] == 2


def test_a_tab_or_some_days_can_be_forgotten(alice: Browser, clock: Clock) -> None:
    fill(alice, clock)
    day = (clock() - dt.timedelta(days=2)).date().isoformat()
    alice.post("/activity/forget", {"tab": "purchases", "number": "1"}, page="/activity")
    alice.post("/activity/forget", {"from": day, "to": day, "number": "1"}, page="/activity")
    assert left(alice) == {"page_visit": 2}


def test_only_the_number_that_was_shown_is_forgotten(alice: Browser, clock: Clock) -> None:
    """An upload may come in between the page and the press."""
    fill(alice, clock)
    alice.store(page_visit(clock() - dt.timedelta(days=1), "https://a.example/more"))
    answer = alice.post("/activity/forget", {"site": "a.example", "number": "2"}, page="/activity")
    assert answer.status_code == 422
    assert "The number has changed" in answer.text
    assert "<strong>3 events</strong>" in answer.text
    assert left(alice) == {"page_visit": 4, "purchase": 1}


def test_everything_at_once_or_nonsense_is_not_forgotten(alice: Browser, clock: Clock) -> None:
    fill(alice, clock)
    for form in ({"number": "4"}, {"from": "soon", "number": "4"}, {"tab": "purchases", "kind": "page_visit", "number": "1"}):
        assert alice.post("/activity/forget", form, page="/activity").status_code == 422, form
    assert left(alice) == {"page_visit": 3, "purchase": 1}
    assert alice.get("/activity/forget?from=soon").status_code == 422


def test_the_page_names_who_read_before(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    fill(alice, clock)
    assert "has read events of yours" not in alice.get("/activity/forget?tab=purchases").text
    bookshop.connect(alice)
    bookshop.read()
    assert "books.example has read events of yours" in alice.get("/activity/forget?tab=purchases").text


def test_it_refuses_another_person(alice: Browser, bob: Browser, clock: Clock) -> None:
    """Bob posts Alice's own address and filter; the same address then works for her."""
    fill(alice, clock)
    fill(bob, clock)
    mine = tags(alice)[0]
    assert bob.post(mine, page="/activity").status_code == 404
    assert bob.post("/activity/forget", {"site": "a.example", "number": "2"}, page="/activity").status_code == 303
    assert (left(alice), left(bob)) == ({"page_visit": 3, "purchase": 1}, {"page_visit": 1, "purchase": 1})
    assert alice.post(mine, page="/activity").status_code == 303
    assert left(alice) == {"page_visit": 2, "purchase": 1}


def test_it_needs_the_form_token(alice: Browser, clock: Clock) -> None:
    fill(alice, clock)
    one, headers = tags(alice)[0], {"Sec-Fetch-Site": "same-origin"}
    for path, form in ((one, {}), ("/activity/forget", {"site": "a.example", "number": "2"})):
        assert alice.client.post(path, data=form, base_url=ORIGIN, headers=headers).status_code == 403
    assert left(alice) == {"page_visit": 3, "purchase": 1}
    token = {"csrf_token": alice.csrf("/activity")}
    assert alice.client.post(one, data=token, base_url=ORIGIN, headers=headers).status_code == 303


def test_a_missing_event_is_not_found(alice: Browser) -> None:
    assert alice.post(f"/activity/forget/{'0' * 32}", page="/ledger/verify").status_code == 404
    assert alice.post("/activity/forget/zz", page="/ledger/verify").status_code == 404
