"""Every act that there is makes an entry: one way of doing each, and what does not exist yet with the reason (K71, K72)."""

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
from makers import ORIGIN, Browser, Clock, Extension, Shop, page_visit, purchase

from broker.__main__ import main
from broker.exports import actions as exports
from broker.factors import actions as factors
from broker.grants import actions as grants
from broker.grants import queries as grant_queries
from broker.ledger import actions, checkpoints, queries
from broker.oauth import actions as oauth
from broker.people import actions as people
from broker.terms import actions as term_actions
from broker.vault.backups import new_recipient
from policies.terms import DEFAULT_TERMS

Entry = dict[str, Any]
PASSWORD = "correct horse battery staple"


@dataclass
class Stage:
    """Alice with two events, a shop with a grant of hers, and a folder."""

    alice: Browser
    shop: Shop
    clock: Clock
    where: Path

    @property
    def grant(self) -> str:
        return str(self.shop.tokens["grant_id"])

    @property
    def page(self) -> str:
        return f"/grants/{self.grant}"

    def command(self, *arguments: str) -> None:
        settings = self.alice.app.extensions["broker"].settings
        environment = {**os.environ, "BROKER_DATA_DIR": str(settings.data_dir), "BROKER_KEY_FILE": str(settings.key_file)}
        run = subprocess.run([sys.executable, "-m", "broker", *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert run.returncode == 0, run.stderr


@pytest.fixture
def stage(alice: Browser, bookshop: Shop, clock: Clock, tmp_path: Path) -> Stage:
    alice.store(purchase(clock() - dt.timedelta(days=3)), purchase(clock() - dt.timedelta(days=4)))
    bookshop.connect(alice)
    return Stage(alice, bookshop, clock, tmp_path)


def give(stage: Stage) -> None:
    stage.shop.connect(stage.alice)


def refuse(stage: Stage) -> None:
    path = stage.alice.open(stage.shop.ask())
    form = stage.alice.form(path)
    form.pop("offered")
    answer = stage.alice.client.post("/oauth/authorize/decision", data={**form, "answer": "refuse"}, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 303


def narrow(stage: Stage) -> None:
    broker = stage.alice.app.extensions["broker"]
    with broker.reading() as tx:
        grant = grant_queries.one(tx, stage.alice.ring, grant_queries.to_bytes(stage.grant))
    form = grant.clauses[0].to_json()
    less = {**form, "fields": {"time": form["fields"]["time"]}}
    grants.narrow(broker, stage.alice.person_id, grant.grant_id, [type(grant.clauses[0]).parse(less)], version=grant.version)


def posted(what: str) -> Callable[[Stage], None]:
    def act(stage: Stage) -> None:
        if what == "resume":
            stage.alice.post(f"{stage.page}/pause", page="/grants")
        assert stage.alice.post(f"{stage.page}/{what}", page="/grants").status_code == 303

    return act


def expire(stage: Stage) -> None:
    stage.clock.advance(days=200)
    oauth.sweep(stage.alice.app.extensions["broker"])


def read(stage: Stage) -> None:
    assert stage.shop.read().status_code == 200


def read_in_vain(stage: Stage) -> None:
    assert stage.shop.read("?kind=search").status_code == 403


def upload(stage: Stage) -> None:
    assert Extension.connect(stage.alice).upload(page_visit(stage.clock() - dt.timedelta(hours=1))).status_code == 200


def signed_out_elsewhere(stage: Stage) -> None:
    Browser.of(stage.alice.app, "alice")
    assert stage.alice.post("/devices/sessions/end-others", page="/devices").status_code == 303


def recovered(stage: Stage) -> None:
    broker = stage.alice.app.extensions["broker"]
    factors.sign_in_with_recovery(broker, "alice", factors.new_recovery_codes(broker, stage.alice.person_id)[0])


def kept(stage: Stage) -> None:
    assert stage.alice.post("/keep", {"kind": "search", "period": "366"}, page="/keep").status_code == 303


def key_added(stage: Stage) -> None:
    assert stage.alice.post("/keys/recovery", page="/keys").status_code == 200


def destroyed(stage: Stage) -> None:
    tag = stage.alice.get("/activity").text.split('action="/activity/forget/')[1][:32]
    assert stage.alice.post(f"/activity/forget/{tag}", page="/activity").status_code == 303
    assert exports.shred(stage.alice.app.extensions["broker"]) == 1


def reset(stage: Stage) -> None:
    broker = stage.alice.app.extensions["broker"]
    people.sign_up(broker, people.make_link(broker, stage.alice.person_id).text, "", PASSWORD, PASSWORD)


def upload_in_vain(stage: Stage) -> None:
    extension = Extension.connect(stage.alice)
    stage.alice.post("/grants/pause-all", page="/grants")
    assert extension.upload(page_visit(stage.clock() - dt.timedelta(hours=1))).status_code == 403


def forget(stage: Stage) -> None:
    assert stage.alice.post("/activity/forget", {"tab": "purchases", "number": "2"}, page="/activity").status_code == 303


def export(stage: Stage) -> None:
    assert stage.alice.post("/ledger/bundle", page="/ledger/verify").status_code == 200


def import_(stage: Stage) -> None:
    stage.alice.store(purchase(stage.clock() - dt.timedelta(days=9)))


def terms(stage: Stage) -> None:
    term_actions.set_terms(stage.alice.app.extensions["broker"], stage.alice.person_id, DEFAULT_TERMS.to_json(), actions.PERSON)


def sign_in(stage: Stage) -> None:
    client = stage.alice.app.test_client()
    page = client.get("/sign-in", base_url=ORIGIN).text
    token = page.partition('name="csrf_token" value="')[2].partition('"')[0]
    answer = client.post("/sign-in", data={"csrf_token": token, "name": "alice", "password": PASSWORD}, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 303, answer.text


def factor(stage: Stage) -> None:
    """The first entry of everybody's ledger: the password they signed up with."""
    with stage.alice.app.extensions["broker"].reading() as tx:
        assert queries.one(tx, stage.alice.ring, 0)["act"] == "factor"


def client_removed(stage: Stage) -> None:
    stage.command("client", "remove", stage.shop.client_id)


def terms_shown(stage: Stage) -> None:
    stage.command("terms", "show", "--person", "alice")


def time_set_back(stage: Stage) -> None:
    """The clock was a day ahead, and is right again."""
    stage.clock.advance(days=1)
    stage.alice.app.extensions["broker"].now()
    stage.command("clock", "--set-back")


def terms_set(stage: Stage) -> None:
    file = stage.where / "terms.json"
    file.write_text(json.dumps(DEFAULT_TERMS.to_json()))
    stage.command("terms", "set", str(file), "--person", "alice")


def imported(stage: Stage) -> None:
    file = stage.where / "bought.csv"
    file.write_text("date,product,price\n2026-05-02,A Study in Ink,24.50\n2026-05-03,Paper Boats,9.90\n")
    stage.command(
        "import", str(file), "--person", "alice", "--time-column", "date", "--product-column", "product", "--unit-price-column", "price", "--shop", "shop.example",
        "--currency", "EUR", "--zone", "Europe/Berlin",
    )  # fmt: skip


def revoked(stage: Stage) -> None:
    stage.command("revoke", stage.grant, "--person", "alice")


def bundled(stage: Stage) -> None:
    stage.command("bundle", str(stage.where / "ledger.zip"), "--person", "alice")


def taken_out(stage: Stage) -> None:
    assert stage.alice.post("/export", page="/export").data


def backed_up(stage: Stage) -> None:
    (stage.where / "shelf").mkdir()
    stage.command("backup", str(stage.where / "shelf"), "--to", new_recipient()[1])


# What was done -> (the entry's act, who did it, how it ended, what does it).
MADE: dict[str, tuple[str, str, str, Callable[[Stage], None]]] = {
    "give": ("give", "person", "permitted", give),
    "refuse": ("refuse", "person", "denied", refuse),
    "narrow": ("narrow", "person", "permitted", narrow),
    "pause": ("pause", "person", "permitted", posted("pause")),
    "resume": ("resume", "person", "permitted", posted("resume")),
    "revoke": ("revoke", "person", "permitted", posted("revoke")),
    "expire": ("expire", "broker", "permitted", expire),
    "read": ("read", "client", "permitted", read),
    "read in vain": ("read", "client", "denied", read_in_vain),
    "upload": ("upload", "client", "permitted", upload),
    "upload in vain": ("upload", "client", "denied", upload_in_vain),
    "forget": ("forget", "person", "permitted", forget),
    "export": ("export", "person", "permitted", export),
    "import": ("import", "person", "permitted", import_),
    "terms": ("terms", "person", "permitted", terms),
    "sign in": ("sign_in", "person", "permitted", sign_in),
    "factor": ("factor", "person", "permitted", factor),
    "device": ("device", "person", "permitted", signed_out_elsewhere),
    "recovery": ("recovery", "person", "permitted", recovered),
    "how long it is kept": ("settings", "person", "permitted", kept),
    "key, on the page": ("key", "person", "permitted", key_added),
    "keys add, by command": ("key", "operator", "permitted", lambda stage: stage.command("keys", "add", "recovery-key")),
    "keys rotate, by command": ("key", "operator", "permitted", lambda stage: stage.command("keys", "rotate")),
    "key destroyed": ("key_destroyed", "broker", "permitted", destroyed),
    "reset, by a link of the command": ("factor", "operator", "permitted", reset),
    "client remove": ("operator", "operator", "permitted", client_removed),
    "clock, set back": ("operator", "operator", "permitted", time_set_back),
    "terms show": ("operator", "operator", "permitted", terms_shown),
    "terms set": ("terms", "operator", "permitted", terms_set),
    "import, by command": ("import", "operator", "permitted", imported),
    "revoke, by command": ("revoke", "operator", "permitted", revoked),
    "backup, by command": ("operator", "operator", "permitted", backed_up),
    "bundle, by command": ("export", "operator", "permitted", bundled),
    "everything, on the page": ("export", "person", "permitted", taken_out),
    "everything, by command": ("export", "operator", "permitted", lambda stage: stage.command("export", "--to", str(stage.where / "out"), "--person", "alice")),
}
# Acts that are done before anybody is served, and where they are tested.
ELSEWHERE = {
    "restored": "tests/faults/test_restore.py",
}


def test_the_table_holds_every_act() -> None:
    assert {act for act, *_ in MADE.values()} | set(ELSEWHERE) == actions.ACTS
    assert not {act for act, *_ in MADE.values()} & set(ELSEWHERE)


def test_every_command_that_touches_a_person_is_in_it() -> None:
    """A new command must be thought about here, whether it touches somebody."""

    def commands(group: click.Group, before: str = "") -> set[str]:
        found = [commands(each, f"{name} ") if isinstance(each, click.Group) else {before + name} for name, each in group.commands.items()]
        return set().union(*found)

    touching = {
        "clock", "client remove", "terms show", "terms set", "import", "revoke", "bundle", "export", "backup", "keys add", "keys remove", "keys rotate",
        "person reset",
    }  # fmt: skip
    others = {"demo", "restore", "verify", "config", "person add", "client add", "client invite", "client list", "keys list", "unlock"}
    assert commands(main) == touching | others


@pytest.mark.accepts("K72")
@pytest.mark.parametrize("what", sorted(MADE))
def test_it_makes_its_entry(stage: Stage, what: str) -> None:
    act, role, outcome, do = MADE[what]
    broker = stage.alice.app.extensions["broker"]
    wanted = queries.Wanted(act=act, outcome=outcome)
    with broker.reading() as tx:
        before = len(queries.page(tx, stage.alice.ring, wanted).entries)
    do(stage)
    with broker.reading() as tx:
        found = [entry for entry in queries.page(tx, stage.alice.ring, wanted).entries if entry["by"]["role"] == role]
        assert [verdict.code for verdict in queries.verify(tx, stage.alice.ring)] == [0]
    assert found
    if what != "factor":
        assert len(_all(stage, wanted)) == before + 1
    newest = found[0]
    assert dt.datetime.fromisoformat(newest["at"]) <= broker.now()
    if act in {"give", "narrow", "pause", "resume", "revoke", "expire", "read"}:
        assert newest["grant"]
    if outcome == "denied" and act != "refuse":
        assert newest["reasons"]


def _all(stage: Stage, wanted: queries.Wanted) -> list[Entry]:
    with stage.alice.app.extensions["broker"].reading() as tx:
        return queries.page(tx, stage.alice.ring, wanted).entries


def test_what_the_operator_did_is_told_in_words(stage: Stage) -> None:
    client_removed(stage)
    terms_shown(stage)
    page = stage.alice.get("/ledger").text
    assert "The operator looked at your terms." in page
    assert "The operator took books.example out of service" in page


def test_others_ledgers_do_not_tell_of_it(stage: Stage, bob: Browser) -> None:
    client_removed(stage)
    assert "books.example" not in bob.get("/ledger").text


def test_a_log_that_takes_nothing_does_not_keep_a_client_in_service(stage: Stage) -> None:
    broker = stage.alice.app.extensions["broker"]
    state = checkpoints.states(broker, stage.alice.ring)[0]
    actions.sound_alarm(broker, stage.alice.person_id, state.log_id, "for this test")
    assert grants.remove_client(broker, stage.shop.client_id)
    actions.sound_alarm(broker, stage.alice.person_id, state.log_id, None)
    assert stage.shop.read().status_code == 401
    assert "client-disabled" in _all(stage, queries.Wanted(outcome="denied"))[0]["reasons"]


@pytest.mark.accepts("K73")
def test_a_read_says_vendor_what_why_when_and_grant(stage: Stage) -> None:
    read(stage)
    entry = _all(stage, queries.Wanted(act="read"))[0]
    assert entry["by"]["vendor"] == "https://books.example"
    assert (entry["kinds"], entry["count"], sorted(entry["fields"])) == (["purchase"], 2, ["category", "price", "time"])
    assert entry["purpose"] == "dpv:ProvideProductRecommendations"
    assert dt.datetime.fromisoformat(entry["at"]).tzinfo
    assert (entry["grant"], entry["version"]) == (stage.grant, 2)
