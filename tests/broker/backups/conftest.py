"""A broker and a directory for its backups, and the command as an operator runs it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from makers import Browser

from broker.config import Settings
from broker.opening import Broker


@pytest.fixture
def broker(app: Flask, alice: Browser) -> Broker:
    """A running broker."""
    assert alice.person_id
    found: Broker = app.extensions["broker"]
    return found


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A directory for backups."""
    made = tmp_path / "shelf"
    made.mkdir()
    return made


@pytest.fixture
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `broker` with the settings given; `code` runs that in its place."""

    def run(settings: Settings, *arguments: str, typed: str = "", code: str = "") -> subprocess.CompletedProcess[str]:
        own = {"BROKER_DATA_DIR": str(settings.data_dir), "BROKER_KEY_FILE": str(settings.key_file), "BROKER_PORT": str(settings.port)}
        started = [sys.executable, *(["-c", code] if code else ["-m", "broker"]), *arguments]
        return subprocess.run(started, env={**os.environ, **own}, input=typed, capture_output=True, text=True, timeout=120, check=False)

    return run
