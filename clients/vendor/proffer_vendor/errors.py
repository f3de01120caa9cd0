
"""What can go wrong between a vendor and a broker, as types: RFC 9457 problems, RFC 6749 errors, and a broker that does not answer.

ProfferError
├── NotConnected         no tokens are kept for this person
├── CallbackRefused      a callback that is not the answer to our request (state, RFC 9207 iss)
│   └── CodeRefused      its code was mistyped, used before, or is older than a minute: ask again
├── Declined             the person said no (access_denied)
├── NotABroker           metadata or an answer that cannot be trusted or read
├── NotSigned            an agreement or statement that its parties did not sign as it stands
└── BrokerRefused        any refusal; `code` is the problem's slug or the OAuth error
    ├── NotGranted       nothing in the grant covers what was asked
    ├── GrantPaused      the person paused the grant: keep the tokens, ask later
    ├── GrantEnded       the grant is over: forget the tokens and what the agreement says
    ├── AgreementUnsigned  countersign first
    ├── InvalidCursor    start again without a cursor
    ├── InvalidClient    the broker does not know this client or key
    ├── RateLimited      wait `retry_after` seconds
    └── Unavailable      nothing was answered; try again, after `retry_after` seconds where known
"""

from collections.abc import Mapping
from typing import Any


class ProfferError(Exception):
    """Anything this package raises on purpose."""


class NotConnected(ProfferError):
    """No tokens are kept for this person: ask first."""


class CallbackRefused(ProfferError):
    """The callback does not belong to the request this browser started, or comes from another broker; it must be ignored."""


class CodeRefused(CallbackRefused):
    """The broker did not take the callback's code, so that no grant has begun here: ask again."""


class Declined(ProfferError):
    """The person looked at the request and said no."""


class NotABroker(ProfferError):
    """The address does not speak as the standards ask, or speaks for another issuer."""


class NotSigned(ProfferError):
    """The document is not one that its parties signed as it stands; the message says what is wrong with it."""


class BrokerRefused(ProfferError):
    """A refusal. `status` is the HTTP status, `code` the slug or OAuth error, `request_id` what the operator can look up."""

    def __init__(self, detail: str, *, status: int = 0, code: str = "", request_id: str = "", retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after


class NotGranted(BrokerRefused):
    """Nothing in this grant covers what was asked; the reason is the person's alone."""


class GrantPaused(BrokerRefused):
    """The person paused the grant."""


class GrantEnded(BrokerRefused):
    """The grant was revoked, has expired, or its token is not known."""


class AgreementUnsigned(BrokerRefused):
    """The agreement waits for the vendor's signature."""


class InvalidCursor(BrokerRefused):
    """The cursor is older than 15 minutes, or of another query."""


class InvalidClient(BrokerRefused):
    """The client, its key or its assertion is not known to the broker."""


class RateLimited(BrokerRefused):
    """Too many calls; `retry_after` says for how many seconds."""


class Unavailable(BrokerRefused):
    """The broker could not answer; repeating the same call is safe."""


_BY_CODE: Mapping[str, type[BrokerRefused]] = {
    "not-granted": NotGranted,
    "grant-paused": GrantPaused,
    "agreement-unsigned": AgreementUnsigned,
    "invalid-token": GrantEnded,
    "invalid_grant": GrantEnded,
    "invalid-cursor": InvalidCursor,
    "invalid_client": InvalidClient,
    "rate-limit": RateLimited,
}
_SERVER_ERROR = 500
_TOO_MANY = 429


def refusal(status: int, body: Any, *, retry_after: int | None = None) -> BrokerRefused:
    """The typed error of an answer: `body` is its parsed JSON (a problem of RFC 9457 or an error of RFC 6749 section 5.2), or None."""
    told: Mapping[str, Any] = body if isinstance(body, Mapping) else {}
    code = str(told.get("error") or str(told.get("type", "")).rpartition("/problems/")[2])
    detail = str(told.get("detail") or told.get("error_description") or told.get("title") or code or f"The broker answered {status}.")
    kind = _BY_CODE.get(code)
    if kind is None:
        kind = RateLimited if status == _TOO_MANY else Unavailable if status >= _SERVER_ERROR else BrokerRefused
    return kind(detail, status=status, code=code, request_id=str(told.get("request_id", "")), retry_after=retry_after)
