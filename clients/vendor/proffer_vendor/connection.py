"""One person's connection: keeps its tokens fresh and reads the events the grant covers, page by page."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from proffer_vendor.agreements import countersign
from proffer_vendor.errors import AgreementUnsigned, GrantEnded, NotABroker, NotConnected
from proffer_vendor.tokens import Tokens, TokenStore
from proffer_vendor.vendor import Pending, Vendor

Answer = TypeVar("Answer")
# A token this close to its end is renewed first, which saves a refused call.
MARGIN = 20.0


@dataclass(frozen=True)
class Page:
    """Rows as the grant shows them, and the cursor of the next page, "" on the last; a cursor lives 15 minutes."""

    items: list[dict[str, Any]]
    next: str


class Connection:
    """The grant of one `person` (the vendor's own name for them) at one broker, with its tokens in `store`."""

    def __init__(self, vendor: Vendor, store: TokenStore, person: str) -> None:
        self._vendor = vendor
        self._store = store
        self._person = person

    @property
    def tokens(self) -> Tokens:
        """The kept tokens; NotConnected if there are none."""
        kept = self._store.load(self._person)
        if kept is None:
            raise NotConnected("No tokens are kept for this person.")
        return kept

    def complete(self, pending: Pending, query: Mapping[str, str]) -> Tokens:
        """Finishes a callback, keeps the tokens, countersigns the agreement and keeps it; raises what Vendor.finish and countersign raise."""
        tokens = self._vendor.finish(pending, query)
        self._store.save(self._person, tokens)
        self._sign(tokens)
        return tokens

    def _sign(self, tokens: Tokens) -> None:
        """Countersigns and keeps the agreement: until we have, the broker lets us read nothing."""
        self._store.keep(tokens.grant_id, countersign(self._vendor, tokens).document)

    def read(self, **wanted: Any) -> Iterator[dict[str, Any]]:
        """Every row, page after page; takes what `pages` takes."""
        for page in self.pages(**wanted):
            yield from page.items

    def pages(
        self,
        *,
        kinds: tuple[str, ...] = (),
        clause: str = "",
        purpose: str = "",
        site: str = "",
        category: str = "",
        after: datetime | None = None,
        before: datetime | None = None,
        limit: int = 100,
        cursor: str = "",
    ) -> Iterator[Page]:
        """Pages of GET /v1/events, oldest first, from `cursor` on; `limit` is the size of a page, 1 to 1000.

        `clause` and `purpose` are needed where the grant has several. Raises NotGranted, GrantPaused, GrantEnded, RateLimited, InvalidCursor and the like.
        """
        names = {"kind": ",".join(kinds), "clause": clause, "purpose": purpose, "site": site, "category": category}
        times = {"after": _rfc3339(after), "before": _rfc3339(before)}
        query = {name: value for name, value in (names | times).items() if value} | {"limit": str(limit)}
        while True:
            page = self._page({**query, "cursor": cursor} if cursor else query)
            yield page
            if not page.next:
                return
            cursor = page.next

    def answers(self, *, clause: str = "", purpose: str = "") -> dict[str, Any]:
        """What GET /v1/answers tells today, by name; it is worked out once a UTC day. Raises as `pages` does."""
        query = {name: value for name, value in (("clause", clause), ("purpose", purpose)) if value}
        answer = self._get("/v1/answers", query)
        if not isinstance(answer, dict) or not isinstance(answer.get("answers"), dict):
            raise NotABroker("The answer has no answers.")
        return dict(answer["answers"])

    def grant(self) -> dict[str, Any]:
        """The grant as it is now."""
        return self._fresh(self._vendor.grant)

    def end(self) -> None:
        """Gives the grant back: revoked at the broker, then forgotten here."""
        tokens = self._store.load(self._person)
        if tokens is not None:
            self._vendor.revoke(tokens)
            self._store.forget(self._person)

    def _get(self, path: str, query: Mapping[str, str]) -> Any:
        def ask(tokens: Tokens) -> Any:
            return self._vendor.call("GET", f"{self._vendor.issuer}{path}", tokens, query=query)

        try:
            return self._fresh(ask)
        except AgreementUnsigned:
            # Our signature was lost on its way when the grant was given; it is owed, and then the same read works.
            self._fresh(self._sign)
            return self._fresh(ask)

    def _page(self, query: Mapping[str, str]) -> Page:
        answer = self._get("/v1/events", query)
        if not isinstance(answer, dict) or not isinstance(answer.get("items"), list):
            raise NotABroker("The answer has no list of items.")
        return Page(answer["items"], str(answer.get("next") or ""))

    def _fresh(self, call: Callable[[Tokens], Answer]) -> Answer:
        """The answer of `call`, with a refresh before it where the token is at its end, and one after it where the broker says so."""
        tokens = self.tokens
        try:
            if tokens.expires_at - time.time() < MARGIN:
                return call(self._renewed(tokens))
            try:
                return call(tokens)
            except GrantEnded:
                # A token may have ended while its grant lives; only a refused refresh says that the grant is over.
                return call(self._renewed(tokens))
        except GrantEnded:
            self._store.forget(self._person)
            raise

    def _renewed(self, tokens: Tokens) -> Tokens:
        fresh = self._vendor.refresh(tokens)
        self._store.save(self._person, fresh)
        return fresh


def _rfc3339(moment: datetime | None) -> str:
    if moment is None:
        return ""
    if moment.tzinfo is None:
        raise ValueError("give a moment with its time zone")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
