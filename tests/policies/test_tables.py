"""The tables of policies are those of the design: fields, roster, purposes; and strict parsing."""

from typing import Any

import pytest

from policies import compiled
from policies.clauses import Clause
from policies.documents import Malformed, load
from policies.purposes import PURPOSES, meet_purposes
from policies.roster import ROSTER, at_most, meet_bases
from policies.slices import Slice
from policies.terms import DEFAULT_TERMS, Terms
from policies.times import read_duration, read_instant, write_duration
from policies.vocabulary import CATEGORIES, FIELDS, GROUPS, KINDS, LEVELS, SENSITIVE_CATEGORIES, SENSITIVE_CLASSES, SITE_CLASSES
from tests.policies import oracle

# Sections 2, 4 and 5 of the design, written out a second time.
TREE = """
ServiceManagement > PaymentManagement, RepairImpairments, ServiceMonitoring > ServiceUsageAnalytics
ServiceManagement > ServiceOptimisation > OptimisationForConsumer, OptimisationForController > ImproveExistingProductsAndServices
ServiceManagement > ServiceProvision > RequestedServiceProvision > DeliveryOfGoods
ServiceProvision > SellProducts > SellProductsToDataSubject, SellDataToThirdParties*, SellInsightsFromData*
CustomerManagement > CustomerCare, CustomerOrderManagement, CustomerClaimsManagement, CustomerRelationshipManagement
Personalisation
CommunicationManagement
CommercialPurpose
NonCommercialPurpose
PublicBenefit
Marketing > DirectMarketing, Advertising
EnforceSecurity > MisusePreventionAndDetection > FraudPreventionAndDetection
ResearchAndDevelopment > ScientificResearch, AcademicResearch
Personalisation + ServiceManagement > ServicePersonalisation > PersonalisedBenefits, ProvidePersonalisedRecommendations
ProvidePersonalisedRecommendations > ProvideProductRecommendations, ProvideEventRecommendations
Advertising + Personalisation > PersonalisedAdvertising > TargetedAdvertising*
CommunicationManagement + CustomerCare > CommunicationForCustomerCare
CustomerRelationshipManagement + OptimisationForController > ImproveInternalCRMProcesses
CommercialPurpose + ResearchAndDevelopment > CommercialResearch
NonCommercialPurpose + ResearchAndDevelopment > NonCommercialResearch
"""


def tree() -> dict[str, tuple[set[str], bool]]:
    """Purpose -> its parents, and whether it must be named; the last of a list is the parent of what follows it."""
    found: dict[str, tuple[set[str], bool]] = {}
    for line in TREE.strip().splitlines():
        parents: set[str] = set()
        for step in line.split(" > "):
            names = step.split(" + " if " + " in step else ", ")
            for name in names:
                known = found.get(name.rstrip("*"), (set(), name.endswith("*")))
                found[name.rstrip("*")] = (known[0] | parents, known[1])
            parents = set(names) if " + " in step else {names[-1]}
    return found


def test_purposes_are_those_of_the_second_copy() -> None:
    assert {name: (set(about.parents), about.named_only) for name, about in PURPOSES.items()} == {
        f"dpv:{name}": ({f"dpv:{parent}" for parent in parents}, named) for name, (parents, named) in tree().items()
    }


def test_kinds_are_those_of_the_second_copy() -> None:
    assert {kind: (about.label, about.dpv, about.actions, about.items) for kind, about in KINDS.items()} == {
        "page_visit": ("pages you visited", "pd:BrowserHistory", (), False),
        "search": ("what you searched for", "pd:BrowsingBehaviour", (), False),
        "product_view": ("products you looked at", "pd:Interest", (), True),
        "cart": ("what you put in or took out of a cart", "pd:Intention", ("add", "remove", "view"), True),
        "checkout": ("checkouts you started", "pd:Intention", ("start", "shipping", "payment"), True),
        "purchase": ("what you bought", "pd:Purchase", (), True),
        "return": ("what you sent back", "pd:Purchase", (), True),
        "subscription": ("subscriptions", "pd:PurchasesAndSpendingHabit", ("start", "renew", "change", "end"), True),
        "cart_abandoned": ("carts you left", "pd:Intention", (), True),
    }


def test_classes_and_categories_are_those_of_the_second_copy() -> None:
    open_sites = ["shop", "news", "search", "social", "video", "travel", "forum", "reference", "work", "other"]
    assert list(SITE_CLASSES) == open_sites + oracle.SENSITIVE_SITES
    assert list(SENSITIVE_CLASSES) == oracle.SENSITIVE_SITES
    tops = "books, music, film, games, electronics, computers, phones, home, garden, diy, clothing, shoes, jewellery, beauty, food, drinks, toys, sports, travel, tickets"
    tops += ", vehicles, pets, office, services, other, health, adult, religion, gambling, baby"
    assert list(CATEGORIES) == tops.split(", ")
    assert list(SENSITIVE_CATEGORIES) == oracle.SENSITIVE_PRODUCTS


