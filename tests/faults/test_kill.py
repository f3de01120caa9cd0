"""SIGKILL under load: nothing acknowledged is lost, nothing left unseen, and the stores hold; and two defects that this test must notice."""

import random
import re
import shutil
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from granted import READ, WRITE, Granted, a_client, a_person, granted
from loads import Cast, Heard, Load, upload
from makers import settings_in
from processes import Nursery, Server, call, command
from verdicts import losses, size

from broker import close_app, create_app
from broker.config import Settings
from broker.opening import Broker, opened
from broker.people import actions as people
from broker.vendors.actions import EXTENSION

ROUNDS = 50
TRUE_ROUNDS = 5
ENDS = 12
CONTROL_ROUNDS = 25
SIGKILL = 9


@dataclass
class Life:
    """One data directory and its servers, killed again and again."""

    settings: Settings
    person_id: bytes
    client_id: str
    device: Granted
    vendor: Granted
    session: str
    ends: list[Granted] = field(default_factory=list)
    last: Heard = field(default_factory=Heard)
    totals: Counter[str] = field(default_factory=Counter)
    signals: list[int] = field(default_factory=list)
    uploaded: list[str] = field(default_factory=list)

    @classmethod
    def begin(cls, where: Path) -> "Life":
        """A new broker with a person, their extension and a vendor."""
        settings = settings_in(where)
        app = create_app(settings)
        broker: Broker = app.extensions["broker"]
        person_id = a_person(broker)
        client_id = a_client(broker)
        device, vendor = granted(broker, person_id, EXTENSION, WRITE)[0], granted(broker, person_id, client_id, READ)[0]
        session = people.sign_in_as(broker, person_id).text
        close_app(app)
        return cls(settings, person_id, client_id, device, vendor, session)

    def round(self, server: Server, chance: random.Random) -> list[str]:
        """Replay what the last round left open, load, kill, and judge."""
        with server.doomed():
            return self._round(server, chance)

    def _round(self, server: Server, chance: random.Random) -> list[str]:
        cast = self._cast(server)
        found = self._replay(server, cast)
        with opened(self.settings) as broker:
            self.ends += granted(broker, self.person_id, self.client_id, READ, ENDS - len(self.ends)) if len(self.ends) < ENDS else []
            start = size(broker, self.person_id)
        load = Load(server, cast, self.ends, chance.randrange(2**30))
        moment = chance.uniform(0.08, 0.2)
        threading.Event().wait(moment)
        # On a busy machine the first answer may take longer than that; a kill before it would prove nothing.
        until = time.monotonic() + 10
        while not len(load.heard) and time.monotonic() < until:
            threading.Event().wait(moment / 10)
        self.signals.append(server.kill())
        heard = self.last = load.stop()
        self.totals.update(uploads=len(heard.uploads), reads=len(heard.reads), revokes=len(heard.revoked), acknowledged=bool(len(heard)), unsure=len(heard.unsure))
        self.uploaded += [event["id"] for batch in heard.uploads for event in batch]
        ended = {each.grant_id for each in heard.revoked}
        self.ends = [each for each in self.ends[len(heard.revoked) + 1 :] if each.grant_id not in ended]
        with opened(self.settings) as broker:
            return found + losses(broker, self.person_id, heard, start)

    def _cast(self, server: Server) -> Cast:
        page = call(server.port, "GET", "/requests", {"Cookie": f"session-8440={self.session}", "Sec-Fetch-Site": "same-origin"})
        assert page is not None
        assert page.status == 200, page.body
        token = re.search(rb'name="csrf_token" value="([^"]+)"', page.body)
        assert token
        form = page.headers["set-cookie"].split(";")[0]
        return Cast(self.device, self.vendor, f"session-8440={self.session}; {form}", token[1].decode())

    def _replay(self, server: Server, cast: Cast) -> list[str]:
        """Send again what was acknowledged (a duplicate) and what was not (either, never a conflict); a revoked token stays dead."""
        found = []
        for batch, allowed in [*((each, {"duplicate"}) for each in self.last.uploads[-3:]), *((each, {"duplicate", "accepted"}) for each in self.last.unsure)]:
            answers = upload(server.port, cast, batch)
            if answers is None or not set(answers.values()) <= allowed:
                found.append(f"a replayed batch is answered {answers}")
            self.uploaded += [event["id"] for event in batch] if batch in self.last.unsure else []
        for each in self.last.revoked[-2:]:
            answer = call(server.port, "GET", "/v1/events", each.headers("GET", "/v1/events"))
            if answer is None or answer.status != 401:
                found.append(f"a revoked grant is answered {answer}")
        return found

    def judge_all(self) -> list[str]:
        """Everything that was ever acknowledged."""
        everything = Heard(uploads=[[{"id": each} for each in self.uploaded]])
        with opened(self.settings) as broker:
            return losses(broker, self.person_id, everything)


def fault_fired(life: Life, rounds: int) -> None:
    print(f"{rounds} kills: {dict(life.totals)}, {len(life.uploaded)} events kept")
    assert life.signals == [SIGKILL] * rounds
    assert life.totals["acknowledged"] >= 0.9 * rounds
    assert min(life.totals["uploads"], life.totals["reads"], life.totals["revokes"]) > 0


def test_nothing_acknowledged_is_lost_by_a_kill(nursery: Nursery, tmp_path: Path, chance: random.Random, *, deep: bool) -> None:
    for number in range(20 if deep else 1):
        life = Life.begin(tmp_path / str(number))
        for _ in range(ROUNDS):
            assert life.round(nursery.serve(life.settings), chance) == []
        fault_fired(life, ROUNDS)
        assert life.judge_all() == []
        shutil.rmtree(tmp_path / str(number))


def test_the_same_with_the_true_command(tmp_path: Path, chance: random.Random) -> None:
    life = Life.begin(tmp_path)
    for _ in range(TRUE_ROUNDS):
        assert life.round(command(life.settings), chance) == []
    fault_fired(life, TRUE_ROUNDS)
    assert life.judge_all() == []


@pytest.mark.parametrize(("plant", "word"), [("answers_before_commit", "event "), ("bytes_before_entry", "left without an entry")])
def test_the_control_is_noticed(nursery: Nursery, tmp_path: Path, chance: random.Random, plant: str, word: str) -> None:
    life = Life.begin(tmp_path)
    for number in range(1, CONTROL_ROUNDS + 1):
        found = life.round(nursery.serve(life.settings, plant), chance)
        if any(word in each for each in found):
            print(f"noticed in round {number}: {found[0]}")
            break
    else:
        pytest.fail("a planted loss was not noticed")
    assert set(life.signals) == {SIGKILL}
