"""Server processes of these tests: forked from the nursery, or the true `broker` command; each in a process group that is killed whole."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from makers import ORIGIN, UNLIMITED

from broker.config import Settings

ROOT = Path(__file__).resolve().parents[2]
HOST = ORIGIN.removeprefix("http://")


@dataclass(frozen=True)
class Answer:
    """What arrived of an answer; `body` may be cut, and is then not `whole`."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool


def call(port: int, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> Answer | None:
    """One request on a connection of its own; None if not one byte of an answer arrived."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", "Connection: close", *(f"{name}: {value}" for name, value in headers.items())]
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() if body or method == "POST" else "\r\n".join([*lines, "", ""]).encode()
    raw = b""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(head + body)
        while part := connection.recv(65536):
            raw += part
    return _parsed(raw) if raw else None


def _parsed(raw: bytes) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(first.split(" ")[1]), headers, body, len(body) == int(headers.get("content-length", -1)))


@dataclass(frozen=True)
class Server:
    """A running server: its process group and its port."""

    pid: int
    port: int
    nursery: "Nursery | None" = None
    command: subprocess.Popen[bytes] | None = None

    def kill(self) -> int:
        """SIGKILL to the whole group, at once; returns the signal it died of, when all of it is dead."""
        os.killpg(self.pid, signal.SIGKILL)
        if self.nursery:
            return int(self.nursery.tell(wait=self.pid)["signal"])
        assert self.command
        died = -self.command.wait()
        while _lives(self.pid):
            time.sleep(0.005)
        return died

    @contextmanager
    def doomed(self) -> Iterator[Self]:
        """Killed when the block fails: a failing test leaves no server behind."""
        try:
            yield self
        except BaseException:
            with suppress(ProcessLookupError):
                self.kill()
            raise


def _lives(group: int) -> bool:
    """Whether a process of this group still runs; one that nobody has reaped yet does not."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, pgrp = stat.read_text().rpartition(")")[2].split()[:3]
            if int(pgrp) == group and state not in "ZX":
                return True
    return False


class Nursery:
    """The process that forks servers; see `nursery.py`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("nursery.py"))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    @classmethod
    @contextmanager
    def opened(cls) -> Iterator[Self]:
        """A nursery that leaves no server behind."""
        nursery = cls()
        try:
            yield nursery
        finally:
            nursery._process.communicate()

    def tell(self, **told: Any) -> dict[str, Any]:
        """Say one line, hear one."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def serve(self, settings: Settings, *plants: str) -> Server:
        """A forked server on these stores, with planted defects."""
        answer = self.tell(data=str(settings.data_dir), key=str(settings.key_file), plants=plants)
        assert answer["port"], "the server did not start; its traceback is on stderr"
        return Server(answer["pid"], answer["port"], nursery=self)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(settings: Settings, port: int, **more: str) -> dict[str, str]:
    """The settings as the command reads them, its rates out of the way."""
    rates = {f"BROKER_{name.upper()}": value for name, value in UNLIMITED.items()}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BROKER_")}
    paths = {"BROKER_DATA_DIR": str(settings.data_dir), "BROKER_KEY_FILE": str(settings.key_file), "BROKER_PORT": str(port), "BROKER_ORIGIN": ORIGIN}
    return {**inherited, **rates, **paths, "BROKER_RATE_CLIENT_IN_FLIGHT": "1000", "BROKER_LOG_LEVEL": "ERROR", **more}


def command(settings: Settings, **more: str) -> Server:
    """The true command with granian, when it answers."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "broker"], cwd=ROOT, env=environment(settings, port, **more), stdout=subprocess.DEVNULL, start_new_session=True
    )
    server = Server(process.pid, port, command=process)
    until = time.monotonic() + 60
    with server.doomed():
        while (answer := call(port, "GET", "/healthz", {})) is None or answer.status != http.client.OK:
            assert process.poll() is None, "the command ended"
            assert time.monotonic() < until, "the command does not answer"
            time.sleep(0.02)
    return server
