"""Work in the background: one thread per process that tries files, takes them in and undoes them, one after the other."""

import logging
import queue
import threading
from collections.abc import Callable
from typing import Final

from broker import errors

log = logging.getLogger(__name__)
AT_ONCE: Final = 1.0


class Work:
    """Jobs on batches, in the order they came; `start` hands one over, `busy` tells whether it still waits or runs."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[bytes, Callable[[], object]]] = queue.SimpleQueue()
        self._open: dict[bytes, threading.Event] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self, batch_id: bytes, job: Callable[[], object]) -> None:
        """Hand over a job on a batch, and wait a second for it: most files are small, and then the next page shows the end."""
        ended = threading.Event()
        with self._lock:
            self._open[batch_id] = ended
            self._jobs.put((batch_id, lambda: self._do(batch_id, ended, job)))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="imports", daemon=True)
                self._thread.start()
        ended.wait(AT_ONCE)

    def busy(self, batch_id: bytes) -> bool:
        """Whether a job on this batch waits or runs here."""
        return batch_id in self._open

    def wait(self, batch_id: bytes, seconds: float) -> bool:
        """Wait for the job on a batch; whether it has ended."""
        ended = self._open.get(batch_id)
        return ended is None or ended.wait(seconds)

    def _run(self) -> None:
        while True:
            self._jobs.get()[1]()

    def _do(self, batch_id: bytes, ended: threading.Event, job: Callable[[], object]) -> None:
        try:
            job()
        except errors.BrokerError as error:
            log.warning("work on an import broke off: %s", error.slug)
        except Exception:
            log.exception("work on an import broke off")
        finally:
            with self._lock:
                if self._open.get(batch_id) is ended:
                    del self._open[batch_id]
            ended.set()
