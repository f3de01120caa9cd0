"""Takes everything out of a web address that could open, name or follow a person."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote, unquote_plus

from ada_url import normalize_url

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_URL: Final = 2048
MAX_HOST: Final = 253
LONGEST_PARSED: Final = 65_536
_WORDS_OF_A_TICKET = 3
_SHORTEST_TOKEN = 20

# A letter must begin the last label: that alone refuses every form of IPv4 address, and the dot refuses single labels and IPv6.
_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])\Z")
_PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".home.arpa", ".lan", ".intranet")

_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE)
# Beginning at a boundary keeps the search linear in a text that repeats its start.
_JWT = re.compile(r"(?<![\w-])eyJ[\w-]{4,}\.[\w-]{4,}", re.ASCII)
_EMAIL = re.compile(r"[^\s/@]@[^\s/@.]+\.[^\s/@]")
_RUN = re.compile(r"[A-Za-z0-9]{20,}")
# Base64url holds "-" and "_"; ordinary words joined by them must not look like a token, hence the second look at each part.
_DASHED_RUN = re.compile(r"[A-Za-z0-9_-]{20,}")
_PART = re.compile(r"[A-Za-z0-9]{8,}")
_SESSION_IN_PATH = re.compile(r"\d{3}-\d{7}-\d{7}\Z", re.ASCII)
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")

# An international number, a national one with its leading 0 (a date is none), or an American one.
_PHONE = re.compile(
    r"(?:\+|\b00)\d(?:[ ()./-]{0,2}\d){7,13}(?!\d)"
    r"|\b0(?!\d[/-]\d\d[/-](?:19|20)\d\d)\d{1,4}[ )/-]{1,2}\d(?:[ /-]?\d){5,9}\b"
    r"|\(?\b\d{3}\)?[ .-]\d{3}[ .-]\d{4}\b",
    re.ASCII,
)
_NINE_DIGITS = re.compile(r"\d(?:\D{0,4}\d){8}", re.ASCII)
_CARD = re.compile(r"(?<!\d)[2-6]\d(?:[ -]?\d){12,17}(?!\d)", re.ASCII)

_words: dict[str, list[str]] = json.loads(Path(__file__).with_name("address_words.json").read_text("utf-8"))
# What follows a ticket word in a path is a ticket: whoever has the address can act for the person.
_TICKET_WORDS = frozenset(_words["ticket_words"])
_SECRET_NAMES = frozenset(_words["secret_names"])
_SECRET_PARTS = tuple(_words["secret_parts"])
# Most paths hold nothing of the kind, and this one look at them is cheaper than a look at each segment.
_SIGNS = ("%", ";", "@", "ref=", "eyj", *_words["ticket_stems"])
_LONG_RUN = re.compile(r"[a-z0-9_-]{20}|\d-\d{7}-", re.ASCII)


class Every:
    """Stands for every query parameter in `strip`."""

    def __contains__(self, name: object) -> bool:
        """Whether the parameter was chosen: always."""
        return isinstance(name, str)


EVERY: Final = Every()


class Parts(NamedTuple):
    """An http or https address, taken apart after WHATWG normalisation; userinfo is already gone."""

    origin: str
    host: str
    path: str
    query: str
    fragment: str


@lru_cache(maxsize=8192)
def public_host(host: str) -> bool:
    """Whether a host is an ASCII lower-case name of the public web: no address, no single label, no private name."""
    if len(host) > MAX_HOST or _HOST.match(host) is None:
        return False
    return not host.endswith(_PRIVATE_SUFFIXES)


# One visit asks for its site, address, search and product in turn; a few places suffice.
@lru_cache(maxsize=64)
def parse(url: str) -> Parts | None:
    """Take an http(s) address of the public web apart as browsers do (WHATWG URL); None for everything else.

    Userinfo is dropped here, and a host's trailing dot with it, so that one site has one name.
    """
    if len(url) > LONGEST_PARSED:
        return None
    try:
        href = normalize_url(url)
    except ValueError:
        return None
    scheme, _, rest = href.partition("://")
    if scheme not in {"http", "https"}:
        return None
    rest, _, fragment = rest.partition("#")
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    name, _, port = authority.rpartition("@")[2].partition(":")
    host = name.removesuffix(".")
    if not public_host(host):
        return None
    origin = f"{scheme}://{host}:{port}" if port else f"{scheme}://{host}"
    return Parts(origin, host, "/" + path, query, fragment)


def strip(url: str, keep_query: Collection[str] | Every = ()) -> str | None:
    """The address without what opens, names or follows (extension.md section 4); None if it is not of the public web.

    `keep_query` names the query parameters to keep, `EVERY` all; known identifiers and secret values go even then. In doubt only the
    origin is left. At most 2,048 characters; a second pass changes nothing.
    """
    parts = parse(url)
    if parts is None:
        return None
    bare = parts.origin + "/"
    path = _strip_path(parts.path)
    if path is None:
        return bare
    query = _strip_query(parts.query, keep_query) if parts.query and keep_query else ""
    stripped = f"{parts.origin}{path}?{query}" if query else parts.origin + path
    if len(stripped) > MAX_URL:
        return bare
    return stripped


def has_secret(text: str) -> bool:
    """Whether a title, search term or identifier holds an e-mail address, a phone or card number or a long token."""
    if _names_or_opens(text):
        return True
    if _NINE_DIGITS.search(text) is None:
        return False
    return _PHONE.search(text) is not None or any(_is_card(found.group()) for found in _CARD.finditer(text))


def _strip_path(path: str) -> str | None:
    """The path cut after a ticket word, its secret segments replaced; None if it is in doubt."""
    lower = path.lower()
    if not any(map(lower.__contains__, _SIGNS)) and _LONG_RUN.search(lower) is None:
        return path
    kept: list[str] = []
    for raw in path.split("/"):
        segment = raw.partition(";")[0]
        text = segment
        if "%" in segment:
            text = _decode(segment)
            if not _is_plain(text):
                return None
        if segment != raw and text in {".", ".."}:
            # Without its parameter this would become a step within the path.
            return None
        if text.startswith("ref="):
            break
        secret = _names_or_opens(text) or _names_or_opens(segment) or _SESSION_IN_PATH.match(text)
        kept.append(":id" if secret else segment)
        if _is_ticket_word(text):
            break
    # A secret may be spread over segments, so the whole is looked at once more. Undecodable rests were refused above.
    joined = "/".join(kept) or "/"
    return None if "%" in joined and _names_or_opens(_decode(joined)) else joined


def _is_plain(text: str) -> bool:
    """Whether a segment, decoded twice, hides neither a third encoding nor a secret or ticket word behind an encoded slash."""
    if _ESCAPE.search(text):
        return False
    inner = re.split(r"[/\\?#;]", text)
    return len(inner) == 1 or not any(_names_or_opens(part) or _is_ticket_word(part) for part in inner)


def _strip_query(query: str, keep: Collection[str] | Every) -> str:
    """The chosen parameters, as written, without known identifiers and without values that hold a secret."""
    kept = []
    for pair in query.split("&"):
        raw_name, _, raw_value = pair.partition("=")
        name, value = _decode_plus(raw_name), _decode_plus(raw_value)
        if name not in keep or _is_secret_name(name.lower()) or _ESCAPE.search(value):
            continue
        if has_secret(name) or has_secret(value) or "://" in value:
            continue
        kept.append(pair)
    return "&".join(pair for pair in kept if pair)


def _decode(text: str) -> str:
    return unquote(unquote(text))


def _decode_plus(text: str) -> str:
    return unquote(unquote_plus(text)) if "%" in text or "+" in text else text


def _is_secret_name(name: str) -> bool:
    return name in _SECRET_NAMES or any(part in name for part in _SECRET_PARTS)


def _is_ticket_word(segment: str) -> bool:
    """Whether a segment is a ticket word, or two or three words of which one is."""
    words = re.split(r"[._-]", segment.lower(), maxsplit=_WORDS_OF_A_TICKET)
    return len(words) <= _WORDS_OF_A_TICKET and not _TICKET_WORDS.isdisjoint(words)


def _names_or_opens(text: str) -> bool:
    """Whether a text holds an e-mail address, a UUID, a JWT or a long run of mixed letters and digits."""
    if "@" in text and _EMAIL.search(text):
        return True
    if len(text) < _SHORTEST_TOKEN:
        return "eyJ" in text and _JWT.search(text) is not None
    return _UUID.search(text) is not None or _JWT.search(text) is not None or _has_token(text)


def _has_token(text: str) -> bool:
    for run in _RUN.finditer(text):
        if not run.group().isalpha() and not run.group().isdigit():
            return True
    return any(_is_mixed(part) for run in _DASHED_RUN.finditer(text) for part in _PART.findall(run.group()))


def _is_mixed(part: str) -> bool:
    """Whether upper case, lower case and digits alternate as they do in base64 and not in words."""
    return not part.isalpha() and not part.isdigit() and part.lower() != part != part.upper()


def _is_card(text: str) -> bool:
    """Whether 14 to 19 digits pass the Luhn check of ISO/IEC 7812-1."""
    digits = [int(sign) for sign in text if sign.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
