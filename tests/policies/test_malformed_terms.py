"""Malformed terms are refused with a pointer to the place and a sentence that says what to do: a table of cases on one good document."""

import copy
import json
from typing import Any

import pytest

from policies.documents import Malformed, load
from policies.terms import Terms

GOOD: dict[str, Any] = {
    "type": "Terms", "version": 4, "vocabulary": 1, "base": "SD-BASE-DP", "requests": "AgentAllowsRequests", "auto_accept": "never",
    "allow": [
        {
            "id": "books", "label": "Bookshops", "vendors": ["class:bookshop", "https://books.example"], "action": "read", "base": "SD-BASE",
            "purposes": ["dpv:ProvideProductRecommendations"], "kinds": ["cart", "purchase"], "sites": ["shop.example"], "classes": ["shop"], "sensitive": ["health"],
            "categories": ["books/crime"], "form": "rows", "fields": {"category": "leaf", "price": "bucket:10"}, "answers": ["recency"],
            "window": {"max_age": "P90D", "min_age": "P1D", "after": "2026-01-01T00:00:00Z"}, "rate": {"reads": "24/P1D", "rows": "500/P1D"},
            "duties": {"retention": "P30D", "on_end": "delete:P7D", "breach_notice": "P3D", "onward": "processors", "processors": ["Parcel Ltd"], "profiling": False, "storage": ["EEA"]},
            "validity": {"max": "P180D", "until": "2030-01-01T00:00:00Z"},
        },
        {"id": "offers", "vendors": ["known"], "action": "contact", "base": "PDC-INTENT", "purposes": ["dpv:DirectMarketing"], "channels": ["inbox"], "rate": {"messages": "2/P30D"}},
    ],
    "deny": [{"id": "no-ads", "actions": ["read"], "purposes": ["dpv:Advertising"]}, {"id": "no-clinic", "sites": ["clinic.example"], "fields": ["title"], "vendors": ["*"]}],
}  # fmt: skip
GONE = object()


def changed(pointer: str, value: Any) -> dict[str, Any]:
    """The good document with one member replaced, added or (GONE) taken out."""
    document: Any = copy.deepcopy(GOOD)
    *path, last = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
    place = document
    for step in path:
        place = place[int(step)] if isinstance(place, list) else place[step]
    if isinstance(place, list):
        place[len(place) if last == "-" else int(last)] = value if last != "-" else place.append(value)
    elif value is GONE:
        del place[last]
    else:
        place[last] = value
    return dict(document)


