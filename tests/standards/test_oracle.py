"""npm oidc-provider beside the broker: whatever any authorization server can be put to is put to both, and where it passes and we fail, we are wrong."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from blackbox import Do, tried
from blackbox_asking import AUTHORIZATION, CLIENTS
from blackbox_holding import DPOP, ENDS, TOKENS
from stages import our_stage, their_stage

CASES: dict[str, tuple[Do, str]] = {**AUTHORIZATION, **CLIENTS, **TOKENS, **DPOP, **ENDS}

# Where the oracle accepts what our checklist wants refused, and what it answers: we are stricter.
STRICTER: dict[str, tuple[str, str]] = {
    "challenge of 44 (10)": ("201", "RFC 7636, section 4.2: a hash by S256 has 43 characters, so no verifier fits any other number; the oracle takes whatever has a verifier's form."),
    "state of 4 kB (21)": ("201", "RFC 6749 sets no bound; what is kept for strangers is bounded here, at 1 KiB."),
    "exp in ten years (42)": ("200", "RFC 7523, section 3: an end that is unreasonably far may be refused; every id is remembered until its end, so ours is 60 seconds."),
    "iat 70 s ahead (43)": ("200", "FAPI 2.0, section 5.3.2.1: more than 60 seconds ahead is refused, in nbf as in iat; the oracle looks at nbf alone."),
    "secret beside the assertion (47)": ("200", "RFC 6749, section 2.3: one method a request; the oracle, which offers no secrets, does not see the parameter."),
    "its client after another (55)": ("200", "Rule T5: any wrong presentation uses a code up, for somebody else has seen it; the oracle lets its client come after the thief."),
    "no redirect_uri (56)": ("200", "RFC 6749, section 4.1.3, wants it again; OAuth 2.1 does not, and neither does the oracle after PAR."),
    "right verifier after a wrong one (57)": ("200", "Rule T5: a wrong verifier uses the code up, or it could be guessed at."),
    "made an hour ago (72)": ("200", "RFC 9449, section 4.3: by iat or by nonce; we look at both, the oracle at the nonce alone."),
    "made in an hour (72)": ("200", "The same."),
    "another host (77)": ("200", "The oracle calls itself what the request calls it; our address is a setting, and a request for another host is answered 421 (RFC 9110, section 15.5.20)."),
    "another key (80)": ("200", "RFC 9449, section 5: only a public client's refresh token must be bound; ours all are, so that a copied one is worth nothing even with the client's key (rule T9)."),
}  # fmt: skip

# Where the oracle refuses what we accept, and must: the standard leaves it open, and nothing is given away. No other may be added without both.
KINDER: dict[str, tuple[str, str]] = {
    "refresh beside an ended token (86)": ("400 invalid_grant", "RFC 7009, section 2.1: ending the grant with an access token is a choice; here an access token ends alone, a refresh token ends all."),
    "another client's token (87)": ("400 invalid_request", "RFC 7009, section 2.1, has the client told; section 2.2 answers 200 to a token that is none. One answer for both tells nobody whose token it holds; that it has no effect is a case of its own."),
}  # fmt: skip

# Where both refuse, in other words: what the oracle answers, and why we keep ours.
OTHER_WORDS: dict[str, tuple[str, str]] = {
    "request_uri inside (5)": ("400 request_uri_not_supported", "RFC 9126, section 2.1, has it refused, and names no error; the example of its section 2.3 is invalid_request."),
    "GET (6)": ("404", "RFC 9126, section 2.3: 405 for another method than POST; the oracle has no such route."),
    "PUT (6)": ("404", "The same."),
    "nobody (7)": ("400 invalid_request", "RFC 6749, section 5.2: no client authentication included is invalid_client."),
    "sub of another (40)": ("400 invalid_request", "The body's client_id and sub differ, and the oracle says that first; RFC 7523, section 3.2: a bad assertion is invalid_client."),
    "body names another (46)": ("400 invalid_request", "The same."),
    "Basic of bad UTF-8 (48)": ("400 invalid_request", "RFC 6749, section 5.2: an unsupported method is invalid_client; we do not decode what we do not offer."),
    "Basic of bad base64 (48)": ("400 invalid_request", "The same."),
    "Basic beyond ASCII (48)": ("400 invalid_request", "The same."),
    "short verifier (57)": ("400 invalid_request", "RFC 7636, section 4.6: a verifier that does not fit is invalid_grant; the oracle refuses its form before."),
    "GET (60)": ("404", "RFC 6749, section 3.2: POST only; 405 says which method is right (RFC 9110, section 15.5.6)."),
    "JSON (60)": ("400 invalid_request", "RFC 9110, section 15.5.16: 415 says that it is the media type."),
    "1 MB (60)": ("400 invalid_request", "RFC 9110, section 15.5.14: 413 says that it is the size."),
    "no proof (66)": ("400 invalid_grant", "RFC 9449, section 5, has no word of its own for none; invalid_dpop_proof says what to send."),
    "no proof at the API (66)": ("400 invalid_request", "RFC 9449, section 7.1: a refusal is 401 with a DPoP challenge."),
    "proof again (73)": ("400 invalid_grant", "RFC 9449, section 5: an invalid proof is invalid_dpop_proof, and one that was used is none (section 11.1)."),
    "proof again at the API (73)": ("401 invalid_token", "The same: the token is still good, and a client that threw it away would be wrong."),
    "dpop_jkt of another key (75)": ("400 invalid_request", "RFC 9449, section 10.1, has it refused, and names no error; the proof is not for that key."),
    "as Bearer (76)": ("400 invalid_request", "RFC 9449, section 7.2: a bound token as Bearer is 401."),
    "token in the query (98)": ("400 invalid_request", "Rule R2: a token anywhere but in its header is none, so this is a call without one (RFC 6750, section 3.1: no error code)."),
    "token in the body (98)": ("401 invalid_token", "The same."),
    "no token (99)": ("401 invalid_token", "RFC 6750, section 3.1: a call without credentials is told no error code."),
}  # fmt: skip

# Rows that a server must be looked into for, or waited for: their tests are inside (test_checklist.py).
INSIDE: dict[int, str] = {
    54: "a minute would have to pass",
    58: "a code that was stored otherwise",
}
ROWS = {*range(5, 14), 15, *range(18, 22), *range(39, 49), *range(52, 63), *range(66, 80), *range(80, 84), *range(86, 90), 98, 99}


@dataclass(frozen=True)
class Finding:
    """A case that is not as it should be, and what is wrong."""

    name: str
    wrong: str


def ok(found: str) -> bool:
    return found[0] in "23"


def judged(ours: Mapping[str, str], theirs: Mapping[str, str]) -> Iterator[Finding]:
    """Every case where we do not do what the checklist wants, or where the tables do not say truly how the oracle differs."""
    for name, (_, want) in CASES.items():
        if ours[name] != want:
            verdict = "the oracle passes: we are wrong" if ok(theirs[name]) == ok(want) else "both fail: doubt the test"
            yield Finding(name, f"{ours[name]} in place of {want}; {verdict}")
        table = OTHER_WORDS if ok(theirs[name]) == ok(want) else STRICTER if ok(theirs[name]) else KINDER
        if theirs[name] != (table[name][0] if name in table else want):
            yield Finding(name, f"the oracle answers {theirs[name]}, and no reason is given")
    for name in {*STRICTER, *KINDER, *OTHER_WORDS}:
        if theirs.get(name) == CASES[name][1]:
            yield Finding(name, "the oracle does not differ any more")


def test_both_are_put_to_the_same(node: str, tmp_path: Path) -> None:
    """Rows 5-13, 15, 18-21, 39-48, 52-62, 66-83, 86-89, 98 and 99; the good flow of both is among the cases."""
    with their_stage(node) as at:
        answered = tried(CASES, at)
        assert at.books.send("GET", "/.well-known/openid-configuration").json()["userinfo_endpoint"] == f"{at.books.place.origin}/me", "it is the oracle"
    with our_stage(tmp_path) as at:
        assert list(judged(tried(CASES, at), answered)) == []


def test_a_lax_server_in_our_place_is_found_out(node: str) -> None:
    """The control: the oracle itself, without what makes it FAPI, stands in our place and fails the rows that it must fail."""
    with their_stage(node) as at:
        answered = tried(CASES, at)
    with their_stage(node, lax=True) as at:
        found = list(judged(tried(CASES, at), answered))
    wrong = {each.name for each in found if each.wrong.endswith("we are wrong")}
    loose = {
        "neither challenge nor method (8)": "no PKCE", "aud the token URL (41)": "any audience of its own", "aud a list (41)": "the same", "no proof (66)": "no DPoP",
        "no nonce (74)": "no nonces", "no nonce at the API (74)": "the same", "proof again (73)": "replay", "proof again at the API (73)": "the same",
    }  # fmt: skip
    assert set(loose) <= wrong, set(loose) - wrong


def test_what_is_said_of_the_oracle_must_be_true() -> None:
    """The judge itself, on answers that were made up: each way to be wrong is found."""
    as_wanted = {name: want for name, (_, want) in CASES.items()}
    as_told = {**as_wanted, **{name: told for table in (STRICTER, KINDER, OTHER_WORDS) for name, (told, _) in table.items()}}
    assert list(judged(as_wanted, as_told)) == []
    for name, ours_says, theirs_says, wrong in (
        ("plain (9)", "201", "400 invalid_request", "201 in place of 400 invalid_request; the oracle passes: we are wrong"),
        ("plain (9)", "201", "201", "201 in place of 400 invalid_request; both fail: doubt the test"),
        ("plain (9)", "400 invalid_request", "201", "the oracle answers 201, and no reason is given"),
        ("a good request (20)", "400 invalid_request", "201", "400 invalid_request in place of 201; the oracle passes: we are wrong"),
        ("a good request (20)", "201", "400 invalid_request", "the oracle answers 400 invalid_request, and no reason is given"),
        ("exp in ten years (42)", "401 invalid_client", "401 invalid_client", "the oracle does not differ any more"),
        ("no token (99)", "401", "401 invalid_request", "the oracle answers 401 invalid_request, and no reason is given"),
    ):
        found = judged({**as_wanted, name: ours_says}, {**as_told, name: theirs_says})
        assert Finding(name, wrong) in list(found), (name, wrong)


def test_every_row_is_among_the_cases() -> None:
    """Rows that a stranger can try, by the number at the end of each name; the others are said to be inside."""
    tried_here = {int(number) for name in CASES for number in re.findall(r"\((\d+)\)$", name)}
    assert tried_here | set(INSIDE) == ROWS
    assert not tried_here & set(INSIDE)
    assert len(CASES) == len(AUTHORIZATION) + len(CLIENTS) + len(TOKENS) + len(DPOP) + len(ENDS), "no name stands for two cases"
    assert all(len(why) > 8 for table in (STRICTER, KINDER, OTHER_WORDS) for _, why in table.values())
    assert set(KINDER) == {"refresh beside an ended token (86)", "another client's token (87)"}
