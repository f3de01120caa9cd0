"""The well-known files say what is set, and lead where a person looks after their sign-in."""

import datetime as dt
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from makers import ORIGIN, settings_in
from werkzeug.test import TestResponse

from broker import close_app, create_app
from broker.config import Settings, WrongSetting


def get(app: Flask, name: str) -> TestResponse:
    return app.test_client().get(f"/.well-known/{name}", base_url=ORIGIN)


@pytest.fixture
def contacted(household: Path, tmp_path: Path) -> Iterator[Flask]:
    """A broker whose operator named somebody."""
    shutil.copytree(household, tmp_path / "other")
    made = create_app(settings_in(tmp_path / "other", security_contact="mailto:me@example.org"))
    yield made
    close_app(made)


def test_security_contact(app: Flask, contacted: Flask) -> None:
    """RFC 9116 section 2.5: `Contact` and `Expires`, less than a year ahead; without a contact there is no file."""
    answer = get(contacted, "security.txt")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    told = dict(line.split(": ", 1) for line in answer.text.splitlines())
    assert told["Contact"] == "mailto:me@example.org"
    assert told["Canonical"] == f"{ORIGIN}/.well-known/security.txt"
    ahead = dt.datetime.fromisoformat(told["Expires"]) - dt.datetime.now(dt.UTC)
    assert dt.timedelta(days=80) < ahead < dt.timedelta(days=365)
    missing = get(app, "security.txt")
    assert (missing.status_code, missing.json["type"]) == (404, "/problems/not-found")


@pytest.mark.parametrize("contact", ["me@example.org", "http://example.org", "mailto:", "mailto:a\nExpires: 2099-01-01T00:00:00Z", "mailto:a b"])
def test_a_contact_is_one_address(tmp_path: Path, contact: str) -> None:
    with pytest.raises(WrongSetting, match="SECURITY_CONTACT"):
        Settings(data_dir=tmp_path / "data", key_file=tmp_path / "key", security_contact=contact)


def test_global_privacy_control(app: Flask) -> None:
    told = get(app, "gpc.json").json
    assert told["gpc"] is True
    assert dt.date.fromisoformat(told["lastUpdate"]) <= dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)
    assert set(told) == {"gpc", "lastUpdate"}


def test_password_managers_find_their_way(app: Flask) -> None:
    """A redirect for passwords, none for passkeys; and what is not there is 404, by which they tell whether to believe the others."""
    change = get(app, "change-password")
    assert (change.status_code, change.location) == (303, f"{ORIGIN}/devices#password")
    assert get(app, "passkey-endpoints").json == {"enroll": f"{ORIGIN}/devices", "manage": f"{ORIGIN}/devices"}
    assert get(app, "resource-that-should-not-exist-whose-status-code-should-not-be-200").status_code == 404
