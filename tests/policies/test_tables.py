"""The tables of policies are those of the design: fields, roster, purposes; and strict parsing."""

from typing import Any

import pytest

from policies.clauses import Clause
from policies.documents import Malformed, load
from policies.purposes import PURPOSES, meet_purposes
from policies.roster import ROSTER, at_most
from policies.terms import DEFAULT_TERMS, Terms
from policies.vocabulary import CATEGORIES, FIELDS, GROUPS, KINDS, LEVELS, SENSITIVE_CATEGORIES, SITE_CLASSES
from tests.policies import oracle


def test_fields_are_those_of_the_second_copy() -> None:
    assert {name: (list(about.levels), sorted(about.kinds), about.item) for name, about in FIELDS.items()} == {
        name: (levels, sorted(kinds), item) for name, (levels, kinds, item) in oracle.FIELDS.items()
    }
    assert list(FIELDS) == list(oracle.FIELDS)


def test_each_level_of_each_field_has_a_label() -> None:
    labels = [about.label(level) for about in FIELDS.values() for level in about.levels[1:]]
    assert all(labels)
    assert not any("{" in label for label in labels)
    assert all(levels[0] == "hidden" for levels in LEVELS.values())
    assert {name for _, names in GROUPS for name in names} == set(FIELDS) - {"time", "site", "category", "price", "confidence"}


def test_words_are_counted() -> None:
    assert (len(KINDS), len(SITE_CLASSES), len(CATEGORIES)) == (9, 23, 30)
    assert set(SENSITIVE_CATEGORIES) < set(CATEGORIES)


# The columns: analytics, tracking, profiling, anonymised to third parties, portability required.
@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ("SD-BASE", "-----"),
        ("SD-BASE-DP", "----p"),
        ("SD-BASE-A", "a----"),
        ("SD-BASE-A-DP", "a---p"),
        ("SD-BASE-AT", "at---"),
        ("SD-BASE-AT-DP", "at--p"),
        ("SD-BASE-ATP", "atP--"),
        ("SD-BASE-ATP-DP", "atP-p"),
        ("SD-BASE-ATP-S3P", "atP3-"),
        ("SD-BASE-ATP-S3P-DP", "atP3p"),
        ("PDC-INTENT", "----p"),
        ("PDC-AI", "----p"),
        ("PDC-GOOD", "----p"),
    ],
)
def test_each_roster_row(row: str, columns: str) -> None:
    found = ROSTER[row]
    flags = (found.analytics, found.tracking, found.profiling, found.anonymised, found.portability)
    assert "".join(letter if held else "-" for letter, held in zip("atP3p", flags, strict=True)) == columns
    assert found.ai_training == (row == "PDC-AI")
    assert found.purposes <= set(PURPOSES)


def test_the_roster_has_no_other_row_and_is_ordered() -> None:
    assert len(ROSTER) == 13
    assert at_most("SD-BASE-DP", "SD-BASE-ATP-S3P")
    assert not at_most("SD-BASE", "SD-BASE-DP")
    assert not at_most("PDC-AI", "PDC-GOOD")


def test_purposes_have_known_parents_and_no_root() -> None:
    assert "dpv:Purpose" not in PURPOSES
    assert all(parent in PURPOSES for about in PURPOSES.values() for parent in about.parents)
    assert {name for name, about in PURPOSES.items() if about.named_only} == {
        "dpv:SellDataToThirdParties",
        "dpv:SellInsightsFromData",
        "dpv:TargetedAdvertising",
    }


def test_purposes_meet_in_what_both_admit() -> None:
    assert meet_purposes({"dpv:Marketing"}, {"dpv:DirectMarketing", "dpv:CustomerCare"}) == {"dpv:DirectMarketing"}
    assert meet_purposes({"dpv:Personalisation"}, {"dpv:ServicePersonalisation"}) == set()


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ('{"a":{"b":1,"b":2}}', "/a"),
        ('[1,{"x/y":0.5}]', "/1/x~1y"),
        ("[NaN]", "/0"),
        ("[-Infinity]", "/0"),
        ("[9007199254740992]", "/0"),
        ("[" + "9" * 5000 + "]", "/0"),
        ('["\\ud800"]', "/0"),
        ('{"\\udfff":1}', ""),
        ("[" * 17 + "]" * 17, "/0" * 16),
        ("[" * 100_000, ""),
        ("[" + "0," * 1000 + "0]", ""),
        ("{", ""),
        (b"\xff", ""),
        ("\ufeff{}", ""),
    ],
)
def test_strict_json_refuses(text: str | bytes, pointer: str) -> None:
    with pytest.raises(Malformed) as found:
        load(text)
    assert [error["pointer"] for error in found.value.errors] == [pointer]
    assert found.value.errors[0]["detail"].endswith(".")


def test_strict_json_accepts_its_limits() -> None:
    assert load("[" * 16 + "]" * 16)
    assert load("[9007199254740991,-9007199254740991]") == [2**53 - 1, 1 - 2**53]
    assert len(load("[" + "0," * 999 + "0]")) == 1000


CLAUSE: dict[str, Any] = {
    "id": "c1",
    "action": "read",
    "base": "SD-BASE",
    "purposes": ["dpv:CustomerCare"],
    "kinds": ["purchase"],
    "form": "rows",
    "fields": {"time": "day"},
}


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"action": "sell"}, "/action"),
        ({"kinds": ["purchase", "purchase"]}, "/kinds/1"),
        ({"kinds": "purchase"}, "/kinds"),
        ({"fields": {"time": "week"}}, "/fields/time"),
        ({"fields": {"order_id": "exact"}}, "/fields/order_id"),
        ({"fields": {}}, "/fields"),
        ({"fields": {"query": "exact"}}, "/fields"),
        ({"form": "answers"}, "/answers"),
        ({"purposes": ["dpv:Purpose"]}, "/purposes/0"),
        ({"sites": ["Shop.example"]}, "/sites/0"),
        ({"categories": ["books/"]}, "/categories/0"),
        ({"window": {"max_age": "P1Y2M"}}, "/window/max_age"),
        ({"window": {"after": "2026-02-30T00:00:00Z"}}, "/window/after"),
        ({"rate": {"reads": "10001/P1D"}}, "/rate/reads"),
        ({"rate": {"messages": "1/P30D"}}, "/rate/messages"),
        ({"duties": {"on_end": "P7D"}}, "/duties/on_end"),
        ({"duties": {"processors": ["Parcel\u202e Ltd"]}}, "/duties/processors/0"),
        ({"duties": {"profiling": 0}}, "/duties/profiling"),
        ({"validity": {"max": "P366D"}}, "/validity/max"),
        ({"base": "SD-FREE"}, "/base"),
        ({"extra": 1}, "/extra"),
    ],
)
def test_a_clause_that_is_refused_says_where(change: dict[str, Any], pointer: str) -> None:
    Clause.parse(CLAUSE)
    with pytest.raises(Malformed) as found:
        Clause.parse(CLAUSE | change)
    assert found.value.errors[0]["pointer"] == pointer


def test_rule_ids_are_used_once() -> None:
    form = DEFAULT_TERMS.to_json()
    with pytest.raises(Malformed) as found:
        Terms.parse({**form, "deny": [{"id": "recommendations"}]})
    assert found.value.errors[0]["pointer"] == "/deny/0/id"
