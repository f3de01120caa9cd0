"""What a package says, read strictly: events as an upload would give them, versions of terms, grants with what both sides signed, old ledgers."""

import datetime as dt
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson
import rfc8785

from broker.errors import NotFound
from broker.events import shape
from broker.events.shape import Event, Invalid
from broker.grants import agreements, queries, sentences, statements
from broker.grants.queries import Grant
from broker.ledger import verifier
from broker.ledger.notes import OK, RESTORED, Wrong
from broker.moves.package import AGAIN, Package, Refused
from policies import documents
from policies.clauses import Clause
from policies.documents import Malformed, refuse
from policies.terms import Terms

MOST_FILE: Final = 16 * 2**20
MOST_OPENING: Final = 2**20
MOST_CHANGES: Final = 1000
MOST_VERSIONS: Final = 10**6
MOST_LOGS: Final = 100
LONGEST_PROBLEM: Final = 300
_MOMENT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{6})?Z")
_CLIENT: Final = re.compile(r"[!-~]{1,2000}")
_DOMAIN: Final = re.compile(r"(?:[a-z0-9.-]{1,253}(?::[0-9]{1,5})?)?")
_VENDOR: Final = re.compile(r"(?:https?://[a-z0-9.-]{1,253}(?::[0-9]{1,5})?)?")
_ORIGIN: Final = re.compile(r"[!-~]{1,300}")
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_WORD: Final = re.compile(r"[a-z_]{0,20}")
_ID: Final = re.compile(r"[A-Za-z0-9_-]{22}")
_DAY: Final = dt.timedelta(days=1)
_GRANT: Final = (
    "id", "client", "status", "version", "given_at", "expires_at", "countersigned_at", "ended_at", "agreement", "reason", "clauses", "details",
)  # fmt: skip
MOVED: Final = "moved"
"""Why a grant ended that was live in the broker its person left."""


def _loaded(raw: bytes, where: str) -> Any:
    try:
        return documents.load(raw)
    except Malformed as malformed:
        raise Refused(f"{where} in this export cannot be read: {malformed.errors[0]['detail']} {AGAIN}") from None


# Events


def events(package: Package, now: dt.datetime) -> Iterator[Event]:
    """Every event, each accepted by `shape.check`. Raises `Refused` at the first line that is none, also midway."""
    for kind in shape.KINDS:
        name = f"events/{kind}.jsonl"
        if package.has(name):
            for number, line in package.lines(name):
                yield _event(line, kind, f"Line {number:,} of {name}", now)


def _event(line: bytes, kind: str, where: str, now: dt.datetime) -> Event:
    try:
        raw = orjson.loads(line)
        if not isinstance(raw, dict) or raw.get("kind") != kind or "received" in raw:
            raise Refused(f"{where} in this export is no event of this kind. {AGAIN}")
        # A broker's own export holds what the broker itself made, too.
        return shape.check(raw, now=now, own=True)
    except orjson.JSONDecodeError:
        raise Refused(f"{where} in this export is not JSON. {AGAIN}") from None
    except Invalid as invalid:
        fault = invalid.errors[0]
        raise Refused(f"{where} in this export is no event: {fault['pointer'] or '/'}: {fault['detail']} {AGAIN}") from None