# What is put in, and where; the refusal points there unless a third entry says where else.
ONE = "/allow/0"
CASES: list[tuple[Any, ...]] = [
    # The document as a whole.
    ("/extra", 1), ("/Type", "Terms"), ("/", 1), ("/a~1b", 1), ("/type", "terms"), ("/type", "Offer"), ("/type", None), ("/type", GONE), ("/version", GONE),
    ("/version", -1), ("/version", "4"), ("/version", True), ("/version", None), ("/version", [4]), ("/version", 2**53), ("/vocabulary", 0), ("/vocabulary", 2),
    ("/vocabulary", True), ("/vocabulary", "1"), ("/vocabulary", GONE), ("/base", "sd-base"), ("/base", "SD-BASE-P"), ("/base", ""), ("/base", None),
    ("/base", ["SD-BASE"]), ("/base", GONE), ("/requests", "everybody"), ("/requests", "agentallowsrequests"), ("/requests", []), ("/requests", GONE),
    ("/auto_accept", "always"), ("/auto_accept", False), ("/auto_accept", GONE), ("/allow", {}), ("/allow", None), ("/allow", "books"), ("/allow", GONE),
    ("/deny", {}), ("/deny", GONE), ("/deny", 7), ("/allow", [GOOD["allow"][0]] * 1001), ("/deny", [{"id": "d"}] * 1001),
    # A rule's frame.
    ("/allow/0", "books"), ("/allow/0", None), ("/allow/0", []), (f"{ONE}/extra", 1), (f"{ONE}/deny", []), (f"{ONE}/id", GONE), (f"{ONE}/id", ""), (f"{ONE}/id", 7),
    (f"{ONE}/id", "-books"), (f"{ONE}/id", "bo oks"), (f"{ONE}/id", "b" * 65), (f"{ONE}/id", "bücher"), (f"{ONE}/id", "a~b~c"), (f"{ONE}/id", "books\n"),
    (f"{ONE}/label", ""), (f"{ONE}/label", 7), (f"{ONE}/label", "x" * 201), (f"{ONE}/label", "a\u202eb"), (f"{ONE}/label", "a\u200bb"), (f"{ONE}/label", "a\x00b"),
    (f"{ONE}/label", None), (f"{ONE}/action", "sell"), (f"{ONE}/action", GONE), (f"{ONE}/action", ["read"]), (f"{ONE}/action", "contact", f"{ONE}/kinds"),
    (f"{ONE}/action", "write", f"{ONE}/base"), (f"{ONE}/base", "SD"), (f"{ONE}/base", 1),
    # Vendors.
    (f"{ONE}/vendors", GONE), (f"{ONE}/vendors", []), (f"{ONE}/vendors", "*"), (f"{ONE}/vendors", ["*", "*"], f"{ONE}/vendors/1"),
    (f"{ONE}/vendors", ["books.example"], f"{ONE}/vendors/0"), (f"{ONE}/vendors", ["Known"], f"{ONE}/vendors/0"), (f"{ONE}/vendors", ["class:"], f"{ONE}/vendors/0"),
    (f"{ONE}/vendors", ["class:Book Shop"], f"{ONE}/vendors/0"), (f"{ONE}/vendors", ["ftp://books.example"], f"{ONE}/vendors/0"),
    (f"{ONE}/vendors", ["https://"], f"{ONE}/vendors/0"), (f"{ONE}/vendors", ["https://a b"], f"{ONE}/vendors/0"), (f"{ONE}/vendors", ["https://ä.example"], f"{ONE}/vendors/0"),
    (f"{ONE}/vendors", ["https://" + "a" * 301], f"{ONE}/vendors/0"), (f"{ONE}/vendors", ["javascript:alert(1)"], f"{ONE}/vendors/0"), (f"{ONE}/vendors", [None], f"{ONE}/vendors/0"),
    (f"{ONE}/vendors", ["known", "https://b.example", 7], f"{ONE}/vendors/2"), (f"{ONE}/vendors", ["**"], f"{ONE}/vendors/0"),
    # Which events.
    (f"{ONE}/kinds", GONE), (f"{ONE}/kinds", "cart"), (f"{ONE}/kinds", ["carts"], f"{ONE}/kinds/0"), (f"{ONE}/kinds", ["cart", "cart"], f"{ONE}/kinds/1"),
    (f"{ONE}/kinds", ["*"], f"{ONE}/kinds/0"), (f"{ONE}/kinds", []), (f"{ONE}/kinds", [["cart"]], f"{ONE}/kinds/0"),
    (f"{ONE}/sites", ["Shop.example"], f"{ONE}/sites/0"), (f"{ONE}/sites", ["https://shop.example"], f"{ONE}/sites/0"), (f"{ONE}/sites", ["shop.example/x"], f"{ONE}/sites/0"),
    (f"{ONE}/sites", ["*.example"], f"{ONE}/sites/0"), (f"{ONE}/sites", [""], f"{ONE}/sites/0"), (f"{ONE}/sites", "shop.example"),
    (f"{ONE}/sites", ["shop.example", "shop.example"], f"{ONE}/sites/1"), (f"{ONE}/sites", ["a" * 254], f"{ONE}/sites/0"), (f"{ONE}/sites", ["-shop.example"], f"{ONE}/sites/0"),
    (f"{ONE}/classes", ["shops"], f"{ONE}/classes/0"), (f"{ONE}/classes", "shop"), (f"{ONE}/classes", ["shop", 1], f"{ONE}/classes/1"),
    (f"{ONE}/sensitive", ["shop"], f"{ONE}/sensitive/0"), (f"{ONE}/sensitive", ["*"], f"{ONE}/sensitive/0"), (f"{ONE}/sensitive", True),
    (f"{ONE}/categories", ["book"], f"{ONE}/categories/0"), (f"{ONE}/categories", ["books/"], f"{ONE}/categories/0"), (f"{ONE}/categories", ["books//crime"], f"{ONE}/categories/0"),
    (f"{ONE}/categories", ["books/a/b/c/d/e"], f"{ONE}/categories/0"), (f"{ONE}/categories", ["books/" + "x" * 41], f"{ONE}/categories/0"), (f"{ONE}/categories", ["books/\x07"], f"{ONE}/categories/0"),
    # What of them.
    (f"{ONE}/form", "row"), (f"{ONE}/form", None), (f"{ONE}/form", ["rows"]), (f"{ONE}/answers", ["often"], f"{ONE}/answers/0"), (f"{ONE}/answers", "recency"),
    (f"{ONE}/fields", []), (f"{ONE}/fields", ["price"]), (f"{ONE}/fields", {}), (f"{ONE}/fields", {"query": "exact"}), (f"{ONE}/fields/id", "exact"),
    (f"{ONE}/fields/kind", "exact"), (f"{ONE}/fields/price", "bucket:20"), (f"{ONE}/fields/price", 10), (f"{ONE}/fields/time", "week"), (f"{ONE}/fields/time", None),
    (f"{ONE}/fields/order_id", "exact"), (f"{ONE}/window", "P90D"), (f"{ONE}/window/max_age", "90"), (f"{ONE}/window/max_age", 90), (f"{ONE}/window/max_age", "P1Y6M"),
    (f"{ONE}/window/max_age", "P101Y"), (f"{ONE}/window/max_age", "P-1D"), (f"{ONE}/window/max_age", "P1.5D"), (f"{ONE}/window/min_age", "p1d"),
    (f"{ONE}/window/after", "2026-01-01"), (f"{ONE}/window/after", "2026-01-01T00:00:00"), (f"{ONE}/window/after", "2026-01-01T00:00:00+00:00"),
    (f"{ONE}/window/after", "2026-02-30T00:00:00Z"), (f"{ONE}/window/after", "2026-01-01T24:00:00Z"), (f"{ONE}/window/before", 0), (f"{ONE}/window/since", "P1D"),
    # Why, how often, how long, and the duties.
    (f"{ONE}/purposes", GONE), (f"{ONE}/purposes", []), (f"{ONE}/purposes", ["ProvideProductRecommendations"], f"{ONE}/purposes/0"), (f"{ONE}/purposes", ["dpv:Purpose"], f"{ONE}/purposes/0"),
    (f"{ONE}/purposes", ["dpv:Marketing", "dpv:Marketing"], f"{ONE}/purposes/1"), (f"{ONE}/purposes", "dpv:Marketing"), (f"{ONE}/rate", "24/P1D"), (f"{ONE}/rate/reads", 24),
    (f"{ONE}/rate/reads", "0/P1D"), (f"{ONE}/rate/reads", "24/P7D"), (f"{ONE}/rate/reads", "10001/P1D"), (f"{ONE}/rate/rows", "1000001/P1D"), (f"{ONE}/rate/messages", "1/P30D"),
    (f"{ONE}/duties", []), (f"{ONE}/duties/forget", True), (f"{ONE}/duties/retention", "forever"), (f"{ONE}/duties/on_end", "P7D"), (f"{ONE}/duties/breach_notice", 3),
    (f"{ONE}/duties/onward", "everyone"), (f"{ONE}/duties/processors", ["*"], f"{ONE}/duties/processors/0"), (f"{ONE}/duties/processors", [str(n) for n in range(21)]),
    (f"{ONE}/duties/processors", ["x" * 81], f"{ONE}/duties/processors/0"), (f"{ONE}/duties/profiling", "no"), (f"{ONE}/duties/tracking", 0), (f"{ONE}/duties/ai_training", None),
    (f"{ONE}/duties/storage", []), (f"{ONE}/duties/storage", ["Europe"], f"{ONE}/duties/storage/0"), (f"{ONE}/duties/storage", "EEA"), (f"{ONE}/validity", "P180D"),
    (f"{ONE}/validity/max", "P366D"), (f"{ONE}/validity/max", "P2Y"), (f"{ONE}/validity/from", "now"), (f"{ONE}/validity/until", "2030-01-01T00:00Z"), (f"{ONE}/validity/min", "P1D"),
    (f"{ONE}/channels", ["inbox"]), ("/allow/1/channels", ["email"], "/allow/1/channels/0"), ("/allow/1/kinds", ["cart"]), ("/allow/1/rate/messages", "101/P30D"), ("/allow/1/rate/reads", "1/P1D"),
    # Denies.
    ("/deny/0", "no-ads"), ("/deny/0", None), ("/deny/0/id", GONE), ("/deny/0/id", " "), ("/deny/0/label", "No advertising"), ("/deny/0/window", {}),
    ("/deny/0/actions", []), ("/deny/0/actions", ["sell"], "/deny/0/actions/0"), ("/deny/0/actions", "read"), ("/deny/0/purposes", []), ("/deny/0/purposes", ["ads"], "/deny/0/purposes/0"),
    ("/deny/1/vendors", []), ("/deny/1/vendors", ["nobody"], "/deny/1/vendors/0"), ("/deny/1/kinds", []), ("/deny/1/kinds", ["dreams"], "/deny/1/kinds/0"), ("/deny/1/sites", []),
    ("/deny/1/sites", ["*"], "/deny/1/sites/0"), ("/deny/1/sites", ["self"], "/deny/1/sites/0"), ("/deny/1/classes", ["*"], "/deny/1/classes/0"), ("/deny/1/categories", ["*"], "/deny/1/categories/0"),
    ("/deny/1/fields", {"title": "hidden"}), ("/deny/1/fields", ["titles"], "/deny/1/fields/0"), ("/deny/1/fields", ["title", "title"], "/deny/1/fields/1"), ("/deny/1/id", "no-ads"),
    ("/deny/1/id", "books"), ("/allow/1/id", "books"),
]  # fmt: skip

