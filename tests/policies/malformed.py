"""Requests that are not well formed, each with the pointer to its place: text, and changes to a document that is well formed."""

import json
from copy import deepcopy
from typing import Any

GOOD: dict[str, Any] = {
    "vendor": "https://books.example",
    "items": [
        {
            "id": "i1", "action": "read", "kinds": ["purchase", "search"], "purposes": ["dpv:ProvideProductRecommendations"], "why": "To suggest your next book",
            "roster_accepts": ["SD-BASE-DP", "SD-BASE-A"],
            "want": {
                "sites": ["shop.example", "=www.other.example"], "classes": ["shop"], "sensitive": ["health"], "categories": ["books"], "form": "rows",
                "answers": ["recency"], "fields": {"category": "leaf", "price": "exact", "time": "exact"}, "window": {"max_age": "P2Y", "min_age": "P1D"},
                "rate": {"reads": "24/P1D", "rows": "500/P1D"},
                "duties": {"retention": "P1Y", "on_end": "delete:P7D", "onward": "processors", "processors": ["Parcel Ltd"], "profiling": False, "storage": ["EEA"]},
                "validity": {"until": "2027-12-01T00:00:00Z"},
            },
            "minimum": {"kinds": ["purchase"], "fields": {"category": "top"}},
            "gives": [{"kind": "discount", "text": "5% on recommended titles"}],
        },
        {
            "id": "i2", "action": "contact", "purposes": ["dpv:DirectMarketing"], "why": "To write to you",
            "want": {"categories": ["books"], "channels": ["inbox"], "rate": {"messages": "8/P30D"}},
        },
        {"id": "i3", "action": "ask", "purposes": ["dpv:CustomerCare"], "why": "To ask you", "want": {"rate": {"questions": "1/P30D"}}},
    ],
}  # fmt: skip
I, W, M, G = "/items/0", "/items/0/want", "/items/0/minimum", "/items/0/gives"
GONE = object()
LONG = "x" * 201
DEEP: Any = "x"
for _ in range(20):
    DEEP = [DEEP]

