"""A computer whose clock is set: the true `broker` command under libfaketime, and what `date` says there."""

import datetime as dt
import subprocess
import sys
from pathlib import Path
from typing import Final

import processes

from broker.config import Settings

FAKETIME: Final = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)


class Machine:
    """Its clock stands `set` ahead of the true one, for every process at once; how long it has run cannot be set."""

    def __init__(self, where: Path) -> None:
        self._file = where / "clock"
        self._server: processes.Server | None = None
        self.set(dt.timedelta())

    def set(self, ahead: dt.timedelta) -> None:
        """Set the clock."""
        self._file.write_text(f"{int(ahead.total_seconds()):+d}\n")

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process see that clock."""
        return {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(self._file), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}

    def told(self) -> dt.datetime:
        """What the machine's clock says."""
        told = subprocess.run(["date", "+%s"], env=self.environment, capture_output=True, text=True, check=True).stdout
        return dt.datetime.fromtimestamp(int(told), dt.UTC)

    @property
    def port(self) -> int:
        """Where its broker listens."""
        assert self._server
        return self._server.port

    def start(self, settings: Settings) -> None:
        """Start a broker there."""
        self._server = processes.command(settings, **self.environment)

    def kill(self) -> None:
        """SIGKILL to it."""
        assert self._server
        self._server.kill()
        self._server = None

    def command(self, settings: Settings, *arguments: str) -> str:
        """What a command of the broker prints there."""
        environment = processes.environment(settings, processes.free_port(), **self.environment)
        run = subprocess.run(
            [sys.executable, "-m", "broker", *arguments], cwd=processes.ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert run.returncode == 0, run.stderr
        return run.stdout

    def stop(self) -> None:
        """Leave nothing running."""
        if self._server:
            self.kill()
