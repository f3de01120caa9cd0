"""The Vendors page: who asked, block, and an invite that a vendor can really register with."""

import json
import re

from joserfc.jwk import ECKey
from makers import ORIGIN, Browser, Clock, Shop


def test_it_lists_who_asked_and_who_was_given(alice: Browser, bob: Browser, bookshop: Shop, otherstore: Shop) -> None:
    """Only this person's own acquaintances, with what they may do now."""
    assert "No vendor has asked yet." in alice.get("/vendors").text
    bookshop.connect(alice)
    alice.open(otherstore.ask())
    text = alice.get("/vendors").text
    assert "books.example" in text
    assert "1 running grant" in text
    assert "You have given it nothing" in text
    assert "books.example</span>" not in bob.get("/vendors").text
    alice.post(f"/grants/{bookshop.tokens['grant_id']}/revoke")
    assert "What you gave has ended" in alice.get("/vendors").text
    assert alice.post("/terms/block", {"vendor": "https://books.example", "next": "/vendors"}).location == "/vendors"
    assert "Blocked" in alice.get("/vendors").text


def test_an_invite_registers_one_client(alice: Browser) -> None:
    for wrong in ("", "https://books.example", "books", "10.0.0.1", "bücher.example", "books.example/x"):
        refused = alice.post("/vendors/invite", {"domain": wrong}, page="/vendors")
        assert refused.status_code == 422, wrong
        assert "Write the vendor" in refused.text
    made = alice.post("/vendors/invite", {"domain": " Papers.example "}, page="/vendors")
    found = re.search(r"pfr_it_[A-Za-z0-9_-]+", made.text)
    assert found
    assert ORIGIN in made.text
    assert "pfr_it_" not in alice.get("/vendors").text
    key = ECKey.generate_key("P-256", {"kid": "k1"}, private=True)
    metadata = {"client_name": "Papers", "redirect_uris": ["https://papers.example/cb"], "token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [key.as_dict(private=False)]}}
    client = alice.app.test_client()

    def register() -> int:
        headers = {"Authorization": f"Bearer {found[0]}"}
        return client.post("/oauth/register", data=json.dumps(metadata), content_type="application/json", base_url=ORIGIN, headers=headers).status_code

    assert [register(), register()] == [201, 401]


def test_only_whoever_set_it_up_invites_and_only_once(alice: Browser, bob: Browser, bookshop: Shop) -> None:
    """A vendor is one for everybody here: nobody else brings a program into it, and none joins a vendor that somebody may have given to."""
    assert "Make an invite" not in bob.get("/vendors").text
    refused = bob.post("/vendors/invite", {"domain": "other.example"}, page="/vendors")
    assert refused.status_code == 404
    assert "pfr_it_" not in refused.text
    taken = alice.post("/vendors/invite", {"domain": "books.example"}, page="/vendors")
    assert taken.status_code == 422
    assert "has registered here already" in taken.text


def test_an_invite_asks_who_it_is(alice: Browser, clock: Clock) -> None:
    clock.advance(minutes=10)
    asked = alice.post("/vendors/invite", {"domain": "other.example"}, page="/vendors")
    assert "Is it you?" in asked.text
    assert "pfr_it_" not in asked.text
