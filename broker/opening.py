"""Opening a broker: its three stores, its vault and its writer, as one value that is handed to whoever needs them."""

import datetime as dt
import queue
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import Connection

from broker import ballast, migrations
from broker.clock import Clock
from broker.config import Settings
from broker.db import DATA, KEYS, Store, utcnow
from broker.fetching import Fetcher
from broker.limits import Limits
from broker.vault import heads as marks
from broker.vault import slots
from broker.vault.keys import Appending, Keyring
from broker.vault.slots import NoKey
from broker.vault.turns import hold
from broker.vault.vault import Vault
from broker.writer import Writer

T = TypeVar("T")
MOST_DUE: Final = 10_000


@dataclass(frozen=True, slots=True)
class Broker:
    """An open broker. `now()` gives the present, which never goes back; `reading()` a fresh read transaction; `write(job)` a durable one, grouped with others.

    `fetch(url)` is the one way out, to small public documents.
    """

    settings: Settings
    data: Store
    keys: Store
    heads: Store
    vault: Vault
    writer: Writer
    limits: Limits
    now: Clock
    fetch: Callable[[str], bytes]
    # Lets the data directory go, which is held for as long as the broker is open.
    release: Callable[[], None]
    # People whose log is to be signed soon, after an ending.
    due: "queue.Queue[bytes]" = field(default_factory=lambda: queue.Queue(MOST_DUE), repr=False)

    def reading(self) -> AbstractContextManager[Connection]:
        """A read transaction on data.db that sees what is durable now."""
        return self.data.reading()

    def write(self, job: Callable[[Connection], T], *, ending: bool = False, size: int = 0) -> T:
        """Run `job` in a durable transaction on data.db and return its answer; `ending` jobs go first and keep places of their own."""
        return self.writer.submit(job, ending=ending, size=size)

    def keyring(self, person_id: bytes) -> Keyring:
        """The person's open keys."""
        return self.vault.keyring(person_id)

    def appender(self, person_id: bytes) -> Appending:
        """What the person's ledger can be appended to with, also while the broker is sealed, and where the disk is nearly full."""
        ballast.make_room(self.settings.data_dir)
        return self.vault.appender(person_id)

    def close(self) -> None:
        """Drain the writer, note the time, leave the broker's processes, close every connection."""
        self.writer.close()
        self.now.keep()
        self.vault.close()
        for store in (self.data, self.keys, self.heads):
            store.close()
        self.release()


def make_data_dir(path: Path) -> None:
    """The data directory with mode 0700; one that others may enter stops start-up (`NoKey`)."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise NoKey(f"The data directory {path} can be entered by others. Run: chmod 700 {path}")


def open_broker(settings: Settings, now: Callable[[], dt.datetime] = utcnow, fetch: Callable[[str], bytes] | None = None) -> Broker:
    """Open the stores (migrating them if needed) and the vault; raises `NoKey`, `PragmaRefused` or `SchemaTooNew` with what to do."""
    make_data_dir(settings.data_dir)
    try:
        release = hold(settings.data_dir, alone=False)
    except BlockingIOError:
        raise NoKey(f"A backup is being put back into {settings.data_dir}. Wait until that is done.") from None
    try:
        return _opened(settings, now, fetch, release)
    except BaseException:
        release()
        raise


def _opened(settings: Settings, now: Callable[[], dt.datetime], fetch: Callable[[str], bytes] | None, release: Callable[[], None]) -> Broker:
    keys = Store(settings.data_dir / "keys.db", KEYS)
    heads = Store(settings.data_dir / "heads.db", KEYS)
    data = Store(settings.data_dir / "data.db", DATA)
    where = Path(settings.backup_dir or settings.data_dir)
    migrations.upgrade_all({"keys": keys, "heads": heads, "data": data}, where)
    _refuse_no_keys(keys, heads, data)
    vault = Vault(keys, settings.key_file)
    if vault.fresh or marks.mark(heads, marks.ADOPTED):
        marks.set_mark(heads, marks.BROKER, vault.broker_id, keep=True)
        marks.clear_mark(heads, marks.ADOPTED)
    elif marks.mark(heads, marks.BROKER) not in {None, vault.broker_id}:
        raise NoKey("keys.db is another broker's than heads.db. Put the files back that belong together; nothing was changed.")
    if not vault.sealed:
        migrations.let_go(where, vault.broker_id)
    writer = Writer(data.engine, release=lambda: ballast.release(settings.data_dir))
    return Broker(settings, data, keys, heads, vault, writer, Limits(settings), Clock(now, heads), fetch or Fetcher(), release)


def _refuse_no_keys(keys: Store, heads: Store, data: Store) -> None:
    """A keys.db that is not there beside data must not be made anew: nothing could be opened by it."""
    with keys.reading() as tx:
        fresh = slots.count(tx) == 0
    with data.reading() as tx:
        people = tx.exec_driver_sql("SELECT 1 FROM people LIMIT 1").first()
    if fresh and (people or marks.mark(heads, marks.BROKER)):
        raise NoKey("keys.db is missing, or empty, where data is kept. Put it back, or both stores from a backup (broker restore). Nothing was changed.")


@contextmanager
def opened(settings: Settings) -> Iterator[Broker]:
    """An open broker for the length of a command."""
    broker = open_broker(settings)
    try:
        yield broker
    finally:
        broker.close()
