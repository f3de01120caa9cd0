"""Fixtures for every test: a broker with alice and bob in one household, charlie as a stranger, and two shops that ask."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from flask import Flask

from broker import close_app, create_app
from broker.config import Settings
from broker.people import actions as people

sys.path.insert(0, str(Path(__file__).parent))

from listening import PLANTED, listening
from makers import Browser, Clock, Shop, settings_in

hypothesis.settings.register_profile("steady", derandomize=True, deadline=None, database=None)
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
PASSWORD = "correct horse battery staple"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--deep", action="store_true", help="The nightly counts: 50,000 examples a property, 1,000 kills.")
    parser.addoption("--merkle-vectors", type=Path, help="The folder testdata of transparency-dev/merkle: its vectors are tried (K65).")
    parser.addoption("--listen", action="store_true", help="Every test at DEBUG; one in whose logs an issued credential stands fails (attack row 107).")


def pytest_configure(config: pytest.Config) -> None:
    # Modules ask for it while they are imported, in workers too.
    if config.getoption("--deep"):
        os.environ["PROFFER_DEEP"] = "1"
    else:
        # The same examples every time, so that a run can be repeated; new ones are tried with --deep.
        hypothesis.settings.load_profile("steady")


@pytest.fixture(scope="session")
def deep(request: pytest.FixtureRequest) -> bool:
    """Whether the nightly counts are wanted."""
    return bool(request.config.getoption("--deep"))


@pytest.fixture(autouse=True)
def heard_no_secret(request: pytest.FixtureRequest) -> Iterator[None]:
    """With --listen, no issued credential stands in any log of this process."""
    if not request.config.getoption("--listen"):
        yield
        return
    with listening() as listener:
        yield
    assert [leak for leak in listener.leaks if leak[0] != PLANTED] == []


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real input beside the project; in CI its absence is a failure."""
    if not SHARED.is_dir():
        if os.environ.get("CI"):
            pytest.fail("The real input is not beside the project.")
        pytest.skip("The real input is not beside the project.")
    return SHARED


@pytest.fixture(scope="session")
def household(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with alice and bob signed up, to be copied by each test: Argon2id is slow on purpose."""
    where = tmp_path_factory.mktemp("household")
    app = create_app(settings_in(where))
    for name in ("alice", "bob", "charlie"):
        people.add(app.extensions["broker"], name, PASSWORD)
    # Two keys, without which nothing can be given to a vendor.
    app.extensions["broker"].vault.add_recovery_key()
    close_app(app)
    return where


@pytest.fixture
def settings(household: Path, tmp_path: Path) -> Settings:
    """Settings of a fresh copy of the household."""
    shutil.copytree(household, tmp_path / "home")
    (tmp_path / "home" / "data").chmod(0o700)
    return settings_in(tmp_path / "home")


@pytest.fixture
def clock() -> Clock:
    """The present, until a test moves it."""
    return Clock()


@pytest.fixture
def app(settings: Settings, clock: Clock) -> Iterator[Flask]:
    """A broker in this process."""
    made = create_app(settings, clock)
    yield made
    close_app(made)


@pytest.fixture
def alice(app: Flask) -> Browser:
    """Alice, signed in."""
    return Browser.of(app, "alice")


@pytest.fixture
def bob(app: Flask) -> Browser:
    """Bob of the same household, signed in."""
    return Browser.of(app, "bob")


@pytest.fixture
def bookshop(app: Flask) -> Shop:
    """A registered vendor."""
    return Shop.register(app, "books.example")


@pytest.fixture
def otherstore(app: Flask) -> Shop:
    """Another registered vendor."""
    return Shop.register(app, "other.example")
