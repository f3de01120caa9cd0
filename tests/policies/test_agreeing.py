"""P20 and P21 hold, and each finds the defects that are planted here."""

from typing import Any

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis.errors import NoSuchExample

from broker.grants import agreements, statements
from policies.negotiate import differences, negotiate
from tests.policies import worlds
from tests.policies.agreeing import PROPERTIES, WORLD
from tests.policies.properties import holds

Patch = pytest.MonkeyPatch


@pytest.mark.parametrize("name", PROPERTIES)
def test_they_hold(name: str) -> None:
    @given(WORLD)
    def run(world: dict[str, Any]) -> None:
        holds(PROPERTIES[name], world)

    run()


@given(WORLD)
def test_the_vendor_is_told_what_a_comparison_shows(world: dict[str, Any]) -> None:
    """`differences` says what `narrowed` says, without why; and an end that lies where it was asked for is none, once it is a date."""
    proposal = negotiate(world["terms"], world["request"])
    for clause in proposal.clauses:
        item, named = proposal.item_of(clause.id), ("dim", "asked", "given", "code")
        begun = clause.starting(worlds.NOW)
        told = differences(item, begun, worlds.NOW)
        said = [{name: getattr(line, name) for name in named} for line in proposal.narrowed if line.clause == clause.id]
        assert [line for line in told if line["dim"] != "validity"] == [line for line in said if line["dim"] != "validity"]
        same_end = item.clause.validity.starting(worlds.NOW) == begun.validity
        assert any(line["dim"] == "validity" for line in told) == ("validity" in item.stated and not same_end)


def is_found(name: str) -> bool:
    """Whether some world, of at most 2,000, makes the property fail."""

    def fails(world: dict[str, Any]) -> bool:
        try:
            holds(PROPERTIES[name], world)
        except AssertionError:
            return True
        return False

    try:
        find(WORLD, fails, settings=settings(max_examples=2000, phases=[Phase.generate], deadline=None, database=None))
    except NoSuchExample:
        return False
    return True


def believe_every_signature(patch: Patch) -> None:
    """P20: signatures are not checked, only their headers."""
    patch.setattr(agreements.jws, "deserialize_compact", lambda *_, **__: None)


def take_one_signature_for_two(patch: Patch) -> None:
    """P20: whoever signed, it counts for the first party."""
    check = agreements.check_signature

    def lenient(payload: str, signature: Any, pointer: str, **rest: Any) -> None:
        if pointer == "/signatures/0":
            return
        check(payload, signature, pointer, **rest)

    patch.setattr(agreements, "check_signature", lenient)


def forget_the_links(patch: Patch) -> None:
    """P21: a statement need not follow from the one before."""
    read = statements._read
    patch.setattr(statements, "_read", lambda value, pointer, typ, _link, state: read(value, pointer, typ, {}, state))


def forget_the_count(patch: Patch) -> None:
    """P21: nobody counts how many there are."""
    verify = statements.verify
    patch.setattr(statements, "verify", lambda chain, typ, content, **_: verify(chain, typ, content))


def believe_every_statement(patch: Patch) -> None:
    """P21: signatures of statements are not checked."""
    patch.setattr(statements, "check_signature", lambda *_, **__: None)


PLANTED = {
    "believe_every_signature": ("P20", believe_every_signature),
    "take_one_signature_for_two": ("P20", take_one_signature_for_two),
    "forget_the_links": ("P21", forget_the_links),
    "forget_the_count": ("P21", forget_the_count),
    "believe_every_statement": ("P21", believe_every_statement),
}


@pytest.mark.parametrize("defect", PLANTED)
def test_it_finds_the_planted_defect(defect: str, monkeypatch: Patch) -> None:
    name, plant = PLANTED[defect]
    plant(monkeypatch)
    assert is_found(name)
