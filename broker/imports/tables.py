"""Reads CSV files of unknown origin row by row, in bounded memory, whatever their encoding and delimiter."""

from __future__ import annotations

import codecs
import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broker.imports.reports import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

MAX_LINE: Final = 65_536
MAX_COLUMNS: Final = 500
MAX_LINES_OF_A_ROW: Final = 1_000
_CHUNK = 1_048_576
_DELIMITERS = ",;\t|"

_BINARY = "This is not a text file. Choose a CSV file, or the history file of a browser."
_LONG_LINE = "A line of this file is longer than any table's. It is not a CSV file."
_NO_TABLE = "The first line of this file holds no column names. Save the table as CSV with its header and try again."


@dataclass(frozen=True)
class Table:
    """A CSV file that has been looked through: how to decode it, and its header."""

    path: Path
    encoding: str
    delimiter: str
    header: tuple[str, ...]

    def rows(self) -> Iterator[list[str]]:
        """Every row after the header that holds anything; its length may differ from the header's. Raises `Unreadable`."""
        with _readable(self.path) as stream:
            rows = _rows(stream, self.encoding, self.delimiter)
            next(rows, None)
            for row in rows:
                if any(row):
                    yield row

    def place(self, column: str) -> int:
        """Where a column stands, case and outer spaces aside. Raises `Unreadable` if it is missing or stands twice."""
        places = [number for number, name in enumerate(self.header) if name.casefold() == column.strip().casefold()]
        if len(places) != 1:
            raise Unreadable(f"The file has {'no' if not places else 'more than one'} column named “{column}”.")
        return places[0]


def look(path: Path) -> Table:
    """Look through a file once: that it is text in UTF-8 or Windows-1252 with lines of a sane length and a header. Raises `Unreadable`."""
    encoding = _encoding(path)
    with _readable(path) as stream:
        first = _decoded(stream.readline(MAX_LINE + 1), encoding)
    delimiter = max(_DELIMITERS, key=lambda sign: _width(first, sign))
    with _readable(path) as stream:
        rows = _rows(stream, encoding, delimiter)
        header = next(rows, [])
        filled = any(any(row) for row in rows)
    names = tuple(" ".join(name.split()) for name in header)
    if len(names) < 2 or not any(any(sign.isalpha() for sign in name) for name in names):  # noqa: PLR2004 - one column is no table
        raise Unreadable(_NO_TABLE)
    if not filled:
        raise Unreadable("This file has headings but no rows.")
    return Table(path, encoding, delimiter, names)


def _width(line: str, delimiter: str) -> int:
    """How many columns a delimiter makes of the first line."""
    try:
        return len(next(csv.reader([line], delimiter=delimiter), []))
    except csv.Error:
        return 0


def _readable(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError:
        raise Unreadable("This file may not be read. Give yourself the right to read it and try again.") from None


def _encoding(path: Path) -> str:
    """UTF-8, with or without its mark, if every byte fits, else Windows-1252; refuses control bytes and endless lines on the way."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    encoding = ""
    line = 0
    with _readable(path) as stream:
        while chunk := stream.read(_CHUNK):
            if not encoding:
                encoding = "utf-8-sig" if chunk.startswith(codecs.BOM_UTF8) else "utf-8"
            if b"\0" in chunk:
                raise Unreadable(_BINARY)
            line = _longest_open_line(chunk, line)
            if encoding != "cp1252":
                try:
                    decoder.decode(chunk)
                except UnicodeDecodeError:
                    encoding = "cp1252"
    return encoding or "utf-8"


def _longest_open_line(chunk: bytes, before: int) -> int:
    """How long the unfinished line at the end of a chunk is, `before` being what the last chunk left. Raises `Unreadable`."""
    lines = chunk.split(b"\n")
    if before + len(lines[0]) > MAX_LINE or max(map(len, lines)) > MAX_LINE:
        raise Unreadable(_LONG_LINE)
    return len(lines[-1]) + (before if len(lines) == 1 else 0)


def _rows(stream: BinaryIO, encoding: str, delimiter: str) -> Iterator[list[str]]:
    lines = _Lines(stream, encoding)
    reader = csv.reader(lines, delimiter=delimiter)
    try:
        for row in reader:
            if len(row) > MAX_COLUMNS:
                raise Unreadable(f"Line {reader.line_num} of this file has too many columns.")
            yield row
            lines.since_row = 0
    except csv.Error:
        raise Unreadable(f"Line {reader.line_num} of this file is not CSV: a quotation mark may be missing.") from None


class _Lines:
    """Decoded lines for the CSV reader, which would otherwise gather the whole file into one row after a missing quotation mark."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        self._stream = stream
        self._encoding = encoding
        self.since_row = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._stream.readline(MAX_LINE + 1)
        if not line:
            raise StopIteration
        self.since_row += 1
        if len(line) > MAX_LINE or self.since_row > MAX_LINES_OF_A_ROW:
            raise Unreadable(_LONG_LINE)
        decoded = _decoded(line, self._encoding)
        # Only the first line can carry the mark; later ones are plain UTF-8.
        self._encoding = "utf-8" if self._encoding == "utf-8-sig" else self._encoding
        return decoded


def _decoded(line: bytes, encoding: str) -> str:
    # Windows-1252 leaves five bytes undefined; a stray one costs a sign, not the file.
    return line.decode(encoding, "replace")
