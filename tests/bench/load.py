"""Load from another process: wrk for reads, a small client of our own for uploads; both say how much of the processor they took."""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import cycle
from pathlib import Path

HOST = "localhost:8440"


@dataclass(frozen=True)
class Rate:
    """What a load came to: answers of 2xx per second, other answers, and the share of one core that the generator took."""

    per_second: float
    wrong: int
    share: float


def reads(port: int, shown: Path, seconds: float, connections: int) -> Rate:
    """GET /v1/events again and again; `shown` is a file of the Authorization header and then of proofs, one a line."""
    return calls(port, "/v1/events", shown, seconds, connections, {"Host": HOST})


def calls(port: int, path: str, shown: Path, seconds: float, connections: int, headers: dict[str, str]) -> Rate:
    """The calls of a file (see `calls.lua`), one after the other, for so long."""
    if wrk := shutil.which("wrk"):
        script = str(Path(__file__).with_name("calls.lua"))
        line = [wrk, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", script]
        line += [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
        line += [f"http://127.0.0.1:{port}{path}", "--", str(shown)]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        said = subprocess.run(line, capture_output=True, text=True, check=True).stdout
        took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
        rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
        assert rate, said
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Rate(float(rate[1]), int(wrong[1]) if wrong else 0, used / took)
    told = {"port": port, "path": path, "method": "GET", "headers": headers, "seconds": seconds, "connections": connections, "bodies": "", "shown": str(shown)}
    return _client(told)


def uploads(port: int, shown: Path, bodies: Path, connections: int) -> Rate:
    """POST each line of a file once, each with a proof of its own."""
    headers = {"Host": HOST, "Content-Type": "application/json"}
    told = {"port": port, "path": "/v1/events", "method": "POST", "headers": headers, "seconds": 3600, "connections": connections}
    return _client({**told, "bodies": str(bodies), "shown": str(shown)})


def _client(told: dict[str, object]) -> Rate:
    said = subprocess.run([sys.executable, __file__], input=json.dumps(told), capture_output=True, text=True, check=True).stdout
    return Rate(**json.loads(said))


def main() -> None:
    """Be the client that was described on standard input."""
    told = json.loads(sys.stdin.read())
    bodies = iter(Path(told["bodies"]).read_bytes().splitlines()) if told["bodies"] else None
    authorization, *lines = Path(told["shown"]).read_text().splitlines()
    line = cycle(lines)
    named = {} if authorization == "-" else {"Authorization": authorization}
    until, counts, lock = time.monotonic() + told["seconds"], [0, 0], threading.Lock()

    def work() -> None:
        connection = HTTPConnection("127.0.0.1", told["port"], timeout=60)
        while time.monotonic() < until:
            with lock:
                body = next(bodies, None) if bodies else b""
                proof, _, own = next(line).partition(" ")
            if body is None:
                break
            body, method = (own.encode(), "POST") if own else (body, told["method"])
            connection.request(method, told["path"], body or None, {**told["headers"], **named, "DPoP": proof})
            answer = connection.getresponse()
            answer.read()
            with lock:
                counts[answer.status != 200] += 1
        connection.close()

    began = time.monotonic()
    threads = [threading.Thread(target=work) for _ in range(told["connections"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took, used = time.monotonic() - began, os.times()
    print(json.dumps({"per_second": counts[0] / took, "wrong": counts[1], "share": (used.user + used.system) / took}))


if __name__ == "__main__":
    main()
