"""Schema versions of the three stores, by Alembic: brought to the newest before they are used, after a copy of all of them was made.

The copies of data.db and heads.db stay until the next time. That of keys.db goes as soon as a key has opened what came of it: left lying, it
would open what is erased later.
"""

import contextlib
import datetime as dt
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import NoResultFound

from broker.db import WRITE, DatabaseFailed, Store
from broker.vault.backups import BackupRefused
from broker.vault.files import sync_folder, wipe, wipe_folder
from broker.vault.turns import Turns
from broker.vault.vault import LOCK, id_in

log = logging.getLogger(__name__)
HERE = Path(__file__).parent
BEFORE: Final = "before-upgrade-"
# In a copy while the upgrade after it is under way.
UNFINISHED: Final = "unfinished"
NO_COPY: Final = (
    "The stores' form changes with this version, and they cannot be copied to {where} first: {why}. Make that directory, with room for all of the data, and "
    "writable for the broker; or, for this start, set BROKER_BACKUP_DIR to another one. Nothing was changed."
)


class SchemaTooNew(Exception):
    """The store was written by a newer program than this one."""


def config(store: str, connection: Connection) -> Config:
    """Alembic's configuration for one store: `data`, `keys` or `heads`. Its attribute `from` is the schema that the store has."""
    known = MigrationContext.configure(connection).get_current_revision()
    made = Config(attributes={"connection": connection, "store": store, "from": known})
    made.set_main_option("script_location", str(HERE))
    made.set_main_option("version_locations", str(HERE / store))
    made.set_main_option("path_separator", "os")
    return made


def revision(store: Store) -> str | None:
    """The schema a store has; None where it is empty."""
    with store.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def behind(name: str, store: Store) -> bool:
    """Whether a store's schema is not the newest. Raises `SchemaTooNew`."""
    found = revision(store)
    with store.engine.connect() as connection:
        script = ScriptDirectory.from_config(config(name, connection))
    if found is not None and found not in {each.revision for each in script.walk_revisions()}:
        raise SchemaTooNew(f"{store.path.name} was written by a newer broker (schema {found}). Install that version, or a newer one; nothing was changed.")
    return found != script.get_current_head()


def upgrade(name: str, store: Store) -> None:
    """Bring a store's schema to the newest; nothing is done where it is. Raises `SchemaTooNew`."""
    if behind(name, store):
        with store.engine.connect() as connection, connection.begin():
            # Alembic wants a transaction of SQLAlchemy's own.
            connection.exec_driver_sql(WRITE)
            command.upgrade(config(name, connection), "head")


def upgrade_all(stores: Mapping[str, Store], where: Path) -> None:
    """Bring every store to the newest schema. Before anything is changed, what holds something is copied into a new folder below `where`.

    Where an upgrade was cut off, its copy stays the one: what it left half done is none. Raises `SchemaTooNew` where any store is newer, and
    `BackupRefused` where no copy can be made; then nothing was changed.
    """
    if not [name for name, store in stores.items() if behind(name, store)]:
        _finished(where, _broker_of(stores))
        return
    lock = stores["keys"].path.parent / LOCK
    lock.touch(0o600)
    with Turns(lock).taken():
        due = [name for name, store in stores.items() if behind(name, store)]
        if any(revision(stores[name]) for name in due):
            folder = _copied(stores, where)
            log.warning("The stores' form changes with this version. A copy of all three as they were is in %s.", folder)
        for name in due:
            upgrade(name, stores[name])
        _finished(where, _broker_of(stores))


def _broker_of(stores: Mapping[str, Store]) -> bytes:
    """Whose stores these are; zeros where they are nobody's yet."""
    if revision(stores["keys"]):
        with contextlib.suppress(NoResultFound):
            return id_in(stores["keys"])
    return bytes(16)


def _folders(where: Path, broker_id: bytes) -> list[Path]:
    """The copies of this broker, the oldest first: several may keep theirs in one place."""
    return sorted(where.glob(f"{BEFORE}{broker_id.hex()[:8]}-*"))


def _finished(where: Path, broker_id: bytes) -> None:
    for folder in _folders(where, broker_id):
        (folder / UNFINISHED).unlink(missing_ok=True)


def _copied(stores: Mapping[str, Store], where: Path) -> Path:
    """A folder with all three stores as they were before this upgrade, which may have begun at an earlier start. It has its name only when it is whole."""
    broker_id = _broker_of(stores)
    for folder in _folders(where, broker_id):
        if (folder / UNFINISHED).exists():
            return folder
    folder = where / f"{BEFORE}{broker_id.hex()[:8]}-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S%fZ}"
    staging = where / f".{BEFORE}{broker_id.hex()[:8]}"
    try:
        wipe_folder(staging)
        staging.mkdir(mode=0o700)
        for store in stores.values():
            store.copy_to(staging / store.path.name)
        (staging / UNFINISHED).touch(0o600)
        sync_folder(staging)
        staging.rename(folder)
        sync_folder(where)
    except (OSError, *DatabaseFailed) as failed:
        why = getattr(failed, "strerror", None) or getattr(failed, "orig", None) or failed
        raise BackupRefused(NO_COPY.format(where=where, why=str(why).lower())) from failed
    finally:
        wipe_folder(staging)
    return folder


def let_go(where: Path, broker_id: bytes) -> None:
    """Once this broker's vault is open: of its copies from before an upgrade keep the newest, without its keys."""
    folders = _folders(where, broker_id)
    try:
        for folder in folders:
            wipe(folder / "keys.db")
        for folder in folders[:-1]:
            wipe_folder(folder)
    except OSError as failed:
        log.warning("What was copied before an upgrade could not be taken away, and its keys.db opens what is erased later: %s", failed)
