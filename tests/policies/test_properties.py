"""The properties of policies.md section 9 hold; test_planted.py shows that each can fail."""

from typing import Any

import pytest
from hypothesis import given

from tests.policies.properties import WORLDS, holds


@pytest.mark.parametrize("name", WORLDS)
def test_they_hold(name: str) -> None:
    strategy, properties = WORLDS[name]

    @given(strategy)
    def run(world: dict[str, Any]) -> None:
        for check in properties.values():
            holds(check, world)

    run()
