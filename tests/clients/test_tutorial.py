"""The vendor's tutorial, word by word: its blocks are run as they stand, with only the broker's address and the client's id replaced."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from proffer_vendor import CodeRefused, Declined, Vendor

PAGE = Path(__file__).parents[2] / "broker" / "docs" / "tutorials" / "your-first-read.md"


def follow(broker: Any, monkeypatch: pytest.MonkeyPatch, folder: Path, **query: str) -> None:
    """Sections 3 and 4 as one file; `query` is what the browser brings back in place of the answer to a yes."""
    text = PAGE.read_text(encoding="utf-8")
    script = "\n".join(re.findall(r"```python\n(.*?)```", text[text.index("## 3. ") : text.index("## 5. ")], re.DOTALL))

    def pasted(_: str) -> str:
        back = {"state": broker.forms[-1]["state"], "iss": broker.issuer, **query}
        # As it stands in an address bar: `iss` is percent-encoded.
        return "http://127.0.0.1:9000/callback?" + urlencode(back)

    monkeypatch.chdir(folder)
    (folder / "shop-key.json").write_bytes((folder / "key.json").read_bytes())
    monkeypatch.setattr("builtins.input", pasted)
    exec(compile(script.replace("http://localhost:8440", broker.issuer).replace('"my-shop"', '"shop"'), "read.py", "exec"), {})  # noqa: S102 - the tutorial's own words


@pytest.mark.usefixtures("vendor")
def test_a_yes_prints_the_rows(broker: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    follow(broker, monkeypatch, tmp_path, code="code-1")
    said = capsys.readouterr().out
    assert "request_uri=" in said
    assert "holds: both have signed it" in said
    assert "field price: asked for exact, given bucket:10" in said
    assert said.count("'kind': 'purchase'") == 5


@pytest.mark.usefixtures("vendor")
def test_a_no_and_a_mistyped_code_have_errors_of_their_own(broker: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(Declined):
        follow(broker, monkeypatch, tmp_path, error="access_denied")
    with pytest.raises(CodeRefused, match="mistyped, used before, is older than a minute"):
        follow(broker, monkeypatch, tmp_path, code="code-2")


def test_a_wrong_code_ends_no_grant(vendor: Vendor, broker: Any, ask: Any) -> None:
    pending = vendor.begin([ask])
    query = broker.answer_to(pending.url)
    with pytest.raises(CodeRefused):
        vendor.finish(pending, query | {"code": "code-2"})
    assert vendor.finish(pending, query).grant_id == "g1"
