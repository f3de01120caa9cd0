"""Every version is kept, told and can be put back; the last change is undone by one press."""

import re
from typing import Any

import pytest
from pageforms import form_of

from broker.terms import queries
from broker.terms.actions import set_terms
from policies.terms import DEFAULT_TERMS


def told(text: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


def test_versions_are_listed_with_day_and_change(desk: Any) -> None:
    desk.save("/terms/deny", {"kinds": ["search"]})
    desk.save("/terms/general", {"base": "SD-BASE-A-DP", "requests": "AgentDisallowsRequests"})
    desk.save("/terms/rules/recommendations", {"max_age": "30"})
    desk.save("/terms", rule="no-kinds")
    text = told(desk.person.get("/terms/versions").text)
    for said in (
        "Version 4 in force", "Gone: Nobody may see what you searched for.", "Version 3", "Changed: “Any shop, to recommend products”.",
        "The agreement your rules stand on was “To serve me” (SD-BASE) and is “To serve me and analyse, with a copy for me” (SD-BASE-A-DP).", "Who may ask: Nobody may ask you.", "New: Nobody may see what you searched for.", "Version 0",
        "The careful terms everyone starts with",
    ):  # fmt: skip
        assert said in text, said
    assert text.count("Changed:") == 1
    assert len(re.findall(r'<time datetime="20\d\d-', desk.person.get("/terms/versions").text)) == 4


def test_an_earlier_version_is_looked_at_and_put_back(desk: Any) -> None:
    desk.save("/terms/deny", {"kinds": ["search"]})
    kept = desk.terms.to_json()
    desk.save("/terms", rule="recommendations")
    page = desk.person.get("/terms/versions/1").text
    assert "Putting it back in force would change this:" in page
    assert "Nobody may see what you searched for." in page
    desk.save("/terms/versions/1")
    assert desk.version == 3
    assert {**desk.terms.to_json(), "version": 1} == kept
    assert "You put version 1 of your terms back in force (version 3)." in desk.person.get("/ledger").text
    assert "says the same as this one" in desk.person.get("/terms/versions/1").text
    assert "in force now" in desk.person.get("/terms/versions/3").text
    for missing in ("4", "x", "-1", "9" * 30):
        assert desk.person.get(f"/terms/versions/{missing}").status_code == 404


def test_undo_is_one_press_and_a_version_of_its_own(desk: Any) -> None:
    desk.save("/terms/deny", {"kinds": ["search"]})
    undo = form_of(desk.person.get("/terms").text, "/terms/undo")
    assert desk.send("/terms/undo", undo).status_code == 303
    assert desk.version == 2
    assert {**desk.terms.to_json(), "version": 1} == DEFAULT_TERMS.to_json()
    # The first press sent again does nothing, and nothing is left to undo.
    assert desk.send("/terms/undo", undo).status_code == 409
    assert "Undo version" not in desk.person.get("/terms").text
    assert desk.version == 2


def test_there_is_nothing_to_undo_at_first(desk: Any) -> None:
    answer = desk.send("/terms/undo", {"csrf_token": desk.person.csrf("/terms"), "based_on": "0"})
    assert answer.status_code == 409
    assert desk.version == 0


def test_the_list_is_paged(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "PAGE", 3)
    broker = desk.person.app.extensions["broker"]
    for number in range(7):
        set_terms(broker, desk.person.person_id, {**DEFAULT_TERMS.to_json(), "deny": [{"id": f"d{number}", "kinds": ["search"]}]})
    shown: list[int] = []
    path = "/terms/versions"
    while path:
        text = desk.person.get(path).text
        shown += [int(number) for number in re.findall(r'<p class="strong">Version (\d+)', text)]
        following = re.search(r'<a href="(/terms/versions\?below=\d+)" rel="next"', text)
        path = following[1] if following else ""
        assert len(shown) < 20
    assert shown == [7, 6, 5, 4, 3, 2, 1, 0]
    assert desk.person.get("/terms/versions?below=x").status_code == 404


def test_two_at_once_cannot_both_be_next(desk: Any) -> None:
    from broker import errors
    from broker.terms.actions import prepare

    broker = desk.person.app.extensions["broker"]
    first, second = (prepare(broker, desk.person.person_id, DEFAULT_TERMS.to_json()) for _ in range(2))
    assert broker.write(first.insert) == 1
    with pytest.raises(errors.Conflict):
        broker.write(second.insert)
    assert desk.version == 1


def test_undo_pressed_again_goes_further_back_and_says_what_it_undoes(desk: Any) -> None:
    for kind in ("search", "page_visit"):
        desk.save("/terms/deny", {"kinds": [kind]})
    for undone, left in ((2, ["search"]), (1, [])):
        page = desk.person.get("/terms").text
        assert f"Undo version {undone}" in told(page)
        assert desk.send("/terms/undo", form_of(page, "/terms/undo")).status_code == 303
        assert [kind for deny in desk.terms.deny for kind in deny.kinds or ()] == left
    assert "Undo version" not in told(desk.person.get("/terms").text)
    assert desk.send("/terms/undo", {**form_of(page, "/terms/undo"), "based_on": str(desk.version)}).status_code == 409


def test_a_removal_by_hand_can_be_undone_too(desk: Any) -> None:
    """Terms that happen to equal earlier ones are a change like any other."""
    desk.save("/terms/deny", {"kinds": ["search"]})
    set_terms(desk.person.app.extensions["broker"], desk.person.person_id, DEFAULT_TERMS.to_json())
    page = desk.person.get("/terms").text
    assert "Undo version 2" in told(page)
    assert desk.send("/terms/undo", form_of(page, "/terms/undo")).status_code == 303
    assert "no-kinds" in desk.terms.rules
