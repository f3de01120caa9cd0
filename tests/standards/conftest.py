"""What tests with other people's programs need."""

import os

import pytest
from oracles import Missing, installed


@pytest.fixture(scope="session")
def node() -> str:
    """Node, with other people's programs installed beside the scripts; in CI its absence is a failure."""
    try:
        return installed()
    except Missing:
        if os.environ.get("CI"):
            pytest.fail("Node is not installed.")
        pytest.skip("Node is not installed, and the programs to be tried need it.")
