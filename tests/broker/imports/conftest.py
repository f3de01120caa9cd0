"""The real files that importers are measured on, read in place beside the project, and the time the tests live in."""

from __future__ import annotations

import gzip
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(__file__).resolve().parents[3] / "../shared/data"


@pytest.fixture
def real(tmp_path: Path) -> Callable[[str], Path]:
    """Unpacks one of the shared files, such as `browser_history/x.sqlite.gz`, for one test."""

    def unpack(name: str) -> Path:
        packed = DATA / name
        if not packed.is_file():
            if os.environ.get("CI") == "true":
                pytest.fail(f"{packed} is missing: lay the shared data beside the project.")
            pytest.skip(f"{packed} is not on this machine.")
        unpacked = tmp_path / packed.name.removesuffix(".gz")
        unpacked.write_bytes(gzip.decompress(packed.read_bytes()))
        return unpacked

    return unpack


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
