"""Pages of this capability."""

from typing import Final

from flask import Blueprint

pages: Final = Blueprint("events_pages", __name__)
