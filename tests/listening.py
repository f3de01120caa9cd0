"""Listens to every log of a test at DEBUG, for credentials that were issued."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

ISSUED = re.compile(r"pfr_[a-z]{2}_[A-Za-z0-9_-]{20,}")
# The logger of the test that shows that a leak is heard.
PLANTED = "planted"
# The browsers and vendors of tests, which live in this process too.
VISITORS = ("httpx2", "httpcore2")
# SQLAlchemy sets a level of its own when it is imported.
LOUD = ("", "sqlalchemy")


class Listener(logging.Handler):
    """Keeps the names of loggers, and what of a credential they wrote."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.leaks: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """With the traceback and all arguments, as a file would have it."""
        if not record.name.startswith(VISITORS):
            self.leaks += [(record.name, found[:12]) for found in ISSUED.findall(self.format(record))]


@contextmanager
def listening() -> Iterator[Listener]:
    """At DEBUG from here on; a broker must be made within, since libraries look at the level once."""
    listener, before = Listener(), {name: logging.getLogger(name).level for name in LOUD}
    for name in LOUD:
        logging.getLogger(name).setLevel(logging.DEBUG)
    logging.getLogger().addHandler(listener)
    try:
        yield listener
    finally:
        logging.getLogger().removeHandler(listener)
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
