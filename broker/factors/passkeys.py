"""Passkeys (WebAuthn Level 3): what a browser is asked, and what its answer proves. Pure; the library `webauthn` reads the answers.

A challenge carries its own proof - what it is for, for whom and when it was made - so that a page can hand one out without writing
anything. It is used up when its answer comes.
"""

import hashlib
import hmac
import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
import webauthn
from webauthn.helpers import base64url_to_bytes, options_to_json_dict, parse_client_data_json
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import AuthenticatorSelectionCriteria, PublicKeyCredentialDescriptor, ResidentKeyRequirement, UserVerificationRequirement

CHALLENGE_SECONDS: Final = 900
PERSON_BYTES: Final = 16
LONGEST_ANSWER: Final = 16 * 1024
LONGEST_ID: Final = 1023
NAME: Final = "Proffer"
ALGORITHMS: Final = [COSEAlgorithmIdentifier.ECDSA_SHA_256, COSEAlgorithmIdentifier.EDDSA, COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256]
# Found without a name being typed, and used only by whoever the device knows.
_VERIFIED_AND_FOUND: Final = AuthenticatorSelectionCriteria(
    resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
)  # fmt: skip
_MADE_AT: Final = struct.Struct(">Q")
_RANDOM: Final = 16
_TAG: Final = 16
Tag = Callable[[bytes], bytes]


class Refused(Exception):
    """An answer that proves nothing: wrong, old, for another challenge, site or purpose, without a person's consent at the device."""


@dataclass(frozen=True, slots=True)
class Party:
    """The broker as authenticators know it (the relying party): its host, its origin, and how it proves its challenges (16-byte tags)."""

    host: str
    origin: str
    tag: Tag

    @classmethod
    def of(cls, origin: str, tag: Tag) -> "Party":
        """The party at `origin`."""
        return cls(urlsplit(origin).hostname or "", origin, tag)

    def challenge(self, purpose: str, holder: bytes, now: float) -> bytes:
        """A challenge for one purpose and one holder (a session, or nobody), good for fifteen minutes."""
        body = _MADE_AT.pack(int(now)) + os.urandom(_RANDOM)
        return body + self._proof(body, purpose, holder)

    def _proof(self, body: bytes, purpose: str, holder: bytes) -> bytes:
        # Each part has its length before it or a fixed one, so that no two lists of parts look alike.
        return self.tag(b"challenge" + struct.pack(">I", len(purpose)) + purpose.encode() + body + holder)

    def ours(self, client_data: bytes, purpose: str, holder: bytes, now: float) -> bytes:
        """The challenge that an answer names, if it is ours, of this purpose and holder, and not too old."""
        said = parse_client_data_json(client_data)
        challenge: bytes = said.challenge
        body = challenge[:-_TAG]
        known = len(body) == _MADE_AT.size + _RANDOM and hmac.compare_digest(challenge[-_TAG:], self._proof(body, purpose, holder))
        # Nobody's page may hold one of ours in a frame and ask there.
        if not known or said.cross_origin:
            raise Refused
        age = now - _MADE_AT.unpack(body[: _MADE_AT.size])[0]
        if not -1 <= age <= CHALLENGE_SECONDS:
            raise Refused
        return challenge


@dataclass(frozen=True, slots=True)
class Made:
    """A passkey that was just made. `challenge` is to be used up with it."""

    challenge: bytes
    credential_id: bytes
    public_key: bytes
    sign_count: int
    backed_up: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """An answer of a passkey before its key is known: whose it says it is, and which."""

    person_id: bytes
    credential_id: bytes
    answer: dict[str, Any]

    @property
    def hash(self) -> bytes:
        """SHA-256 of the passkey's id, 32 bytes."""
        return key_hash(self.credential_id)


@dataclass(frozen=True, slots=True)
class Proven:
    """An answer that proved itself: the challenge to be used up, the authenticator's new counter, and the one that is kept of it."""

    challenge: bytes
    sign_count: int
    before: int


