"""A nursery of server processes: imports the broker once, then forks a server for each line it reads; each leads a process group of its own.

In: `{"data": dir, "key": file, "plants": [...]}` answers `{"pid", "port"}` once the server listens; `{"wait": pid}` answers `{"signal"}` once it is dead.
"""

import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1])]


def serve(told: dict[str, Any], ready: int) -> None:
    """Be a server until killed; says its port on `ready`."""
    import plants
    from makers import UNLIMITED
    from werkzeug.serving import WSGIRequestHandler, make_server

    from broker import create_app
    from broker.config import Settings

    class Quiet(WSGIRequestHandler):
        """Answers without a word on stderr."""

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Say nothing."""

    for name in told["plants"]:
        getattr(plants, name)()
    app = create_app(Settings(data_dir=Path(told["data"]), key_file=Path(told["key"]), **{**UNLIMITED, "rate_client_in_flight": 1000}))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    os.write(ready, str(server.port).encode())
    os.close(ready)
    server.serve_forever(0.05)


def fork(told: dict[str, Any]) -> dict[str, int]:
    """A new server process."""
    heard, ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            os.close(heard)
            os.dup2(os.open(os.devnull, os.O_RDWR), 0)
            # What a server prints must not be taken for the nursery's answers.
            os.dup2(2, 1)
            serve(told, ready)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(ready)
    port = os.read(heard, 16)
    os.close(heard)
    return {"pid": pid, "port": int(port or 0)}


def main() -> None:
    """Answer line by line until the input ends; then no server is left."""
    import broker  # the imports that every child then has  # noqa: F401

    alive: set[int] = set()
    for line in sys.stdin:
        told = json.loads(line)
        if "wait" in told:
            _, status = os.waitpid(told["wait"], 0)
            alive.discard(told["wait"])
            answer = {"signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0}
        else:
            answer = fork(told)
            alive.add(answer["pid"])
        print(json.dumps(answer), flush=True)
    for pid in alive:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
