"""A state machine of grants (attack row 91): whatever happens in whatever order, no byte leaves without an active grant that covers clause, purpose and time."""

import datetime as dt
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from makers import Browser, Clock, Shop, page_visit, purchase, purchases, settings_in

from broker import access, close_app, create_app
from broker.grants import actions as grants
from broker.grants import queries
from broker.ledger import queries as ledger
from broker.oauth import actions as oauth
from broker.terms.actions import set_terms
from policies.terms import DEFAULT_TERMS

RECOMMEND, CARE = "dpv:ProvideProductRecommendations", "dpv:CustomerCare"
RATE = {"reads": "10000/P1D", "rows": "1000000/P1D"}
WINDOW = {"max_age": "P365D", "min_age": "PT0H"}
TERMS = {
    **DEFAULT_TERMS.to_json(),
    "allow": [
        {"id": "a", "label": "Bought", "vendors": ["*"], "action": "read", "purposes": [RECOMMEND], "kinds": ["purchase"], "form": "rows", "fields": {"time": "day", "category": "leaf", "price": "exact"}, "window": WINDOW, "rate": RATE},
        {"id": "b", "label": "Seen", "vendors": ["*"], "action": "read", "purposes": [CARE], "kinds": ["page_visit"], "form": "rows", "fields": {"time": "day", "site": "domain"}, "window": WINDOW, "rate": RATE},
    ],
}  # fmt: skip
ASKED = [
    purchases(fields={"time": "day", "category": "leaf", "price": "exact"}, window={"max_age": "P365D"}, rate=RATE),
    {**purchases(fields={"time": "day", "site": "domain"}, window={"max_age": "P365D"}, rate=RATE), "datatypes": ["page_visit"], "purposes": [CARE]},
]
LIVE, PAUSED, OVER = "live", "paused", "over"
SECONDS = st.sampled_from((20, 50, 200, 310, 3600, 86_400, 86_400 * 9, 86_400 * 40))


@dataclass
class Clause:
    """What a clause lets be seen, and until when."""

    purpose: str
    kind: str
    fields: set[str]
    until: dt.datetime


@dataclass
class Token:
    """An access token: until when, and for which clauses."""

    text: str
    until: dt.datetime
    clauses: set[str]


@dataclass
class Given:
    """A grant as the person believes it to be."""

    shop: Shop
    code: str
    code_until: dt.datetime
    clauses: dict[str, Clause]
    state: str = LIVE
    redeemed: bool = False
    signed: bool = False
    tokens: list[Token] = field(default_factory=list)

    @property
    def id(self) -> str:
        return str(self.shop.tokens["grant_id"])


