"""PKCE (RFC 7636): S256 for every client, and a verifier of the right form (attack rows 8-10, 57, 58, 111)."""

import base64
import hashlib

import pytest
from makers import ORIGIN, Browser, Clock, Extension, Shop, page_visit
from sqlalchemy import update

from broker.oauth.models import codes
from broker.vendors.actions import EXTENSION_REDIRECTS

# Appendix B.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_the_example_of_the_standard(alice: Browser, bookshop: Shop) -> None:
    """Appendix B."""
    code = alice.give(bookshop.ask(code_challenge=CHALLENGE))["code"]
    assert bookshop.redeem(code, code_verifier=VERIFIER).status_code == 200


@pytest.mark.parametrize("verifier", [None, CHALLENGE, "a" * 43, VERIFIER[:-1], f"{VERIFIER}\n", f" {VERIFIER}", VERIFIER.lower()])
def test_another_verifier_is_refused(alice: Browser, bookshop: Shop, verifier: str | None) -> None:
    """Rows 57, 111 and 112, section 4.6: the challenge itself among them; a line break is refused before anything is used up."""
    code = alice.give(bookshop.ask(code_challenge=CHALLENGE))["code"]
    wrong = bookshop.redeem(code, code_verifier=verifier)
    assert wrong.status_code == 400
    right = bookshop.redeem(code, code_verifier=VERIFIER)
    if wrong.json["error"] == "invalid_grant":
        assert right.json["error"] == "invalid_grant", "burned (row 112)"
    else:
        assert (wrong.json["error"], right.status_code) == ("invalid_request", 200)


@pytest.mark.parametrize("length", [42, 43, 128, 129])
def test_the_length_of_a_verifier(alice: Browser, bookshop: Shop, length: int) -> None:
    """Row 57, section 4.1: 43 to 128 characters, however well the hash fits."""
    verifier = "v" * length
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    code = alice.give(bookshop.ask(code_challenge=challenge))["code"]
    answer = bookshop.redeem(code, code_verifier=verifier)
    assert (answer.status_code, answer.json.get("error")) == ((200, None) if 43 <= length <= 128 else (400, "invalid_grant"))


@pytest.mark.parametrize("stored", ["", CHALLENGE])
@pytest.mark.parametrize("sent", [None, VERIFIER])
def test_a_code_without_a_challenge_opens_nothing(alice: Browser, bookshop: Shop, stored: str, sent: str | None) -> None:
    """Row 58, RFC 9700 section 2.1.1: no such code can be asked for; were one in the store, it is refused with a verifier and without."""
    assert bookshop.push(code_challenge=None).json["error"] == "invalid_request"
    code = alice.give(bookshop.ask(code_challenge=CHALLENGE))["code"]
    broker = alice.app.extensions["broker"]
    broker.write(lambda tx: tx.execute(update(codes).where(codes.c.client_id == bookshop.client_id).values(code_challenge=stored)))
    answer = bookshop.redeem(code, code_verifier=sent)
    assert answer.status_code == (200 if (stored, sent) == (CHALLENGE, VERIFIER) else 400)


def test_the_extension_too(alice: Browser, clock: Clock) -> None:
    """Rows 8, 9 and 10, section 1: public clients are whom it was made for."""
    assert Extension.connect(alice).upload(page_visit(clock())).status_code == 200
    for wrong in ({"code_challenge": None}, {"code_challenge_method": None}, {"code_challenge_method": "plain"}, {"code_challenge": "c" * 42}):
        data = {"client_id": "extension", "response_type": "code", "scope": "events:write", "dpop_jkt": "k" * 43, "code_challenge": CHALLENGE, "code_challenge_method": "S256"}
        form = {name: value for name, value in {**data, "redirect_uri": EXTENSION_REDIRECTS[0], **wrong}.items() if value is not None}
        answer = alice.app.test_client().post("/oauth/par", data=form, base_url=ORIGIN)
        assert (answer.status_code, answer.json["error"]) == (400, "invalid_request"), wrong
