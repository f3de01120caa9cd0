"""What vendors may have and never use: grants without a read, and fields that no row of theirs has shown, within ninety days."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection

from broker.grants import queries as grants
from broker.grants.queries import Grant
from broker.ledger import queries
from broker.ledger.queries import Wanted
from broker.vault.keys import Keyring
from policies.clauses import Clause
from policies.vocabulary import FIELDS

PERIOD: Final = dt.timedelta(days=90)
# Of more reads than these the newest are looked at, and the page says so.
MOST_READS: Final = 2000


@dataclass(frozen=True, slots=True)
class Unused:
    """A grant that gives more than is used: of each clause (by id) the fields that no row has shown. `last` is the UTC day of the last read, if any.

    `reads` is how many reads were looked at: none where the whole grant was not used.
    """

    grant: Grant
    last: dt.date | None
    fields: Mapping[str, tuple[str, ...]]
    reads: int

    @property
    def named(self) -> list[str]:
        """Clause and field, as the page's form repeats them: it takes away only what it showed."""
        return [f"{clause}.{name}" for clause, each in sorted(self.fields.items()) for name in each]

    @property
    def labels(self) -> list[str]:
        """The fields in words."""
        names = {name for each in self.fields.values() for name in each}
        return [about.noun for name, about in FIELDS.items() if name in names]


def grants_of(tx: Connection, ring: Keyring, now: dt.datetime) -> list[Unused]:
    """The person's active grants to vendors that are ninety days old, and give something that nobody used within ninety days."""
    since = now - PERIOD
    old = [grant for grant in grants.every(tx, ring) if grant.state(now) == "active" and not grant.collects and grant.given_at <= since]
    use = grants.use_since(tx, ring.person_id, since.date())
    found = []
    for grant in old:
        used = use.get(grant.grant_id)
        if used is None or used.last is None or used.last < since.date():
            found.append(Unused(grant, used.last if used else None, {}, 0))
        elif (part := _never_shown(tx, ring, grant, since)).fields:
            found.append(replace(part, last=used.last))
    return found


def _never_shown(tx: Connection, ring: Keyring, grant: Grant, since: dt.datetime) -> Unused:
    """What of a grant's fields no row has shown since then, clause by clause; a clause that nobody read is left to the person."""
    wanted = Wanted(grant=grant.id, act="read", outcome="permitted", since=since)
    reads = queries.page(tx, ring, wanted, limit=MOST_READS).entries
    shown: dict[str, set[str]] = {}
    for entry in reads:
        if entry.get("count"):
            shown.setdefault(entry["clause"], set()).update(entry.get("fields", {}))
    fields = {clause.id: _beyond(clause, shown[clause.id]) for clause in grant.clauses if clause.id in shown}
    return Unused(grant, None, {name: each for name, each in fields.items() if each}, len(reads))


def _beyond(clause: Clause, shown: set[str]) -> tuple[str, ...]:
    return tuple(name for name in FIELDS if name in clause.slice.fields and name not in shown)


def without(grant: Grant, fields: Mapping[str, tuple[str, ...]]) -> list[Clause]:
    """The grant's clauses without these fields."""
    return [_without(clause, frozenset(fields.get(clause.id, ()))) for clause in grant.clauses]


def _without(clause: Clause, gone: frozenset[str]) -> Clause:
    form: dict[str, Any] = clause.to_json()
    return Clause.parse({**form, "fields": {name: level for name, level in form["fields"].items() if name not in gone}}) if gone else clause
