"""Translates RFC 9396's names at the border: `actions` ↔ action, `datatypes` ↔ kinds, `identifier` ↔ clause id. Everything else is the policies'."""

import re
from collections.abc import Sequence
from typing import Any, Final

from broker.events.sites import is_site
from broker.grants.details import TYPE
from broker.oauth.gate import Refused
from broker.vendors.words import plain_text
from policies.clauses import Clause
from policies.documents import Malformed, load
from policies.requests import Request
from policies.terms import VendorFacts

MOST_ENTRIES: Final = 20
_NAMES: Final = {"datatypes": "kinds"}
_POINTER: Final = re.compile(r"(/[a-z0-9_.]{1,40}){1,8}")
VENDOR_ACTIONS: Final = ("read", "ask", "contact")


def refused(pointer: str = "") -> Refused:
    """`invalid_authorization_details` (RFC 9396 section 5), with the place in it where that is plain to write."""
    where = f" See {pointer}." if _POINTER.fullmatch(pointer) else ""
    return Refused("invalid_authorization_details", f"These authorization_details cannot be used.{where}")


def _loaded(text: str) -> list[dict[str, Any]]:
    try:
        found = load(text)
    except Malformed as malformed:
        raise refused(malformed.errors[0]["pointer"]) from None
    if not isinstance(found, list) or not 1 <= len(found) <= MOST_ENTRIES or not all(isinstance(entry, dict) for entry in found):
        raise refused()
    if any(entry.get("type") != TYPE for entry in found):
        raise refused("/0/type")
    return found


def asked(text: str, vendor_id: str, domain: str) -> dict[str, Any]:
    """The policies' Request document in a vendor's `authorization_details`; form only, nothing is negotiated here.

    Raises `Refused` with `invalid_authorization_details`.
    """
    items: list[dict[str, Any]] = []
    for number, entry in enumerate(_loaded(text)):
        actions = entry.get("actions")
        if not isinstance(actions, list) or len(actions) != 1 or actions[0] not in VENDOR_ACTIONS:
            raise refused(f"/{number}/actions")
        item = {_NAMES.get(name, name): value for name, value in entry.items() if name not in {"type", "actions", "identifier"}}
        if isinstance(item.get("minimum"), dict):
            item["minimum"] = {_NAMES.get(name, name): value for name, value in item["minimum"].items()}
        if isinstance(item.get("why"), str):
            item["why"] = plain_text(item["why"])
        _check_sites(item, number)
        items.append({"id": f"i{number + 1}", "action": actions[0], **item})
    document = {"vendor": vendor_id, "items": items}
    try:
        Request.parse(document, VendorFacts(vendor_id, frozenset({domain}), frozenset()))
    except Malformed as malformed:
        raise refused(malformed.errors[0]["pointer"].removeprefix("/items")) from None
    return document


def _check_sites(item: dict[str, Any], number: int) -> None:
    """Sites that events can be of: what stands above registrable domains (com, github.io) would mean one thing to read and another to do."""
    for part in ("want", "minimum"):
        sites = item[part].get("sites") if isinstance(item.get(part), dict) else None
        for place, site in enumerate(sites if isinstance(sites, list) else ()):
            if isinstance(site, str) and not is_site(site):
                raise refused(f"/{number}/{part}/sites/{place}")


def limits(text: str, clauses: Sequence[Clause]) -> tuple[str, ...]:
    """The clause ids to which a token is to be limited (rule D5): entries of `type` and `identifier` only, each in the grant."""
    wanted: list[str] = []
    known = {clause.id for clause in clauses}
    for number, entry in enumerate(_loaded(text)):
        identifier = entry.get("identifier")
        if set(entry) != {"type", "identifier"} or not isinstance(identifier, str) or identifier not in known:
            raise refused(f"/{number}/identifier")
        wanted.append(identifier)
    return tuple(sorted(set(wanted)))
