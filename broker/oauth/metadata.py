"""What the authorization server and the API say of themselves (RFC 8414, RFC 9728); tests compare each word with what they do."""

from typing import Any, Final

import orjson
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from flask import Blueprint, Response

from broker import current
from broker.grants.details import TYPE
from broker.headers import kept
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
        "registration_endpoint": f"{issuer}/oauth/register",
        "require_pushed_authorization_requests": True,
        "client_id_metadata_document_supported": True,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt", "none"],
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "revocation_endpoint_auth_methods_supported": ["private_key_jwt", "none"],
        "revocation_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "code_challenge_methods_supported": ["S256"],
        "dpop_signing_alg_values_supported": list(ALGORITHMS),
        "authorization_response_iss_parameter_supported": True,
        "authorization_details_types_supported": [TYPE],
        "scopes_supported": ["events:read", "events:write"],
        "service_documentation": f"{issuer}/docs",
    }
    return {**made, "sandbox": True} if sandbox else made


def resource(issuer: str) -> dict[str, Any]:
    """RFC 9728 section 2, with the members of RFC 9449: who gives tokens for `/v1`, and how they are shown."""
    return {
        "resource": f"{issuer}/v1",
        "authorization_servers": [issuer],
        "scopes_supported": ["events:read", "events:write"],
        "bearer_methods_supported": [],
        "dpop_signing_alg_values_supported": list(ALGORITHMS),
        "dpop_bound_access_tokens_required": True,
        "authorization_details_types_supported": [TYPE],
        "resource_documentation": f"{issuer}/docs",
    }


def check(issuer: str) -> None:
    """Authlib's own validation of the document at start-up; it wants https, which a broker at home does not have."""
    AuthorizationServerMetadata(document(issuer.replace("http://", "https://", 1), sandbox=False)).validate()


@metadata.get("/.well-known/oauth-authorization-server")
def authorization_server() -> Response:
    """The metadata document."""
    settings = current.broker().settings
    return kept(orjson.dumps(document(settings.origin, sandbox=settings.sandbox)))


@metadata.get("/.well-known/oauth-protected-resource/v1")
def protected_resource() -> Response:
    """The metadata document of the API; the path is that of RFC 9728 section 3.1 for the resource `<issuer>/v1`."""
    return kept(orjson.dumps(resource(current.broker().settings.origin)))
