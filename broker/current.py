"""The open broker of the running application, for the upper half."""

from typing import cast

from flask import current_app, request

from broker.ledger.actions import Denials
from broker.oauth.dpop import Seen
from broker.opening import Broker


def broker() -> Broker:
    """The broker this application serves."""
    return cast("Broker", current_app.extensions["broker"])


def denials() -> Denials:
    """Where this application's refused reads are entered."""
    return cast("Denials", current_app.extensions["denials"])


def seen() -> Seen:
    """The proofs that this process has taken for reads."""
    return cast("Seen", current_app.extensions["seen"])


def address() -> str:
    """The network address a request came from, for counting only."""
    return request.remote_addr or "unknown"
