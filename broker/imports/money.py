"""Money from text to minor units by string and integer arithmetic, never through a float."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

MAX_DIGITS: Final = 18
_SPACES = "\u0020\u00a0\u2009\u202f"
_NUMBER = re.compile(rf"[^0-9.,]{{0,8}}?(?P<number>[0-9.,][0-9.,'\u2019{_SPACES}]{{0,30}}?)[^0-9.,]{{0,8}}")
_MINUS = re.compile(r"[-\u2212]")


class Exact(NamedTuple):
    """A decimal number as `units` of 10^-`places`: 2.450 is (2450, 3)."""

    units: int
    places: int

    def times(self, count: int) -> Exact:
        """The product with a whole number."""
        return Exact(self.units * count, self.places)


def read(text: str, decimal: str = ".") -> Exact | None:
    """The number in a cell such as `1,234.50`, `-2.1`, `(3.00)` or `EUR 12`; None if it cannot be read without guessing.

    `decimal` is the decimal mark; the other of `.` and `,`, an apostrophe or a space may part groups of three digits.
    """
    bare = text.strip().strip("'\u2019").strip()
    found = _NUMBER.fullmatch(bare)
    if found is None:
        return None
    whole, _, fraction = found["number"].strip(_SPACES).partition(decimal)
    digits = _ungrouped(whole, "," if decimal == "." else ".")
    if digits is None or (fraction and not _is_digits(fraction)) or not 0 < len(digits + fraction) <= MAX_DIGITS:
        return None
    around = bare[: found.start("number")] + bare[found.end("number") :]
    negative = len(_MINUS.findall(around)) == 1 or ("(" in around and ")" in around)
    units = int(digits + fraction)
    return Exact(-units if negative else units, len(fraction))


def minor(amount: Exact, exponent: int) -> tuple[int, bool]:
    """An amount in minor units of a currency with `exponent` decimal places, rounded half to even, and whether nothing was lost."""
    if amount.places <= exponent:
        return amount.units * 10 ** (exponent - amount.places), True
    return divide(amount.units, 10 ** (amount.places - exponent))


def divide(units: int, by: int) -> tuple[int, bool]:
    """The quotient rounded half to even, and whether it is exact."""
    quotient, rest = divmod(units, by)
    if 2 * rest > by or (2 * rest == by and quotient % 2):
        quotient += 1
    return quotient, rest == 0


def _ungrouped(whole: str, separator: str) -> str | None:
    """The digits before the decimal mark, without separators of thousands; None if these do not part groups of three."""
    for mark in (separator, "'", "\u2019", *_SPACES):
        if mark in whole:
            first, *groups = whole.split(mark)
            grouped = _is_digits(first) and len(first) <= 3 and all(len(group) == 3 and _is_digits(group) for group in groups)  # noqa: PLR2004 - thousands
            return first + "".join(groups) if grouped else None
    return whole if not whole or _is_digits(whole) else None


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()
