"""Finds the history files of the browsers installed on this machine."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Found(NamedTuple):
    """A history file: the browser's name, its profile's folder name, the path and the size in bytes."""

    browser: str
    profile: str
    path: Path
    size: int


_MAC, _LOCAL, _ROAMING = "Library/Application Support/", "AppData/Local/", "AppData/Roaming/"

# Folders under the home directory on Linux (also as snap and flatpak), macOS and Windows.
_CHROMIUM: Final[dict[str, tuple[str, ...]]] = {
    "Chrome": (
        ".config/google-chrome",
        ".config/google-chrome-beta",
        ".config/google-chrome-unstable",
        ".var/app/com.google.Chrome/config/google-chrome",
        _MAC + "Google/Chrome",
        _LOCAL + "Google/Chrome/User Data",
    ),
    "Chromium": (
        ".config/chromium",
        "snap/chromium/common/chromium",
        "snap/chromium/current/.config/chromium",
        ".var/app/org.chromium.Chromium/config/chromium",
        _MAC + "Chromium",
        _LOCAL + "Chromium/User Data",
    ),
    "Brave": (
        ".config/BraveSoftware/Brave-Browser",
        "snap/brave/current/.config/BraveSoftware/Brave-Browser",
        ".var/app/com.brave.Browser/config/BraveSoftware/Brave-Browser",
        _MAC + "BraveSoftware/Brave-Browser",
        _LOCAL + "BraveSoftware/Brave-Browser/User Data",
    ),
    "Edge": (
        ".config/microsoft-edge",
        ".var/app/com.microsoft.Edge/config/microsoft-edge",
        _MAC + "Microsoft Edge",
        _LOCAL + "Microsoft/Edge/User Data",
    ),
    "Vivaldi": (
        ".config/vivaldi",
        ".config/vivaldi-snapshot",
        "snap/vivaldi/current/.config/vivaldi",
        ".var/app/com.vivaldi.Vivaldi/config/vivaldi",
        _MAC + "Vivaldi",
        _LOCAL + "Vivaldi/User Data",
    ),
    "Opera": (
        ".config/opera",
        "snap/opera/current/.config/opera",
        ".var/app/com.opera.Opera/config/opera",
        _MAC + "com.operasoftware.Opera",
        _ROAMING + "Opera Software/Opera Stable",
    ),
}
_FIREFOX: Final = (
    ".mozilla/firefox",
    ".config/mozilla/firefox",
    "snap/firefox/common/.mozilla/firefox",
    ".var/app/org.mozilla.firefox/.mozilla/firefox",
    ".var/app/org.mozilla.firefox/config/mozilla/firefox",
    _MAC + "Firefox/Profiles",
    _ROAMING + "Mozilla/Firefox/Profiles",
)


def installed(home: Path) -> list[Found]:
    """Every history file of Chrome, Chromium, Brave, Edge, Vivaldi, Opera and Firefox under a home directory, by browser and profile.

    What may not be read is left out; nothing is opened.
    """
    found = [hit for browser, folders in _CHROMIUM.items() for folder in folders for hit in _in_profiles(browser, home / folder, "History")]
    found += [hit for folder in _FIREFOX for hit in _in_profiles("Firefox", home / folder, "places.sqlite")]
    # One folder may be reached by two ways (snap links `current`), but is one history.
    return sorted({hit.path.resolve(): hit for hit in found}.values())


def _in_profiles(browser: str, folder: Path, name: str) -> Iterator[Found]:
    """The file in the folder itself (older Opera) and in each profile below it."""
    try:
        profiles = [folder, *sorted(entry for entry in folder.iterdir() if entry.is_dir())]
    except OSError:
        return
    for profile in profiles:
        path = profile / name
        try:
            if path.is_file():
                yield Found(browser, profile.name, path, path.stat().st_size)
        except OSError:
            continue


def digest(found: Found) -> str:
    """A name for a history file that can stand in a form: what comes back is looked for among the installed ones, never opened as a path."""
    return blake2b(str(found.path).encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
