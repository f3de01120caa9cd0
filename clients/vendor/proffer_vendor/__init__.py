"""A vendor's side of Proffer: ask a person, read what they gave, and stop when they say so. It speaks to a broker over HTTP only."""

from proffer_vendor.agreements import Agreement, countersign, verify, verify_changes
from proffer_vendor.asking import Ask, Cut, cuts
from proffer_vendor.connection import Connection, Page
from proffer_vendor.errors import (
    AgreementUnsigned,
    BrokerRefused,
    CallbackRefused,
    CodeRefused,
    Declined,
    GrantEnded,
    GrantPaused,
    InvalidClient,
    InvalidCursor,
    NotABroker,
    NotConnected,
    NotGranted,
    NotSigned,
    ProfferError,
    RateLimited,
    Unavailable,
)
from proffer_vendor.keys import SigningKey
from proffer_vendor.tokens import FileStore, MemoryStore, Tokens, TokenStore
from proffer_vendor.transport import Transport
from proffer_vendor.vendor import Pending, Vendor, challenge

__all__ = [
    "Agreement",
    "AgreementUnsigned",
    "Ask",
    "BrokerRefused",
    "CallbackRefused",
    "CodeRefused",
    "Connection",
    "Cut",
    "Declined",
    "FileStore",
    "GrantEnded",
    "GrantPaused",
    "InvalidClient",
    "InvalidCursor",
    "MemoryStore",
    "NotABroker",
    "NotConnected",
    "NotGranted",
    "NotSigned",
    "Page",
    "Pending",
    "ProfferError",
    "RateLimited",
    "SigningKey",
    "TokenStore",
    "Tokens",
    "Transport",
    "Unavailable",
    "Vendor",
    "challenge",
    "countersign",
    "cuts",
    "verify",
    "verify_changes",
]
