"""Authorization server metadata (RFC 8414): each word compared with what the server does (K33)."""

from makers import ORIGIN, Browser, Shop


def test_metadata_is_true(alice: Browser, bookshop: Shop) -> None:
    document = bookshop.client.get("/.well-known/oauth-authorization-server", base_url=ORIGIN).json
    assert document["issuer"] == ORIGIN
    for name in ("pushed_authorization_request_endpoint", "token_endpoint", "revocation_endpoint"):
        path = document[name].removeprefix(ORIGIN)
        assert bookshop.client.get(path, base_url=ORIGIN).status_code == 405
        assert bookshop.form(path, {}).status_code in {200, 400}
    assert document["require_pushed_authorization_requests"] is True
    assert alice.get("/oauth/authorize?response_type=code&client_id=x&redirect_uri=y").status_code == 400
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert bookshop.push(code_challenge_method="plain").status_code == 400
    assert document["authorization_response_iss_parameter_supported"] is True
    assert alice.give(bookshop.ask())["iss"] == document["issuer"]
    assert document["grant_types_supported"] == ["authorization_code", "refresh_token"]
    assert set(document["token_endpoint_auth_methods_supported"]) == {"private_key_jwt", "none"}
    assert document["authorization_details_types_supported"] == ["personal_data_access"]
    assert bookshop.push(headers={"DPoP": bookshop.prover.proof("POST", "/oauth/par", header={"alg": "RS256"})}).json["error"] == "invalid_dpop_proof"
    assert document["dpop_signing_alg_values_supported"] == ["ES256", "Ed25519", "PS256"]
    assert "sandbox" not in document
