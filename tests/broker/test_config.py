"""Settings: from the environment, from files, and refused with a sentence."""

from pathlib import Path

import pytest

from broker.config import Settings, WrongSetting, from_environment, in_force


def test_nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A private broker on this computer."""
    settings = from_environment()
    assert (settings.host, settings.port, settings.origin) == ("127.0.0.1", 8440, "http://localhost:8440")
    assert settings.data_dir not in settings.key_file.parents
    monkeypatch.setenv("BROKER_PORT", "9000")
    assert from_environment().origin == "http://localhost:9000"


def test_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "level").write_text("DEBUG\n")
    monkeypatch.setenv("BROKER_LOG_LEVEL_FILE", str(tmp_path / "level"))
    monkeypatch.setenv("BROKER_KEY_FILE", str(tmp_path / "key"))
    settings = from_environment()
    assert settings.log_level == "DEBUG"
    assert settings.key_file == tmp_path / "key"


WRONG = {
    "BROKER_COLOUR": ("blue", "not a setting"),
    "BROKER_PORT": ("many", "BROKER_PORT cannot be used"),
    "BROKER_ORIGIN": ("http://broker.example", "https"),
    "BROKER_SANDBOX": ("maybe", "BROKER_SANDBOX cannot be used"),
    "BROKER_THREADS": ("-1", "from 1 to 256"),
    "BROKER_WORKERS": ("0", "from 1 to 256"),
    "BROKER_LOG_LEVEL": ("LOUD", "DEBUG, INFO"),
    "BROKER_JURISDICTION": ("Ireland", "two capital letters"),
    "BROKER_RATE_PAR": ("lots", "60/minute"),
}


@pytest.mark.parametrize("name", WRONG)
def test_it_refuses(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    value, sentence = WRONG[name]
    monkeypatch.setenv(name, value)
    with pytest.raises(WrongSetting, match=sentence):
        from_environment()


@pytest.mark.parametrize("origin", ["https://broker.example/path", "broker.example", "ftp://x.example", "https://broker.example?x"])
def test_an_origin_is_scheme_and_host(origin: str) -> None:
    with pytest.raises(WrongSetting, match="BROKER_ORIGIN"):
        Settings(origin=origin)


def test_the_key_never_lies_beside_the_data(tmp_path: Path) -> None:
    with pytest.raises(WrongSetting, match="BROKER_KEY_FILE"):
        Settings(data_dir=tmp_path, key_file=tmp_path / "sub" / "key")


def test_in_force_names_everything() -> None:
    assert in_force(Settings())["BROKER_THREADS"] == "4"


def test_a_taken_port_is_told_before_any_link(tmp_path: Path) -> None:
    """Two brokers must never share a port, and no link is printed for a broker that does not run."""
    import os
    import socket
    import subprocess
    import sys

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        environment = {
            **os.environ, "BROKER_DATA_DIR": str(tmp_path / "data"), "BROKER_KEY_FILE": str(tmp_path / "key"), "BROKER_PORT": str(taken.getsockname()[1]),
        }  # fmt: skip
        run = subprocess.run([sys.executable, "-m", "broker"], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 1
    assert "another Proffer" in run.stderr
    assert not run.stdout
