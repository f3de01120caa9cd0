"""Uploading an export to a broker in this process, from its dry run to its end."""

import re

from makers import ORIGIN, Browser
from werkzeug.test import TestResponse

from broker.imports import queries


def send(person: Browser, content: bytes, name: str = "proffer.zip") -> TestResponse:
    """Upload a file, in a body of our own: werkzeug's would lie in a temporary file that nobody closes."""
    token = f'--cut\r\nContent-Disposition: form-data; name="csrf_token"\r\n\r\n{person.csrf("/import")}\r\n'
    file = f'--cut\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: application/octet-stream\r\n\r\n'
    body = token.encode() + file.encode() + content + b"\r\n--cut--\r\n"
    headers = {"Sec-Fetch-Site": "same-origin"}
    return person.client.post("/import", data=body, base_url=ORIGIN, headers=headers, content_type="multipart/form-data; boundary=cut")


def ended(person: Browser, path: str) -> str:
    """The page of a batch once the work on it is done."""
    work = person.app.extensions["imports"]
    assert work.wait(queries.to_bytes(path.rpartition("/")[2]), 60)
    return person.get(path).text


def tried(person: Browser, content: bytes) -> str:
    """The address of a batch whose dry run is over."""
    answer = send(person, content)
    assert answer.status_code == 303, re.sub(r"(?s).*<main", "", answer.text)[:3000]
    ended(person, answer.location)
    return str(answer.location)


def take_in(person: Browser, path: str) -> str:
    """Take a batch in, and give its page at the end."""
    assert person.post(f"{path}/take", page=path).status_code == 303
    return ended(person, path)