# Where it is changed, to what, and the pointer of the error where that is another place.
CHANGES: list[tuple[str, Any] | tuple[str, Any, str]] = [
    # the request
    ("/vendor", GONE), ("/items", GONE), ("/extra", 1), ("/a~1b~0c", 1), ("/vendor", 7), ("/vendor", "https://other.example"), ("/vendor", None), ("/items", {}),
    ("/items", []), ("/items", None), ("/items", "i1"), ("/items", [None], "/items/0"), ("/items", ["i1"], "/items/0"), ("/items", [[]], "/items/0"),
    ("/items", [GOOD["items"][0]] * 2, "/items/1/id"), ("/items", [GOOD["items"][0] | {"id": f"n{at}"} for at in range(21)], "/items"),
    # an item
    (f"{I}/id", GONE), (f"{I}/id", 1), (f"{I}/id", ""), (f"{I}/id", "a~b"), (f"{I}/id", "-a"), (f"{I}/id", "a b"), (f"{I}/id", "a" * 65), (f"{I}/id", "ä"), (f"{I}/id", "i1\n"),
    (f"{I}/action", GONE), (f"{I}/action", "sell"), (f"{I}/action", ["read"]), (f"{I}/action", None), (f"{I}/action", "READ"),
    (f"{I}/kinds", GONE), (f"{I}/kinds", []), (f"{I}/kinds", "purchase"), (f"{I}/kinds", {"purchase": True}), (f"{I}/kinds", ["thought"], f"{I}/kinds/0"),
    (f"{I}/kinds", ["purchase", "purchase"], f"{I}/kinds/1"), (f"{I}/kinds", ["purchase", 1], f"{I}/kinds/1"), (f"{I}/kinds", [["purchase"]], f"{I}/kinds/0"),
    (f"{I}/kinds", ["*"], f"{I}/kinds/0"), (f"{I}/kinds", [None], f"{I}/kinds/0"),
    (f"{I}/purposes", GONE), (f"{I}/purposes", []), (f"{I}/purposes", "dpv:Marketing"), (f"{I}/purposes", ["dpv:Purpose"], f"{I}/purposes/0"),
    (f"{I}/purposes", ["Marketing"], f"{I}/purposes/0"), (f"{I}/purposes", ["dpv:Marketing", "dpv:Marketing"], f"{I}/purposes/1"), (f"{I}/purposes", ["*"], f"{I}/purposes/0"),
    (f"{I}/purposes", ["dpv:PaymentManagement", "dpv:CustomerCare", "dpv:Marketing", "dpv:PublicBenefit", "dpv:SellProducts", "dpv:RepairImpairments"]),
    (f"{I}/why", GONE), (f"{I}/why", ""), (f"{I}/why", LONG), (f"{I}/why", 5), (f"{I}/why", "To\u202ehelp"), (f"{I}/why", "a\x00b"), (f"{I}/why", "a\u200bb"), (f"{I}/why", None),
    (f"{I}/why", "two\nlines"), (f"{I}/want", GONE), (f"{I}/want", []), (f"{I}/want", None), (f"{I}/want", "rows"), (f"{I}/extra", {}), (f"{I}/base", "SD-BASE"),
    (f"{I}/roster_accepts", "SD-BASE"), (f"{I}/roster_accepts", ["SD-FREE"], f"{I}/roster_accepts/0"), (f"{I}/roster_accepts", ["SD-BASE", "SD-BASE"], f"{I}/roster_accepts/1"),
    (f"{I}/roster_accepts", [1], f"{I}/roster_accepts/0"), (f"{I}/roster_accepts", None), (f"{I}/vendors", ["*"]), (f"{I}/label", "x"), (f"{I}/channels", ["inbox"]),
    # what it wants
    (f"{W}/kinds", ["purchase"]), (f"{W}/purposes", ["dpv:Marketing"]), (f"{W}/base", "SD-BASE"), (f"{W}/extra", 1), (f"{W}/except", []), (f"{W}/channels", ["inbox"]),
    (f"{W}/sites", "shop.example"), (f"{W}/sites", ["Shop.example"], f"{W}/sites/0"), (f"{W}/sites", ["https://shop.example"], f"{W}/sites/0"), (f"{W}/sites", ["shop.example/"], f"{W}/sites/0"),
    (f"{W}/sites", ["*.example"], f"{W}/sites/0"), (f"{W}/sites", ["shop..example"], f"{W}/sites/0"), (f"{W}/sites", ["=self", "=="], f"{W}/sites/1"), (f"{W}/sites", ["büch.example"], f"{W}/sites/0"),
    (f"{W}/sites", ["a" * 254], f"{W}/sites/0"), (f"{W}/sites", [""], f"{W}/sites/0"), (f"{W}/sites", [{}], f"{W}/sites/0"), (f"{W}/sites", ["shop.example", "shop.example"], f"{W}/sites/1"),
    (f"{W}/sites", [f"s{at}.example" for at in range(1001)]), (f"{W}/classes", ["bookshop"], f"{W}/classes/0"), (f"{W}/classes", "*"), (f"{W}/classes", [True], f"{W}/classes/0"),
    (f"{W}/sensitive", ["*"], f"{W}/sensitive/0"), (f"{W}/sensitive", ["shop"], f"{W}/sensitive/0"), (f"{W}/sensitive", True), (f"{W}/sensitive", ["health", "health"], f"{W}/sensitive/1"),
    (f"{W}/categories", ["book"], f"{W}/categories/0"), (f"{W}/categories", ["books/"], f"{W}/categories/0"), (f"{W}/categories", ["/books"], f"{W}/categories/0"),
    (f"{W}/categories", ["books/a/b/c/d/e"], f"{W}/categories/0"), (f"{W}/categories", ["books/" + "x" * 41], f"{W}/categories/0"), (f"{W}/categories", ["books/a\tb"], f"{W}/categories/0"),
    (f"{W}/categories", "books"), (f"{W}/form", "table"), (f"{W}/form", ["rows"]), (f"{W}/form", None), (W, {"form": "answers", "answers": []}, f"{W}/answers"),
    (f"{W}/answers", ["average"], f"{W}/answers/0"), (f"{W}/answers", "recency"), (f"{W}/answers", ["recency", "recency"], f"{W}/answers/1"),
    (f"{W}/fields", GONE), (f"{W}/fields", {}), (f"{W}/fields", ["time"]), (f"{W}/fields", {"visit": "exact"}, f"{W}/fields/visit"), (f"{W}/fields", {"id": "exact"}, f"{W}/fields/id"),
    (f"{W}/fields", {"time": "week"}, f"{W}/fields/time"), (f"{W}/fields", {"time": 1}, f"{W}/fields/time"), (f"{W}/fields", {"time": None}, f"{W}/fields/time"),
    (f"{W}/fields", {"order_id": "exact"}, f"{W}/fields/order_id"), (f"{W}/fields", {"price": "bucket:2"}, f"{W}/fields/price"), (f"{W}/fields", {"time": "hidden"}),
    (f"{W}/fields", {"dwell": "exact"}), (f"{W}/fields", {"total/x": "exact"}, f"{W}/fields/total~1x"), (f"{W}/fields", {"gtin": "exact"}),
    (f"{W}/window", []), (f"{W}/window", {"age": "P1D"}, f"{W}/window/age"), (f"{W}/window/max_age", "P1Y2M"), (f"{W}/window/max_age", "90"), (f"{W}/window/max_age", 90),
    (f"{W}/window/max_age", "P-1D"), (f"{W}/window/max_age", "P1.5D"), (f"{W}/window/max_age", "PT1M"), (f"{W}/window/max_age", "P101Y"), (f"{W}/window/max_age", "p1d"), (f"{W}/window/min_age", ""),
    (f"{W}/window/after", "2026-01-01T00:00:00"), (f"{W}/window/after", "2026-01-01"), (f"{W}/window/after", "2026-01-01T00:00:00+01:00"), (f"{W}/window/before", "2026-02-30T00:00:00Z"),
    (f"{W}/window/before", 1767225600), (f"{W}/window/before", "2026-01-01T24:00:01Z"), (f"{W}/window/before", "2026-01-01t00:00:00z"), (f"{W}/window/before", "2026-01-01T00:00:00.1234567Z"),
    (f"{W}/rate", "24/P1D"), (f"{W}/rate", {"answers": "1/P1D"}, f"{W}/rate/answers"), (f"{W}/rate", {"messages": "1/P30D"}, f"{W}/rate/messages"), (f"{W}/rate/reads", "0/P1D"), (f"{W}/rate/reads", "024/P1D"),
    (f"{W}/rate/reads", "10001/P1D"), (f"{W}/rate/reads", 24), (f"{W}/rate/reads", "24"), (f"{W}/rate/reads", "24/P2D"), (f"{W}/rate/reads", "24/PT24H"), (f"{W}/rate/rows", "1000001/P1D"), (f"{W}/rate/rows", "-1/P1D"),
    (f"{W}/duties", []), (f"{W}/duties/sale", True), (f"{W}/duties/retention", "for ever"), (f"{W}/duties/retention", 30), (f"{W}/duties/on_end", "P7D"), (f"{W}/duties/on_end", "delete:"), (f"{W}/duties/on_end", "keep:P7D"),
    (f"{W}/duties/onward", "anyone"), (f"{W}/duties/onward", True), (f"{W}/duties/processors", "Parcel Ltd"), (f"{W}/duties/processors", ["*"], f"{W}/duties/processors/0"), (f"{W}/duties/processors", [""], f"{W}/duties/processors/0"),
    (f"{W}/duties/processors", ["x" * 81], f"{W}/duties/processors/0"), (f"{W}/duties/processors", ["Parcel\u202e Ltd"], f"{W}/duties/processors/0"), (f"{W}/duties/processors", [f"P{at}" for at in range(21)]),
    (f"{W}/duties/profiling", 0), (f"{W}/duties/tracking", "false"), (f"{W}/duties/ai_training", None), (f"{W}/duties/portability", []), (f"{W}/duties/storage", []), (f"{W}/duties/storage", "EEA"),
    (f"{W}/duties/storage", ["eea"], f"{W}/duties/storage/0"), (f"{W}/duties/storage", ["DEU"], f"{W}/duties/storage/0"), (f"{W}/duties/breach_notice", "3 days"),
    (f"{W}/validity", "P180D"), (f"{W}/validity/max", "P366D"), (f"{W}/validity/max", "for ever"), (f"{W}/validity/until", "2027-12-01"), (f"{W}/validity/until", "2027-12-01T00:00:00"), (f"{W}/validity/until", 1),
    (f"{W}/validity/since", "2027-12-01T00:00:00Z"), (f"{W}/validity/from", None),
    # its minimum, and what the vendor gives
    (M, []), (M, None), (f"{M}/base", "SD-BASE"), (f"{M}/extra", 1), (f"{M}/kinds", ["cart"], M), (f"{M}/kinds", []), (f"{M}/fields", {"title": "exact"}, f"{M}/fields/title"), (f"{M}/fields", {"category": "whole"}, f"{M}/fields/category"),
    (f"{M}/window", {"max_age": "P3Y"}, M), (f"{M}/window", {"after": "2026-01-01T00:00:00Z"}, f"{M}/window/after"), (f"{M}/rate", {"reads": "25/P1D"}, M), (f"{M}/sites", ["third.example"], M),
    (f"{M}/validity", {"until": "2031-01-01T00:00:00Z"}, M), (f"{M}/duties", {"tracking": True}, f"{M}/duties/tracking"), (f"{M}/answers", ["monetary"], M), (f"{M}/why", "x"),
    (G, {}), (G, ["5%"], f"{G}/0"), (G, [{"kind": "discount"}], f"{G}/0/text"), (G, [{"text": "5%"}], f"{G}/0/kind"), (G, [{"kind": "discount", "text": ""}], f"{G}/0/text"),
    (G, [{"kind": "Dis count", "text": "5%"}], f"{G}/0/kind"), (G, [{"kind": "discount", "text": LONG}], f"{G}/0/text"), (G, [{"kind": "discount", "text": "5%", "worth": 5}], f"{G}/0/worth"),
    (G, [{"kind": "discount", "text": "a\u2066b"}], f"{G}/0/text"), (G, [{"kind": "discount", "text": "5%"}] * 11),
    # the other actions have other members
    ("/items/1/kinds", ["purchase"]), ("/items/1/want/fields", {"time": "day"}), ("/items/1/want/duties", {}), ("/items/1/want/channels", ["email"], "/items/1/want/channels/0"), ("/items/1/want/channels", "inbox"),
    ("/items/1/want/rate", {"reads": "1/P1D"}, "/items/1/want/rate/reads"), ("/items/1/want/rate", {"messages": "101/P30D"}, "/items/1/want/rate/messages"), ("/items/2/want/channels", ["inbox"]),
    ("/items/2/want/rate", {"questions": "1/P1D"}, "/items/2/want/rate/questions"), ("/items/2/want/window", {}),
    # what no document may hold
    (f"{W}/window/max_age", 1.5), (f"{W}/window/max_age", 2**53), (f"{W}/window/max_age", -(2**53)), (f"{I}/why", "\ud800"), (f"{W}/extra", DEEP, f"{W}/extra" + "/0" * 12),
    (f"{I}/why", float("nan")), (f"{I}/why", float("inf")), (f"{W}/rate", {"reads": 24.0}, f"{W}/rate/reads"),
]  # fmt: skip

