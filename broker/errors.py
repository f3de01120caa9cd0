"""The tree of errors the broker raises on purpose; how they look on the wire is the business of `problems.py`.

BrokerError
├── BadRequest 400          ├── InvalidCursor 400
├── NoToken 401             ├── InvalidToken 401     ├── InvalidProof 401         ├── UseNonce 401
├── NotGranted 403          ├── GrantPaused 403      ├── AgreementUnsigned 403    ├── FormExpired 403
├── NotFound 404            ├── MethodNotAllowed 405
├── Conflict 409            ├── TermsChanged 409
├── TooLarge 413            ├── UnsupportedMediaType 415
├── AddressTooLong 414
├── HeadersTooLarge 431
├── Misdirected 421         ├── Unprocessable 422    ├── ImportRefused 422
├── RateLimit 429
├── Unsealable 500          ├── Internal 500
├── Busy 503                ├── OutcomeUnknown 503   ├── LedgerUnavailable 503    ├── Sealed 503
└── StorageFull 507
"""

from typing import Any, ClassVar


class BrokerError(Exception):
    """A foreseen failure: `slug`, `title`, `status` belong to the class; `detail` and evidence to the instance."""

    slug: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong"
    status: ClassVar[int] = 500
    default: ClassVar[str] = "The broker could not do this."

    def __init__(self, detail: str = "", *, errors: list[dict[str, str]] | None = None, reasons: tuple[str, ...] = (), retry_after: int | None = None) -> None:
        """`errors` are `{pointer, detail}` pairs (RFC 6901 pointers), `reasons` stay inside the broker, `retry_after` is in seconds."""
        super().__init__(detail or self.default)
        self.detail = detail or self.default
        self.errors = errors or []
        self.reasons = reasons
        self.retry_after = retry_after

    def evidence(self) -> dict[str, Any]:
        """Members that a problem document adds to type, title, status and detail."""
        return {"errors": self.errors} if self.errors else {}


class BadRequest(BrokerError):
    """The request cannot be read at all."""

    slug, title, status = "bad-request", "Bad request", 400
    default = "The request could not be read. Check its form against the documentation."


class InvalidCursor(BrokerError):
    """A cursor that is altered, foreign, or older than 15 minutes."""

    slug, title, status = "invalid-cursor", "Invalid cursor", 400
    default = "This cursor cannot be used here. Start again without one."


class NoToken(BrokerError):
    """No credential was sent where one is needed."""

    slug, title, status = "no-token", "No token", 401
    default = "Send an access token in the Authorization header."


class InvalidToken(BrokerError):
    """A credential that is unknown, expired or ended; one answer for all causes."""

    slug, title, status = "invalid-token", "Invalid token", 401
    default = "This token is not valid, or no longer."


class InvalidProof(BrokerError):
    """No proof of possession (RFC 9449), or one that is not good for this call; one answer for all causes."""

    slug, title, status = "invalid-proof", "Invalid proof", 401
    default = "Send one DPoP header with a fresh proof for this very call, made with the key that the token was given to."


class UseNonce(BrokerError):
    """A proof without a nonce of ours, or with an old one (RFC 9449 section 9)."""

    slug, title, status = "use-nonce", "Nonce needed", 401
    default = "Repeat the call with a proof that has the nonce of this answer's DPoP-Nonce header."


class NotGranted(BrokerError):
    """The one refusal for whatever the grant does not cover."""

    slug, title, status = "not-granted", "Not granted", 403
    default = "Nothing in this grant covers what was asked."


class GrantPaused(BrokerError):
    """The person paused the grant."""

    slug, title, status = "grant-paused", "Grant paused", 403
    default = "The person has paused this grant. Ask again later."


class AgreementUnsigned(BrokerError):
    """The vendor has not countersigned yet."""

    slug, title, status = "agreement-unsigned", "Agreement not signed", 403
    default = "The agreement of this grant has not been countersigned."


class FormExpired(BrokerError):
    """A form without a valid CSRF token, or sent from another site."""

    slug, title, status = "form-expired", "This form can no longer be sent", 403
    default = "Nothing was changed. Go back, load the page again and send the form once more."


class NotFound(BrokerError):
    """Missing, or somebody else's: the two look alike."""

    slug, title, status = "not-found", "Not found", 404
    default = "There is nothing here, or it is not yours."


