"""Reading the ways to sign in: passkeys, and how many recovery codes are left."""

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from broker.db import AnyRow
from broker.factors.models import passkeys, recovery_codes
from broker.opening import Broker
from broker.vault.envelope import Place


@dataclass(frozen=True, slots=True)
class Passkey:
    """A passkey as its person sees it; `hash` names it."""

    hash: bytes
    credential_id: bytes
    name: str
    backed_up: bool
    made_at: dt.datetime
    used_at: dt.datetime | None


def passkey_place(person_id: bytes, hash_: bytes) -> bytes:
    """Where the name of a passkey is sealed."""
    return Place(person_id, "passkeys", "name").at(hash_)


def passkeys_of(broker: Broker, tx: Connection, person_id: bytes) -> list[Passkey]:
    """The person's passkeys, oldest first."""
    return [
        Passkey(
            row.hash, row.credential_id, broker.vault.host_unseal(passkey_place(person_id, row.hash), row.name).decode(), row.backed_up, row.made_at,
            row.used_at,
        )
        for row in tx.execute(select(passkeys).where(passkeys.c.person_id == person_id).order_by(passkeys.c.made_at))
    ]  # fmt: skip


def passkey(tx: Connection, person_id: bytes, hash_: bytes) -> AnyRow | None:
    """(public_key, sign_count) of one passkey."""
    mine = (passkeys.c.person_id == person_id) & (passkeys.c.hash == hash_)
    return tx.execute(select(passkeys.c.public_key, passkeys.c.sign_count).where(mine)).first()


def codes_left(tx: Connection, person_id: bytes) -> int:
    """How many recovery codes can still be used."""
    unused = (recovery_codes.c.person_id == person_id) & recovery_codes.c.used_at.is_(None)
    return tx.execute(select(func.count()).select_from(recovery_codes).where(unused)).scalar_one()
