"""A vendor's own words, made harmless before anybody reads them."""

import unicodedata
from typing import Final

_ACTS: Final = frozenset({"Cf", "Cc", "Co", "Cs"})


def plain_text(text: str) -> str:
    """The text without control, direction and zero-width characters, spaces folded (interface.md section 2)."""
    kept = "".join(" " if each.isspace() else each for each in unicodedata.normalize("NFC", text) if each.isspace() or unicodedata.category(each) not in _ACTS)
    return " ".join(kept.split())
