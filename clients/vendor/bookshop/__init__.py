"""The sample bookshop: a vendor that asks what you bought, suggests your next book, and stops when you say so."""

from bookshop.shop import create_app
from bookshop.vendor import Shop, metadata

__all__ = ["Shop", "create_app", "metadata"]
