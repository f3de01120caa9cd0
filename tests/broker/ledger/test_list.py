"""The ledger's pages: sentences with their reasons, filters, one entry whole with the rows it sent, and the proof."""

import datetime as dt
import re

import pytest
from makers import ORIGIN, Browser, Clock, Extension, Shop, page_visit, purchase
from sqlalchemy import update

from broker.ledger import actions, sentences
from broker.ledger.models import entries
from policies.sentences import REASONS


def sentences_on(page: str) -> list[str]:
    return [text.replace("&#39;", "'") for text in re.findall(r'<a href="/ledger/\d+">([^<]+)</a>', page)]


def act_of(person: Browser, sentence: str) -> str:
    found = re.search(rf'<a href="(/ledger/\d+)">{re.escape(sentence)}', person.get("/ledger").text)
    assert found, sentence
    return found[1]


def test_it_tells_the_story_newest_first(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    alice.store(purchase(clock() - dt.timedelta(days=3)))
    grant = bookshop.connect(alice)["grant_id"]
    bookshop.read()
    alice.post(f"/grants/{grant}/revoke", page="/grants")
    bookshop.read()
    page = alice.get("/ledger").text
    said = sentences_on(page)
    assert said[:4] == [
        "books.example asked to read and was refused.", "You ended the grant of books.example.",
        "books.example read 1 row of what you bought, to recommend products to you.", f"You let books.example see events of yours until {until(clock)}.",
    ]  # fmt: skip
    assert said[4:6] == ["You imported 1 event.", "You signed in with your password."]
    assert "The grant has ended." in page
    assert "They got the day, the category, the price in steps of 10." in page
    assert f'href="/grants/{grant}"' in page


def until(clock: Clock) -> str:
    day = clock() + dt.timedelta(days=180)
    return f"{day.day} {day:%b %Y}"


def test_it_filters_by_act_vendor_outcome_and_grant(alice: Browser, bookshop: Shop, otherstore: Shop) -> None:
    one, other = bookshop.connect(alice)["grant_id"], otherstore.connect(alice)["grant_id"]
    alice.post(f"/grants/{other}/pause", page="/grants")
    otherstore.read()
    bookshop.read()
    assert sentences_on(alice.get("/ledger?act=pause").text) == ["You paused the grant of other.example."]
    assert sentences_on(alice.get("/ledger?outcome=denied").text) == ["other.example asked to read and was refused."]
    assert len(sentences_on(alice.get("/ledger?vendor=other.example").text)) == 3
    assert len(sentences_on(alice.get(f"/ledger?grant={one}").text)) == 2
    assert "is in your ledger" in alice.get("/ledger?vendor=nobody.example").text


def test_it_is_paged_by_seq_and_grouped_by_day(alice: Browser, clock: Clock) -> None:
    for _ in range(30):
        alice.store(page_visit(clock() - dt.timedelta(hours=1)))
    clock.advance(days=1)
    for _ in range(30):
        alice.store(page_visit(clock() - dt.timedelta(hours=1)))
    first = alice.get("/ledger").text
    assert first.count('<section aria-labelledby="day-') == 2
    older = re.search(r'href="([^"]+)" rel="next"', first)
    assert older
    second = alice.get(older[1]).text
    seqs = [int(seq) for page in (first, second) for seq in re.findall(r'<a href="/ledger/(\d+)">', page)]
    assert seqs == sorted(seqs, reverse=True)
    assert len(set(seqs)) == len(seqs) == 62
    assert alice.get("/ledger?below=x").status_code == 404


def test_a_read_shows_the_rows_that_were_sent_while_they_are_kept(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    """D4: what the vendor got, field by field, and no field more."""
    alice.store(purchase(clock() - dt.timedelta(days=3), "A Study in Ink", minor=2450), purchase(clock() - dt.timedelta(days=4), "Paper Boats", minor=990))
    bookshop.connect(alice)
    sent = bookshop.read().json["items"]
    path = act_of(alice, "books.example read 2 rows")
    page = alice.get(path).text
    assert "All 2 rows" in page
    assert [row["time"][:10] in page for row in sent] == [True, True]
    assert "€20.00 to €30.00" in page
    assert "€24.50" not in page
    assert "A Study in Ink" not in page
    alice.post("/activity/forget", {"tab": "purchases", "number": "2"}, page="/activity")
    assert "You have forgotten the events of these 2 rows since" in alice.get(path).text


def test_an_entry_shows_every_member(alice: Browser, bookshop: Shop) -> None:
    bookshop.connect(alice)
    page = alice.get(act_of(alice, "You let books.example")).text
    for member in ("prev", "salt", "log", "seq", "at", "by", "clauses", "until"):
        assert f"<code>{member}</code>" in page


def test_it_refuses_another_person(alice: Browser, bob: Browser, bookshop: Shop) -> None:
    """The same number names Bob's own entry, or none; a missing one looks the same."""
    bookshop.connect(alice)
    path = act_of(alice, "You let books.example")
    assert alice.get(path).status_code == 200
    assert bob.get(path).status_code == bob.get("/ledger/99999").status_code == 404
    assert "books.example" not in bob.get("/ledger").text
    assert "books.example" not in bob.get(f"/ledger?grant={bookshop.tokens['grant_id']}").text
    assert [alice.get(f"/ledger/{text}").status_code for text in ("-1", "x", "9" * 30, "٣")] == [404] * 4


def test_verifying_says_so_in_one_sentence(alice: Browser) -> None:
    answer = alice.post("/ledger/verify", page="/ledger/verify")
    assert (answer.status_code, answer.location) == (303, "/ledger/verify")
    assert "2 entries are here, in order and unaltered." in alice.get("/ledger/verify").text


def test_verifying_finds_an_altered_entry(alice: Browser) -> None:
    alice.app.extensions["broker"].write(lambda tx: tx.execute(update(entries).where(entries.c.person_id == alice.person_id, entries.c.seq == 0).values(leaf_hash=bytes(32))))
    alice.post("/ledger/verify", page="/ledger/verify")
    page = alice.get("/ledger/verify").text
    assert "The ledger is not whole. Entry 0 does not match its hash." in page
    assert "in order and unaltered" not in page


def test_verifying_needs_the_form_token(alice: Browser) -> None:
    assert alice.client.post("/ledger/verify", base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 403


def test_the_extension_is_not_called_a_vendor(alice: Browser, clock: Clock) -> None:
    extension = Extension.connect(alice)
    extension.upload(page_visit(clock() - dt.timedelta(hours=1)))
    said = sentences_on(alice.get("/ledger").text)
    assert said[0] == "Your extension added 1 event."
    assert said[1].startswith("You let your extension add events until")


@pytest.mark.parametrize("act", sorted(actions.ACTS))
def test_every_act_has_a_name_and_a_sentence(act: str) -> None:
    entry = {"act": act, "outcome": "permitted", "by": {"role": "person"}, "reasons": [], "times": 1, "vendor": "https://books.example"}
    assert act in sentences.ACTS
    said = sentences.sentence(entry, {})
    assert said.endswith(".")
    assert not said.startswith("Something was done")


@pytest.mark.parametrize("slug", [*REASONS, "handed_back", "code_replayed", "restored", "over", "uncollected"])
def test_every_reason_has_a_sentence(slug: str) -> None:
    entry = {"act": "read", "outcome": "denied", "by": {"role": "client", "id": "books"}, "reasons": [slug], "times": 3}
    assert sentences.reasons(entry)[0][0].isupper()
    assert sentences.sentence(entry, {"books": "books.example"}) == "books.example asked to read and was refused, 3 times within a minute."