# Text that no document can come from.
TEXTS: list[tuple[str, str]] = [
    ("", ""), (" ", ""), ("null and void", ""), ("{", ""), ("{'type':'Terms'}", ""), ('{"type":"Terms",}', ""), ("\ufeff{}", ""), ("{}{}", ""), ("// none\n{}", ""),
    ('{"version":1,"version":2}', ""), ('{"allow":[{"id":"a","id":"b"}]}', "/allow/0"), ('{"version":1.0}', "/version"), ('{"version":1e3}', "/version"), ('{"version":-0.0}', "/version"),
    ('{"version":NaN}', "/version"), ('{"version":Infinity}', "/version"), ('{"version":9007199254740992}', "/version"), ('{"version":' + "1" * 100_000 + "}", "/version"),
    ('{"base":"\\ud800"}', "/base"), ('{"\\udc00":1}', ""), ("[" * 1_000_000, ""), ('{"a":' * 200_000, ""), ("[" * 17 + "]" * 17, "/0" * 16), ('{"deny":' + "[" * 16 + "]" * 16 + "}", "/deny" + "/0" * 15),
    ('{"allow":[' + "1," * 1000 + "1]}", "/allow"), ("{" + ",".join(f'"m{n}":1' for n in range(1001)) + "}", ""), ('{"a":"' + "x" * 10 + '\n"}', ""), ("\x00", ""),
]  # fmt: skip


