"""What is not well formed is refused with a pointer to the place, and a sentence that says what to do there."""

import json
from typing import Any

import pytest

from policies.documents import Malformed, load
from policies.requests import Request
from tests.policies.malformed import CHANGES, GOOD, TEXTS, changed
from tests.policies.worlds import BOOKS


def refusal(text: str | bytes) -> dict[str, str]:
    with pytest.raises(Malformed) as found:
        Request.parse(load(text), BOOKS)
    (error,) = found.value.errors
    return error


def test_the_good_one_is_taken() -> None:
    assert Request.parse(load(json.dumps(GOOD)), BOOKS).to_json() == GOOD


def test_there_are_enough() -> None:
    assert len({json.dumps(changed(*case[:2])) for case in CHANGES}) + len(TEXTS) >= 120


@pytest.mark.parametrize("case", CHANGES, ids=lambda case: f"{case[0]}={'missing' if type(case[1]) is object else str(case[1])[:30]!a}")
def test_a_change_is_refused_at_its_place(case: tuple[Any, ...]) -> None:
    pointer, value, *elsewhere = case
    error = refusal(json.dumps(changed(pointer, value)))
    assert error["pointer"] == (elsewhere or [pointer])[0], error
    assert error["detail"].endswith(".")


@pytest.mark.parametrize("number", range(len(TEXTS)))
def test_a_text_is_refused_at_its_place(number: int) -> None:
    text, pointer = TEXTS[number]
    error = refusal(text)
    assert error["pointer"] == pointer, error
    assert error["detail"].endswith(".")
