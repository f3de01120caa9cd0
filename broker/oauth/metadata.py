"""What the authorization server says of itself (RFC 8414); a test compares each word with what it does."""

from typing import Any, Final

import orjson
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from flask import Blueprint, Response

from broker import current
from broker.grants.details import TYPE
from broker.oauth.assertion import ALGORITHMS

metadata: Final = Blueprint("metadata", __name__)


def document(issuer: str, *, sandbox: bool) -> dict[str, Any]:
    """RFC 8414 section 2, with RFC 9126, 9207 and 9396 members."""
    made = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/oauth/authorize",
        "pushed_authorization_request_endpoint": f"{issuer}/oauth/par",
        "token_endpoint": f"{issuer}/oauth/token",
        "revocation_endpoint": f"{issuer}/oauth/revoke",
        "require_pushed_authorization_requests": True,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt", "none"],
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "revocation_endpoint_auth_methods_supported": ["private_key_jwt", "none"],
        "revocation_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "authorization_details_types_supported": [TYPE],
        "scopes_supported": ["events:read", "events:write"],
        "service_documentation": f"{issuer}/docs",
    }
    return {**made, "sandbox": True} if sandbox else made


def check(issuer: str) -> None:
    """Authlib's own validation of the document at start-up; it wants https, which a broker at home does not have."""
    AuthorizationServerMetadata(document(issuer.replace("http://", "https://", 1), sandbox=False)).validate()


@metadata.get("/.well-known/oauth-authorization-server")
def authorization_server() -> Response:
    """The metadata document."""
    settings = current.broker().settings
    return Response(orjson.dumps(document(settings.origin, sandbox=settings.sandbox)), mimetype="application/json")
