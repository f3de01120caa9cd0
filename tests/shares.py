"""How many cases the fuzz of the API has (attack row 108): 2,000 in CI, 50,000 with --deep, and which test takes how many of them."""

import os

from hypothesis import HealthCheck, settings

DEEP = bool(os.environ.get("PROFFER_DEEP"))
CASES = 50_000 if DEEP else 2_000
# Per thousand. Those of one line are shared evenly by its parts.
PER_MILLE = {
    "described": 420,
    "parameters": 150,
    "bodies": 100,
    "details": 80,
    "registration": 60,
    "authorize": 50,
    "decision": 60,
    "preview": 30,
    "anywhere": 50,
}


def share(name: str, parts: int = 1) -> int:
    """The cases of one part of a test, never rounded down."""
    return -(-CASES * PER_MILLE[name] // (1000 * parts))


def cases(number: int) -> settings:
    """So many examples, the same every time unless it is the deep run."""
    return settings(
        max_examples=number, derandomize=not DEEP, deadline=None, database=None, print_blob=False,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )  # fmt: skip
