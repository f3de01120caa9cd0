"""Schema versions of the three stores, by Alembic; `upgrade` brings a store to the newest before it is used."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from broker.db import WRITE, Store

HERE = Path(__file__).parent


class SchemaTooNew(Exception):
    """The store was written by a newer program than this one."""


def config(store: str, connection: Connection) -> Config:
    """Alembic's configuration for one store: `data`, `keys` or `heads`."""
    made = Config(attributes={"connection": connection, "store": store})
    made.set_main_option("script_location", str(HERE))
    made.set_main_option("version_locations", str(HERE / store))
    made.set_main_option("path_separator", "os")
    return made


def upgrade(name: str, store: Store) -> None:
    """Bring a store's schema to the newest; nothing is done where it is. Raises `SchemaTooNew`."""
    with store.engine.connect() as connection:
        made = config(name, connection)
        script = ScriptDirectory.from_config(made)
        found = MigrationContext.configure(connection).get_current_revision()
    if found is not None and found not in {revision.revision for revision in script.walk_revisions()}:
        raise SchemaTooNew(f"{store.path.name} was written by a newer broker (schema {found}). Install that version, or a newer one; nothing was changed.")
    if found != script.get_current_head():
        with store.engine.connect() as connection, connection.begin():
            # Alembic wants a transaction of SQLAlchemy's own.
            connection.exec_driver_sql(WRITE)
            command.upgrade(config(name, connection), "head")
