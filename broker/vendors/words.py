"""A vendor's own words, made harmless before anybody reads them."""

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

_ACTS: Final = frozenset({"Cf", "Cc", "Co", "Cs"})


def plain_text(text: str) -> str:
    """The text without control, direction and zero-width characters, spaces folded (interface.md section 2)."""
    kept = "".join(" " if each.isspace() else each for each in unicodedata.normalize("NFC", text) if each.isspace() or unicodedata.category(each) not in _ACTS)
    return " ".join(kept.split())


_LOOK_ALIKE: Final = str.maketrans({"0": "o", "1": "l", "i": "l", "3": "e", "5": "s", "8": "b", "9": "g", "-": "", "_": ""})
_ADDRESS: Final = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}")
# Shorter names are a letter apart by chance.
SHORTEST: Final = 5


def doubts(name: str, domain: str, known: Iterable[str]) -> list[str]:
    """What a person should look at twice before they believe that they know who asks; `known` are domains that they do know."""
    found = []
    if any(label.startswith("xn--") for label in domain.split(".")):
        found.append(f"Its address has letters of other alphabets, which can look just like common ones: {_read(domain)}.")
    named = [each for each in _ADDRESS.findall(name.casefold()) if not _belong(each, domain)]
    alike = [each for each in sorted(set(known)) if not _belong(each, domain) and _alike(each, domain)]
    found += [f"It calls itself after {each}, which is not its address." for each in named]
    return found + [f"Its address looks like {each}, which you may know. It is another." for each in alike]


def _belong(one: str, other: str) -> bool:
    return one == other or one.endswith(f".{other}") or other.endswith(f".{one}")


def _read(domain: str) -> str:
    try:
        return domain.encode().decode("idna")
    except UnicodeError:
        return domain


def _alike(one: str, other: str) -> bool:
    """Whether two domains read alike at a glance, or differ by a single letter."""
    ours, theirs = (each.translate(_LOOK_ALIKE).replace("rn", "m").replace("vv", "w") for each in (one, other))
    if ours == theirs:
        return True
    shortest = min(len(each.rpartition(".")[0]) for each in (ours, theirs))
    if shortest < SHORTEST or abs(len(ours) - len(theirs)) > 1:
        return False
    same = next((at for at, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), min(len(ours), len(theirs)))
    rest, other_rest = ours[same:], theirs[same:]
    return rest[1:] == other_rest[1:] or rest[1:] == other_rest or rest == other_rest[1:]
