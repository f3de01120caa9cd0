"""Strict JSON: from text to plain values, and readers that refuse with a pointer and a remedy."""

import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NoReturn, TypeAlias

MOST_DEPTH = 16
MOST_ENTRIES = 1000
MOST_INTEGER = 2**53 - 1

Members: TypeAlias = Mapping[str, tuple[Any, str]]
"""The members of an object, each with its value and its JSON pointer."""

_HIDDEN_MARKS = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")


class Malformed(Exception):
    """A document that cannot be accepted.

    `errors` is a list of `{"pointer": RFC 6901 pointer, "detail": a sentence that says what to do}`.
    """

    def __init__(self, errors: list[dict[str, str]]) -> None:
        """Keep the errors; there is always at least one."""
        super().__init__("; ".join(f"{error['pointer']}: {error['detail']}" for error in errors))
        self.errors = errors


def refuse(pointer: str, detail: str) -> NoReturn:
    """Raise `Malformed` with one error."""
    raise Malformed([{"pointer": pointer, "detail": detail}])


def below(pointer: str, step: str | int) -> str:
    """Return the pointer of a member or an entry (RFC 6901 escapes `~` and `/`)."""
    return f"{pointer}/{str(step).replace('~', '~0').replace('/', '~1')}"


class _Unfit:
    """Marks a value that JSON text may hold and a document may not, until its pointer is known."""

    def __init__(self, detail: str) -> None:
        self.detail = detail


def _object(pairs: list[tuple[str, Any]]) -> Any:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    return _Unfit("Give each member once.")


def _integer(digits: str) -> Any:
    # Long runs of digits are refused unread, because int() takes quadratic time on them.
    if len(digits) > len("-9007199254740991") or abs(int(digits)) > MOST_INTEGER:
        return _Unfit("Use an integer between -(2^53-1) and 2^53-1.")
    return int(digits)


_PLAIN = frozenset({int, bool, type(None)})


def load(text: str | bytes) -> Any:
    """Read JSON text strictly (RFC 8259, I-JSON of RFC 7493, and no floats).

    Raises `Malformed` for wrong text, duplicate members, floats, NaN, integers above 2^53-1, lone
    surrogates, more than 16 levels and arrays or objects of more than 1,000 entries.
    """
    unfit = "Use an integer: this document has no decimal numbers."
    try:
        value = json.loads(
            text.decode() if isinstance(text, bytes) else text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=lambda _: _Unfit(unfit),
            parse_constant=lambda _: _Unfit(unfit),
        )
    except UnicodeDecodeError:
        refuse("", "Send the text in UTF-8.")
    except RecursionError:
        refuse("", f"Nest at most {MOST_DEPTH} levels.")
    except json.JSONDecodeError as error:
        refuse("", f"Correct the JSON at line {error.lineno}, column {error.colno}.")
    _check(value, "", 1)
    return value


def _check(value: object, pointer: str, depth: int) -> None:
    """Refuse what cannot stand in a document, now that its pointer is known."""
    if isinstance(value, _Unfit):
        refuse(pointer, value.detail)
    if isinstance(value, str):
        _check_text(value, pointer)
    if not isinstance(value, dict | list):
        return
    if depth > MOST_DEPTH:
        refuse(pointer, f"Nest at most {MOST_DEPTH} levels.")
    if len(value) > MOST_ENTRIES:
        refuse(pointer, f"Give at most {MOST_ENTRIES} entries.")
    if isinstance(value, list):
        entries: Collection[tuple[str | int, object]] = list(enumerate(value))
    else:
        entries = list(value.items())
    for step, entry in entries:
        _check_text(str(step), pointer)
        # Most entries are plain, and need no pointer.
        if not (isinstance(entry, str) and entry.isascii()) and type(entry) not in _PLAIN:
            _check(entry, below(pointer, step), depth + 1)


def _check_text(text: str, pointer: str) -> None:
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        refuse(pointer, "Remove the half of a surrogate pair.")


def members(value: object, pointer: str, allowed: Collection[str], required: Collection[str] = ()) -> dict[str, tuple[Any, str]]:
    """Read an object whose members are all known; return each with its pointer."""
    if not isinstance(value, dict):
        refuse(pointer, "Give an object.")
    for name in value:
        if name not in allowed:
            refuse(below(pointer, name), f"Remove this member; known are {', '.join(allowed)}.")
    for name in required:
        if name not in value:
            refuse(below(pointer, name), "Add this member.")
    return {name: (entry, below(pointer, name)) for name, entry in value.items()}


def text(value: object, pointer: str, pattern: re.Pattern[str], form: str) -> str:
    """Read a string that matches `pattern` as a whole; `form` says in words what it looks like."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        refuse(pointer, f"Give {form}.")
    return value


def prose(value: object, pointer: str, most: int) -> str:
    """Read plain text of 1 to `most` characters without control, direction or invisible marks."""
    if not isinstance(value, str) or not 0 < len(value) <= most:
        refuse(pointer, f"Give text of 1 to {most} characters.")
    if _HIDDEN_MARKS.search(value):
        refuse(pointer, "Remove control characters, direction marks and invisible characters.")
    return value


def integer(value: object, pointer: str, least: int, most: int) -> int:
    """Read an integer between `least` and `most`; a boolean is none."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        refuse(pointer, f"Give an integer between {least} and {most}.")
    return value


def flag(value: object, pointer: str) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        refuse(pointer, "Give true or false.")
    return value


def choice(value: object, pointer: str, allowed: Collection[str]) -> str:
    """Read one of the words of a vocabulary."""
    if not isinstance(value, str) or value not in allowed:
        refuse(pointer, f"Give one of {', '.join(allowed)}.")
    return value


def entries(value: object, pointer: str, most: int = MOST_ENTRIES) -> list[tuple[Any, str]]:
    """Read an array; return each entry with its pointer."""
    if not isinstance(value, list):
        refuse(pointer, "Give an array.")
    if len(value) > most:
        refuse(pointer, f"Give at most {most} entries.")
    return [(entry, below(pointer, at)) for at, entry in enumerate(value)]


def words(value: object, pointer: str, one: Callable[[object, str], str], most: int = MOST_ENTRIES) -> tuple[str, ...]:
    """Read an array of different strings, each by `one(entry, pointer)`, in the order given."""
    found: list[str] = []
    for entry, at in entries(value, pointer, most):
        word = one(entry, at)
        if word in found:
            refuse(at, "Give each entry once.")
        found.append(word)
    return tuple(found)


def some_words(value: object, pointer: str, one: Callable[[object, str], str], most: int = MOST_ENTRIES) -> frozenset[str]:
    """Read an array of at least one string, as a set."""
    return frozenset(words(value, pointer, one, most)) or refuse(pointer, "Name at least one, or leave this member out.")


def one_of(allowed: Collection[str]) -> Callable[[object, str], str]:
    """Return a reader of one word of a vocabulary, for `words`."""
    return lambda value, pointer: choice(value, pointer, allowed)


def canonical(value: object) -> str:
    """Return the text of a JSON value with sorted members and no spaces.

    Equal to RFC 8785 for the values used here: no floats, and member names in ASCII.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
