"""A running grant as tests look at it and narrow it."""


from typing import Any

from makers import Browser, Shop

from broker.grants import agreed, queries
from policies.clauses import Clause


def grant_of(person: Browser, shop: Shop) -> bytes:
    return queries.to_bytes(shop.tokens["grant_id"])


def clauses_of(person: Browser, shop: Shop) -> tuple[tuple[Clause, ...], int]:
    with person.app.extensions["broker"].reading() as tx:
        grant = queries.one(tx, person.ring, grant_of(person, shop))
    return grant.clauses, grant.version


def less(clause: Clause, **fields: str) -> Clause:
    """The clause with coarser or (as hidden) fewer fields."""
    form = clause.to_json()
    form["fields"] = {name: level for name, level in {**form["fields"], **fields}.items() if level != "hidden"}
    return Clause.parse(form)


def content_of(person: Browser, shop: Shop) -> dict[str, Any]:
    with person.app.extensions["broker"].reading() as tx:
        signed = agreed.agreement(tx, person.ring, grant_of(person, shop))
    assert signed
    return signed.content


def kept(person: Browser, shop: Shop) -> list[str]:
    with person.app.extensions["broker"].reading() as tx:
        return agreed.changes_of(tx, person.ring, grant_of(person, shop))
