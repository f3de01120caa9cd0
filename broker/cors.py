"""CORS for the routes the extension calls, and for no other (extension.md section 7). No cookies: its origin is random per install."""

from typing import Final

from flask import Flask, Response, request

ROUTES: Final = {
    "/v1/events": "POST",
    "/oauth/par": "POST",
    "/oauth/token": "POST",
    "/oauth/revoke": "POST",
    "/.well-known/oauth-authorization-server": "GET",
    "/.well-known/oauth-protected-resource/v1": "GET",
}
PREFLIGHT_SECONDS: Final = "600"


def setup(app: Flask) -> None:
    """Answer preflights of those routes, and open their answers to any origin."""

    @app.before_request
    def _preflight() -> Response | None:
        asked = request.headers.get("Access-Control-Request-Method")
        if request.method != "OPTIONS" or asked is None or ROUTES.get(request.path) != asked:
            return None
        response = Response(status=204)
        response.headers["Access-Control-Allow-Methods"] = asked
        response.headers["Access-Control-Allow-Headers"] = "authorization, content-type, dpop"
        response.headers["Access-Control-Max-Age"] = PREFLIGHT_SECONDS
        return response

    @app.after_request
    def _open(response: Response) -> Response:
        if request.path in ROUTES:
            response.headers["Access-Control-Allow-Origin"] = "*"
            response.headers["Access-Control-Expose-Headers"] = "DPoP-Nonce, WWW-Authenticate, Retry-After, Date"
            # Elsewhere answers stay with us; these are meant for another origin.
            response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        return response