class MethodNotAllowed(BrokerError):
    """The address exists, but not for this method."""

    slug, title, status = "method-not-allowed", "Method not allowed", 405
    default = "This address does not take that method."


class Conflict(BrokerError):
    """The state has moved on since the request was made."""

    slug, title, status = "conflict", "Conflict", 409
    default = "This was already done, or has changed meanwhile. Load the page again."


class TermsChanged(BrokerError):
    """The person's terms changed while the consent page was open."""

    slug, title, status = "terms-changed", "Your terms have changed", 409
    default = "Your terms changed while this page was open. Look at the request again; nothing was given."


class TooLarge(BrokerError):
    """A body, batch or file over its limit."""

    slug, title, status = "too-large", "Too large", 413
    default = "This is larger than the broker takes."


class AddressTooLong(BrokerError):
    """A request line over 8 KiB."""

    slug, title, status = "address-too-long", "Address too long", 414
    default = "This address is longer than 8 KiB. Send less in it."


class HeadersTooLarge(BrokerError):
    """Headers over 16 KiB, or over a hundred."""

    slug, title, status = "headers-too-large", "Headers too large", 431
    default = "The headers of this request are larger than 16 KiB or more than a hundred."


class UnsupportedMediaType(BrokerError):
    """Another media type or content encoding than the route takes."""

    slug, title, status = "unsupported-media-type", "Unsupported media type", 415
    default = "Send this in the media type the documentation names, without Content-Encoding."


class Misdirected(BrokerError):
    """A Host that is not ours (DNS rebinding)."""

    slug, title, status = "misdirected", "Wrong host", 421
    default = "This broker does not answer under that name."


class Unprocessable(BrokerError):
    """Readable, but with wrong values; `errors` says where."""

    slug, title, status = "unprocessable", "Some values cannot be used", 422
    default = "Some values cannot be used; see errors."

    @property
    def by_field(self) -> dict[str, str]:
        """What is wrong, by the name of the form's field; empty for the form as a whole."""
        return {each["pointer"].removeprefix("/"): each["detail"] for each in self.errors}


class ImportRefused(BrokerError):
    """A file that no importer can read; nothing of it was stored."""

    slug, title, status = "import-refused", "This file cannot be imported", 422
    default = "This file cannot be imported. Nothing was stored."


class RateLimit(BrokerError):
    """Too many calls; `retry_after` seconds from now it works again."""

    slug, title, status = "rate-limit", "Too many requests", 429
    default = "Too many requests. Wait as long as Retry-After says."


class Unsealable(BrokerError):
    """A sealed value that does not open: moved, altered, or its key is gone."""

    slug, title, status = "unsealable", "A stored value could not be opened", 500
    default = "A stored value could not be opened. Run `broker verify` and look at the log."


class Internal(BrokerError):
    """What was not foreseen."""

    default = "Something went wrong here. It was logged under the request id."


class Busy(BrokerError):
    """The queue is full or the wait was too long; nothing was done."""

    slug, title, status = "busy", "Busy", 503
    default = "The broker is busy and has done nothing. Try again."


class OutcomeUnknown(BrokerError):
    """A commit whose end is not known; repeating it is safe."""

    slug, title, status = "outcome-unknown", "Outcome unknown", 503
    default = "The broker cannot tell whether this was done. Repeating it is safe."


class LedgerUnavailable(BrokerError):
    """No ledger entry, no answer."""

    slug, title, status = "ledger-unavailable", "The ledger cannot be written", 503
    default = "The ledger cannot be written, so nothing was sent. Try again."


class Sealed(BrokerError):
    """No slot has opened the vault."""

    slug, title, status = "sealed", "The broker is sealed", 503
    default = "The broker is sealed. Its operator must unlock it."

    def __init__(self, detail: str = "", **evidence: Any) -> None:
        """Whoever asks may come again in a minute."""
        super().__init__(detail, **{"retry_after": 60, **evidence})


class StorageFull(BrokerError):
    """Too little room on the disk to take anything in."""

    slug, title, status = "storage-full", "Storage full", 507
    default = "The broker's disk is nearly full. Nothing was taken in; make room and try again."


def every_error() -> list[type[BrokerError]]:
    """All foreseen errors, for the reference page and its test."""
    return sorted(BrokerError.__subclasses__(), key=lambda error: (error.status, error.slug))