# Terms


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the terms, with the time since when, and the version it put back."""

    number: int
    made_at: dt.datetime
    restored: int | None
    terms: Terms


def terms(package: Package, now: dt.datetime) -> list[Version]:
    """All versions, the one in force last; none where their person never had any, or the one in force was lost."""
    name = "terms.json"
    if not package.has(name):
        return []
    try:
        told = orjson.loads(package.read(name, MOST_FILE))
        if not isinstance(told, dict) or set(told) != {"in_force", "versions"} or not isinstance(told["versions"], list):
            raise Refused(f"{name} in this export does not hold terms. {AGAIN}")
        found = [_version(each, now) for each in told["versions"]]
    except orjson.JSONDecodeError:
        raise Refused(f"{name} in this export is not JSON. {AGAIN}") from None
    except Malformed as malformed:
        raise Refused(f"{name} in this export does not hold terms: {malformed.errors[0]['detail']} {AGAIN}") from None
    numbers = [each.number for each in found]
    if numbers != sorted(set(numbers)):
        raise Refused(f"{name} in this export does not count its versions. {AGAIN}")
    return found if found and numbers[-1] == told["in_force"] else []


def _version(value: Any, now: dt.datetime) -> Version:
    names = ("version", "made_at", "restored", "terms")
    # Strict JSON is read from text.
    found = documents.members(documents.load(orjson.dumps(value)), "", names, names)
    number = documents.integer(*found["version"], 1, MOST_VERSIONS)
    restored = None if found["restored"][0] is None else documents.integer(*found["restored"], 0, number - 1)
    read = Terms.parse(found["terms"][0])
    if read.version != number:
        refuse("/terms/version", "Give the number of the version.")
    return Version(number, _moment(*found["made_at"], now), restored, read)


def _moment(value: object, pointer: str, now: dt.datetime | None = None) -> dt.datetime:
    text = documents.text(value, pointer, _MOMENT, "a time in UTC")
    try:
        at = dt.datetime.fromisoformat(text)
    except ValueError:
        refuse(pointer, "There is no such time.")
    if at < shape.EARLIEST or (now and at > now + _DAY):
        refuse(pointer, "Give a time that has been.")
    return at


# Grants


@dataclass(frozen=True, slots=True)
class Moved:
    """A grant as it comes in: ended, with the bytes that were signed, what opens them, and its statements of change."""

    grant: Grant
    document: bytes
    countersignature: dict[str, str] | None
    opening: bytes
    changes: tuple[str, ...]


class KeptOut(Exception):
    """A grant that does not come in; the message says why."""


def grants(package: Package, now: dt.datetime) -> Iterator[tuple[str, Moved | str]]:
    """Each grant's id with the grant, or with the sentence that says why it is kept out. Raises `Refused` where a line is no grant at all."""
    if not package.has("grants.jsonl"):
        return
    seen: set[str] = set()
    for number, line in package.lines("grants.jsonl"):
        where = f"Line {number:,} of grants.jsonl"
        value = _loaded(line, where)
        try:
            grant = _grant(value, now)
        except Malformed as malformed:
            fault = malformed.errors[0]
            raise Refused(f"{where} in this export is no grant: {fault['pointer'] or '/'}: {fault['detail']} {AGAIN}") from None
        if grant.id in seen:
            raise Refused(f"{where} in this export tells of a grant a second time. {AGAIN}")
        seen.add(grant.id)
        try:
            yield grant.id, _signed(package, grant)
        except KeptOut as why:
            yield grant.id, f"The grant of {grant.called} from {grant.given_at:%-d %B %Y}: {why}"


def _grant(value: Any, now: dt.datetime) -> Grant:
    found = documents.members(value, "", _GRANT, _GRANT)
    clauses = tuple(Clause.parse(each, at) for each, at in documents.entries(*found["clauses"], agreements.MOST_CLAUSES))
    ids = [clause.id for clause in clauses]
    if not clauses or len(set(ids)) != len(ids) or any(clause.validity.until is None for clause in clauses):
        refuse("/clauses", "Give at least one clause, each once and with its end.")
    moments = {name: None if found[name][0] is None else _moment(*found[name]) for name in ("given_at", "expires_at", "countersigned_at", "ended_at")}
    if moments["given_at"] is None or moments["expires_at"] is None or moments["given_at"] > now + _DAY:
        refuse("/given_at", "Say when it was given and when it ends.")
    digest = found["agreement"][0]
    grant = Grant(
        b"", _id(*found["id"]), documents.text(*found["client"], _CLIENT, "a client's id"),
        documents.choice(*found["status"], ("active", "paused", "revoked", "expired")), documents.integer(*found["version"], 1, 10**9),
        moments["given_at"], moments["expires_at"], moments["ended_at"], moments["countersigned_at"],
        None if digest is None else bytes.fromhex(documents.text(digest, "/agreement", _HEX, "64 hex digits")),
        documents.text(*found["reason"], _WORD, "one word"), clauses, _details(*found["details"]),
    )  # fmt: skip
    return _ended(grant, now)


