"""The key hierarchy: made at first start, opened by the key file, one keyring per person."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from flask import Flask
from makers import Browser, purchase, settings_in

from broker import close_app, create_app
from broker.errors import Unsealable
from broker.vault import credentials, keys
from broker.vault.keys import SEALS_RESERVED, Keyring
from broker.vault.slots import NoKey


def test_a_key_is_durable_before_it_seals(alice: Browser) -> None:
    """S6: another process can open what this one sealed."""
    ring = alice.ring
    key = ring.key_for("purchase", "2026-11")
    sealed = key.seal(b"place", b"secret")
    broker = alice.app.extensions["broker"]
    other = Keyring(broker.keys, broker.vault.kek, alice.person_id, broker.vault.log_tag(alice.person_id))
    assert other.unseal(b"place", sealed) == b"secret"
    assert other.key_for("purchase", "2026-11").key_id == key.key_id
    assert other.key_for("purchase", "2026-12").key_id != key.key_id


def test_one_persons_keys_open_nothing_of_another(alice: Browser, bob: Browser) -> None:
    """K37: even with every check of the queries off."""
    sealed = alice.ring.key_for("purchase", "2026-11").seal(b"place", b"secret")
    with pytest.raises(Unsealable):
        bob.ring.unseal(b"place", sealed)
    assert alice.ring.tag("purchase", "events", "domain")("shop.example") != bob.ring.tag("purchase", "events", "domain")("shop.example")
    assert alice.ring.tag("purchase", "events", "domain")("shop.example") != alice.ring.tag("cart", "events", "domain")("shop.example")


def test_seals_are_reserved_in_blocks(alice: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is used up gives way to a new one (K76)."""
    monkeypatch.setattr(keys, "SEALS_BEFORE_NEW_KEY", 2 * SEALS_RESERVED)
    ring = alice.ring
    first = ring.key_for("search", "2026-11", SEALS_RESERVED - 1)
    assert ring.key_for("search", "2026-11").key_id == first.key_id
    # The second block is counted too, in the store and so for every process.
    assert ring.key_for("search", "2026-11", SEALS_RESERVED).key_id == first.key_id
    assert ring.key_for("search", "2026-11").key_id != first.key_id


def test_a_missing_wrong_or_open_key_file_stops_the_start(household: Path, tmp_path: Path) -> None:
    shutil.copytree(household, tmp_path / "home")
    (tmp_path / "home" / "data").chmod(0o700)
    settings = settings_in(tmp_path / "home")
    good = settings.key_file.read_bytes()
    # With a recovery key beside it the broker would start, sealed.
    with closing(sqlite3.connect(settings.data_dir / "keys.db")) as store, store:
        store.execute("DELETE FROM slots WHERE kind = 'recovery_key'")
    settings.key_file.chmod(0o644)
    with pytest.raises(NoKey, match="chmod 600"):
        create_app(settings)
    settings.key_file.unlink()
    with pytest.raises(NoKey, match="is missing"):
        create_app(settings)
    for wrong in (bytes(32), good[:31]):
        settings.key_file.write_bytes(wrong)
        settings.key_file.chmod(0o600)
        with pytest.raises(NoKey):
            create_app(settings)
    settings.key_file.write_bytes(good)
    close_app(create_app(settings))


def test_an_open_data_directory_stops_the_start(household: Path, tmp_path: Path) -> None:
    shutil.copytree(household, tmp_path / "home")
    (tmp_path / "home" / "data").chmod(0o755)
    with pytest.raises(NoKey, match="chmod 700"):
        create_app(settings_in(tmp_path / "home"))


def test_files_are_private(app: Flask) -> None:
    """T20: 0600 and 0700."""
    settings = app.extensions["broker"].settings
    assert settings.data_dir.stat().st_mode & 0o777 == 0o700
    for path in (*settings.data_dir.iterdir(), settings.key_file):
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.accepts("K79")
def test_planted_strings_are_in_no_file(alice: Browser) -> None:
    """Grepping every file the broker wrote for 200 planted strings finds none; the control finds them in the plaintext."""
    broker = alice.app.extensions["broker"]
    at = broker.now()
    planted = [f"planted{n:03}needle" for n in range(200)]
    events = [purchase(at, f"Product {word}", site=f"www.{word}.example", category=f"books/{word}") for word in planted]
    alice.store(*events)
    files = [path for path in broker.settings.data_dir.rglob("*") if path.is_file()]
    everything = b"".join(path.read_bytes() for path in files)
    assert len(everything) > 100_000
    assert not [word for word in planted if word.encode() in everything]
    assert b"alice" not in everything
    assert all(event["id"].encode() not in everything and bytes.fromhex(event["id"].replace("-", "")) not in everything for event in events)
    control = "".join(str(event) for event in events).encode()
    assert all(word.encode() in control for word in planted)


def test_credentials() -> None:
    """T1, T2, rows 64 and 115: typos are refused without I/O, routes share nothing, a changed kind or route finds nobody."""
    key, person = bytes(32), b"p" * 16
    one, other = credentials.mint(key, "at", person), credentials.mint(key, "at", person)
    parsed = credentials.parse(key, "at", one.text)
    assert parsed is not None
    assert (parsed.person_id, parsed.hash) == (person, one.hash)
    assert one.text[7:29] != other.text[7:29]
    assert one.text not in repr(one)
    assert len(one.text) == len("pfr_at_") + 64 + 8
    assert credentials.parse(key, "rt", one.text) is None
    for position in range(7, len(one.text)):
        changed = one.text[:position] + ("A" if one.text[position] != "A" else "B") + one.text[position + 1 :]
        assert credentials.parse(key, "at", changed) is None
    assert credentials.parse(bytes([1] * 32), "at", one.text).person_id != person  # type: ignore[union-attr]
    for text in ("", "pfr_at_", one.text + "\n", " " + one.text, one.text.upper()):
        assert credentials.parse(key, "at", text) is None