def refusal(document: Any) -> dict[str, str]:
    with pytest.raises(Malformed) as found:
        Terms.parse(document)
    return found.value.errors[0]


def test_the_good_document_is_good() -> None:
    assert Terms.parse(GOOD).to_json() == GOOD
    assert Terms.parse(load(json.dumps(GOOD))).to_json() == GOOD


def test_there_are_enough_cases() -> None:
    assert len(CASES) + len(TEXTS) >= 200
    assert len({(case[0], repr(case[1])) for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}={'missing' if type(case[1]) is object else str(case[1])[:40]!a}")
def test_a_malformed_document_is_refused_with_a_pointer(case: tuple[Any, ...]) -> None:
    pointer, value = case[0], case[1]
    document = changed(pointer, value)
    error = refusal(document)
    assert error["pointer"] == (case[2] if len(case) == 3 else pointer), error
    assert error["detail"].endswith(".")


@pytest.mark.parametrize("case", TEXTS, ids=lambda case: ascii(case[0][:30]))
def test_malformed_text_is_refused_with_a_pointer(case: tuple[str, str]) -> None:
    text, pointer = case
    with pytest.raises(Malformed) as found:
        load(text)
    assert found.value.errors[0]["pointer"] == pointer
    assert found.value.errors[0]["detail"].endswith(".")


@pytest.mark.parametrize("value", [None, 1, True, "Terms", [], [GOOD], {}, {"type": "Terms"}])
def test_what_is_no_document_at_all(value: Any) -> None:
    assert refusal(value)["pointer"] in {"", "/type", "/version"}
