"""The FAPI 2.0 Security Profile (final, February 2025), clause by clause: which test holds each that is for a server, and which are not done or not for us."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey
from makers import ORIGIN, Browser, Extension, Shop, purchases
from sqlalchemy import select

from broker.vendors.actions import EXTENSION, add_client
from broker.vendors.models import clients

TESTS = Path(__file__).resolve().parents[1]
HERE = "standards/test_fapi2_security_profile.py"
PAR, TOKEN, DPOP, CLIENT = "standards/test_rfc9126.py", "standards/test_rfc6749.py", "standards/test_rfc9449.py", "standards/test_rfc7523.py"
API, ISS, BEST, REGISTRATION = "standards/test_rfc6750.py", "standards/test_rfc9207.py", "standards/test_rfc9700.py", "standards/test_rfc7591.py"
PKCE, ENDED, GRANTS = "standards/test_rfc7636.py", "standards/test_rfc7009.py", "standards/test_grant_management.py"

# Sections 5.2 to 5.4 by section and number; clauses for clients (5.3.3) are not a server's.
DONE: dict[str, list[str]] = {
    "5.2.1 (5)": ["broker/test_fetching.py::test_the_certificate_is_the_hosts"],
    "5.2.3 (1)": ["broker/test_headers.py::test_strict_transport_security_stands_on_https_alone"],
    "5.2.3 (3)": [f"{PAR}::test_headers_of_the_consent_page", "broker/test_cors.py::test_pages_stay_closed"],
    "5.3.2.1 (1)": ["standards/test_rfc8414.py::test_metadata_is_true"],
    "5.3.2.1 (2)": [f"{TOKEN}::test_other_grant_types_are_refused"],
    "5.3.2.1 (3)": [f"{HERE}::test_every_vendor_is_confidential", f"{REGISTRATION}::test_metadata_that_is_not_taken"],
    "5.3.2.1 (4)": [f"{HERE}::test_every_token_is_bound", f"{DPOP}::test_without_a_proof_nothing_is_given"],
    "5.3.2.1 (5)": [f"{HERE}::test_every_token_is_bound", f"{DPOP}::test_a_copied_token_is_worth_nothing"],
    "5.3.2.1 (6)": [f"{CLIENT}::test_one_method_only", f"{CLIENT}::test_algorithms"],
    "5.3.2.1 (7)": [f"{HERE}::test_no_address_leads_elsewhere", "broker/people/test_sign_in.py::test_it_never_leads_elsewhere"],
    "5.3.2.1 (8)": [f"{CLIENT}::test_it_refuses"],
    "5.3.2.1 (9)": [f"{TOKEN}::test_refresh_repeats_the_token"],
    "5.3.2.1 (10)": [f"{DPOP}::test_the_nonce_is_ours_and_fresh"],
    "5.3.2.1 (11)": [f"{TOKEN}::test_a_code_lives_sixty_seconds"],
    "5.3.2.1 (12)": [f"{DPOP}::test_the_code_is_bound_when_it_is_asked_for"],
    "5.3.2.1 (13)": [f"{HERE}::test_clocks_that_differ", f"{CLIENT}::test_times", f"{DPOP}::test_the_time_it_was_made"],
    "5.3.2.1 (14)": [f"{HERE}::test_a_token_can_be_for_less_than_its_grant"],
    "5.3.2.2 (1)": [f"{PAR}::test_it_refuses"],
    "5.3.2.2 (2)": [f"{PAR}::test_it_works"],
    "5.3.2.2 (3)": [f"{PAR}::test_authorize_needs_a_pushed_request"],
    "5.3.2.2 (4)": [f"{PAR}::test_it_needs_client_authentication"],
    "5.3.2.2 (5)": [f"{PAR}::test_it_refuses", f"{PKCE}::test_another_verifier_is_refused"],
    "5.3.2.2 (6)": [f"{PAR}::test_it_refuses"],
    "5.3.2.2 (7)": [f"{ISS}::test_every_decision_names_the_issuer", f"{ISS}::test_what_nobody_decided_names_it_too"],
    "5.3.2.2 (8)": [f"{REGISTRATION}::test_metadata_that_is_not_taken", "standards/test_rfc8252.py::test_nothing_else_does"],
    "5.3.2.2 (9)": [f"{TOKEN}::test_a_replayed_code_ends_the_grant", f"{TOKEN}::test_twenty_parallel_redemptions_have_one_winner"],
    "5.3.2.2 (10)": ["broker/people/test_sign_in.py::test_it_works", f"{ISS}::test_every_decision_names_the_issuer"],
    "5.3.2.2 (11)": ["broker/people/test_sign_in.py::test_it_works", f"{ISS}::test_every_decision_names_the_issuer"],
    "5.3.2.2 (12)": [f"{HERE}::test_a_pushed_request_lives_less_than_ten_minutes"],
    "5.3.2.2 (13)": [f"{HERE}::test_the_page_says_who_asks_for_what", f"{PAR}::test_nothing_is_given_silently"],
    "5.3.4 (1)": [f"{DPOP}::test_as_a_bearer_token_it_is_refused", f"{API}::test_only_the_header_counts"],
    "5.3.4 (2)": [f"{API}::test_only_the_header_counts"],
    "5.3.4 (3)": [f"{API}::test_a_token_that_ran_out", f"{API}::test_a_token_of_another_broker", f"{ENDED}::test_a_refresh_token_hands_the_grant_back", f"{GRANTS}::test_an_end_on_one_process_is_one_on_all"],
    "5.3.4 (4)": [f"{API}::test_a_clause_that_is_missing", f"{API}::test_the_extensions_token_opens_one_route"],
    "5.3.4 (5)": [f"{DPOP}::test_a_copied_token_is_worth_nothing", f"{DPOP}::test_a_proof_is_for_one_token", f"{DPOP}::test_a_proof_opens_one_call"],
    "5.4.1 (1.1)": [f"{CLIENT}::test_algorithms", f"{CLIENT}::test_duplicate_and_strange_claims", f"{DPOP}::test_headers_that_name_no_key_of_ours", f"{DPOP}::test_what_the_library_would_let_through"],
    "5.4.1 (1.2)": [f"{CLIENT}::test_algorithms", f"{DPOP}::test_the_other_algorithms"],
    "5.4.1 (1.3)": [f"{CLIENT}::test_algorithms", f"{DPOP}::test_headers_that_name_no_key_of_ours"],
    "5.4.1 (2)": ["broker/vendors/test_client_add.py::test_it_refuses", f"{DPOP}::test_headers_that_name_no_key_of_ours"],
    "5.4.1 (3)": ["broker/vendors/test_client_add.py::test_it_refuses", f"{DPOP}::test_another_curve_under_the_same_name"],
    "5.4.1 (4)": [f"{BEST}::test_what_a_credential_is_made_of", "broker/vault/test_keys.py::test_credentials"],
    "5.4.3": [f"{HERE}::test_keys_of_one_name_are_told_apart"],
}  # fmt: skip

NOT_FOR_US = {"5.2.1 (4)", "5.2.2 (2)", "5.2.2.1", "5.3.2.2 (14)", "5.3.2.3", "5.4.2 (1)", "5.4.2 (2)", "5.4.2 (3)"}
NOT_DONE = {"5.2.1 (1)", "5.2.1 (2)", "5.2.1 (3)", "5.2.2 (1)", "5.2.3 (2)"}

# How many clauses each section has that is for servers.
NUMBERED = {"5.2.1": 5, "5.2.2": 2, "5.2.3": 3, "5.3.2.1": 14, "5.3.2.2": 14, "5.3.4": 5, "5.4.2": 3}
OTHERS = {"5.2.2.1", "5.3.2.3", "5.4.1 (1.1)", "5.4.1 (1.2)", "5.4.1 (1.3)", "5.4.1 (2)", "5.4.1 (3)", "5.4.1 (4)", "5.4.3"}


def test_every_clause_is_held_or_said_to_be_missing() -> None:
    wanted = {f"{section} ({number})" for section, most in NUMBERED.items() for number in range(1, most + 1)} | OTHERS
    assert sorted([*DONE, *NOT_FOR_US, *NOT_DONE]) == sorted(wanted)
    assert all(DONE.values())


@cache
def functions(name: str) -> frozenset[str]:
    return frozenset(node.name for node in ast.parse((TESTS / name).read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("clause", DONE)
def test_each_test_exists_and_those_here_cite_their_clause(clause: str) -> None:
    for held in DONE[clause]:
        name, _, test = held.partition("::")
        assert test in functions(name), held
        if name == HERE:
            assert clause in (globals()[test].__doc__ or ""), f"{test} does not cite {clause}"


def test_the_page_says_the_same() -> None:
    """Each clause has a row on the page of standards, with the state it has here and words about it."""
    text = (TESTS.parent / "broker" / "docs" / "reference" / "standards.md").read_text(encoding="utf-8")
    section = text.partition("## FAPI 2.0 Security Profile")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (5\.[\d.]+(?: \([\d.]+\))?) \| (done|not applicable|not done) \| (.+) \|$", section, re.MULTILINE)
    told = {clause: state for clause, state, _ in rows}
    assert len(told) == len(rows), "one row for each"
    assert told == {**dict.fromkeys(DONE, "done"), **dict.fromkeys(NOT_FOR_US, "not applicable"), **dict.fromkeys(NOT_DONE, "not done")}
    assert all(len(words) > 8 for _, _, words in rows)


def test_every_vendor_is_confidential(app: Flask, bookshop: Shop) -> None:
    """5.3.2.1 (3): the one public client is the person's own extension, which no vendor can be."""
    with app.extensions["broker"].reading() as tx:
        methods = {row.client_id: row.method for row in tx.execute(select(clients))}
    assert methods == {EXTENSION: "none", bookshop.client_id: "private_key_jwt"}
    alone = {"client_id": bookshop.client_id, "client_assertion": None, "client_assertion_type": None}
    for path in ("/oauth/par", "/oauth/token", "/oauth/revoke"):
        answer = bookshop.form(path, {**alone, "token": "x", "grant_type": "refresh_token", "refresh_token": "x"})
        assert (answer.status_code, answer.json["error"]) == (401, "invalid_client"), path


