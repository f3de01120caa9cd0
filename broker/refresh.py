#!/usr/bin/env python3
"""Brings the vendored front-end files up to the versions named here: `python -m broker.refresh`, with npm on the path."""

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VENDOR = Path(__file__).parent / "static" / "vendor"
# fmt: off
ICONS = (
    "activity", "arrow-left", "ban", "calendar", "check", "chevron-left", "chevron-right", "circle-alert", "circle-check", "clock", "copy",
    "download", "external-link", "eye", "handshake", "house", "inbox", "info", "key-round", "list", "log-out", "pause", "pencil", "play", "plus",
    "receipt", "scroll-text", "search", "settings", "shield-check", "smartphone", "store", "trash-2", "triangle-alert", "upload", "user", "x",
)
# fmt: on


@dataclass(frozen=True)
class Package:
    """One npm package: the folder its files go to is `<folder>-<version>`; `files` are paths inside the package."""

    name: str
    version: str
    folder: str
    files: tuple[str, ...]


PACKAGES = (
    Package("htmx.org", "4.0.1", "htmx", ("dist/htmx.min.js", "dist/ext/hx-csp.min.js", "LICENSE")),
    Package("lucide-static", "1.62.0", "lucide", (*(f"icons/{name}.svg" for name in ICONS), "LICENSE")),
)


def sha384(content: bytes) -> str:
    """The Subresource Integrity value of a file's bytes (W3C SRI, section 3.1)."""
    return "sha384-" + base64.b64encode(hashlib.sha384(content).digest()).decode()


def npm(*arguments: str, cwd: str) -> Any:
    """What npm answers, as JSON; fails with npm's own words when npm fails."""
    program = shutil.which("npm")
    if program is None:
        sys.exit("npm is not installed; only this refresh needs it.")
    # The arguments are the constants of this file.
    return json.loads(subprocess.run([program, *arguments, "--json"], cwd=cwd, check=True, stdout=subprocess.PIPE).stdout)  # noqa: S603


def fetch(package: Package) -> Iterator[dict[str, str]]:
    """Copies the package's files into their folder and yields one line of the manifest for each; refuses a tarball npm did not vouch for."""
    target = VENDOR / f"{package.folder}-{package.version}"
    with tempfile.TemporaryDirectory() as scratch:
        packed = npm("pack", f"{package.name}@{package.version}", cwd=scratch)[0]
        archive = Path(scratch) / packed["filename"]
        if "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode() != packed["integrity"]:
            sys.exit(f"{package.name}: the tarball does not have the integrity npm states.")
        target.mkdir(parents=True)
        with tarfile.open(archive) as tar:
            for name in package.files:
                member = tar.extractfile(f"package/{name}")
                if member is None:
                    sys.exit(f"{package.name}: {name} is not a file.")
                content = member.read()
                place = target / Path(name).name
                place.write_bytes(content)
                yield {
                    "path": place.relative_to(VENDOR).as_posix(),
                    "npm": f"{package.name}@{package.version}",
                    "npm_integrity": packed["integrity"],
                    "sha384": sha384(content),
                }


def main() -> None:
    """Replaces everything under `vendor/` and writes `manifest.json`."""
    shutil.rmtree(VENDOR, ignore_errors=True)
    lines = [line for package in PACKAGES for line in fetch(package)]
    (VENDOR / "manifest.json").write_text(json.dumps({"files": lines}, indent=2) + "\n")
    print(f"{len(lines)} files under {VENDOR.name}/")  # noqa: T201 - a script tells its runner what it did.


if __name__ == "__main__":
    main()
