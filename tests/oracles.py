"""npm oidc-provider as another authorization server beside ours, on loopback and in memory: found, installed as its lock says, started, ended."""

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
from servers import free_port

NODE = Path(__file__).parent / "standards" / "node"
RESOURCE = "https://api.example/v1"


class Missing(Exception):
    """There is no Node on this machine."""


def installed() -> str:
    """Node, with what the lock names beside the scripts; raises `Missing`."""
    found = shutil.which("node")
    if found is None or shutil.which("npm") is None:
        raise Missing
    stamp = NODE / "node_modules" / ".package-lock.json"
    # Test processes run side by side, and only one may install.
    with (Path(tempfile.gettempdir()) / f"proffer-npm-{os.getuid()}.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.stat().st_mtime < (NODE / "package-lock.json").stat().st_mtime:
            subprocess.run(["npm", "ci", "--silent"], cwd=NODE, check=True, timeout=300)
    return found


@dataclass
class Oracle:
    """A running oidc-provider."""

    origin: str
    process: subprocess.Popen[str]

    def consent(self, url: str) -> dict[str, str]:
        """Be the person, who says yes to everything; the parameters of the redirect, or of the page that was shown instead."""
        with httpx2.Client(timeout=30) as browser:
            for _ in range(10):
                answer = browser.get(url)
                url = str(httpx2.URL(self.origin).join(answer.headers.get("location", "")))
                if answer.status_code not in {302, 303} or not url.startswith(self.origin):
                    break
        assert answer.is_redirect, answer.text
        return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


@contextmanager
def consulted(node: str, clients: list[dict[str, Any]], *, lax: bool = False) -> Iterator[Oracle]:
    """Start one for these clients, each `{client_id, redirect_uri, key}`; `lax` leaves out what makes it FAPI."""
    port = free_port()
    quiet = {**os.environ, "NODE_NO_WARNINGS": "1", "NODE_ENV": "production"}
    process = subprocess.Popen(
        [node, "oracle.mjs"], cwd=NODE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=quiet, start_new_session=True
    )
    assert process.stdin
    assert process.stdout
    try:
        process.stdin.write(json.dumps({"port": port, "resource": RESOURCE, "lax": lax, "clients": clients}) + "\n")
        process.stdin.flush()
        if not process.stdout.readline():
            raise AssertionError(process.communicate(timeout=10)[1])
        yield Oracle(f"http://localhost:{port}", process)
    finally:
        process.kill()
        process.communicate()
