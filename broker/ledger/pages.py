"""Pages of this capability."""

from typing import Final

from flask import Blueprint

pages: Final = Blueprint("ledger_pages", __name__)
