"""What stands on the consent page: the request as its person sees it, negotiated against their terms, with their own rows."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from babel.dates import format_date
from sqlalchemy import Connection
from werkzeug.datastructures import MultiDict

from broker import rows as shown_rows
from broker.errors import NotFound, TermsChanged, Unprocessable
from broker.events import queries as event_queries
from broker.events.answering import answer
from broker.grants import agreements
from broker.grants import queries as grant_queries
from broker.oauth import choices, queries, standing
from broker.oauth.choices import Choice, Seen
from broker.opening import Broker
from broker.terms import queries as term_queries
from broker.vault.keys import Keyring
from broker.vendors import queries as vendor_queries
from broker.vendors.queries import Client
from broker.vendors.words import doubts
from broker.words import joined
from policies import explain, explain_terms
from policies.clauses import Clause
from policies.decide import Asked, Denied, Grant, Permitted, decide
from policies.negotiate import CONFIRMATION, REFUSED, Proposal, negotiate
from policies.purposes import PURPOSES
from policies.requests import Request
from policies.slices import Slice
from policies.terms import Terms, VendorFacts
from policies.vocabulary import FIELDS, KINDS

OWN: Final = "own-extension"
MADE_BY_THE_BROKER: Final = frozenset({"cart_abandoned"})
OTHER_PROGRAM: Final = "What you gave {domain} before went to another program of its than this one, which calls itself {name}."


@dataclass(slots=True)
class Consent:
    """One request, ready to be shown or decided."""

    opened: queries.Opened
    pushed: queries.Pushed
    client: Client
    terms: Terms
    terms_version: int
    proposal: Proposal
    facts: VendorFacts
    earlier: list[grant_queries.Grant]
    digest: str
    choices: list[Choice]
    # What to look at twice before believing that one knows who asks.
    doubts: list[str] = field(default_factory=list)
    text: str = ""

    @property
    def given(self) -> list[Choice]:
        """What is ticked."""
        return [choice for choice in self.choices if choice.ticked]

    @property
    def name(self) -> str:
        """What sentences call who asks: its domain, or what the person's own extension is called."""
        return self.client.domain or self.client.name

    @property
    def cuts(self) -> list[str]:
        """What standing denies cut of all that is ticked, each said once."""
        return list(dict.fromkeys(line for choice in self.given for line in choice.cuts))

    def standing(self, now: dt.datetime) -> list[tuple[str, list[grant_queries.Grant]]]:
        """The earlier grants that still run, by what its vendor can do by them now, each group with its sentence's beginning."""
        live = [grant for grant in self.earlier if grant.state(now) in grant_queries.LIVE]
        groups = [
            ("it can still read by", [grant for grant in live if grant.state(now) == "active" and grant.countersigned_at]),
            ("it can read nothing yet, until it signs, by", [grant for grant in live if not grant.countersigned_at]),
            ("it can read nothing, until you resume it, by", [grant for grant in live if grant.state(now) == "paused" and grant.countersigned_at]),
        ]
        return [(sentence, grants) for sentence, grants in groups if grants]

    @property
    def first(self) -> bool:
        """Whether this very program was given nothing yet; its vendor may have others, which somebody else may run."""
        return all(grant.client_id != self.client.client_id for grant in self.earlier)

    @property
    def own(self) -> bool:
        """Whether the person's own extension asks, to which nothing leaves."""
        return self.client.public


def facts(tx: Connection, ring: Keyring, client: Client, earlier: list[grant_queries.Grant]) -> VendorFacts:
    """What the broker can say of a vendor: its verified domain and classes, whether the person bought there or agreed with it before."""
    known = event_queries.bought_at(tx, ring, client.domain)
    classes = client.classes | ({"known"} if known else frozenset()) | ({"prior-agreement"} if earlier else frozenset())
    return VendorFacts(client.vendor_id, frozenset({client.domain}), classes)


def collection() -> Proposal:
    """What the extension may be given at most: everything the device can see, nothing sensitive, for a year."""
    kinds = sorted(set(KINDS) - MADE_BY_THE_BROKER)
    fields = {name: about.levels[-1] for name, about in FIELDS.items() if about.kinds & set(kinds)}
    document = {
        "id": OWN, "action": "write", "kinds": kinds, "sites": ["*"], "classes": ["*"], "categories": ["*"], "fields": fields, "validity": {"max": "P365D"},
    }  # fmt: skip
    return Proposal(CONFIRMATION, 0, (Clause.parse(document),), (), (), ())


