"""The JSON Schemas of clauses and requests: whatever the engine writes fits, and what it would refuse does not."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import answers
from policies.answers import work_out
from policies.clauses import MEMBERS, Clause
from policies.documents import Malformed
from policies.exports import jsonschema
from policies.negotiate import negotiate
from policies.precision import coarse
from policies.purposes import PURPOSES
from policies.requests import Request
from policies.terms import Terms
from policies.vocabulary import FIELDS
from tests.policies.malformed import GOOD
from tests.policies.properties import EXAMPLES
from tests.policies.test_documented import FACTS
from tests.policies.worlds import NOW, events, requests, slices, terms

FEW = settings(EXAMPLES, max_examples=EXAMPLES.max_examples // 10)


def refused(schema: dict[str, Any], value: Any) -> bool:
    return not jsonschema_rs.validator_for(schema).is_valid(value)


def read_clause(**more: Any) -> dict[str, Any]:
    clause = {
        "id": "c1",
        "action": "read",
        "base": "SD-BASE",
        "purposes": ["dpv:CustomerManagement"],
        "kinds": ["purchase"],
        "form": "rows",
        "fields": {"time": "day"},
    }
    return Clause.parse({**clause, **more}).to_json()


@pytest.mark.parametrize("action", MEMBERS)
def test_each_schema_is_one(action: str) -> None:
    for schema in (jsonschema.clause(action), jsonschema.asked(action), jsonschema.answers(), jsonschema.bucket()):
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


@FEW
@given(terms, requests)
def test_whatever_is_proposed_fits(ours: Terms, request: Request) -> None:
    for clause in negotiate(ours, request).clauses:
        jsonschema_rs.validate(jsonschema.clause(clause.action), clause.starting(NOW).to_json())


@FEW
@given(requests)
def test_whatever_is_asked_fits(request: Request) -> None:
    for item in request.to_json()["items"]:
        jsonschema_rs.validate(jsonschema.asked(item["action"]), {name: value for name, value in item.items() if name != "id"})


@pytest.mark.parametrize(
    "change",
    [{"kinds": ["dance"]}, {"fields": {"time": "minute"}}, {"fields": {"colour": "exact"}}, {"fields": {"time": "hidden"}}, {"window": {"max_age": "90 days"}},
     {"rate": {"reads": "24/P2D"}}, {"purposes": []}, {"duties": {"on_end": "P7D"}}, {"validity": {"until": "2027-01-01"}}, {"more": True}],
)  # fmt: skip
def test_what_no_clause_says_does_not_fit(change: dict[str, Any]) -> None:
    schema = jsonschema.clause()
    assert not refused(schema, read_clause())
    assert refused(schema, read_clause() | change)


@FEW
@given(st.lists(events(("purchase",)), max_size=9), st.sampled_from([(), ("recency",), ("frequency", "monetary", "recency")]))
def test_answers_fit(bought: list[dict[str, Any]], names: tuple[str, ...]) -> None:
    jsonschema_rs.validate(jsonschema.answers(), work_out(names, bought, NOW.date()))


def test_a_number_of_days_is_a_word_of_the_schema() -> None:
    words = jsonschema.answers()["properties"]["frequency"]["enum"]
    assert words == list(
        dict.fromkeys(answers._frequency([{"time": f"2026-{n // 28 + 1:02}-{n % 28 + 1:02}"} for n in range(number)], NOW.date()) for number in range(40))
    )


@FEW
@given(slices, events())
def test_a_coarser_amount_is_a_bucket(part: Any, event: dict[str, Any]) -> None:
    for name, level in part.fields.items():
        if FIELDS[name].order == "money" and level != "exact" and name in event:
            jsonschema_rs.validate(jsonschema.bucket(), coarse("money", level)(event[name]))


@pytest.mark.parametrize(
    ("change", "bound"),
    [
        (lambda item, n: item.update(why="x" * n), 200),
        (lambda item, n: item.update(gives=item["gives"] * n), 10),
        (lambda item, n: item["gives"][0].update(text="x" * n), 200),
        (lambda item, n: item["want"]["duties"].update(processors=["x" * n]), 80),
        (lambda item, n: item.update(purposes=sorted(PURPOSES)[:n]), 5),
    ],
    ids=["why", "gives", "what is given", "processor", "purposes"],
)  # fmt: skip
def test_the_schema_and_the_reader_have_the_same_bounds(change: Callable[[dict[str, Any], int], Any], bound: int) -> None:
    """The last that is taken, and the first that is not."""
    for more in (0, 1):
        document = deepcopy(GOOD)
        change(document["items"][0], bound + more)
        fits = not refused(jsonschema.asked("read"), {name: value for name, value in document["items"][0].items() if name != "id"})
        if fits:
            Request.parse(document, FACTS)
        else:
            with pytest.raises(Malformed):
                Request.parse(document, FACTS)
        assert fits is not bool(more)
