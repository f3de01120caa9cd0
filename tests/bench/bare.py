"""The floor of a read: a Flask route that returns the same bytes, on the same server. `python bare.py PORT THREADS FILE`."""

import os
import sys
from pathlib import Path
from typing import Any

from flask import Flask, Response


def make() -> Flask:
    """One route."""
    app = Flask("bare")
    body = Path(os.environ["BARE_BODY"]).read_bytes()

    @app.get("/v1/events")
    def events() -> Response:
        return Response(body, mimetype="application/json")

    @app.get("/healthz")
    def alive() -> Response:
        return Response("ok\n", mimetype="text/plain")

    return app


def main(port: str, threads: str, file: str) -> None:
    """Serve as `broker.__main__.run_server` does."""
    from granian import Granian
    from granian.constants import Interfaces
    from granian.log import LogLevels

    os.environ["BARE_BODY"] = file
    server: Any = Granian(
        "bare:make", factory=True, address="127.0.0.1", port=int(port), interface=Interfaces.WSGI, workers=1, blocking_threads=int(threads),
        log_level=LogLevels.warning, log_access=False, working_dir=Path(__file__).parent,
    )  # fmt: skip
    server.serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
