"""What a client's redirect addresses and keys must be, however they came to us. Each check raises marshmallow's `ValidationError`."""

import re
from typing import Any, Final
from urllib.parse import urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OKPKey, RSAKey
from marshmallow import ValidationError

from broker.vault.signing import anybody_can_sign

LOOPBACK: Final = frozenset({"127.0.0.1", "::1"})
_PRINTABLE_URI: Final = re.compile(r"[!#$&-;=?-Z_a-z~\[\]%]{1,2000}")
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "k"})
RSA_BITS: Final = range(2048, 4097)
MOST_KEYS: Final = 10


def check_redirect_uri(uri: str) -> None:
    """An https URI, or http on a loopback address; no fragment, no name and password, no wildcard. Raises `ValidationError`."""
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        raise ValidationError("This is not a URI.") from None
    loopback = parts.scheme == "http" and parts.hostname in LOOPBACK
    if not _PRINTABLE_URI.fullmatch(uri) or "*" in uri or port == 0:
        raise ValidationError("Write the URI in plain ASCII, without wildcard.")
    if not (loopback or parts.scheme == "https") or not parts.hostname:
        raise ValidationError("Use https, or http on 127.0.0.1 or [::1].")
    if "#" in uri or "@" in parts.netloc:
        raise ValidationError("A redirect URI has no fragment and no name or password.")


def check_key(key: dict[str, Any]) -> None:
    """A public key we can verify with: P-256, Ed25519 (no point of small order), or RSA of 2048 to 4096 bits. Raises `ValidationError`."""
    if _PRIVATE & set(key):
        raise ValidationError("This key set contains a private or symmetric key. Send public keys only, and replace that key: it is no longer secret.")
    kind, curve = key.get("kty"), key.get("crv")
    # Anything may stand in a document, and not everything can be looked up.
    if not isinstance(kind, str) or not isinstance(curve, str | None) or (kind, curve) not in {("EC", "P-256"), ("OKP", "Ed25519"), ("RSA", None)}:
        raise ValidationError("Use keys of type EC P-256, OKP Ed25519 or RSA.")
    if "kid" in key and not isinstance(key["kid"], str):
        raise ValidationError("A key's kid is a text.")
    if key["kty"] == "OKP":
        try:
            public = OKPKey.import_key(key).public_key.public_bytes_raw()
        except (JoseError, ValueError, TypeError, KeyError):
            raise ValidationError("A key in this set cannot be read.") from None
        if anybody_can_sign(public):
            raise ValidationError("This Ed25519 key is a point of small order: anybody could sign in its name. Make a new key pair.")


def check_key_set(value: dict[str, Any]) -> None:
    """One to ten public keys, one of which can sign agreements. Raises `ValidationError`."""
    keys = value.get("keys")
    if not isinstance(keys, list) or not 1 <= len(keys) <= MOST_KEYS or not all(isinstance(key, dict) for key in keys):
        raise ValidationError('Give {"keys": [...]} with one to ten public keys.')
    for key in keys:
        check_key(key)
    try:
        opened = KeySet.import_key_set({"keys": keys})
    except (JoseError, ValueError, TypeError, KeyError):
        raise ValidationError("A key in this set cannot be read.") from None
    if all(key["kty"] == "RSA" for key in keys):
        raise ValidationError("Add an Ed25519 or P-256 key: agreements are signed with it.")
    for key in opened.keys:
        if isinstance(key, RSAKey) and key.public_key.key_size not in RSA_BITS:
            raise ValidationError("RSA keys have 2048 to 4096 bits.")