def test_what_a_rule_says_where_it_says_nothing() -> None:
    """Section 2, defaults in rules."""
    rule = Clause.parse({"id": "c", "action": "read", "base": "SD-BASE", "purposes": ["dpv:CustomerCare"], "kinds": ["purchase"], "answers": ["recency"]}).to_json()
    assert {name: rule[name] for name in ("sites", "classes", "categories", "sensitive", "form", "window", "rate", "duties", "validity")} == {
        "sites": ["*"], "classes": ["*"], "categories": ["*"], "sensitive": [], "form": "answers", "window": {"max_age": "P90D", "min_age": "P1D"},
        "rate": {"reads": "24/P1D", "rows": "500/P1D"}, "validity": {"max": "P180D"},
        "duties": {
            "retention": "P30D", "on_end": "delete:P7D", "breach_notice": "P3D", "onward": "none", "processors": [], "profiling": False, "tracking": False,
            "ai_training": False, "portability": False, "storage": ["*"],
        },
    }  # fmt: skip


def test_the_terms_of_a_new_person() -> None:
    """Section 2, default terms."""
    (rule,) = DEFAULT_TERMS.allow
    assert (DEFAULT_TERMS.base, DEFAULT_TERMS.requests, rule.id, rule.vendors, rule.clause.base) == ("SD-BASE", "AgentAllowsRequests", "recommendations", {"*"}, "SD-BASE")
    clause = rule.clause.to_json()
    assert (clause["action"], clause["purposes"], clause["kinds"], clause["form"]) == ("read", ["dpv:ProvideProductRecommendations"], ["purchase"], "rows")
    assert (clause["fields"], clause["window"]) == ({"category": "leaf", "price": "bucket:10", "time": "day"}, {"max_age": "P90D", "min_age": "P1D"})
    assert [deny.to_json() for deny in DEFAULT_TERMS.deny] == [
        {"id": "no-ads", "actions": ["read"], "purposes": ["dpv:Advertising", "dpv:SellDataToThirdParties", "dpv:SellInsightsFromData"]},
        {"id": "no-words", "fields": ["query", "title"]},
    ]


@pytest.mark.parametrize(
    ("written", "canonical"),
    [("P1Y", "P365D"), ("P2M", "P60D"), ("P3W", "P21D"), ("P90D", "P90D"), ("PT48H", "P2D"), ("PT36H", "PT36H"), ("PT0H", "P0D"), ("P100Y", "P36500D")],
)
def test_durations_have_one_form(written: str, canonical: str) -> None:
    """O6."""
    assert write_duration(read_duration(written, "")) == canonical


@pytest.mark.parametrize(
    ("family", "admitted"),
    [
        ("SD-BASE", "ServiceProvision PaymentManagement RepairImpairments CustomerManagement CommunicationForCustomerCare ServicePersonalisation"),
        ("SD-BASE-A", "ServiceProvision PaymentManagement RepairImpairments CustomerManagement CommunicationForCustomerCare ServicePersonalisation ServiceMonitoring ServiceOptimisation"),
        ("PDC-INTENT", "ServicePersonalisation DirectMarketing"),
        ("PDC-AI", "ResearchAndDevelopment"),
        ("PDC-GOOD", "PublicBenefit ScientificResearch NonCommercialResearch"),
    ],
)
def test_the_purposes_a_roster_agreement_admits(family: str, admitted: str) -> None:
    assert ROSTER[family].purposes == {f"dpv:{name}" for name in admitted.split()}


@pytest.mark.parametrize("change", [{"action": "ask", "kinds": None, "form": None, "fields": None}, {"base": "PDC-GOOD"}])
def test_clauses_of_other_actions_or_bases_have_nothing_in_common(change: dict[str, Any]) -> None:
    one, other = Clause.parse(CLAUSE), Clause.parse({name: value for name, value in {**CLAUSE, **change}.items() if value is not None})
    assert (one & one, (one & one).is_empty()) == (one, False)
    assert (one & other).is_empty()
    assert not one <= other