def _id(value: object, pointer: str) -> bytes:
    try:
        return queries.to_bytes(documents.text(value, pointer, _ID, "22 characters of base64url"))
    except NotFound:
        refuse(pointer, "Give the id of a grant.")


def _ended(grant: Grant, now: dt.datetime) -> Grant:
    """The grant at its end: its own where it has one, else that of its time, else that it was moved. Nothing comes in alive."""
    if grant.status not in queries.LIVE:
        return replace(grant, ended_at=min(grant.ended_at or grant.expires_at, now))
    if grant.expires_at <= now:
        return replace(grant, status="expired", ended_at=grant.expires_at, reason="over")
    return replace(grant, status="revoked", ended_at=now, reason=MOVED)


def _details(value: Any, pointer: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(value.get(name), dict) for name in ("client", "shown")):
        refuse(pointer, "Say to whom it was given, and on which page.")
    client = value["client"]
    for name, form in (("domain", _DOMAIN), ("vendor", _VENDOR)):
        documents.text(client.get(name), f"{pointer}/client/{name}", form, "the vendor's domain, or its address")
    # Who moved it last is for us to say.
    return {name: member for name, member in value.items() if name != "moved"}


def _signed(package: Package, grant: Grant) -> Moved:
    """The grant with its agreement, where there is one, if the two fit each other and its page could be shown. Raises `KeptOut`."""
    _look(grant)
    start = f"agreements/{grant.id}"
    if grant.agreement is None:
        if grant.vendor_id or grant.domain or not grant.collects or package.has(f"{start}.json"):
            raise KeptOut("it was given to a vendor, and has no agreement.")
        return Moved(grant, b"", None, b"", ())
    if not all(package.has(f"{start}{end}") for end in (".json", ".opening.json", ".changes.jsonl")):
        raise KeptOut("its agreement, or what belongs to that, is not in the export.")
    raw, opening = package.read(f"{start}.json", agreements.MOST_BYTES), package.read(f"{start}.opening.json", MOST_OPENING)
    try:
        document, content = _document(raw, grant)
        _fits(grant, content, documents.load(opening))
        chain = _chain(package, f"{start}.changes.jsonl", content)
    except Malformed:
        raise KeptOut("its agreement does not hold: what was signed is not what is here.") from None
    _left(grant, content, chain)
    by_person, *others = document["signatures"]
    kept = agreements.joined(agreements.unb64(document["payload"], ""), [by_person])
    return Moved(grant, kept, others[0] if others else None, opening, tuple(chain))


def _look(grant: Grant) -> None:
    """Whether every sentence of its page can be made: what cannot be shown would break that page for good."""
    try:
        for make in (sentences.parts, sentences.purposes, sentences.recipients, sentences.windows, sentences.narrowed, sentences.moved, sentences.left):
            make(grant)
        named = str(grant.details["client"]["name"])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, Malformed):
        raise KeptOut("what was shown when it was given cannot be read.") from None
    if len(named) > 80 or not isinstance(grant.details["client"]["name"], str):  # noqa: PLR2004 - as long as a vendor's name may be
        raise KeptOut("its vendor's name is none.")


def _document(raw: bytes, grant: Grant) -> tuple[dict[str, Any], dict[str, Any]]:
    """The signed file and its content: both signatures where there are two, else the person's."""
    document = documents.load(raw)
    signatures = document.get("signatures") if isinstance(document, dict) else None
    if not isinstance(signatures, list) or len(signatures) not in {1, 2} or (len(signatures) == 2) != (grant.countersigned_at is not None):  # noqa: PLR2004
        raise KeptOut("its agreement is not signed as the grant says.")
    content = agreements.verify_first(raw) if len(signatures) == 1 else agreements.verify(raw)
    if agreements.joined(agreements.unb64(document["payload"], "/payload"), signatures) != raw:
        raise KeptOut("its agreement is not in the one form that both sides keep.")
    return document, content


