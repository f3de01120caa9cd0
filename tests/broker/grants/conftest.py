"""Fixtures of grants that run."""

import datetime as dt

import pytest
from makers import Browser, Clock, Shop, purchase, purchases


@pytest.fixture
def reading(alice: Browser, bookshop: Shop, clock: Clock) -> Browser:
    """Alice with purchases, and a bookshop that reads."""
    alice.store(*[purchase(clock() - dt.timedelta(days=days), f"Book {days}") for days in (2, 3, 5)])
    bookshop.connect(alice, [purchases()])
    return alice