WHOLE = json.dumps(GOOD)
TEXTS: list[tuple[str | bytes, str]] = [
    ("", ""), ("{", ""), ("null", ""), ("[]", ""), ('"request"', ""), ("7", ""), ("NaN", ""), (WHOLE + "x", ""), (WHOLE[:-1], ""), ("\ufeff" + WHOLE, ""), (b"\xff" + WHOLE.encode(), ""), (WHOLE.encode("utf-16"), ""),
    (WHOLE.replace('"id": "i1"', '"id": "i1", "id": "i1"', 1), I), (WHOLE.replace('"vendor"', '"vendor": "x", "vendor"', 1), ""), (WHOLE.replace('"time": "exact"', '"time": "day", "time": "exact"', 1), f"{W}/fields"),
    (WHOLE.replace('"24/P1D"', "1e3", 1), f"{W}/rate/reads"), (WHOLE.replace('"24/P1D"', "9" * 5000, 1), f"{W}/rate/reads"), (WHOLE.replace('"24/P1D"', "-Infinity", 1), f"{W}/rate/reads"),
    ("[" * 500_000 + "]" * 500_000, ""), ('{"a":' * 200_000 + "1" + "}" * 200_000, ""), ("[" * 17 + "]" * 17, "/0" * 16), ("'" + WHOLE + "'", ""), (WHOLE.replace(",", ",,", 1), ""), (WHOLE.replace('"why": "To ', '"why": "To \t', 1), ""),
]  # fmt: skip


def changed(pointer: str, value: Any) -> dict[str, Any]:
    """The good request with one place changed, added or gone."""
    document = deepcopy(GOOD)
    place: Any = document
    *path, last = (step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])
    for step in path:
        place = place[int(step) if isinstance(place, list) else step]
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return document