class Machine(RuleBasedStateMachine):
    """Alice, a bookshop, and a model of what it may see."""

    def __init__(self, household: Path, where: Path) -> None:
        super().__init__()
        self.home = where / f"home-{id(self)}"
        shutil.copytree(household, self.home)
        (self.home / "data").chmod(0o700)
        self.clock = Clock()
        self.app = create_app(settings_in(self.home), self.clock)
        self.alice = Browser.of(self.app, "alice")
        self.broker = self.app.extensions["broker"]
        set_terms(self.broker, self.alice.person_id, TERMS)
        at = self.clock() - dt.timedelta(days=3)
        self.alice.store(purchase(at), purchase(at, minor=99), page_visit(at))
        self.vendor = Shop.register(self.app, "books.example")
        self.all: list[Given] = []

    def teardown(self) -> None:
        close_app(self.app)
        shutil.rmtree(self.home)

    def one(self, number: int) -> Given:
        return self.all[number % len(self.all)]

    def again(self, shop: Shop) -> Shop:
        return Shop(self.app, shop.client_id, shop.domain, shop.key, self.app.test_client(), shop.prover, shop.verifier, dict(shop.tokens))

    def before(self, until: dt.datetime, act: Callable[[], Any]) -> tuple[Any, bool | None]:
        """What an act gave, and whether all of it came before `until`; None where time passed it meanwhile."""
        start = self.clock()
        given = act()
        return given, True if self.clock() < until else False if start >= until else None

    def page(self, given: Given, act: str) -> int:
        return int(self.alice.post(f"/grants/{self.id_of(given)}/{act}", page="/requests").status_code)

    def id_of(self, given: Given) -> str:
        """The grant's id, which its vendor learns with the first token."""
        if "grant_id" in given.shop.tokens:
            return given.id
        known = {each.id for each in self.all if each.tokens}
        with self.broker.reading() as tx:
            # Newest first, and there is one at a time whose code is not redeemed.
            return next(grant.id for grant in queries.every(tx, self.alice.ring) if grant.id not in known)

    @rule(both=st.booleans(), days=st.sampled_from((1, 30, 100)))
    def authorize(self, *, both: bool, days: int) -> None:
        """Alice gives one clause or both, for some days; a shop without a token yet is finished first, so that grants are told apart."""
        if len(self.all) >= 5 or any(not each.redeemed for each in self.all):
            return
        shop = self.again(self.vendor)
        shop.tokens = {}
        last = (self.clock() + dt.timedelta(days=days)).date()
        until = dt.datetime.combine(last, dt.time(23, 59, 59), dt.UTC)
        # The second clause ends before the grant does.
        sooner = min(until, (self.clock() + dt.timedelta(hours=5)).replace(microsecond=0))
        asked = [ASKED[0], {**ASKED[1], "want": {**ASKED[1]["want"], "validity": {"until": f"{sooner:%Y-%m-%dT%H:%M:%SZ}"}}}]
        code = self.alice.give(shop.ask(asked if both else asked[:1]), until=last.isoformat())["code"]
        clauses = {"c1": Clause(RECOMMEND, "purchase", {"category", "price"}, until), "c2": Clause(CARE, "page_visit", {"site"}, sooner)}
        given = Given(shop, code, self.clock() + oauth.CODE_LIVES, clauses if both else {"c1": clauses["c1"]})
        self.all.append(given)

    @initialize(signed=st.booleans(), late=st.booleans())
    def connect(self, *, signed: bool, late: bool) -> None:
        """Begin where most of what can go wrong is near: with tokens for both clauses, signed or not, before or after the end of one of them."""
        self.authorize(both=True, days=30)
        self.redeem(0)
        if signed:
            self.sign(0)
        if late:
            self.wait(6 * 3600, back=True)

    def took(self, given: Given, answer: Any) -> None:
        """Note what a token answer brought."""
        limited = {entry["identifier"] for entry in answer.json["authorization_details"]}
        assert limited <= set(given.clauses), "more than Alice gave"
        given.tokens.append(Token(answer.json["access_token"], self.clock() + oauth.ACCESS_TOKEN_LIVES, limited))

    def until(self, given: Given) -> dt.datetime:
        return max(clause.until for clause in given.clauses.values())

    @precondition(lambda self: self.all)
    @rule(number=st.integers(0, 4))
    def redeem(self, number: int) -> None:
        given = self.one(number)
        if given.redeemed:
            return
        answer, early = self.before(given.code_until, lambda: given.shop.redeem(given.code))
        given.redeemed = True
        if answer.status_code == 200:
            assert given.state != OVER
            assert early is not False
            self.took(given, answer)
        else:
            assert answer.json["error"] == "invalid_grant"
            assert given.state == OVER or early is not True
            given.state = OVER if early is False else given.state
            self.all.remove(given)

    @precondition(lambda self: any(each.tokens for each in self.all))
    @rule(number=st.integers(0, 4))
    def show_the_code_again(self, number: int) -> None:
        """A used code, two seconds later: whoever has it, the grant is over."""
        given = self.one(number)
        if given.tokens:
            self.clock.advance(seconds=2)
            assert self.again(given.shop).redeem(given.code).json["error"] == "invalid_grant"
            given.state = OVER

    @precondition(lambda self: any(each.tokens for each in self.all))
    @rule(number=st.integers(0, 4), only=st.sampled_from(("", "c1", "c2")))
    def refresh(self, number: int, only: str) -> None:
        given = self.one(number)
        if not given.tokens:
            return
        limit = f'[{{"type":"personal_data_access","identifier":"{only}"}}]' if only else None
        answer, early = self.before(self.until(given), lambda: given.shop.refresh(authorization_details=limit))
        if answer.status_code == 200:
            assert given.state != OVER
            assert early is not False
            assert not only or only in given.clauses
            self.took(given, answer)
        else:
            assert given.state == OVER or early is not True or only not in {"", *given.clauses}

    @precondition(lambda self: any(each.tokens for each in self.all))
    @rule(number=st.integers(0, 4))
    def sign(self, number: int) -> None:
        given = self.one(number)
        # Only who can still see the agreement can sign it.
        if given.tokens and given.shop.call("GET").status_code == 200:
            given.signed |= given.shop.countersign().status_code == 204

    @precondition(lambda self: self.all)
    @rule(number=st.integers(0, 4), act=st.sampled_from(("pause", "resume", "revoke")))
    def change(self, number: int, act: str) -> None:
        given = self.one(number)
        self.page(given, act)
        if given.state != OVER:
            given.state = {"pause": PAUSED, "resume": LIVE, "revoke": OVER}[act]

    @precondition(lambda self: any(each.tokens for each in self.all))
    @rule(number=st.integers(0, 4), what=st.sampled_from(("part", "price", "until")))
    def narrow(self, number: int, what: str) -> None:
        given = self.one(number)
        grant = self.id_of(given)
        text = self.alice.get(f"/grants/{grant}/narrow").text
        version = text.partition('name="version" value="')[2].partition('"')[0]
        last = (self.clock() + dt.timedelta(days=1)).date()
        form = {"part": {"without": "c1"}, "price": {"c1.field.price": "hidden"}, "until": {"until": last.isoformat()}}[what]
        if self.alice.post(f"/grants/{grant}/narrow", {"version": version, **form}, page="/requests").status_code == 303:
            if what == "part":
                del given.clauses["c1"]
            elif what == "until":
                for clause in given.clauses.values():
                    clause.until = min(clause.until, dt.datetime.combine(last, dt.time(23, 59, 59), dt.UTC))
            else:
                given.clauses["c1"].fields.discard("price")

    @precondition(lambda self: any(each.tokens for each in self.all))
    @rule(number=st.integers(0, 4), what=st.sampled_from(("access_token", "refresh_token")))
    def hand_back(self, number: int, what: str) -> None:
        given = self.one(number)
        if not given.tokens:
            return
        assert given.shop.form("/oauth/revoke", {"token": given.shop.tokens[what]}).status_code == 200
        if what == "refresh_token":
            given.state = OVER
        else:
            given.tokens[-1].until = self.clock()

    @rule(seconds=SECONDS, back=st.booleans())
    def wait(self, seconds: int, back: bool) -> None:  # noqa: FBT001 - Hypothesis gives by name
        """Time passes; perhaps every shop then comes back for fresh tokens, as shops do."""
        self.clock.advance(seconds=seconds)
        for number in range(len(self.all) if back else 0):
            self.refresh(number, "")
        # Her session may have ended as well.
        self.alice = Browser.of(self.app, "alice")

    @rule()
    def sweep(self) -> None:
        """What the sweep ended is over; it can bring nothing back."""
        oauth.sweep(self.broker)
        with self.broker.reading() as tx:
            stored = {grant.id: grant.status for grant in queries.every(tx, self.alice.ring)}
        for given in self.all:
            if stored[self.id_of(given)] not in queries.LIVE:
                given.state = OVER

    @precondition(lambda self: any(each.tokens for each in self.all))
    @rule(number=st.integers(0, 4), what=st.sampled_from(("refresh", "read", "pause")))
    def end_against(self, number: int, what: str) -> None:
        """An end beside something else: afterwards it is over, whoever was first."""
        given = self.one(number)
        if not given.tokens:
            return
        shop, grant_id, barrier = self.again(given.shop), queries.to_bytes(given.id), threading.Barrier(2)
        acts: dict[str, Callable[[], Any]] = {"refresh": shop.refresh, "read": shop.read, "pause": lambda: grants.pause(self.broker, self.alice.person_id, grant_id)}
        answers: list[Any] = []

        def other() -> None:
            barrier.wait()
            try:
                answers.append(acts[what]())
            except Exception as error:
                answers.append(error)

        thread = threading.Thread(target=other)
        thread.start()
        barrier.wait()
        grants.revoke(self.broker, self.alice.person_id, grant_id)
        thread.join()
        given.state = OVER
        if what == "refresh" and answers[0].status_code == 200:
            self.took(given, answers[0])

    @precondition(lambda self: any(each.tokens for each in self.all))
    @rule(number=st.integers(0, 4), clause=st.sampled_from(("c1", "c2", "c9")), purpose=st.sampled_from((RECOMMEND, CARE, "dpv:Advertising")))
    def read(self, number: int, clause: str, purpose: str) -> None:
        given = self.one(number)
        for token in given.tokens[-1:]:
            self.check(given, token, clause, purpose)

    @invariant()
    def nothing_leaves_without_a_grant(self) -> None:
        """Each of the newest tokens of each grant, on each clause there ever was."""
        for given in self.all:
            for token in given.tokens[-2:]:
                self.check(given, token, "c1", RECOMMEND)
                self.check(given, token, "c2", CARE)

    def check(self, given: Given, token: Token, name: str, purpose: str) -> None:
        """A read gives exactly what the model says, and what it gives stands in the ledger."""
        clause = given.clauses.get(name)
        until = min(token.until, clause.until) if clause else token.until
        answer, early = self.before(until, lambda: given.shop.read(f"?clause={name}&purpose={purpose}", token.text))
        covered = given.state == LIVE and given.signed and clause is not None and name in token.clauses and clause.purpose == purpose
        if answer.status_code != 200:
            assert b"items" not in answer.data
            assert not (covered and early), (answer.status_code, answer.json)
            return
        assert covered, "a byte left without a grant that covers it"
        assert early is not False, "a byte left too late"
        assert clause
        rows = answer.json["items"]
        assert all(row["kind"] == clause.kind for row in rows)
        seen = {member for row in rows for part in (row, *row.get("items", ())) for member in part} - {"id", "kind", "time", "items", "action"}
        assert seen <= clause.fields, seen
        with self.broker.reading() as tx:
            newest = ledger.page(tx, self.alice.ring).entries[0]
        assert (newest["act"], newest["outcome"], newest["request"], newest["grant"]) == ("read", "permitted", answer.headers["Request-Id"], given.id)


