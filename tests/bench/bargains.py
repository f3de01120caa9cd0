"""Terms of two hundred rules, and a request to negotiate with them."""

from typing import Any

from policies.requests import Request
from policies.terms import Terms, VendorFacts

VENDOR = VendorFacts("https://books.example", frozenset({"books.example"}), frozenset({"class:shop-7", "known"}))
KINDS = ("purchase", "cart", "search", "product_view")
PURPOSES = ("dpv:ProvideProductRecommendations", "dpv:ServicePersonalisation", "dpv:CustomerCare", "dpv:CustomerManagement")
DENIES: tuple[dict[str, Any], ...] = (
    {"fields": ["query"]}, {"kinds": ["page_visit"]}, {"categories": ["baby"]}, {"purposes": ["dpv:Advertising"]}, {"classes": ["forum"]}, {"vendors": ["class:shop-3"]},
)  # fmt: skip


def terms(*, for_all: bool) -> Terms:
    """160 rules that allow and 40 denies; every rule for any vendor, or most for vendors of one of sixteen classes."""

    def vendors(number: int) -> list[str]:
        return ["*"] if for_all or number % 20 == 0 else [f"class:shop-{number % 16}"]

    allow = [
        {
            "id": f"rule-{number:03}", "label": f"Rule {number}", "vendors": vendors(number), "action": "read", "purposes": [PURPOSES[number % 4]],
            "kinds": sorted({KINDS[number % 4], KINDS[number // 4 % 4]}), "categories": ["books", "toys"] if number % 5 == 0 else ["*"], "form": "rows",
            "sites": [f"shop{number}.example", "self"] if number % 3 == 0 else ["*"],
            "fields": {"category": "leaf", "price": ("band", "bucket:10", "bucket:5")[number % 3], "site": "domain", "time": ("month", "day")[number % 2]},
            "window": {"max_age": f"P{30 + number}D"}, "duties": {"retention": f"P{30 + number % 7}D"},
        }
        for number in range(160)
    ]  # fmt: skip
    deny = [{"id": f"deny-{number:03}", **DENIES[number % 6], **({"sites": [f"private{number}.example"]} if number % 2 else {})} for number in range(40)]
    document = {"type": "Terms", "version": 1, "vocabulary": 1, "base": "SD-BASE-A", "requests": "AgentAllowsRequests", "auto_accept": "never"}
    return Terms.parse({**document, "allow": allow, "deny": deny})


def request() -> Request:
    """Purchases and carts, more exactly than the terms give."""
    want = {
        "categories": ["books"], "form": "rows", "fields": {"category": "leaf", "price": "exact", "site": "domain", "time": "exact", "query": "exact"},
        "window": {"max_age": "P2Y"}, "duties": {"retention": "P1Y", "onward": "processors"}, "validity": {"until": "2037-12-01T00:00:00Z"},
    }  # fmt: skip
    item = {"id": "i1", "action": "read", "kinds": ["cart", "purchase", "search"], "purposes": [PURPOSES[0]], "why": "To suggest", "roster_accepts": ["SD-BASE-A"], "want": want}
    return Request.parse({"vendor": VENDOR.id, "items": [item]}, VENDOR)
