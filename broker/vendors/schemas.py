"""What a client's metadata must look like (RFC 7591 names), for `broker client add` and, later, registration."""

from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, pre_load, validate, validates

from broker.fetching import is_host
from broker.vendors.checks import check_key_set, check_redirect_uri
from broker.vendors.words import plain_text


class ClientMetadata(Schema):
    """A vendor's client: `client_name`, `domain`, `redirect_uris`, `jwks`; optional `address`, `contact`, `client_id`, `token_endpoint_auth_method`."""

    class Meta:
        """Unknown members are refused, so that a misspelt one cannot pass unnoticed."""

        unknown = RAISE

    client_id = fields.String(validate=validate.Regexp(r"[a-z0-9][a-z0-9._-]{0,63}\Z", error="Use 1 to 64 of a-z, 0-9, dot, dash and underscore."))
    client_name = fields.String(required=True, validate=validate.Length(1, 80))
    domain = fields.String(required=True)
    redirect_uris = fields.List(fields.String(validate=check_redirect_uri), required=True, validate=validate.Length(1, 10))
    jwks = fields.Dict(required=True)
    address = fields.String(validate=validate.Length(1, 200))
    contact = fields.String(validate=validate.Length(1, 200))
    token_endpoint_auth_method = fields.String(load_default="private_key_jwt", validate=validate.Equal("private_key_jwt"))

    @pre_load
    def clean(self, data: dict[str, Any], **_: object) -> dict[str, Any]:
        """Take out of the vendor's own words what could mislead their reader."""
        return data | {name: plain_text(data[name]) for name in ("client_name", "address", "contact") if isinstance(data.get(name), str)}

    @validates("domain")
    def _domain(self, value: str, **_: object) -> None:
        if not is_host(value):
            raise ValidationError("Give the vendor's domain in lower-case ASCII, such as books.example.")

    @validates("jwks")
    def _jwks(self, value: dict[str, Any], **_: object) -> None:
        check_key_set(value)