def _fits(grant: Grant, content: Mapping[str, Any], opening: Any) -> None:
    """Whether this agreement is that of this grant: its number on the page it is ended at, its vendor, its time, what was asked and shown."""
    client, vendor = grant.details["client"], content["second_party"]
    same = (
        grant.agreement == hashlib.sha256(rfc8785.dumps(content)).digest(),
        content["end"]["how"][0].endswith(f"/grants/{grant.id}"),
        (client["vendor"], client["domain"]) == (vendor["id"], agreements.domain_of(content)),
        content["made"] == f"{grant.given_at:%Y-%m-%dT%H:%M:%SZ}",
        agreements.digest_of(grant.details.get("request") or {}) == content["negotiation"]["request"],
    )
    if not all(same):
        raise KeptOut("the agreement beside it is that of another grant, or of somebody else.")
    told = documents.members(opening, "", ("salt", "terms", "shown"), ("salt", "terms", "shown"))
    salt = agreements.unb64(*told["salt"])
    if any(agreements.commitment(salt, told[name][0]) != content["negotiation"][name] for name in ("terms", "shown")):
        raise KeptOut("what should open its agreement does not.")
    if told["shown"][0] != grant.details["shown"]:
        raise KeptOut("the page it says it was given on is another one.")


def _chain(package: Package, name: str, content: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for number, line in package.lines(name):
        value = documents.members(documents.load(line), "", ("n", "statement"), ("n", "statement"))
        if value["n"][0] != number or not isinstance(value["statement"][0], str) or number > MOST_CHANGES:
            raise KeptOut("the statements of what changed are not in order.")
        found.append(value["statement"][0])
    statements.verify(found, statements.CHANGE, content)
    return found


def _left(grant: Grant, content: Mapping[str, Any], chain: Sequence[str]) -> None:
    """Whether the grant says what its agreement says, as it was narrowed since."""
    narrowed = [said["clauses"] for said in map(statements.content, chain) if said["state"] == "narrowed"]
    if [clause.to_json() for clause in grant.clauses] != (narrowed[-1] if narrowed else content["clauses"]):
        raise KeptOut("it says something else than its agreement.")


# Ledgers


@dataclass(frozen=True, slots=True)
class OldLedger:
    """A ledger of a broker that its person left: its name in the package, its SHA-256, its logs (log, origin, size, root), and why it is kept out."""

    name: str
    digest: str
    size: int
    logs: tuple[dict[str, Any], ...]
    problem: str = ""


def ledgers(package: Package) -> list[OldLedger]:
    """Every ledger in the package, verified as anybody would."""
    return [_ledger(package, name) for name in package.ledgers]


def _ledger(package: Package, name: str) -> OldLedger:
    listed = package.listed[name]
    try:
        with package.ledger(name) as file:
            report = verifier.check(verifier.Bundle(file))
    except Wrong as wrong:
        return OldLedger(name, listed.digest, listed.size, (), _plain(wrong.sentence))
    logs = tuple({member: log[member] for member in ("log", "origin", "size", "root")} for log in report.logs)
    problem = "" if report.code in {OK, RESTORED} else _plain(report.sentence)
    if len(logs) > MOST_LOGS or not all(_ORIGIN.fullmatch(log["origin"]) for log in logs):
        problem = "Its logs are more, or named otherwise, than those of any broker."
    return OldLedger(name, listed.digest, listed.size, logs, problem)


def _plain(text: str) -> str:
    """A sentence in which names from a stranger's file may stand, as it may be shown: without marks nobody sees, and not endless."""
    return "".join(each for each in text if each.isprintable())[:LONGEST_PROBLEM]
