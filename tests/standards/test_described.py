"""The API is what its description says (attack row 108): schemathesis makes calls from `/openapi.json`, good and bad, with and without real credentials."""

import dataclasses
import datetime as dt
import json
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from flask import Flask
from granted import PROOF_KEY, READ, WRITE, Granted, a_client, granted
from hypothesis import given
from hypothesis import settings as drawn
from hypothesis import strategies as st
from makers import ORIGIN, Browser, Shop, everything, purchase
from proofs import of_store
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import AcceptedNegativeData, ServerError
from schemathesis.generation import GenerationMode
from schemathesis.openapi import checks as failures
from schemathesis.specs.openapi import checks
from shares import cases, share

from broker.config import Settings
from broker.events import schemas
from broker.grants import agreed
from broker.vendors.actions import EXTENSION, invite
from policies.vocabulary import FIELDS, KINDS

# Written down once more here, on purpose: a route that vanished from the description would otherwise not be missed.
OPERATIONS = (
    "GET /v1", "GET /v1/events", "POST /v1/events", "GET /v1/answers", "GET /v1/grants/{grant_id}", "DELETE /v1/grants/{grant_id}",
    "PUT /v1/grants/{grant_id}/signature", "POST /oauth/par", "GET /oauth/authorize", "POST /oauth/token", "POST /oauth/revoke", "POST /oauth/register",
    "GET /.well-known/oauth-authorization-server", "GET /.well-known/oauth-protected-resource/v1", "GET /openapi.json", "GET /healthz", "GET /readyz",
    "GET /.well-known/security.txt", "GET /.well-known/gpc.json", "GET /.well-known/change-password", "GET /.well-known/passkey-endpoints",
)  # fmt: skip
# Nothing can be sent to these that their description would not allow; of those without a header there is one call, or a few.
FEW_CALLS = {"GET /healthz", "GET /readyz", *(label for label in OPERATIONS if label.endswith(("security.txt", "change-password")))}
NO_WRONG_WAY = {
    "GET /.well-known/oauth-authorization-server",
    "GET /.well-known/oauth-protected-resource/v1",
    "GET /openapi.json",
    *(label for label in OPERATIONS if label.endswith(("gpc.json", "passkey-endpoints"))),
    *FEW_CALLS,
}
CALLERS = ("vendor", "extension", "nobody", "vendor")
# The one route that is the extension's.
UPLOADERS = ("extension", "vendor", "nobody", "extension")
CHECKS = [
    not_a_server_error, checks.status_code_conformance, checks.content_type_conformance, checks.response_headers_conformance,
    checks.response_schema_conformance,
]  # fmt: skip
STRICT = [*CHECKS, checks.negative_data_rejection]


