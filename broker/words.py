"""Numbers with their nouns, and lists with their last word: what every sentence is built from."""

from collections.abc import Iterable


def many(number: int, one: str, more: str = "") -> str:
    """A number with its noun: `1 row`, `1,204 rows`."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def joined(words: Iterable[str], last: str = "and") -> str:
    """`a, b and c`."""
    *most, final = list(words) or [""]
    return f"{', '.join(most)} {last} {final}" if most else final
