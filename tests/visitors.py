"""A person at a real broker: a browser without JavaScript, over real HTTP, that signs up and gives."""

import html
import re
from typing import Any

import httpx2
from servers import Server

PASSWORD = "three unrelated words"


class Page:
    """A browser without JavaScript, over real HTTP."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.client = httpx2.Client(base_url=server.origin, headers={"Sec-Fetch-Site": "same-origin"}, follow_redirects=True, timeout=60)

    def get(self, path: str) -> str:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def send(self, path: str, data: dict[str, Any], *, page: str, **more: Any) -> httpx2.Response:
        token = re.search(r'name="csrf_token" value="([^"]+)"', self.get(page))
        assert token
        return self.client.post(path, data={"csrf_token": token[1], **data}, **more)

    def until(self, path: str, words: str) -> str:
        for _ in range(600):
            if words in (text := self.get(path)):
                return text
        raise AssertionError(f"{words!r} never came: {text}")


def chosen(text: str) -> dict[str, str]:
    """What a form's fields hold as they stand."""
    inputs = re.findall(r'<input (?![^>]*type="checkbox")[^>]*name="([^"]+)"[^>]* value="([^"]*)"', text)
    found = {name: html.unescape(value) for name, value in inputs if name != "csrf_token"}
    for name, body in re.findall(r'<select [^>]*name="([^"]+)"[^>]*>(.*?)</select>', text, re.DOTALL):
        selected = re.search(r'<option value="([^"]*)" selected', body) or re.search(r'<option value="([^"]*)"', body)
        found[name] = html.unescape(selected[1]) if selected else ""
    return found


def signed_up(server: Server, name: str = "Alice") -> Page:
    """A new person, by the link that the broker printed."""
    page = Page(server)
    path = httpx2.URL(server.link).path
    answer = page.send(path, {"name": name, "password": PASSWORD, "again": PASSWORD}, page=path)
    assert answer.url.path == "/"
    return page


def give(page: Page, url: str, **narrowed: Any) -> str:
    """Look at the page that a request leads to, narrow, tick everything and give; returns the address the browser is sent back to."""
    text = page.get(url)
    offered = re.findall(r'name="give" value="([^"]+)"', text)
    assert offered
    assert "checked" not in text
    token = re.search(r'name="csrf_token" value="([^"]+)"', text)
    assert token
    data = {**chosen(text), **narrowed, "give": offered, "answer": "give", "csrf_token": token[1]}
    answer = page.client.post("/oauth/authorize/decision", data=data, follow_redirects=False)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])
