"""Passwords: Argon2id (RFC 9106), and what is refused as a password."""

import os
import threading
from typing import Final

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from broker.errors import Busy, Unprocessable

MEMORY_KIB: Final = 64 * 1024
PASSES: Final = 3
LANES: Final = 4
SHORTEST: Final = 8
LONGEST: Final = 128
# Two at once, so that a flood of sign-ins cannot take all memory and time.
_AT_ONCE: Final = threading.BoundedSemaphore(2)
_WAIT_SECONDS: Final = 5.0
_COMMONEST: Final = frozenset(FREQUENCY_LISTS["passwords"])


def _bounded() -> None:
    if not _AT_ONCE.acquire(timeout=_WAIT_SECONDS):
        raise Busy("Too many people are signing in at this moment. Try again in a few seconds.", retry_after=5)


def check(password: str) -> None:
    """Refuse what is too short, too long or among the commonest passwords; no rules of composition."""
    sentence = ""
    if len(password) < SHORTEST:
        sentence = f"Use at least {SHORTEST} characters."
    elif len(password) > LONGEST:
        sentence = f"Use at most {LONGEST} characters."
    elif password.lower() in _COMMONEST:
        sentence = "This is one of the most common passwords. Use another; three unrelated words are good."
    if sentence:
        raise Unprocessable(errors=[{"pointer": "/password", "detail": sentence}])


def digest(password: str) -> str:
    """The password's Argon2id hash as a PHC string."""
    _bounded()
    try:
        return Argon2id(salt=os.urandom(16), length=32, iterations=PASSES, lanes=LANES, memory_cost=MEMORY_KIB).derive_phc_encoded(password.encode())
    finally:
        _AT_ONCE.release()


def matches(password: str, phc: str) -> bool:
    """Whether `password` gives this PHC string; takes the same time for right and wrong."""
    _bounded()
    try:
        Argon2id.verify_phc_encoded(password.encode()[: LONGEST * 4], phc)
    except InvalidKey:
        return False
    finally:
        _AT_ONCE.release()
    return True


# Compared against where a name is unknown, so that unknown names cost the same time.
NOBODY: Final = "$argon2id$v=19$m=65536,t=3,p=4$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
