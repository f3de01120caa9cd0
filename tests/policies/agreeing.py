"""P20 and P21 of policies.md section 9: what is signed holds as it stands, and only so."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import rfc8785
from hypothesis import strategies as st

from broker.grants import agreements, statements
from broker.grants.agreements import Background
from broker.vault.signing import Signer
from policies.clauses import Clause
from policies.documents import Malformed
from policies.negotiate import negotiate
from policies.requests import Request
from policies.terms import Terms
from tests.policies import worlds

PERSON, VENDOR, STRANGER = (Signer(bytes([number]) * 32) for number in (1, 2, 3))
SALT = b"\x03" * 32
Document = dict[str, Any]


def content_of(clauses: list[Clause], request: Request, terms: Terms, *, salt: bytes = SALT) -> Document:
    """The agreement of some clauses with the bookshop."""
    background = Background(request.to_json(), worlds.NOW - timedelta(minutes=2), terms.to_json(), {"ticked": []}, ({"kind": "discount", "text": "5%"},))
    return agreements.content(
        number="urn:uuid:01a230f0-89c0-76a8-9739-c6ee7c1d5ed0", first={"id": "urn:proffer:pairwise:Zk3e9QvT1mB7xUoLw0hNcg", "jwk": PERSON.jwk},
        second={"id": worlds.BOOKS.id, "name": "Books & Co", "jwk": VENDOR.jwk}, clauses=clauses, background=background, salt=salt, jurisdiction="IE",
        page="https://broker.example/grants/x", at=worlds.NOW,
    )  # fmt: skip


def signature(signer: Signer, raw: bytes) -> dict[str, str]:
    """One signature over a payload."""
    protected, signed = signer.sign(agreements.TYP, raw)
    return {"protected": protected, "signature": signed}


def given(terms: Terms, request: Request) -> list[Clause]:
    """What is agreed where the person ticks everything."""
    return [clause.starting(worlds.NOW).with_id(f"c{at}") for at, clause in enumerate(negotiate(terms, request).clauses, 1)]


def holds(document: bytes) -> bool:
    """Whether an agreement verifies; by the module's name, so that a planted defect is seen."""
    try:
        agreements.verify(document)
    except Malformed:
        return False
    return True


def p20(terms: Terms, request: Request, flips: list[tuple[float, int]]) -> None:
    """An agreement verifies iff both parties signed those bytes; any bit flipped fails."""
    clauses = given(terms, request)
    if not clauses:
        return
    content = content_of(clauses, request, terms)
    raw, other = rfc8785.dumps(content), rfc8785.dumps(content_of(clauses, request, terms, salt=b"\x04" * 32))
    document = agreements.joined(raw, [signature(PERSON, raw), signature(VENDOR, raw)])
    assert agreements.verify(document) == content
    for share, bit in flips:
        altered = bytearray(document)
        # The last characters of a signature matter as much as its first: base64url can write some bytes in more than one way.
        altered[at_edge(document, share)] ^= 1 << bit
        assert not holds(bytes(altered))
    for first, second in ((PERSON, STRANGER), (STRANGER, VENDOR), (VENDOR, PERSON), (PERSON, PERSON)):
        assert not holds(agreements.joined(raw, [signature(first, raw), signature(second, raw)]))
    assert not holds(agreements.joined(raw, [signature(PERSON, other), signature(VENDOR, raw)]))
    assert not holds(agreements.joined(raw, [signature(PERSON, raw), signature(VENDOR, other)]))


def at_edge(document: bytes, share: float) -> int:
    """A place in a document: anywhere, or (below zero) the last character of a base64url text in it."""
    if share >= 0:
        return int(share * (len(document) - 1))
    ends = [at - 1 for at in range(1, len(document)) if document[at : at + 1] == b'"' and document[at - 1 : at].isalnum()]
    return ends[int(-share * (len(ends) - 1))]


def p21(terms: Terms, request: Request, acts: list[str], change: tuple[str, int, int, int]) -> None:
    """A removed, changed or reordered statement is detected, of changes and of receipts."""
    clauses = given(terms, request)
    if not clauses:
        return
    content = content_of(clauses, request, terms)
    about = agreements.digest_of(content)
    for typ, chain in ((statements.CHANGE, changes(about, acts)), (statements.RECEIPT, receipts(about, clauses[0], acts))):
        assert [each["n"] for each in statements.verify(chain, typ, content, count=len(chain))] == list(range(1, len(chain) + 1))
        altered = spoiled(chain, *change)
        if altered != chain:
            try:
                statements.verify(altered, typ, content, count=len(chain))
            except Malformed:
                continue
            raise AssertionError(f"{change} went unseen")


def changes(about: str, acts: list[str]) -> list[str]:
    """The chain of some changes of a grant."""
    chain: list[str] = []
    for number, act in enumerate(acts):
        at = worlds.NOW + timedelta(hours=number)
        chain.append(statements.sign(PERSON, statements.CHANGE, statements.change(about, chain, act, at)))
    return chain


def receipts(about: str, clause: Clause, acts: list[str]) -> list[str]:
    """Receipts of as many reads."""
    purpose = min(clause.purposes)
    entries = [
        {
            "clause": clause.id, "purpose": purpose, "at": f"2026-12-03T10:{number:02}:00Z", "count": number, "from": "2026-09-05" if number else "",
            "to": "2026-12-01" if number else "", "fields": dict(clause.slice.fields), "body": about,
        }
        for number in range(len(acts))
    ]  # fmt: skip
    return statements.receipts(PERSON, about, entries)


def spoiled(chain: list[str], how: str, one: int, other: int, bit: int) -> list[str]:
    """A chain with one statement removed, altered, moved, repeated, or put in by a stranger."""
    at, to = one % len(chain), other % len(chain)
    if how == "removed":
        return chain[:at] + chain[at + 1 :]
    if how == "moved":
        rest = chain[:at] + chain[at + 1 :]
        return [*rest[:to], chain[at], *rest[to:]]
    if how == "repeated":
        return [*chain[:at], chain[to], *chain[at + 1 :]]
    if how == "forged":
        header, payload, _ = chain[at].split(".")
        _, signed = STRANGER.sign(statements.CHANGE, agreements.unb64(payload, ""))
        return [*chain[:at], f"{header}.{payload}.{signed}", *chain[at + 1 :]]
    altered = bytearray(chain[at].encode())
    altered[other % len(altered)] ^= 1 << bit
    return [*chain[:at], altered.decode("latin-1"), *chain[at + 1 :]]


_bargains = {"form": worlds.terms_forms(most_rules=2, most_denies=1), "request_form": worlds.request_forms(most=1)}
_flips = st.tuples(st.one_of(st.floats(0, 1), st.floats(-1, -0.001)), st.integers(0, 7))
_acts = st.lists(st.sampled_from(("paused", "resumed")), min_size=1, max_size=4).flatmap(
    lambda acts: st.sampled_from((acts, [*acts, statements.WITHDRAWN], [*acts, statements.REVOKED]))
)
_spoiling = st.tuples(st.sampled_from(("removed", "moved", "repeated", "forged", "altered")), st.integers(0, 9), st.integers(0, 2000), st.integers(0, 6))
WORLD = st.fixed_dictionaries({**_bargains, "flips": st.lists(_flips, min_size=3, max_size=3), "acts": _acts, "change": _spoiling}).map(
    lambda world: {**world, "terms": Terms.parse(world["form"]), "request": Request.parse(world["request_form"], worlds.BOOKS)}
)
PROPERTIES: dict[str, Callable[..., None]] = {"P20": p20, "P21": p21}