@dataclass
class World:
    """A broker, its description, and everybody who may call it."""

    app: Flask
    alice: Browser
    shop: Shop
    schema: Any
    seen: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    waiting: list[Granted] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.broker = self.app.extensions["broker"]
        components = self.schema.raw_schema["components"]
        self.valid = {name: jsonschema_rs.validator_for({"$ref": f"#/components/schemas/{name}", "components": components}) for name in ("Batch", "Event")}
        self.books = a_client(self.broker)
        # Everything as exact as it can be shown, and everything as coarse.
        self.readers = [granted(self.broker, self.alice.person_id, self.books, self.clause(level))[0] for level in (-1, 1)]
        self.writer = granted(self.broker, self.alice.person_id, EXTENSION, WRITE)[0]
        self.shop.connect(self.alice)
        self.prover = of_store(self.broker.vault.nonce_key, PROOF_KEY)

    def clause(self, level: int) -> dict[str, Any]:
        """All kinds and all fields, each at its level of this number, and answers too."""
        fields = {name: about.levels[level] for name, about in FIELDS.items()}
        kinds, answers = sorted(set(KINDS) - {"cart_abandoned"}), ["frequency", "monetary", "recency"]
        return {**READ, "kinds": kinds, "fields": fields, "answers": answers, "rate": {"reads": "10000/P1D", "rows": "1000000/P1D"}}

    def to_end(self) -> Granted:
        """A grant that nobody needs any more."""
        if not self.waiting:
            self.waiting = granted(self.broker, self.alice.person_id, self.books, READ, 20)
        return self.waiting.pop()

    def operation(self, label: str) -> Any:
        method, _, path = label.partition(" ")
        return self.schema[path][method]

    def send(self, case: Any, caller: str, *, good: bool, strict: bool) -> None:
        """Make a call as its caller, a `good` one with what it needs to be done; check the answer against the description."""
        label = case.operation.label
        if label.split(" ")[1].startswith("/v1"):
            self._with_token(case, label, caller, good=good)
        elif label.startswith("POST /oauth/"):
            self._as_client(case, label, caller, good=good)
        elif good and label == "GET /oauth/authorize":
            pushed = self.shop.push().json
            case.query = {"client_id": self.shop.client_id, "request_uri": pushed["request_uri"]}
        answer = case.call(app=self.app, base_url=ORIGIN)
        self.seen[label, caller, answer.status_code] += 1
        uploaded = label == "POST /v1/events"
        case.validate_response(answer, checks=STRICT if strict and not uploaded else CHECKS)
        assert "Traceback" not in answer.text
        assert 'File "' not in answer.text
        if uploaded and answer.status_code == 200:
            self._each_judged(case.body, answer.json()["results"])

    def _each_judged(self, batch: Any, results: list[dict[str, Any]]) -> None:
        """What was taken has the envelope that is described; an event that has not the form that is described is refused, and it alone."""
        assert self.valid["Batch"].is_valid({**batch, "events": []}), batch
        self.seen.update((each["status"], each.get("reason", ""), 0) for each in results)
        refused = sum(each["status"] == "refused" for each in results)
        assert len(results) == len(batch["events"])
        assert refused >= sum(not self.valid["Event"].is_valid(event) for event in batch["events"]), (batch, results)

    def _with_token(self, case: Any, label: str, caller: str, *, good: bool) -> None:
        if caller == "nobody":
            return
        grant = self.writer if caller == "extension" else self.to_end() if good and label.startswith("DELETE") else self.readers[self.seen.total() % 2]
        if good and "grant_id" in case.path_parameters:
            case.path_parameters["grant_id"] = grant.grant
        if good and label.startswith("GET /v1/") and isinstance(case.query, dict):
            # These are right or wrong by what was granted, which no description can say.
            case.query = {name: value for name, value in case.query.items() if name not in {"clause", "purpose", "cursor", "site", "category", "kind"}}
        if good and label.startswith("POST"):
            # Whether a host is public, and a time in range, no description can say either.
            now = f"{self.broker.now():%Y-%m-%dT%H:%M:%S.000Z}"
            whole = json.loads(json.dumps(case.body["events"]), parse_float=lambda digits: int(float(digits)))
            events = [{name: value for name, value in each.items() if name not in {"url", "referrer", "engine", "received"}} for each in whole]
            case.body = {**case.body, "collection_version": 1, "events": [{**each, "site": "www.shop.example", "time": now} for each in events]}
        if good and label.startswith("PUT") and caller == "vendor":
            with self.broker.reading() as tx:
                signed = agreed.agreement(tx, self.alice.ring, grant.grant_id)
            case.body = signed.countersignature if signed else None
        case.headers.update(self.prover.headers(case.method, case.formatted_path, grant.token))

    def _as_client(self, case: Any, label: str, caller: str, *, good: bool) -> None:
        path = label.split(" ")[1]
        if caller == "nobody":
            return
        if label == "POST /oauth/register":
            case.headers["Authorization"] = f"Bearer {invite(self.broker, 'new.example').text}"
            if good and isinstance(case.body, dict):
                keys = {"keys": [self.shop.key.as_dict(private=False)]}
                case.body = {**case.body, "redirect_uris": ["https://new.example/cb"], "jwks": keys, "client_name": "New", "contacts": ["x"]}
            return
        case.headers.pop("Authorization", None)
        case.headers["DPoP"] = self.shop.prover.proof("POST", path)
        if isinstance(case.body, dict):
            sent = {} if good else case.body
            case.body = {**sent, **self._credentials(caller), **(self._right(path, case.body) if good else {})}

    def _credentials(self, caller: str) -> dict[str, str]:
        if caller == "extension":
            return {"client_id": EXTENSION}
        return {
            "client_id": self.shop.client_id, "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": self.shop.assertion(),
        }  # fmt: skip

    def _right(self, path: str, made: dict[str, Any]) -> dict[str, str]:
        """What only this client can know, around what was made up."""
        asked = {"type": "personal_data_access", "actions": ["read"], "datatypes": ["purchase"], "purposes": ["dpv:ProvideProductRecommendations"]}
        details = json.dumps([{**asked, "why": "To help", "want": {"form": "rows", "fields": {"time": "day"}}}])
        if path == "/oauth/par":
            made = {name: made[name] for name in ("response_type", "code_challenge", "code_challenge_method")}
            return {**made, "redirect_uri": self.shop.redirect_uri, "authorization_details": details, "scope": "events:read", "resource": f"{ORIGIN}/v1", "dpop_jkt": self.shop.prover.jkt, "state": "s"}  # fmt: skip
        if path == "/oauth/token":
            return {
                "grant_type": "refresh_token",
                "refresh_token": self.shop.tokens["refresh_token"],
                "scope": "events:read",
                "authorization_details": "",
                "resource": "",
            }
        return {"token": f"pfr_rt_{secrets.token_hex(36)}"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Those of a broker whose operator named somebody for security.txt."""
    return dataclasses.replace(settings, security_contact="mailto:me@example.org")


@pytest.fixture
def world(app: Flask, alice: Browser, bookshop: Shop) -> World:
    now = alice.app.extensions["broker"].now()
    alice.store(*(purchase(now - dt.timedelta(days=day), minor=1000 + day) for day in range(2, 40)), *everything(now - dt.timedelta(days=3)))
    described = app.test_client().get("/openapi.json", base_url=ORIGIN).json
    return World(app, alice, bookshop, schemathesis.openapi.from_dict(described))


def test_every_operation_is_called(world: World) -> None:
    assert {each.ok().label for each in world.schema.get_all_operations()} == set(OPERATIONS)


def calls(world: World, label: str, mode: GenerationMode, number: int, *, steady: bool = False) -> int:
    """Make so many calls of one operation; the number that were made."""
    made = Counter[str]()

    @(drawn(cases(number), derandomize=True) if steady else cases(number))
    @given(
        case=world.operation(label).as_strategy(generation_mode=mode),
        caller=st.sampled_from(UPLOADERS if label == "POST /v1/events" else CALLERS),
        good=st.sampled_from((True, False, True)),
    )
    def run(case: Any, caller: str, good: bool) -> None:  # noqa: FBT001 - hypothesis gives it by name
        made["calls"] += 1
        bad = mode is GenerationMode.NEGATIVE
        if good and bad and label.startswith("PUT"):
            case.path_parameters["grant_id"] = world.readers[world.seen.total() % 2].grant
        world.send(case, caller, good=good and not bad, strict=bad and label.split(" ")[1].startswith("/v1"))

    run()
    return made["calls"]


@pytest.mark.parametrize("label", OPERATIONS)
def test_the_api_is_what_its_description_says(world: World, label: str) -> None:
    """Row 108: statuses, media types, headers and bodies are those that are described; what the description forbids is refused; nothing breaks."""
    number = share("described", 2 * len(OPERATIONS) - len(NO_WRONG_WAY) - len(FEW_CALLS))
    made = calls(world, label, GenerationMode.POSITIVE, number)
    if label not in NO_WRONG_WAY:
        made += calls(world, label, GenerationMode.NEGATIVE, number)
    least = 1 if label in FEW_CALLS else number if label in NO_WRONG_WAY else 2 * number
    print(f"\n{label}: {made} cases, {dict(sorted(_by_status(world).items()))}")
    assert made >= least
    if label == "POST /v1/events":
        assert world.seen["accepted", "", 0], world.seen
    done = {status for (_, _, status) in world.seen if 0 < status < 400}
    assert done, f"{label} was never done, only refused: {world.seen}"


def _by_status(world: World) -> Counter[int]:
    found: Counter[int] = Counter()
    for (_, _, status), number in world.seen.items():
        found[status] += number
    del found[0]
    return found


def broken(*_: object) -> None:
    raise KeyError("planted")


def lie_about_rows(world: World, _: pytest.MonkeyPatch) -> None:
    world.schema.raw_schema["components"]["schemas"]["Row"]["properties"]["kind"] = {"enum": ["dance"]}


def forget_a_status(world: World, _: pytest.MonkeyPatch) -> None:
    del world.schema.raw_schema["paths"]["/v1/events"]["get"]["responses"]["401"]


def forget_a_problem(world: World, _: pytest.MonkeyPatch) -> None:
    about = world.schema.raw_schema["paths"]["/v1/events"]["get"]["responses"]["401"]["content"]["application/problem+json"]["schema"]
    about["properties"]["type"]["enum"].remove("/problems/invalid-token")


def break_a_read(_: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemas, "query", broken)


def take_anything(_: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemas, "query", lambda _: schemas._NOTHING_ASKED)


@pytest.mark.parametrize(
    ("plant", "mode", "found"),
    [
        (lie_about_rows, GenerationMode.POSITIVE, failures.JsonSchemaError), (forget_a_status, GenerationMode.POSITIVE, failures.UndefinedStatusCode),
        (forget_a_problem, GenerationMode.POSITIVE, failures.JsonSchemaError), (break_a_read, GenerationMode.POSITIVE, ServerError),
        (take_anything, GenerationMode.NEGATIVE, AcceptedNegativeData),
    ],
)  # fmt: skip
def test_it_can_fail(
    world: World, monkeypatch: pytest.MonkeyPatch, plant: Callable[[World, pytest.MonkeyPatch], None], mode: GenerationMode, found: type[Exception]
) -> None:
    """The planted defects: each is noticed, and without it the same calls pass."""
    calls(world, "GET /v1/events", mode, 60, steady=True)
    plant(world, monkeypatch)
    lied = World(world.app, world.alice, Shop.register(world.app, "third.example"), schemathesis.openapi.from_dict(world.schema.raw_schema))
    with pytest.raises(BaseExceptionGroup) as caught:
        calls(lied, "GET /v1/events", mode, 60, steady=True)
    assert caught.value.subgroup(found)
