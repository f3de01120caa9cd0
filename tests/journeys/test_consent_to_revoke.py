"""The whole story in one process: store, ask, consent, read, verify, revoke, read refused, all of it in the ledger."""

import datetime as dt

from makers import Browser, Clock, Shop, purchase

from broker.grants import actions as grants
from broker.grants import queries as grant_queries
from broker.ledger import queries as ledger


def test_from_consent_to_revoke(alice: Browser, bob: Browser, bookshop: Shop, clock: Clock) -> None:
    bought = [purchase(clock() - dt.timedelta(days=days, hours=3)) for days in (2, 5, 40, 200)]
    assert set(alice.store(*bought).values()) == {"accepted"}

    tokens = bookshop.connect(alice)
    assert tokens["token_type"] == "DPoP"
    granted = tokens["authorization_details"][0]
    assert granted["fields"] == {"category": "leaf", "price": "bucket:10", "time": "day"}
    assert granted["window"] == {"max_age": "P90D", "min_age": "P1D"}

    answer = bookshop.read()
    assert answer.status_code == 200, answer.text
    rows = answer.json["items"]
    assert len(rows) == 3
    assert {row["kind"] for row in rows} == {"purchase"}
    assert all(set(row) == {"id", "kind", "time", "items"} for row in rows)
    assert all(set(item) == {"category", "price"} for row in rows for item in row["items"])

    grant_id = grant_queries.to_bytes(tokens["grant_id"])
    broker = alice.app.extensions["broker"]
    assert grants.revoke(broker, alice.person_id, grant_id)
    refused = bookshop.read()
    assert refused.status_code == 401
    assert refused.json["type"] == "/problems/invalid-token"
    assert bookshop.refresh().json["error"] == "invalid_grant"

    with broker.reading() as tx:
        acts = [(entry["act"], entry["outcome"]) for entry in ledger.page(tx, alice.ring).entries]
        verdicts = ledger.verify(tx, alice.ring)
        others = ledger.page(tx, bob.ring).entries
    assert acts[:4] == [("read", "denied"), ("revoke", "permitted"), ("read", "permitted"), ("give", "permitted")]
    assert [verdict.code for verdict in verdicts] == [0]
    assert {entry["act"] for entry in others} <= {"factor", "sign_in"}
