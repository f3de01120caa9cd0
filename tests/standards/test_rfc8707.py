"""Resource indicators (RFC 8707): tokens are for the one resource there is (attack row 18)."""

import pytest
from makers import ORIGIN, Browser, Shop

HERE = f"{ORIGIN}/v1"
ELSEWHERE = ["https://elsewhere.example/v1", f"{ORIGIN}/v2", ORIGIN, f"{HERE}/", f"{HERE}#x", "v1", "http://LOCALHOST:8440/v1"]


@pytest.mark.parametrize("resource", ELSEWHERE)
def test_another_resource_is_no_target(alice: Browser, bookshop: Shop, resource: str) -> None:
    """Row 18, section 2: at PAR, for a code (which is not used up by it), and on refresh."""
    assert bookshop.push(resource=resource).json["error"] == "invalid_target"
    code = alice.give(bookshop.ask(resource=HERE))["code"]
    assert bookshop.redeem(code, resource=resource).json["error"] == "invalid_target"
    assert bookshop.redeem(code, resource=HERE).status_code == 200
    assert bookshop.refresh(resource=resource).json["error"] == "invalid_target"
    assert bookshop.refresh(resource=HERE).status_code == 200


def test_two_resources_are_refused(bookshop: Shop) -> None:
    """Row 18: also the right one twice."""
    form = {"base_url": ORIGIN, "content_type": "application/x-www-form-urlencoded"}
    for path in ("/oauth/par", "/oauth/token"):
        twice = bookshop.client.post(path, data=f"resource={HERE}&resource={HERE}", **form)
        assert (twice.status_code, twice.json["error"]) == (400, "invalid_target")
        once = bookshop.client.post(path, data=f"resource={HERE}", **form)
        assert once.json["error"] in {"invalid_client", "unsupported_grant_type"}, "refused for what it lacks"
