"""Terms at the border: well formed, and naming sites and vendors in the one form by which they are compared."""

import re
from collections.abc import Iterator
from typing import Any, Final

from broker.errors import Unprocessable
from broker.events.sites import is_site
from policies.documents import Malformed, below
from policies.terms import Terms

# A port is there for vendors of tests and of the household.
_VENDOR: Final = re.compile(r"https?://[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(:[0-9]{1,5})?|urn:.*")
_SITE: Final = "Give a registrable domain such as shop.example; for one host alone write = before it, such as =www.shop.example."
_ADDRESS: Final = "Give the vendor's address in small letters and without a path, such as https://books.example."


def read(document: Any) -> Terms:
    """Read terms that a person wrote; `Unprocessable` with JSON pointers. Their `version` may be left out: it is given."""
    try:
        terms = Terms.parse({"version": 0, **document} if isinstance(document, dict) else document)
    except Malformed as malformed:
        raise Unprocessable("These terms cannot be used; see errors.", errors=malformed.errors) from None
    errors = list(_without_effect(document))
    if errors:
        raise Unprocessable("These terms name sites or vendors that are never met; see errors.", errors=errors)
    return terms


def _without_effect(document: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Yield what would be accepted and never match: a deny of www.shop.example would protect nothing."""
    for part in ("allow", "deny"):
        for number, rule in enumerate(document[part]):
            at = f"/{part}/{number}"
            for place, site in enumerate(rule.get("sites", ())):
                if not is_site(site):
                    yield {"pointer": below(f"{at}/sites", place), "detail": _SITE}
            for place, name in enumerate(rule.get("vendors", ())):
                if ":" in name and not name.startswith(("class:", "member:")) and not _VENDOR.fullmatch(name):
                    yield {"pointer": below(f"{at}/vendors", place), "detail": _ADDRESS}
