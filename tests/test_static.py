"""The vendored front-end files are what their manifest says, and the stylesheet keeps to the design."""

import base64
import hashlib
import json
import re
from pathlib import Path

STATIC = Path(__file__).parent.parent / "broker" / "static"
VENDOR = STATIC / "vendor"
TEMPLATES = STATIC.parent / "templates"
MANIFEST = json.loads((VENDOR / "manifest.json").read_text())["files"]


def sha384(content: bytes) -> str:
    return "sha384-" + base64.b64encode(hashlib.sha384(content).digest()).decode()


def test_every_hash_of_the_manifest_is_that_of_the_file() -> None:
    assert {entry["path"]: entry["sha384"] for entry in MANIFEST} == {entry["path"]: sha384((VENDOR / entry["path"]).read_bytes()) for entry in MANIFEST}


def test_every_vendored_file_is_in_the_manifest_with_its_package() -> None:
    found = {path.relative_to(VENDOR).as_posix() for path in VENDOR.rglob("*") if path.is_file()} - {"manifest.json"}
    assert found == {entry["path"] for entry in MANIFEST}
    assert all(re.fullmatch(r"sha512-[A-Za-z0-9+/]{86}==", entry["npm_integrity"]) for entry in MANIFEST)
    assert all(entry["path"].split("/")[0].rpartition("-")[2] == entry["npm"].rpartition("@")[2] for entry in MANIFEST)


def test_every_vendored_folder_carries_its_licence() -> None:
    assert all((folder / "LICENSE").is_file() for folder in VENDOR.iterdir() if folder.is_dir())


def test_templates_carry_no_inline_script_style_or_handler() -> None:
    forbidden = re.compile(r"<style|\sstyle=|\son[a-z]+=|hx-on|\bjs:|javascript:|<script(?![^>]*\bnonce=)")
    assert [(path.name, found[0]) for path in TEMPLATES.rglob("*.html") for found in forbidden.finditer(path.read_text())] == []


def test_icons_carry_no_script_and_no_style() -> None:
    assert [path.name for path in VENDOR.rglob("*.svg") if re.search(r"<script|<style|\bstyle=|\son[a-z]+=", path.read_text())] == []


def luminance(colour: str) -> float:
    """WCAG 2.2 relative luminance of "#rrggbb"."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_ink_has_its_contrast_on_every_ground() -> None:
    pairs = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", (STATIC / "style.css").read_text())
    tokens = {name: (light, dark) for name, light, dark in pairs}
    least = {"ink": 7.0, "muted": 4.5, "accent": 4.5, "good": 4.5, "warn": 4.5, "stop": 4.5, "plum": 3.0, "edge": 3.0}
    short = []
    for name, wanted in least.items():
        for scheme in (0, 1):
            for ground in ("page", "card", "tint"):
                high, low = sorted((luminance(tokens[name][scheme]), luminance(tokens[ground][scheme])), reverse=True)
                if (high + 0.05) / (low + 0.05) < wanted:
                    short.append((name, ground, scheme))
    assert short == []


def test_the_stylesheet_fetches_nothing() -> None:
    assert re.findall(r"url\(|@import|@font-face", (STATIC / "style.css").read_text()) == []
