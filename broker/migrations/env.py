"""What Alembic runs: one store's migrations, on the connection it was handed."""

from alembic import context

from broker import db
from broker.migrations import tables as _tables  # noqa: F401 - every table must be known before autogenerate compares
from broker.vault import models

METADATA = {"data": db.metadata, "keys": models.keys, "heads": models.heads}

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA[context.config.attributes["store"]],
    transactional_ddl=False,
    user_module_prefix="broker.db.",
)
context.run_migrations()