def test_bases_meet_in_the_stricter() -> None:
    assert meet_bases("SD-BASE-A", "SD-BASE-DP") == "SD-BASE-DP"
    assert meet_bases("SD-BASE", "") == meet_bases("", "SD-BASE") == "SD-BASE"
    assert meet_bases("SD-BASE-DP", "SD-BASE-A") == "SD-BASE-DP"
    assert meet_bases("SD-BASE", "SD-BASE-DP") == "SD-BASE-DP"
    assert meet_bases("PDC-AI", "SD-BASE") is None
    assert meet_bases("SD-BASE-A-DP", "SD-BASE-AT") == "SD-BASE-A-DP"
    assert meet_bases("SD-BASE-AT", "SD-BASE-A-DP") == "SD-BASE-A-DP"


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
        ({"kinds": []}, "/kinds"),
        ({"purposes": []}, "/purposes"),
        ({"id": "c1~"}, "/id"),
        ({"base": None}, "/base"),
        ({"kinds": ["cart"], "form": "answers", "answers": ["recency"]}, "/answers"),
    ],
)
def test_a_clause_that_is_refused_says_where(change: dict[str, Any], pointer: str) -> None:
    Clause.parse(CLAUSE)
    with pytest.raises(Malformed) as found:
        Clause.parse(CLAUSE | change)
    assert found.value.errors[0]["pointer"] == pointer


def test_a_granted_clause_names_its_base() -> None:
    with pytest.raises(Malformed) as found:
        Clause.parse({name: value for name, value in CLAUSE.items() if name != "base"})
    assert found.value.errors[0]["pointer"] == "/base"


@pytest.mark.parametrize(("member", "value"), [("version", 1.0), ("version", True), ("version", -1), ("vocabulary", 2), ("auto_accept", "always"), ("type", "Offer")])
def test_terms_that_are_refused_say_where(member: str, value: Any) -> None:
    with pytest.raises(Malformed) as found:
        Terms.parse({**DEFAULT_TERMS.to_json(), member: value})
    assert found.value.errors[0]["pointer"] == f"/{member}"


def test_a_relative_slice_judges_nothing() -> None:
    """O3: before `at(now)` both ways of judging raise."""
    part = Slice.parse({"kinds": ["purchase"], "fields": {"time": "day"}, "window": {"max_age": "P1D"}})
    with pytest.raises(ValueError, match="call at"):
        part.covers({})
    with pytest.raises(ValueError, match="call at"):
        part.compiled()


@pytest.mark.parametrize(
    ("members", "unit"),
    [
        ({"fields": {"time": "exact"}}, "day"),
        ({"fields": {"time": "day"}}, "day"),
        ({"fields": {"time": "month"}}, "month"),
        ({"fields": {"category": "top"}}, "month"),
        ({"fields": {"time": "day"}, "except": [{"fields": ["time"], "sites": ["a.example"]}]}, "month"),
    ],
)
def test_rows_are_judged_by_the_period_that_shows(members: dict[str, Any], unit: str) -> None:
    """Section 8: where the level of time is coarser than a day, a whole month is judged before its first row leaves."""
    assert Slice.parse({"kinds": ["purchase"], **members}).period() == unit


def test_an_event_of_an_unknown_class_is_not_covered() -> None:
    """A domain has exactly one class of the list; what has none is not inside `*`."""
    part = Slice.parse({"kinds": ["purchase"], "fields": {"time": "day"}})
    event = {"kind": "purchase", "time": "2026-11-20T18:04:05.120Z", "host": "s.example", "domain": "s.example", "class": "shop"}
    assert part.covers(event)
    assert not part.covers({**event, "class": "bazaar"})
    assert part.compiled()({**event, "class": "bazaar"}) is None


def test_rule_ids_are_used_once() -> None:
    form = DEFAULT_TERMS.to_json()
    with pytest.raises(Malformed) as found:
        Terms.parse({**form, "deny": [{"id": "recommendations"}]})
    assert found.value.errors[0]["pointer"] == "/deny/0/id"


@pytest.mark.parametrize("year", ["0001", "1969", "2201", "9999"])
def test_an_instant_lies_where_time_can_be_reckoned(year: str) -> None:
    """Near the edges of the calendar a window or a validity could not be added to."""
    with pytest.raises(Malformed, match="between the years"):
        read_instant(f"{year}-12-31T23:59:59Z", "/at")
    assert read_instant("2200-12-31T23:59:59Z", "").year == 2200


def test_no_word_of_a_person_or_vendor_stands_in_compiled_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sites, category paths and times reach a judge as variables: whatever they say, they are never read as Python."""
    written, judge = [], compiled._Source.judge

    def kept(source: compiled._Source) -> compiled.KindJudge:
        written.append("\n".join(source.lines))
        return judge(source)

    monkeypatch.setattr(compiled._Source, "judge", kept)
    form = {"sites": ["hostile-site.example"], "categories": ["books/x']; hostile_call() #"], "fields": {"site": "domain", "price": "band", "time": "day"}, "window": {}}
    for kind in ("purchase", "page_visit", "cart"):
        Slice.parse({**form, "kinds": [kind], "except": [{"sites": ["hostile-deny.example"]}]}).compiled()
    assert written
    assert "hostile" not in "".join(written)