def test_every_token_is_bound(alice: Browser, bookshop: Shop) -> None:
    """5.3.2.1 (4) and 5.3.2.1 (5): by DPoP, whoever gets it and by whichever grant."""
    bookshop.connect(alice)
    assert bookshop.tokens["token_type"] == "DPoP"
    assert bookshop.refresh().json["token_type"] == "DPoP"
    assert Extension.connect(alice).tokens["token_type"] == "DPoP"
    for token in (bookshop.tokens["access_token"], bookshop.tokens["refresh_token"]):
        answer = bookshop.client.get("/v1/events", base_url=ORIGIN, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401


def test_no_address_leads_elsewhere(alice: Browser, bookshop: Shop) -> None:
    """5.3.2.1 (7): nothing that an address says makes the broker redirect to another host; only a pushed, registered address does."""
    for query in (
        f"client_id={bookshop.client_id}&redirect_uri=https://evil.example&response_type=code",
        f"client_id={bookshop.client_id}&request_uri=https://evil.example/request",
        f"{urlsplit(bookshop.ask()).query}&redirect_uri=https://evil.example",
    ):
        answer = alice.get(f"/oauth/authorize?{query}")
        assert "evil.example" not in answer.headers.get("Location", "")
        assert answer.status_code in {303, 400}
        assert answer.headers.get("Location", "/").startswith("/"), "on to a page of ours, or nowhere"


def test_clocks_that_differ(bookshop: Shop) -> None:
    """5.3.2.1 (13): up to ten seconds ahead is accepted of assertions and proofs, more than sixty is refused; both ends of each."""
    now = int(bookshop.app.extensions["broker"].now().timestamp())

    def error(assertion: dict[str, Any], proof: dict[str, Any]) -> str:
        shown = {"DPoP": bookshop.prover.proof("POST", "/oauth/token", **proof)}
        form = {"grant_type": "refresh_token", "refresh_token": "x", "client_assertion": bookshop.assertion(**assertion)}
        return str(bookshop.form("/oauth/token", form, headers=shown).json["error"])

    for ahead in (0, 10):
        for name in ("iat", "nbf"):
            assert error({name: now + ahead}, {}) == "invalid_grant", (name, ahead)
            assert error({}, {name: now + ahead}) == "invalid_grant", (name, ahead)
    for ahead in (62, 3600):
        for name in ("iat", "nbf"):
            assert error({name: now + ahead}, {}) == "invalid_client", (name, ahead)
            assert error({}, {name: now + ahead}) == "invalid_dpop_proof", (name, ahead)


def test_a_token_can_be_for_less_than_its_grant(alice: Browser, bookshop: Shop) -> None:
    """5.3.2.1 (14): a vendor with several clauses gets a token for one of them, and it opens no other."""
    bookshop.connect(alice, [purchases(), purchases(fields={"time": "month", "category": "top"})])
    assert [each["identifier"] for each in bookshop.tokens["authorization_details"]] == ["c1", "c2"]
    assert bookshop.refresh(authorization_details='[{"type":"personal_data_access","identifier":"c1"}]').status_code == 200
    assert [bookshop.read(f"?clause={clause}").status_code for clause in ("c1", "c2")] == [200, 403]
    assert bookshop.refresh().status_code == 200
    assert [bookshop.read(f"?clause={clause}").status_code for clause in ("c1", "c2")] == [200, 200]


def test_a_pushed_request_lives_less_than_ten_minutes(app: Flask, alice: Browser, bookshop: Shop) -> None:
    """5.3.2.2 (12): 90 seconds for a vendor, five minutes for the extension, whose person may have to sign in first."""
    assert bookshop.push().json["expires_in"] == 90
    extension = Extension.connect(alice)
    data = {"client_id": EXTENSION, "response_type": "code", "scope": "events:write", "code_challenge": "x" * 43, "code_challenge_method": "S256"}
    with app.extensions["broker"].reading() as tx:
        uris = tx.execute(select(clients.c.redirect_uris).where(clients.c.client_id == EXTENSION)).scalar_one()
    headers = {"DPoP": extension.prover.proof("POST", "/oauth/par")}
    pushed = extension.client.post("/oauth/par", data={**data, "redirect_uri": uris[0]}, base_url=ORIGIN, headers=headers)
    assert pushed.json["expires_in"] == 300


def test_the_page_says_who_asks_for_what(alice: Browser, bookshop: Shop) -> None:
    """5.3.2.2 (13): who asks by its verified domain, what it may see and for what, its own words for it, until when, and how to stop."""
    text = re.sub(r"\s+", " ", alice.get(alice.open(bookshop.ask())).text)
    told = ('<h2 id="who">Who asks</h2> <p class="vendor">books.example</p>', "may see what you bought", "only to recommend products to you", "To suggest your next book", "It ends on", "You can end it at any time")
    for words in told:
        assert words in text, words


def test_keys_of_one_name_are_told_apart(app: Flask, bookshop: Shop) -> None:
    """5.4.3: where several keys have one kid, their type, use and algorithm tell which is meant; where they do not, none is guessed."""
    good, other, edwards = (ECKey.generate_key("P-256", private=True), ECKey.generate_key("P-256", private=True), OKPKey.generate_key("Ed25519", private=True))
    public = {name: {**key.as_dict(private=False), "kid": "k1"} for name, key in (("good", good), ("other", other), ("edwards", edwards))}

    def works(*keys: dict[str, Any], header: str = "ES256", by: Any = good) -> bool:
        metadata = {"client_name": "Keys", "domain": "keys.example", "redirect_uris": ["https://keys.example/callback"], "jwks": {"keys": list(keys)}}
        shop = Shop(app, add_client(app.extensions["broker"], metadata), "keys.example", good, bookshop.client, bookshop.prover)
        payload = jws.extract_compact(shop.assertion().encode()).payload
        text = jws.serialize_compact({"alg": header, "kid": "k1"}, payload, by, algorithms=[header])
        answer = shop.form("/oauth/token", {"grant_type": "refresh_token", "refresh_token": "x", "client_assertion": text})
        return (answer.status_code, answer.json["error"]) == (400, "invalid_grant")

    assert works(public["good"], public["edwards"])
    assert works(public["good"], public["edwards"], header="Ed25519", by=edwards)
    assert works({**public["other"], "use": "enc"}, public["good"])
    assert works({**public["other"], "alg": "ES384"}, {**public["good"], "alg": "ES256"})
    assert works({**public["other"], "key_ops": ["encrypt"]}, {**public["good"], "key_ops": ["verify"]})
    assert not works({**public["good"], "key_ops": ["encrypt"]})
    assert not works(public["other"], public["good"])
    assert not works({**public["good"], "use": "enc"})
