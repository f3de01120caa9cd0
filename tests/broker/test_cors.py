"""The extension's routes answer other origins; no page does."""

from makers import ORIGIN, Browser

ROUTES = ("/v1/events", "/oauth/par", "/oauth/token", "/oauth/revoke")


def test_preflight(alice: Browser) -> None:
    client = alice.app.test_client()
    asked = {"Origin": "moz-extension://5f", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    for path in ROUTES:
        answer = client.options(path, base_url=ORIGIN, headers=asked)
        assert answer.status_code == 204
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "authorization" in answer.headers["Access-Control-Allow-Headers"]
        assert "Access-Control-Allow-Credentials" not in answer.headers


def test_pages_stay_closed(alice: Browser) -> None:
    """No CORS on the consent page or any other (attack row 33); no preflight for a vendor's GET."""
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for path in ("/", "/oauth/authorize", "/oauth/authorize/decision", "/requests", "/ledger"):
        answer = alice.client.options(path, base_url=ORIGIN, headers=asked)
        assert "Access-Control-Allow-Origin" not in answer.headers, path
