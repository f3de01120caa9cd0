"""Pages of this capability."""

from typing import Final

from flask import Blueprint

pages: Final = Blueprint("grants_pages", __name__)
