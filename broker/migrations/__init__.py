"""Schema versions of the three stores, by Alembic: brought to the newest before they are used, after a copy of all of them was made.

The copies of data.db and heads.db stay until the next time. That of keys.db goes as soon as the broker has opened what came of it: left lying, it
would open what is erased later.
"""

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

from broker.db import WRITE, Store

log = logging.getLogger(__name__)
HERE = Path(__file__).parent
BEFORE: Final = "before-upgrade-"


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

    Raises `SchemaTooNew` where any store is newer, and then nothing was changed.
    """
    due = [name for name, store in stores.items() if behind(name, store)]
    if any(revision(stores[name]) for name in due):
        folder = where / f"{BEFORE}{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S%fZ}"
        folder.mkdir(mode=0o700)
        for store in stores.values():
            store.copy_to(folder / store.path.name)
        log.warning("The stores' form changes with this version. A copy of all three as they were is in %s.", folder)
    for name in due:
        upgrade(name, stores[name])


def let_go(where: Path) -> None:
    """Once all is open: of the copies from before an upgrade keep the newest, without its keys."""
    folders = sorted(where.glob(f"{BEFORE}*"))
    for folder in folders:
        (folder / "keys.db").unlink(missing_ok=True)
    for folder in folders[:-1]:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
