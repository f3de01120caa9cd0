"""Every module with tables of data.db, so that Alembic sees them all."""

from broker.events import models as events
from broker.factors import models as factors
from broker.grants import models as grants
from broker.imports import models as imports
from broker.insights import models as insights
from broker.ledger import models as ledger
from broker.moves import models as moves
from broker.notices import models as notices
from broker.oauth import models as oauth
from broker.people import models as people
from broker.terms import models as terms
from broker.vendors import models as vendors

__all__ = ["events", "factors", "grants", "imports", "insights", "ledger", "moves", "notices", "oauth", "people", "terms", "vendors"]