def key_hash(credential_id: bytes) -> bytes:
    """How a passkey is named in its row."""
    return hashlib.sha256(credential_id).digest()


def making(party: Party, person_id: bytes, name: str, known: Sequence[bytes], session: bytes, now: float) -> str:
    """What the browser is told to make a passkey (JSON of PublicKeyCredentialCreationOptions); `known` ids are not made twice."""
    options = webauthn.generate_registration_options(
        rp_id=party.host, rp_name=NAME, user_name=name, user_id=person_id, challenge=party.challenge("make", session, now), supported_pub_key_algs=ALGORITHMS,
        exclude_credentials=[PublicKeyCredentialDescriptor(id=each) for each in known],
        authenticator_selection=_VERIFIED_AND_FOUND,
    )  # fmt: skip
    return orjson.dumps(options_to_json_dict(options)).decode()


def asking(party: Party, purpose: str, holder: bytes, now: float) -> str:
    """What the browser is told to show any passkey of this broker (JSON of PublicKeyCredentialRequestOptions)."""
    challenge = party.challenge(purpose, holder, now)
    options = webauthn.generate_authentication_options(rp_id=party.host, challenge=challenge, user_verification=UserVerificationRequirement.REQUIRED)
    return orjson.dumps(options_to_json_dict(options)).decode()


def made(party: Party, text: str, session: bytes, now: float) -> Made:
    """The passkey of an answer to `making`; raises `Refused`."""
    answer = _read(text)
    try:
        challenge = party.ours(base64url_to_bytes(answer["response"]["clientDataJSON"]), "make", session, now)
        found = webauthn.verify_registration_response(
            credential=answer, expected_challenge=challenge, expected_rp_id=party.host, expected_origin=party.origin, require_user_verification=True,
            supported_pub_key_algs=ALGORITHMS,
        )  # fmt: skip
    except _WRONG as wrong:
        raise Refused from wrong
    if len(found.credential_id) > LONGEST_ID:
        raise Refused
    return Made(challenge, found.credential_id, found.credential_public_key, found.sign_count, found.credential_backed_up)


def shown(text: str) -> Shown:
    """Whose passkey an answer to `asking` says it is, nothing of it believed yet; raises `Refused`."""
    answer = _read(text)
    try:
        person_id = base64url_to_bytes(answer["response"]["userHandle"])
        credential_id = base64url_to_bytes(answer["rawId"])
    except _WRONG as wrong:
        raise Refused from wrong
    if len(person_id) != PERSON_BYTES or len(credential_id) > LONGEST_ID:
        raise Refused
    return Shown(person_id, credential_id, answer)


def proven(party: Party, answer: Shown, kept: Any, purpose: str, holder: bytes, now: float) -> Proven:
    """What an answer proves by the key and counter that are `kept` of its passkey, if any are.

    Raises `Refused`, also where the counter stands still or goes back: then the key was copied.
    """
    if kept is None:
        raise Refused
    try:
        challenge = party.ours(base64url_to_bytes(answer.answer["response"]["clientDataJSON"]), purpose, holder, now)
        found = webauthn.verify_authentication_response(
            credential=answer.answer, expected_challenge=challenge, expected_rp_id=party.host, expected_origin=party.origin, require_user_verification=True,
            credential_public_key=kept.public_key, credential_current_sign_count=kept.sign_count,
        )  # fmt: skip
    except _WRONG as wrong:
        raise Refused from wrong
    return Proven(challenge, found.new_sign_count, kept.sign_count)


# What the library, and reading a stranger's JSON before it, may raise.
_WRONG: Final = (WebAuthnException, KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)


def _read(text: str) -> dict[str, Any]:
    if len(text) > LONGEST_ANSWER:
        raise Refused
    try:
        answer = orjson.loads(text)
    except orjson.JSONDecodeError as wrong:
        raise Refused from wrong
    if not isinstance(answer, dict):
        raise Refused
    return answer
