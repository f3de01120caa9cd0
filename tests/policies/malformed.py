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
ITEM, WANT, LEAST, GIVES = "/items/0", "/items/0/want", "/items/0/minimum", "/items/0/gives"
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
    (f"{ITEM}/id", GONE), (f"{ITEM}/id", 1), (f"{ITEM}/id", ""), (f"{ITEM}/id", "a~b"), (f"{ITEM}/id", "-a"), (f"{ITEM}/id", "a b"), (f"{ITEM}/id", "a" * 65), (f"{ITEM}/id", "ä"), (f"{ITEM}/id", "i1\n"),
    (f"{ITEM}/action", GONE), (f"{ITEM}/action", "sell"), (f"{ITEM}/action", ["read"]), (f"{ITEM}/action", None), (f"{ITEM}/action", "READ"),
    (f"{ITEM}/kinds", GONE), (f"{ITEM}/kinds", []), (f"{ITEM}/kinds", "purchase"), (f"{ITEM}/kinds", {"purchase": True}), (f"{ITEM}/kinds", ["thought"], f"{ITEM}/kinds/0"),
    (f"{ITEM}/kinds", ["purchase", "purchase"], f"{ITEM}/kinds/1"), (f"{ITEM}/kinds", ["purchase", 1], f"{ITEM}/kinds/1"), (f"{ITEM}/kinds", [["purchase"]], f"{ITEM}/kinds/0"),
    (f"{ITEM}/kinds", ["*"], f"{ITEM}/kinds/0"), (f"{ITEM}/kinds", [None], f"{ITEM}/kinds/0"),
    (f"{ITEM}/purposes", GONE), (f"{ITEM}/purposes", []), (f"{ITEM}/purposes", "dpv:Marketing"), (f"{ITEM}/purposes", ["dpv:Purpose"], f"{ITEM}/purposes/0"),
    (f"{ITEM}/purposes", ["Marketing"], f"{ITEM}/purposes/0"), (f"{ITEM}/purposes", ["dpv:Marketing", "dpv:Marketing"], f"{ITEM}/purposes/1"), (f"{ITEM}/purposes", ["*"], f"{ITEM}/purposes/0"),
    (f"{ITEM}/purposes", ["dpv:PaymentManagement", "dpv:CustomerCare", "dpv:Marketing", "dpv:PublicBenefit", "dpv:SellProducts", "dpv:RepairImpairments"]),
    (f"{ITEM}/why", GONE), (f"{ITEM}/why", ""), (f"{ITEM}/why", LONG), (f"{ITEM}/why", 5), (f"{ITEM}/why", "To\u202ehelp"), (f"{ITEM}/why", "a\x00b"), (f"{ITEM}/why", "a\u200bb"), (f"{ITEM}/why", None),
    (f"{ITEM}/why", "two\nlines"), (f"{ITEM}/want", GONE), (f"{ITEM}/want", []), (f"{ITEM}/want", None), (f"{ITEM}/want", "rows"), (f"{ITEM}/extra", {}), (f"{ITEM}/base", "SD-BASE"),
    (f"{ITEM}/roster_accepts", "SD-BASE"), (f"{ITEM}/roster_accepts", ["SD-FREE"], f"{ITEM}/roster_accepts/0"), (f"{ITEM}/roster_accepts", ["SD-BASE", "SD-BASE"], f"{ITEM}/roster_accepts/1"),
    (f"{ITEM}/roster_accepts", [1], f"{ITEM}/roster_accepts/0"), (f"{ITEM}/roster_accepts", None), (f"{ITEM}/vendors", ["*"]), (f"{ITEM}/label", "x"), (f"{ITEM}/channels", ["inbox"]),
    # what it wants
    (f"{WANT}/kinds", ["purchase"]), (f"{WANT}/purposes", ["dpv:Marketing"]), (f"{WANT}/base", "SD-BASE"), (f"{WANT}/extra", 1), (f"{WANT}/except", []), (f"{WANT}/channels", ["inbox"]),
    (f"{WANT}/sites", "shop.example"), (f"{WANT}/sites", ["Shop.example"], f"{WANT}/sites/0"), (f"{WANT}/sites", ["https://shop.example"], f"{WANT}/sites/0"), (f"{WANT}/sites", ["shop.example/"], f"{WANT}/sites/0"),
    (f"{WANT}/sites", ["*.example"], f"{WANT}/sites/0"), (f"{WANT}/sites", ["shop..example"], f"{WANT}/sites/0"), (f"{WANT}/sites", ["=self", "=="], f"{WANT}/sites/1"), (f"{WANT}/sites", ["büch.example"], f"{WANT}/sites/0"),
    (f"{WANT}/sites", ["a" * 254], f"{WANT}/sites/0"), (f"{WANT}/sites", [""], f"{WANT}/sites/0"), (f"{WANT}/sites", [{}], f"{WANT}/sites/0"), (f"{WANT}/sites", ["shop.example", "shop.example"], f"{WANT}/sites/1"),
    (f"{WANT}/sites", [f"s{at}.example" for at in range(1001)]), (f"{WANT}/classes", ["bookshop"], f"{WANT}/classes/0"), (f"{WANT}/classes", "*"), (f"{WANT}/classes", [True], f"{WANT}/classes/0"),
    (f"{WANT}/sensitive", ["*"], f"{WANT}/sensitive/0"), (f"{WANT}/sensitive", ["shop"], f"{WANT}/sensitive/0"), (f"{WANT}/sensitive", True), (f"{WANT}/sensitive", ["health", "health"], f"{WANT}/sensitive/1"),
    (f"{WANT}/categories", ["book"], f"{WANT}/categories/0"), (f"{WANT}/categories", ["books/"], f"{WANT}/categories/0"), (f"{WANT}/categories", ["/books"], f"{WANT}/categories/0"),
    (f"{WANT}/categories", ["books/a/b/c/d/e"], f"{WANT}/categories/0"), (f"{WANT}/categories", ["books/" + "x" * 41], f"{WANT}/categories/0"), (f"{WANT}/categories", ["books/a\tb"], f"{WANT}/categories/0"),
    (f"{WANT}/categories", "books"), (f"{WANT}/form", "table"), (f"{WANT}/form", ["rows"]), (f"{WANT}/form", None), (WANT, {"form": "answers", "answers": []}, f"{WANT}/answers"),
    (f"{WANT}/answers", ["average"], f"{WANT}/answers/0"), (f"{WANT}/answers", "recency"), (f"{WANT}/answers", ["recency", "recency"], f"{WANT}/answers/1"),
    (f"{WANT}/fields", GONE), (f"{WANT}/fields", {}), (f"{WANT}/fields", ["time"]), (f"{WANT}/fields", {"visit": "exact"}, f"{WANT}/fields/visit"), (f"{WANT}/fields", {"id": "exact"}, f"{WANT}/fields/id"),
    (f"{WANT}/fields", {"time": "week"}, f"{WANT}/fields/time"), (f"{WANT}/fields", {"time": 1}, f"{WANT}/fields/time"), (f"{WANT}/fields", {"time": None}, f"{WANT}/fields/time"),
    (f"{WANT}/fields", {"order_id": "exact"}, f"{WANT}/fields/order_id"), (f"{WANT}/fields", {"price": "bucket:2"}, f"{WANT}/fields/price"), (f"{WANT}/fields", {"time": "hidden"}),
    (f"{WANT}/fields", {"dwell": "exact"}), (f"{WANT}/fields", {"total/x": "exact"}, f"{WANT}/fields/total~1x"), (f"{WANT}/fields", {"gtin": "exact"}),
    (f"{WANT}/window", []), (f"{WANT}/window", {"age": "P1D"}, f"{WANT}/window/age"), (f"{WANT}/window/max_age", "P1Y2M"), (f"{WANT}/window/max_age", "90"), (f"{WANT}/window/max_age", 90),
    (f"{WANT}/window/max_age", "P-1D"), (f"{WANT}/window/max_age", "P1.5D"), (f"{WANT}/window/max_age", "PT1M"), (f"{WANT}/window/max_age", "P101Y"), (f"{WANT}/window/max_age", "p1d"), (f"{WANT}/window/min_age", ""),
    (f"{WANT}/window/after", "2026-01-01T00:00:00"), (f"{WANT}/window/after", "2026-01-01"), (f"{WANT}/window/after", "2026-01-01T00:00:00+01:00"), (f"{WANT}/window/before", "2026-02-30T00:00:00Z"),
    (f"{WANT}/window/before", 1767225600), (f"{WANT}/window/before", "2026-01-01T24:00:01Z"), (f"{WANT}/window/before", "2026-01-01t00:00:00z"), (f"{WANT}/window/before", "2026-01-01T00:00:00.1234567Z"),
    (f"{WANT}/rate", "24/P1D"), (f"{WANT}/rate", {"answers": "1/P1D"}, f"{WANT}/rate/answers"), (f"{WANT}/rate", {"messages": "1/P30D"}, f"{WANT}/rate/messages"), (f"{WANT}/rate/reads", "0/P1D"), (f"{WANT}/rate/reads", "024/P1D"),
    (f"{WANT}/rate/reads", "10001/P1D"), (f"{WANT}/rate/reads", 24), (f"{WANT}/rate/reads", "24"), (f"{WANT}/rate/reads", "24/P2D"), (f"{WANT}/rate/reads", "24/PT24H"), (f"{WANT}/rate/rows", "1000001/P1D"), (f"{WANT}/rate/rows", "-1/P1D"),
    (f"{WANT}/duties", []), (f"{WANT}/duties/sale", True), (f"{WANT}/duties/retention", "for ever"), (f"{WANT}/duties/retention", 30), (f"{WANT}/duties/on_end", "P7D"), (f"{WANT}/duties/on_end", "delete:"), (f"{WANT}/duties/on_end", "keep:P7D"),
    (f"{WANT}/duties/onward", "anyone"), (f"{WANT}/duties/onward", True), (f"{WANT}/duties/processors", "Parcel Ltd"), (f"{WANT}/duties/processors", ["*"], f"{WANT}/duties/processors/0"), (f"{WANT}/duties/processors", [""], f"{WANT}/duties/processors/0"),
    (f"{WANT}/duties/processors", ["x" * 81], f"{WANT}/duties/processors/0"), (f"{WANT}/duties/processors", ["Parcel\u202e Ltd"], f"{WANT}/duties/processors/0"), (f"{WANT}/duties/processors", [f"P{at}" for at in range(21)]),
    (f"{WANT}/duties/profiling", 0), (f"{WANT}/duties/tracking", "false"), (f"{WANT}/duties/ai_training", None), (f"{WANT}/duties/portability", []), (f"{WANT}/duties/storage", []), (f"{WANT}/duties/storage", "EEA"),
    (f"{WANT}/duties/storage", ["eea"], f"{WANT}/duties/storage/0"), (f"{WANT}/duties/storage", ["DEU"], f"{WANT}/duties/storage/0"), (f"{WANT}/duties/breach_notice", "3 days"),
    (f"{WANT}/validity", "P180D"), (f"{WANT}/validity/max", "P366D"), (f"{WANT}/validity/max", "for ever"), (f"{WANT}/validity/until", "2027-12-01"), (f"{WANT}/validity/until", "2027-12-01T00:00:00"), (f"{WANT}/validity/until", 1),
    (f"{WANT}/validity/since", "2027-12-01T00:00:00Z"), (f"{WANT}/validity/from", None),
    # its minimum, and what the vendor gives
    (LEAST, []), (LEAST, None), (f"{LEAST}/base", "SD-BASE"), (f"{LEAST}/extra", 1), (f"{LEAST}/kinds", ["cart"], LEAST), (f"{LEAST}/kinds", []), (f"{LEAST}/fields", {"title": "exact"}, f"{LEAST}/fields/title"), (f"{LEAST}/fields", {"category": "whole"}, f"{LEAST}/fields/category"),
    (f"{LEAST}/window", {"max_age": "P3Y"}, LEAST), (f"{LEAST}/window", {"after": "2026-01-01T00:00:00Z"}, f"{LEAST}/window/after"), (f"{LEAST}/rate", {"reads": "25/P1D"}, LEAST), (f"{LEAST}/sites", ["third.example"], LEAST),
    (f"{LEAST}/validity", {"until": "2031-01-01T00:00:00Z"}, LEAST), (f"{LEAST}/duties", {"tracking": True}, f"{LEAST}/duties/tracking"), (f"{LEAST}/answers", ["monetary"], LEAST), (f"{LEAST}/why", "x"),
    (GIVES, {}), (GIVES, ["5%"], f"{GIVES}/0"), (GIVES, [{"kind": "discount"}], f"{GIVES}/0/text"), (GIVES, [{"text": "5%"}], f"{GIVES}/0/kind"), (GIVES, [{"kind": "discount", "text": ""}], f"{GIVES}/0/text"),
    (GIVES, [{"kind": "Dis count", "text": "5%"}], f"{GIVES}/0/kind"), (GIVES, [{"kind": "discount", "text": LONG}], f"{GIVES}/0/text"), (GIVES, [{"kind": "discount", "text": "5%", "worth": 5}], f"{GIVES}/0/worth"),
    (GIVES, [{"kind": "discount", "text": "a\u2066b"}], f"{GIVES}/0/text"), (GIVES, [{"kind": "discount", "text": "5%"}] * 11),
    # the other actions have other members
    ("/items/1/kinds", ["purchase"]), ("/items/1/want/fields", {"time": "day"}), ("/items/1/want/duties", {}), ("/items/1/want/channels", ["email"], "/items/1/want/channels/0"), ("/items/1/want/channels", "inbox"),
    ("/items/1/want/rate", {"reads": "1/P1D"}, "/items/1/want/rate/reads"), ("/items/1/want/rate", {"messages": "101/P30D"}, "/items/1/want/rate/messages"), ("/items/2/want/channels", ["inbox"]),
    ("/items/2/want/rate", {"questions": "1/P1D"}, "/items/2/want/rate/questions"), ("/items/2/want/window", {}),
    # what no document may hold
    (f"{WANT}/window/max_age", 1.5), (f"{WANT}/window/max_age", 2**53), (f"{WANT}/window/max_age", -(2**53)), (f"{ITEM}/why", "\ud800"), (f"{WANT}/extra", DEEP, f"{WANT}/extra" + "/0" * 12),
    (f"{ITEM}/why", float("nan")), (f"{ITEM}/why", float("inf")), (f"{WANT}/rate", {"reads": 24.0}, f"{WANT}/rate/reads"),
]  # fmt: skip

WHOLE = json.dumps(GOOD)
TEXTS: list[tuple[str | bytes, str]] = [
    ("", ""), ("{", ""), ("null", ""), ("[]", ""), ('"request"', ""), ("7", ""), ("NaN", ""), (WHOLE + "x", ""), (WHOLE[:-1], ""), ("\ufeff" + WHOLE, ""), (b"\xff" + WHOLE.encode(), ""), (WHOLE.encode("utf-16"), ""),
    (WHOLE.replace('"id": "i1"', '"id": "i1", "id": "i1"', 1), ITEM), (WHOLE.replace('"vendor"', '"vendor": "x", "vendor"', 1), ""), (WHOLE.replace('"time": "exact"', '"time": "day", "time": "exact"', 1), f"{WANT}/fields"),
    (WHOLE.replace('"24/P1D"', "1e3", 1), f"{WANT}/rate/reads"), (WHOLE.replace('"24/P1D"', "9" * 5000, 1), f"{WANT}/rate/reads"), (WHOLE.replace('"24/P1D"', "-Infinity", 1), f"{WANT}/rate/reads"),
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
