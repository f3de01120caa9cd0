"""Tokens of one grant and the places to keep them; neither ever prints a token."""

import hashlib
import json
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Tokens:
    """A token answer (RFC 6749 section 5.1, RFC 9396 section 7). `expires_at` is in seconds since 1970; `clauses` is what was given."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: float
    grant_id: str
    scope: str = ""
    clauses: tuple[dict[str, Any], ...] = ()

    @classmethod
    def from_answer(cls, answer: Mapping[str, Any], *, now: float | None = None) -> "Tokens":
        """The tokens of a `/oauth/token` answer received at `now`; KeyError, TypeError or ValueError if a member is missing or wrong."""
        return cls(
            access_token=str(answer["access_token"]),
            refresh_token=str(answer["refresh_token"]),
            expires_at=(time.time() if now is None else now) + int(answer["expires_in"]),
            grant_id=str(answer["grant_id"]),
            scope=str(answer.get("scope", "")),
            clauses=tuple(dict(clause) for clause in answer.get("authorization_details", ())),
        )


class TokenStore(Protocol):
    """Where tokens are kept: `person` is whatever name the vendor has for the person on its side."""

    def load(self, person: str) -> Tokens | None:
        """The tokens kept for `person`, or None."""

    def save(self, person: str, tokens: Tokens) -> None:
        """Keeps `tokens` in place of earlier ones."""

    def forget(self, person: str) -> None:
        """Drops the tokens; nothing happens if there are none. Agreements stay: they say what must be deleted, and that it was allowed."""

    def keep(self, grant_id: str, agreement: bytes) -> None:
        """Keeps the signed agreement of a grant."""

    def agreement(self, grant_id: str) -> bytes | None:
        """The signed agreement of a grant, or None."""


class MemoryStore:
    """Tokens and agreements of this process alone, gone when it ends."""

    def __init__(self) -> None:
        self._kept: dict[str, Tokens] = {}
        self._agreements: dict[str, bytes] = {}

    def __repr__(self) -> str:
        return f"MemoryStore({len(self._kept)} kept)"

    def load(self, person: str) -> Tokens | None:
        """See TokenStore."""
        return self._kept.get(person)

    def save(self, person: str, tokens: Tokens) -> None:
        """See TokenStore."""
        self._kept[person] = tokens

    def forget(self, person: str) -> None:
        """See TokenStore."""
        self._kept.pop(person, None)

    def keep(self, grant_id: str, agreement: bytes) -> None:
        """See TokenStore."""
        self._agreements[grant_id] = agreement

    def agreement(self, grant_id: str) -> bytes | None:
        """See TokenStore."""
        return self._agreements.get(grant_id)


class FileStore:
    """Files of mode 0600 in `folder`: one for each person's tokens, one for each agreement. A name is a hash, so none can lead out of the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def __repr__(self) -> str:
        return f"FileStore({self._folder.name})"

    def load(self, person: str) -> Tokens | None:
        """See TokenStore."""
        try:
            kept = json.loads(self._file(person).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return Tokens(**{**kept, "clauses": tuple(kept["clauses"])})

    def save(self, person: str, tokens: Tokens) -> None:
        """See TokenStore; the file is replaced in one step, so a crash leaves the earlier tokens."""
        _write(self._file(person), json.dumps(asdict(tokens)).encode())

    def forget(self, person: str) -> None:
        """See TokenStore."""
        self._file(person).unlink(missing_ok=True)

    def keep(self, grant_id: str, agreement: bytes) -> None:
        """See TokenStore."""
        _write(self._file(grant_id, ".agreement"), agreement)

    def agreement(self, grant_id: str) -> bytes | None:
        """See TokenStore."""
        try:
            return self._file(grant_id, ".agreement").read_bytes()
        except FileNotFoundError:
            return None

    def _file(self, name: str, ending: str = ".json") -> Path:
        return self._folder / (hashlib.sha256(name.encode()).hexdigest() + ending)


def _write(place: Path, content: bytes) -> None:
    """Puts a file in place in one step."""
    fresh = place.with_suffix("." + secrets.token_hex(8))
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    fresh.replace(place)
