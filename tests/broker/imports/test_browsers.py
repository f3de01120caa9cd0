"""History files found where browsers keep them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.imports import browsers

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("browser", "place"),
    [
        ("Chrome", ".config/google-chrome/Default/History"),
        ("Chrome", "Library/Application Support/Google/Chrome/Profile 1/History"),
        ("Chrome", "AppData/Local/Google/Chrome/User Data/Default/History"),
        ("Chrome", ".var/app/com.google.Chrome/config/google-chrome/Default/History"),
        ("Chromium", "snap/chromium/common/chromium/Default/History"),
        ("Brave", ".config/BraveSoftware/Brave-Browser/Default/History"),
        ("Edge", "AppData/Local/Microsoft/Edge/User Data/Default/History"),
        ("Vivaldi", ".config/vivaldi/Default/History"),
        ("Opera", ".config/opera/History"),
        ("Firefox", ".mozilla/firefox/abc.default-release/places.sqlite"),
        ("Firefox", "snap/firefox/common/.mozilla/firefox/abc.default/places.sqlite"),
        ("Firefox", ".var/app/org.mozilla.firefox/.mozilla/firefox/abc.default/places.sqlite"),
        ("Firefox", "AppData/Roaming/Mozilla/Firefox/Profiles/abc.default/places.sqlite"),
    ],
)
def test_each_browser_is_found_where_it_keeps_its_history(tmp_path: Path, browser: str, place: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_bytes(b"1234")
    assert browsers.installed(tmp_path) == [browsers.Found(browser, path.parent.name, path, 4)]


def test_other_files_folders_and_double_ways_are_left_out(tmp_path: Path) -> None:
    assert browsers.installed(tmp_path) == []
    profile = tmp_path / ".config/chromium/Default"
    (profile / "History").mkdir(parents=True)
    (profile / "History-journal").write_bytes(b"")
    assert browsers.installed(tmp_path) == []
    real = tmp_path / "snap/chromium/common/chromium/Default/History"
    real.parent.mkdir(parents=True)
    real.write_bytes(b"1")
    (tmp_path / "snap/chromium/current/.config").mkdir(parents=True)
    (tmp_path / "snap/chromium/current/.config/chromium").symlink_to(tmp_path / "snap/chromium/common/chromium")
    assert len(browsers.installed(tmp_path)) == 1
