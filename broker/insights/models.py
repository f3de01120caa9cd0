"""What a person says of a shop: how long something can be sent back, how long its warranty lasts, and a note."""

from sqlalchemy import Column, LargeBinary, Table

from broker.db import CLUSTERED, metadata

shop_periods = Table(
    "shop_periods",
    metadata,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("domain_tag", LargeBinary(16), primary_key=True),
    Column("body", LargeBinary, nullable=False),
    **CLUSTERED,
)
