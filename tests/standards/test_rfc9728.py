"""Protected resource metadata (RFC 9728): a vendor that knows the address of the API alone finds its way."""

import re

from makers import ORIGIN, Browser, Shop


def test_the_address_of_the_api_is_enough(alice: Browser, bookshop: Shop) -> None:
    """Section 5.1: the refusal names the metadata, whose `resource` is the address that was asked (section 3.3)."""
    refused = bookshop.client.get("/v1", base_url=ORIGIN)
    assert (refused.status_code, refused.json["type"]) == (401, "/problems/no-token")
    named = re.search(r'resource_metadata="([^"]+)"', refused.headers["WWW-Authenticate"])
    assert named
    document = bookshop.client.get(named[1].removeprefix(ORIGIN), base_url=ORIGIN).json
    assert document["resource"] == f"{ORIGIN}/v1"
    assert document["authorization_servers"] == [ORIGIN]
    assert document["dpop_bound_access_tokens_required"] is True
    assert document["bearer_methods_supported"] == []
    server = bookshop.client.get("/.well-known/oauth-authorization-server", base_url=ORIGIN).json
    assert server["issuer"] == document["authorization_servers"][0]
    assert document["dpop_signing_alg_values_supported"] == server["dpop_signing_alg_values_supported"]
    assert set(document["scopes_supported"]) == set(server["scopes_supported"])
    assert bookshop.push(resource=document["resource"]).status_code == 201
    bookshop.connect(alice)
    places = bookshop.send("GET", "/v1").json
    assert {name: bookshop.send("GET", place.removeprefix(ORIGIN)).status_code for name, place in places.items()} == {"grant": 200, "events": 200, "answers": 403}


def test_another_resource_is_refused(bookshop: Shop) -> None:
    """RFC 8707 section 2: row 18."""
    for resource in (f"{ORIGIN}/v2", ORIGIN, f"{ORIGIN}/v1#x", "https://other.example/v1"):
        assert bookshop.push(resource=resource).json["error"] == "invalid_target", resource
    assert bookshop.push(resource=f"{ORIGIN}/v1").status_code == 201
