"""The properties of policies.md section 9 hold; test_planted.py shows that each can fail."""

import ast
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from tests.policies.properties import EXAMPLES, WORLDS, holds

TESTS = Path(__file__).resolve().parents[1]
ELSEWHERE = {
    "P7": ("broker/events/test_sql_is_only_an_index.py", "test_what_is_hidden_changes_nothing", "test_sharp_edges_are_found"),
    "P11": ("broker/events/test_sql_is_only_an_index.py", "test_a_read_equals_a_loop_over_the_store", "test_the_property_can_fail"),
    "P13": ("faults/test_race.py", "test_a_revoke_that_returned_is_final_on_every_process", "test_the_control_is_noticed"),
    "P15": ("broker/vault/test_unlinkable.py", "test_no_two_clauses_share_an_alias", "test_the_property_can_fail"),
}
"""Where a property needs stores, keys or processes: the file, the test, and its planted defect. P7 holds here too, for one event."""


@pytest.mark.parametrize("name", WORLDS)
def test_they_hold(name: str) -> None:
    strategy, properties = WORLDS[name]

    @EXAMPLES
    @given(strategy)
    def run(world: dict[str, Any]) -> None:
        for check in properties.values():
            holds(check, world)

    run()


def test_each_has_its_place() -> None:
    """P1 to P19; P20 and P21 are proven with the agreements."""
    here = {name.partition(" ")[0] for _, properties in WORLDS.values() for name in properties}
    assert {f"P{number}" for number in range(1, 20)} <= here | set(ELSEWHERE)
    for file, *names in ELSEWHERE.values():
        assert set(names) <= {node.name for node in ast.parse((TESTS / file).read_text()).body if isinstance(node, ast.FunctionDef)}, file
