"""Every module with tables of data.db, so that Alembic sees them all."""

from broker.events import models as events
from broker.grants import models as grants
from broker.imports import models as imports
from broker.ledger import models as ledger
from broker.oauth import models as oauth
from broker.people import models as people
from broker.terms import models as terms
from broker.vendors import models as vendors

__all__ = ["events", "grants", "imports", "ledger", "oauth", "people", "terms", "vendors"]
