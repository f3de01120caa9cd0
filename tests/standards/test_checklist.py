"""The 119 attack and negative cases of the authorization design: which test holds each, and which are not done yet."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from flask import Flask
from makers import ORIGIN

TESTS = Path(__file__).resolve().parents[1]
PAR, TOKEN, DPOP, CLIENT = "standards/test_rfc9126.py", "standards/test_rfc6749.py", "standards/test_rfc9449.py", "standards/test_rfc7523.py"
ENDED, API, GRANTS, BEST = "standards/test_rfc7009.py", "standards/test_rfc6750.py", "standards/test_grant_management.py", "standards/test_rfc9700.py"
DETAILS, PKCE, LOOPBACK, ISS = "standards/test_rfc9396.py", "standards/test_rfc7636.py", "standards/test_rfc8252.py", "standards/test_rfc9207.py"
RESOURCE, MACHINE, FUZZ = "standards/test_rfc8707.py", "standards/test_grant_machine.py", "standards/test_fuzz.py"
DOCUMENT, REGISTRATION = "standards/test_client_id_metadata.py", "standards/test_rfc7591.py"
NARROWING, SIGNING, READ = "broker/grants/test_narrowing.py", "broker/grants/test_countersigning.py", "broker/events/test_read.py"

HELD: dict[int, list[str]] = {
    1: [f"{PAR}::test_authorize_needs_a_pushed_request"],
    2: [f"{PAR}::test_authorize_needs_a_pushed_request"],
    3: [f"{PAR}::test_authorize_needs_a_pushed_request"],
    4: [f"{PAR}::test_it_can_be_reloaded_until_it_is_decided"],
    5: [f"{PAR}::test_it_refuses"],
    6: [f"{PAR}::test_it_takes_only_post"],
    7: [f"{PAR}::test_it_needs_client_authentication"],
    8: [f"{PAR}::test_it_refuses", f"{PKCE}::test_the_extension_too"],
    9: [f"{PAR}::test_it_refuses", f"{PKCE}::test_the_extension_too"],
    10: [f"{PAR}::test_it_refuses", f"{PKCE}::test_the_extension_too"],
    11: [f"{PAR}::test_it_refuses"],
    12: [f"{PAR}::test_it_refuses_tricky_redirect_uris"],
    13: [f"{PAR}::test_it_refuses_tricky_redirect_uris"],
    14: [f"{LOOPBACK}::test_any_port_works", f"{LOOPBACK}::test_nothing_else_does", f"{LOOPBACK}::test_the_extension_on_a_loopback_address"],
    15: [f"{PAR}::test_it_refuses"],
    16: [f"{PAR}::test_it_refuses", f"{DETAILS}::test_it_refuses"],
    17: [f"{DETAILS}::test_it_refuses", f"{DETAILS}::test_it_refuses_broken_json"],
    18: [f"{RESOURCE}::test_another_resource_is_no_target", f"{RESOURCE}::test_two_resources_are_refused", f"{PAR}::test_it_refuses"],
    19: [f"{PAR}::test_parameters_come_once_and_in_the_body"],
    20: [f"{PAR}::test_unknown_parameters_are_ignored"],
    21: [f"{PAR}::test_state_comes_back_exactly", f"{PAR}::test_it_refuses"],
    22: [f"{PAR}::test_unknown_parameters_are_ignored"],
    23: [f"{PAR}::test_the_order_of_scopes_means_nothing"],
    24: [f"{PAR}::test_authorize_needs_a_pushed_request"],
    25: [f"{PAR}::test_refusing_and_giving_nothing_are_alike", f"{ISS}::test_every_decision_names_the_issuer"],
    26: [f"{PAR}::test_refusing_and_giving_nothing_are_alike", f"{ISS}::test_every_decision_names_the_issuer"],
    27: [f"{PAR}::test_a_wider_or_forged_choice_gives_nothing"],
    28: [f"{PAR}::test_a_decision_needs_its_token_and_origin"],
    29: [f"{PAR}::test_it_can_be_reloaded_until_it_is_decided", f"{PAR}::test_of_parallel_decisions_one_gives"],
    30: [f"{ISS}::test_every_decision_names_the_issuer", f"{ISS}::test_what_nobody_decided_names_it_too"],
    31: [f"{PAR}::test_headers_of_the_consent_page"],
    32: [f"{ISS}::test_every_decision_names_the_issuer"],
    33: [f"{PAR}::test_headers_of_the_consent_page", "broker/test_cors.py::test_pages_stay_closed"],
    34: [f"{PAR}::test_prompt_none", f"{PAR}::test_nothing_is_given_silently"],
    35: [f"{PAR}::test_a_hostile_vendor_is_escaped", f"{PAR}::test_a_hostile_name_is_escaped_and_nothing_is_fetched"],
    39: [f"{CLIENT}::test_one_method_only"],
    40: [f"{CLIENT}::test_it_refuses"],
    41: [f"{CLIENT}::test_it_refuses"],
    42: [f"{CLIENT}::test_it_refuses", f"{CLIENT}::test_times"],
    43: [f"{CLIENT}::test_times"],
    44: [f"{CLIENT}::test_it_refuses", f"{CLIENT}::test_an_assertion_works_once", f"{CLIENT}::test_of_parallel_replays_one_wins"],
    45: [f"{CLIENT}::test_algorithms"],
    46: [f"{CLIENT}::test_one_method_only"],
    47: [f"{CLIENT}::test_one_method_only"],
    48: [f"{CLIENT}::test_one_method_only"],
    49: [f"{CLIENT}::test_unknown_clients_and_bad_signatures_look_alike", f"{CLIENT}::test_every_refusal_costs_one_verification"],
    50: [f"{DOCUMENT}::test_a_private_address_behind_a_public_name", f"{DOCUMENT}::test_documents_that_are_not_taken"],
    51: [f"{DOCUMENT}::test_a_key_that_was_taken_out_is_refused_within_twenty_minutes"],
    52: [f"{TOKEN}::test_a_replayed_code_ends_the_grant"],
    53: [f"{TOKEN}::test_twenty_parallel_redemptions_have_one_winner"],
    54: [f"{TOKEN}::test_a_code_lives_sixty_seconds"],
    55: [f"{TOKEN}::test_another_client_cannot_redeem_it"],
    56: [f"{TOKEN}::test_a_wrong_presentation_burns_the_code"],
    57: [f"{TOKEN}::test_a_wrong_presentation_burns_the_code", f"{PKCE}::test_another_verifier_is_refused", f"{PKCE}::test_the_length_of_a_verifier"],
    58: [f"{PKCE}::test_a_code_without_a_challenge_opens_nothing"],
    59: [f"{PAR}::test_parameters_come_once_and_in_the_body"],
    60: [f"{PAR}::test_parameters_come_once_and_in_the_body", f"{TOKEN}::test_it_takes_only_post"],
    61: [f"{PAR}::test_parameters_come_once_and_in_the_body"],
    62: [f"{TOKEN}::test_other_grant_types_are_refused"],
    63: [f"{TOKEN}::test_no_answer_is_kept"],
    64: [f"{BEST}::test_what_a_credential_is_made_of", "broker/vault/test_keys.py::test_credentials"],
    65: [f"{TOKEN}::test_it_works"],
    66: [f"{DPOP}::test_without_a_proof_nothing_is_given", f"{DPOP}::test_the_code_is_bound_when_it_is_asked_for"],
    67: [f"{DPOP}::test_two_proofs_are_none"],
    68: [f"{DPOP}::test_headers_that_name_no_key_of_ours", f"{DPOP}::test_claims_that_do_not_fit_the_call", f"{DPOP}::test_a_proof_is_for_one_token"],
    69: [f"{DPOP}::test_headers_that_name_no_key_of_ours", f"{DPOP}::test_a_private_key_in_the_header_is_refused"],
    70: [f"{DPOP}::test_a_signature_by_another_key", f"{DPOP}::test_a_copied_token_is_worth_nothing"],
    71: [f"{DPOP}::test_claims_that_do_not_fit_the_call", f"{DPOP}::test_addresses_are_compared_as_addresses"],
    72: [f"{DPOP}::test_the_time_it_was_made"],
    73: [f"{DPOP}::test_a_proof_opens_one_call"],
    74: [f"{DPOP}::test_the_nonce_is_ours_and_fresh", f"{DPOP}::test_a_nonce_of_one_process_works_on_another"],
    75: [f"{DPOP}::test_the_code_is_bound_when_it_is_asked_for"],
    76: [f"{DPOP}::test_as_a_bearer_token_it_is_refused"],
    77: [f"{DPOP}::test_as_a_bearer_token_it_is_refused", "broker/people/test_sign_in.py::test_hosts"],
    78: [f"{DPOP}::test_a_proof_is_for_one_token"],
    79: [f"{DPOP}::test_as_a_bearer_token_it_is_refused"],
    80: [f"{TOKEN}::test_refresh_belongs_to_its_client"],
    81: [f"{GRANTS}::test_one_refresh_token_in_twenty_calls_at_once"],
    82: [f"{TOKEN}::test_refresh_never_widens"],
    83: [f"{TOKEN}::test_refresh_after_the_end"],
    85: [f"{NARROWING}::test_a_narrowed_grant_shows_less_at_once"],
    86: [f"{ENDED}::test_a_refresh_token_hands_the_grant_back", f"{ENDED}::test_an_access_token_ends_alone"],
    87: [f"{ENDED}::test_another_clients_token_has_no_effect"],
    88: [f"{ENDED}::test_another_clients_token_has_no_effect"],
    89: [f"{ENDED}::test_it_needs_the_client"],
    90: [f"{GRANTS}::test_an_end_while_pages_are_read", f"{GRANTS}::test_an_end_while_one_page_is_read"],
    91: [f"{MACHINE}::test_nothing_leaves_without_a_grant", f"{GRANTS}::test_an_end_against_each_way_to_a_token", f"{GRANTS}::test_an_end_against_the_decision"],
    92: [f"{NARROWING}::test_a_part_taken_away_is_refused_and_the_others_work"],
    93: [f"{GRANTS}::test_an_end_on_one_process_is_one_on_all"],
    95: [f"{GRANTS}::test_another_grant_is_like_one_that_never_was", f"{SIGNING}::test_another_grant_is_like_one_that_never_was"],
    97: [f"{BEST}::test_a_copy_of_the_database_opens_nothing", f"{BEST}::test_a_stolen_database_in_another_broker"],
    98: [f"{API}::test_only_the_header_counts", f"{READ}::test_tokens"],
    99: [f"{API}::test_a_token_that_ran_out", f"{API}::test_a_token_of_another_broker", f"{API}::test_a_clause_that_is_missing", f"{READ}::test_tokens"],
    100: [f"{API}::test_nothing_of_one_vendor_means_anything_to_another", f"{READ}::test_a_foreign_or_old_cursor"],
    102: [f"{DOCUMENT}::test_documents_that_are_not_taken", f"{REGISTRATION}::test_metadata_that_is_not_taken"],
    107: [f"{BEST}::test_the_listener_hears", f"{BEST}::test_a_whole_connection_in_this_process_logs_no_secret", f"{BEST}::test_a_real_server_at_debug_logs_no_secret"],
    108: [f"{FUZZ}::test_whatever_is_sent_to_oauth", f"{FUZZ}::test_whatever_is_sent_anywhere", "standards/test_rfc9457.py::test_what_was_not_foreseen_tells_nothing",
          *(f"{FUZZ}::test_whatever_is_{done}" for done in ("registered", "opened", "decided", "previewed")), "standards/test_described.py::test_the_api_is_what_its_description_says"],
    109: [f"{DPOP}::test_what_asks_for_a_nonce_uses_nothing_up"],
    110: [f"{CLIENT}::test_it_refuses", f"{CLIENT}::test_duplicate_and_strange_claims"],
    111: [f"{TOKEN}::test_a_verifier_with_a_newline_is_refused", f"{PKCE}::test_another_verifier_is_refused"],
    112: [f"{TOKEN}::test_a_wrong_presentation_burns_the_code", f"{PKCE}::test_another_verifier_is_refused"],
    113: [f"{TOKEN}::test_a_double_submit_only_gets_refused"],
    114: [f"{TOKEN}::test_refresh_after_the_end"],
    115: [f"{BEST}::test_what_a_credential_is_made_of", "broker/vault/test_keys.py::test_credentials"],
    116: [f"{PAR}::test_terms_changed_while_the_page_was_open"],
    117: [f"{PAR}::test_another_browser_or_person_cannot_open_it"],
    118: [f"{API}::test_the_extensions_token_opens_one_route", "broker/events/test_upload.py::test_it_can_never_read"],
    119: [f"{API}::test_no_vendor_gets_such_a_token", f"{DETAILS}::test_it_refuses"],
}  # fmt: skip

# What must stand on the docs' page as not done.
NOT_YET: dict[int, str] = {
    **dict.fromkeys((36, 37, 38), "signed request objects (RFC 9101)"),
    84: "bearer clients, for which alone refresh tokens would be rotated",
    94: "introspection (RFC 7662)",
    96: "merge and replace of Grant Management",
    101: "step-up (RFC 9470)",
    103: "a client that edits itself (RFC 7592)",
    104: "the device grant (RFC 8628)",
    105: "CIBA",
    106: "shared signals (RFC 8935, RFC 8936)",
}


def test_every_row_is_held_or_said_to_be_missing() -> None:
    assert sorted([*HELD, *NOT_YET]) == list(range(1, 120))
    assert all(HELD.values())


@cache
def parsed(name: str) -> ast.Module:
    return ast.parse((TESTS / name).read_text(encoding="utf-8"))


def cited(name: str, test: str) -> str:
    """What a test says of itself: its docstring, and the ids of the tables of its file that it is run with."""
    functions = {node.name: node for node in parsed(name).body if isinstance(node, ast.FunctionDef)}
    decorators = " ".join(ast.dump(each) for each in functions[test].decorator_list)
    tables = [node for node in parsed(name).body if isinstance(node, ast.Assign | ast.AnnAssign)]
    used = [each for each in tables if ast.unparse(each.targets[0] if isinstance(each, ast.Assign) else each.target) in re.findall(r"id='([A-Z]+)'", decorators)]
    keys = [constant.value for table in used for constant in ast.walk(table) if isinstance(constant, ast.Constant) and isinstance(constant.value, str)]
    return " ".join([ast.get_docstring(functions[test]) or "", *(key for key in keys if re.search(r"\(\d+\)$", key))])


@pytest.mark.parametrize("row", HELD)
def test_each_test_exists_and_cites_its_row(row: int) -> None:
    for held in HELD[row]:
        name, _, test = held.partition("::")
        assert re.search(rf"(?<![\d.]){row}(?!\d)", cited(name, test)), f"{held} does not cite {row}"


PAGE = TESTS.parent / "broker" / "docs" / "reference" / "standards.md"


def test_what_is_missing_stands_on_the_page() -> None:
    """The page of standards names each row that has no test."""
    section = PAGE.read_text(encoding="utf-8").partition("## Not done")[2]
    lines = re.findall(r"^\|.*\| rows? ([\d, ]+) \|$", section, re.MULTILINE)
    assert sorted(int(number) for line in lines for number in line.split(",")) == sorted(NOT_YET)


def test_the_page_names_every_file_and_no_other() -> None:
    """Each file of tests by its name, in what is done."""
    done = PAGE.read_text(encoding="utf-8").partition("## Done")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(test_[a-z0-9_]+\.py)`", done)) == {path.name for path in Path(__file__).parent.glob("test_*.py")}


def test_where_the_metadata_leads_names_the_page(app: Flask) -> None:
    """RFC 8414 `service_documentation` and RFC 9728 `resource_documentation`: from there one link leads to the page."""
    client = app.test_client()
    for path, member in (("/.well-known/oauth-authorization-server", "service_documentation"), ("/.well-known/oauth-protected-resource/v1", "resource_documentation")):
        address = client.get(path, base_url=ORIGIN).json[member]
        page = client.get(address.removeprefix(ORIGIN), base_url=ORIGIN)
        assert '<a href="/docs/reference/standards">' in page.text
    assert client.get("/docs/reference/standards", base_url=ORIGIN).status_code == 200