def load(broker: Broker, ring: Keyring, request_id: bytes, form: MultiDict[str, str] | None = None, *, now: dt.datetime | None = None) -> Consent:
    """The request with the choices of `form`, as of `now`; `NotFound` if it is not this person's, `TermsChanged` if `form` was made for another proposal.

    Refuses forms like `choices.read`.
    """
    with broker.reading() as tx:
        opened = queries.opened(tx, ring.person_id, request_id)
        pushed = queries.pushed(broker, tx, opened.hash) if opened else None
        client = vendor_queries.client(tx, opened.client_id) if opened else None
        if opened is None or pushed is None or client is None or not client.enabled:
            raise NotFound
        terms = term_queries.current(tx, ring)
        version = term_queries.version(tx, ring.person_id)
        every = grant_queries.every(tx, ring)
        # What came in a file proves nothing of this vendor.
        earlier = [grant for grant in every if grant.vendor_id == client.vendor_id and not grant.moved]
        known = {*vendor_queries.registered_domains(tx), *(grant.domain for grant in every if grant.domain)}
        told = facts(tx, ring, client, earlier)
        proposal = collection() if client.public else explain_terms.named(negotiate(terms, Request.parse(pushed.parameters["request"], told)), terms)
    now = now or broker.now()
    clauses = tuple(clause for clause in proposal.clauses if not clause.validity.starting(now).is_empty())
    digest = agreements.digest_of([version, proposal.to_json()])
    if form is not None and form.get("digest") != digest:
        raise TermsChanged
    made = Consent(opened, pushed, client, terms, version, proposal, told, earlier, digest, choices.read(proposal, clauses, form))
    made.doubts = [] if client.public else doubts(client.name, client.domain, known)
    if earlier and made.first and not client.public:
        made.doubts.append(OTHER_PROGRAM.format(domain=client.domain, name=client.name))
    for choice in made.choices:
        choice.narrowed = narrowings(made, choice.id)
    _refuse_hollow(made, now)
    if form is not None and form.get("until", "").strip():
        _refuse_late(made, dt.date.fromisoformat(form["until"].strip()), now)
    _explain(made, now)
    return made


def is_heard(consent: Consent) -> bool:
    """Whether the person takes requests from this vendor at all; others' are refused before they are shown."""
    return consent.own or (consent.terms.hears(consent.facts) and not consent.terms.blocks(consent.facts))


def _refuse_hollow(consent: Consent, now: dt.datetime) -> None:
    """A ticked part through which nothing could ever be seen is a mistake, not a grant."""
    for choice in consent.given:
        begun = choice.chosen.starting(now)
        if begun.validity.is_empty():
            raise Unprocessable(errors=[{"pointer": "/until", "detail": "This day is over or too near. Choose a later one, or leave it empty."}])
        if begun.action == "read" and begun.slice.at(now).window.is_empty():
            pointer = f"/{choices.name(choice.number, 'max_age')}"
            raise Unprocessable(errors=[{"pointer": pointer, "detail": "So short a time back shows nothing. Choose a longer one."}])


def _refuse_late(consent: Consent, day: dt.date, now: dt.datetime) -> None:
    """An end after every end that is offered would be cut without a word."""
    ends = [end for choice in consent.given if (end := choice.proposed.starting(now).validity.until)]
    if ends and day > max(ends).date():
        last = format_date(max(ends).date(), "d MMMM y", locale="en")
        raise Unprocessable(errors=[{"pointer": "/until", "detail": f"It ends on {last} at the latest. Choose that day or an earlier one, or leave it empty."}])


def _explain(consent: Consent, now: dt.datetime) -> None:
    for choice in consent.choices:
        choice.sentences = explain.clause_sentences(choice.chosen, consent.name)
        choice.cuts = standing.cuts(consent.terms, consent.facts, choice.chosen, consent.name)
    ticked = absolute(consent, now)
    consent.text = explain.grant_text(ticked, consent.name, _gifts(consent)) if ticked else ""


def _gifts(consent: Consent) -> list[Mapping[str, str]]:
    # Once for each thing asked, however many parts of it are given.
    items = {choice.item.id: choice.item for choice in consent.given if choice.item}
    return [gift for item in items.values() for gift in item.gives]


def absolute(consent: Consent, now: dt.datetime) -> list[Clause]:
    """The clauses as they would be given now: `c1`, `c2` … with their days of beginning and end."""
    return [choice.chosen.starting(now).with_id(f"c{number}") for number, choice in enumerate(consent.given, 1)]


def step_up(consent: Consent, clauses: Sequence[Clause], now: dt.datetime) -> str:
    """Why giving this needs a fresh sign-in (a reason of `confirming`): a new vendor, something sensitive, or more than a running grant gives; else ""."""
    if consent.own:
        return ""
    if consent.first:
        return "new-vendor"
    running = [clause for grant in consent.earlier if grant.state(now) in grant_queries.LIVE for clause in grant.clauses]
    more = [clause for clause in clauses if not any(clause <= each for each in running)]
    if any(clause.slice.sensitive for clause in more):
        return "sensitive"
    return "wider" if more else ""


