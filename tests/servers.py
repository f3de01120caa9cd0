"""A real broker process for tests: the `broker` command with granian, on a free port and a directory of its own."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from broker.config import Settings
from broker.opening import opened

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 60.0


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@dataclass
class Server:
    """A running broker: its address, its environment, and the sign-up link it printed."""

    origin: str
    environment: dict[str, str]
    link: str
    process: subprocess.Popen[str]

    def command(self, *arguments: str, code: int = 0) -> str:
        """Run `broker …` beside the server and return what it printed."""
        run = subprocess.run([sys.executable, "-m", "broker", *arguments], env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        assert run.returncode == code, (run.returncode, run.stdout, run.stderr)
        return run.stdout


@contextmanager
def running(where: Path, **settings: str) -> Iterator[Server]:
    """Start a broker below `where`; it ends with the block."""
    port = free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("BROKER_")},
        "BROKER_DATA_DIR": str(where / "data"), "BROKER_KEY_FILE": str(where / "keys" / "key"), "BROKER_PORT": str(port), **settings,
    }  # fmt: skip
    _second_key(where, port)
    process = subprocess.Popen(
        [sys.executable, "-m", "broker"], env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    origin = f"http://localhost:{port}"
    try:
        link = _link(process)
        wait_for(f"{origin}/readyz", process)
        yield Server(origin, environment, link, process)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        assert process.stdout is not None
        process.stdout.close()
        process.wait()


def _second_key(where: Path, port: int) -> None:
    """Without a second key nothing can be given to a vendor."""
    with opened(Settings(data_dir=where / "data", key_file=where / "keys" / "key", port=port)) as broker:
        if len(broker.vault.slots()) == 1:
            broker.vault.add_recovery_key()


def _link(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if found := re.search(r"https?://\S+/sign-up/\S+", line):
            return found[0]
        if "It is sealed" in line:
            # Somebody lives there already, so there is no link.
            return ""
    raise AssertionError("".join(lines))


def wait_for(url: str, process: subprocess.Popen[str]) -> None:
    """Until the address answers 200; fails when the process ends first."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        assert process.poll() is None, "the server ended"
        try:
            if httpx2.get(url).status_code == httpx2.codes.OK:
                return
        except httpx2.TransportError:
            time.sleep(0.05)
    raise AssertionError(f"{url} did not answer")
