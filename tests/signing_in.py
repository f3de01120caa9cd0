"""What tests of signing in share: a browser of nobody yet, and the forms it fills in."""

import html
import re
from typing import Any

from flask.testing import FlaskClient
from makers import ORIGIN

HERE: dict[str, Any] = {"base_url": ORIGIN, "headers": {"Sec-Fetch-Site": "same-origin"}}
PASSWORD = "correct horse battery staple"


def hidden(text: str, name: str) -> str:
    """What a hidden field of a page holds."""
    found = re.search(rf'name="{name}" value="([^"]*)"', text)
    assert found, text[-2000:]
    return html.unescape(found[1])


def token_on(client: FlaskClient, path: str) -> str:
    """The form token of a page."""
    return hidden(client.get(path, base_url=ORIGIN).text, "csrf_token")


def asked(text: str, kind: str) -> str:
    """What a page's form asks a device for: to "make" a passkey, or to "show" one."""
    found = re.search(rf'data-passkey="{kind}" data-options="([^"]+)"', text)
    assert found, text[-2000:]
    return html.unescape(found[1])
