"""Exports as tests take them: everything of a person as files by their names, from the page, and what stands in their lines."""

import csv
import hashlib
import io
import json
import zipfile
from typing import Any

from makers import Browser


def export(person: Browser) -> bytes:
    """The zip as the page gives it."""
    answer = person.post("/export", page="/export")
    assert (answer.status_code, answer.mimetype) == (200, "application/zip"), answer.text[:2000]
    return answer.data


def files_in(raw: bytes) -> dict[str, bytes]:
    """The files of a zip."""
    with zipfile.ZipFile(io.BytesIO(raw)) as file:
        assert file.testzip() is None
        return {name: file.read(name) for name in file.namelist()}


def exported(person: Browser) -> dict[str, bytes]:
    """The files of everything of a person."""
    return files_in(export(person))


def lines(raw: bytes) -> list[Any]:
    """The values of a file with one a line."""
    return [json.loads(line) for line in raw.splitlines()]


def table(raw: bytes) -> list[dict[str, str]]:
    """The rows of a CSV by its header."""
    return list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline="")))


def zipped(files: dict[str, bytes], *, stored: bool = False, repacked: bool = False) -> bytes:
    """Files as a zip, in this order."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as file:
        for name, raw in files.items():
            # A ledger is never packed twice.
            file.writestr(name, raw, zipfile.ZIP_STORED if name.endswith(".zip") and not repacked else None)
    return made.getvalue()


def resealed(files: dict[str, bytes], *, stored: bool = False, repacked: bool = False, **more: Any) -> bytes:
    """A zip of changed files whose manifest fits them again, as somebody with bad intent would write it."""
    manifest = json.loads(files["manifest.json"]) | more
    told = [{"name": name, "bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()} for name, raw in files.items() if name != "manifest.json"]
    return zipped({**files, "manifest.json": json.dumps({**manifest, "files": told}).encode()}, stored=stored, repacked=repacked)
