"""Codes that people type: those of an authenticator app (TOTP, RFC 6238), and recovery codes. Pure."""

import hashlib
import hmac
import re
import secrets
from typing import Final

import pyotp
import segno

NAME: Final = "Proffer"
STEP_SECONDS: Final = 30
# A clock may be one step off, either way.
STEPS_OFF: Final = 1
# Spaces that apps and people put between digits; nothing else is taken for a digit or left out.
_SPACES: Final = re.compile(r"[ \u00a0\u202f-]")
_DIGITS: Final = re.compile(r"[0-9]{6}")

RECOVERY_CODES: Final = 10
# Six groups of five letters are 150 random bits.
GROUPS: Final = 6
GROUP: Final = 5
# Crockford's base 32: no letter that looks like a digit.
_LETTERS: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_LOOKALIKES: Final = str.maketrans({"o": "0", "i": "1", "l": "1"})


def new_secret() -> str:
    """A new secret for an authenticator app, 160 random bits in base 32."""
    return pyotp.random_base32(32)


def address(secret: str, name: str, host: str) -> str:
    """What an authenticator app reads: an `otpauth://` address."""
    return pyotp.TOTP(secret).provisioning_uri(name=f"{name} at {host}", issuer_name=NAME)


def picture(text: str) -> str:
    """The QR code of `text` as an SVG element, dark on light whatever the page's colours are."""
    made: str = segno.make(text, error="m").svg_inline(scale=5, border=3, dark="#000", light="#fff", omitsize=True)
    return made


def step(secret: str, text: str, now: float) -> int | None:
    """The time step whose code `text` is, or None; a step counts once, which is for the caller to see to (RFC 6238 section 5.2)."""
    typed = _SPACES.sub("", text.strip())
    if not _DIGITS.fullmatch(typed):
        return None
    current, otp, found = int(now) // STEP_SECONDS, pyotp.TOTP(secret), None
    for number in range(current - STEPS_OFF, current + STEPS_OFF + 1):
        if hmac.compare_digest(otp.generate_otp(number), typed):
            found = number
    return found


def new_recovery_codes() -> list[str]:
    """Ten codes of 150 random bits each, in groups to be written down."""
    return ["-".join("".join(secrets.choice(_LETTERS) for _ in range(GROUP)) for _ in range(GROUPS)) for _ in range(RECOVERY_CODES)]


def recovery_hash(text: str) -> bytes:
    """How a recovery code is kept, 32 bytes; spaces, hyphens, case and letters that look like digits do not count."""
    plain = re.sub(r"[^0-9a-z]", "", text.casefold().translate(_LOOKALIKES))
    return hashlib.sha256(plain.encode()).digest()