def add_previews(broker: Broker, ring: Keyring, consent: Consent) -> None:
    """The person's own rows per clause, exactly as this vendor would get them; nothing is written."""
    now = broker.now()
    for choice in consent.choices:
        if choice.chosen.action != "read":
            continue
        begun = choice.chosen.starting(now)
        with broker.reading() as tx:
            if begun.slice.answers:
                learnt = [(why, answer(tx, ring, within=part, today=now.date())) for why, part in _reads(consent, begun, "answers", now) if part]
                choice.answers = [(why, explain.answers(found, shown_rows.money)) for why, found in learnt]
            if begun.slice.form == "rows":
                choice.seen = [_seen(tx, ring, choice, why, part, now) for why, part in _reads(consent, begun, "rows", now)]


def _seen(tx: Connection, ring: Keyring, choice: Choice, why: str, part: Slice | None, now: dt.datetime) -> Seen:
    found = event_queries.preview(tx, ring, within=part) if part else event_queries.Preview([], 0, at_least=False)
    period = part.period() if part and (part.period() == "month" or part.fields.get("time") == "day") else ""
    return Seen(why, found, standing.outlook(choice.chosen.starting(now), part, now, cut=bool(choice.cuts)), period)


def _reads(consent: Consent, clause: Clause, form: str, now: dt.datetime) -> list[tuple[str, Slice | None]]:
    """(purposes in our words, what a read to them would get or None): one with "" where all purposes get the same."""
    found: dict[Slice | None, list[str]] = {}
    for purpose in sorted(clause.purposes):
        decision = as_read(consent, clause, form, purpose, now)
        found.setdefault(decision.slice if isinstance(decision, Permitted) else None, []).append(PURPOSES[purpose].label)
    return [(joined(labels, "or") if len(found) > 1 else "", part) for part, labels in found.items()]


def as_read(consent: Consent, clause: Clause, form: str, purpose: str, now: dt.datetime) -> Permitted | Denied:
    """The decision a first read of this clause, for rows or for answers, would get, were it given now."""
    client = consent.client
    begun = now.replace(microsecond=0)
    until = clause.validity.until or now + dt.timedelta(days=1)
    classes = standing.given_to(consent.facts).classes
    grant = Grant("preview", client.client_id, client.vendor_id, "active", 1, (clause,), begun, until, None, countersigned=True, vendor_classes=classes)
    asked = Asked(
        client=client.client_id, clause=clause.id, purpose=purpose, form=form, answers=clause.slice.answers if form == "answers" else frozenset()
    )  # fmt: skip
    return decide(grant, consent.terms.deny, asked, now)


def details(consent: Consent, *, sec_gpc: bool) -> dict[str, Any]:
    """What is kept with the grant for the person's page: what was asked, what the terms cut, what was shown and moved."""
    return {
        "request": consent.pushed.parameters["request"],
        "narrowed": [{**line.to_json(), "said": line.said} for line in consent.proposal.narrowed],
        "text": consent.text,
        "shown": shown(consent, sec_gpc=sec_gpc),
        "client": {"name": consent.client.name, "domain": consent.client.domain, "vendor": consent.client.vendor_id},
        "redirect_origin": consent.pushed.parameters["redirect_uri"].split("/", 3)[:3],
    }


def shown(consent: Consent, *, sec_gpc: bool) -> dict[str, Any]:
    """The record of the page (interface.md section 2); an agreement holds its commitment."""
    return {
        "language": "en",
        "template": "consent/1",
        "text_sha256": agreements.digest(consent.text.encode()),
        "sec_gpc": sec_gpc,
        "offered": [choice.id for choice in consent.choices],
        "ticked": [choice.id for choice in consent.given],
        "moved": [each for choice in consent.given for each in choices.moved(choice)],
    }


def background(consent: Consent, shown: dict[str, Any]) -> agreements.Background:
    """How the grant comes about, for its agreement."""
    request = consent.pushed.parameters["request"] or {}
    return agreements.Background(request, consent.pushed.pushed_at, consent.terms.to_json(), shown, _gifts(consent))


def narrowings(consent: Consent, clause: str | None = None) -> list[str]:
    """What the terms made smaller than it was asked, of one clause or of all, each with its rule as the person calls it; `denied` tells of the rest."""
    lines = [line for line in consent.proposal.narrowed if "~" in line.clause and (clause is None or line.clause == clause)]
    return [explain.narrowing(line) for line in lines]


def denied(consent: Consent) -> list[tuple[str, str, str]]:
    """Each thing asked of which nothing can be given: what it is in our words, why they ask in theirs, and what stands against it."""
    lines = [line for line in consent.proposal.narrowed if line.given is None and "~" not in line.clause]
    items = [consent.proposal.item_of(line.clause) for line in lines]
    return [(explain.clause_sentences(item.clause, consent.name)[0], item.why, explain.narrowing(line)) for item, line in zip(items, lines, strict=True)]


def refused_by_terms(consent: Consent) -> bool:
    """Whether the terms leave nothing to give."""
    return consent.proposal.status == REFUSED or not consent.choices