@pytest.fixture
def run(household: Path, tmp_path: Path, *, deep: bool) -> Callable[[], None]:
    """The machine, for some orders of events; very many with --deep."""
    counts = settings(
        max_examples=500 if deep else 12, stateful_step_count=50 if deep else 25, deadline=None, suppress_health_check=list(HealthCheck), database=None,
        # A failure says enough as it is found; making it smaller takes minutes.
        phases=[Phase.generate], report_multiple_bugs=False,
    )  # fmt: skip
    return lambda: run_state_machine_as_test(lambda: Machine(household, tmp_path), settings=counts)  # type: ignore[no-untyped-call]


def test_nothing_leaves_without_a_grant(run: Callable[[], None]) -> None:
    """Row 91, promise 1."""
    run()


def test_the_machine_can_fail(run: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted defect: a token that is looked up without its own end."""
    look_up = access.queries.by_token

    def deaf(*given: Any) -> Any:
        row = look_up(*given)
        return row if row is None else Unending(row)

    monkeypatch.setattr(access.queries, "by_token", deaf)
    with pytest.raises(AssertionError, match=r"too late|without a grant"):
        run()


class Unending:
    """A row whose token never ran out and was never ended."""

    token_expires_at = dt.datetime.max.replace(tzinfo=dt.UTC)
    token_ended_at = None

    def __init__(self, row: Any) -> None:
        self._row = row

    def __getattr__(self, name: str) -> Any:
        return getattr(self._row, name)
