"""HTTP as this package uses it: one timeout, no redirects followed, errors as types, and the one place that writes the Authorization header."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2

from proffer_vendor.errors import NotABroker, Unavailable, refusal
from proffer_vendor.tokens import Tokens

TIMEOUT = 15.0
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class Transport:
    """Sends requests and turns every refusal into an error of this package."""

    def __init__(self, http: httpx2.Client | None = None) -> None:
        self._http = http or httpx2.Client(timeout=TIMEOUT, follow_redirects=False)

    def send(
        self,
        method: str,
        url: str,
        *,
        tokens: Tokens | None = None,
        form: Mapping[str, str] | None = None,
        json: Any = None,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        """The parsed JSON of a 2xx answer, None if it is empty; raises what `refusal` makes of others, Unavailable without an answer."""
        check_address(url)
        headers = {"Accept": "application/json", **(authorization(tokens) if tokens else {})}
        try:
            answer = self._http.request(method, url, headers=headers, data=form, json=json, params=query)
        except httpx2.TransportError as error:
            raise Unavailable(f"The broker does not answer: {type(error).__name__}.") from error
        body = _parsed(answer)
        if not answer.is_success:
            raise refusal(answer.status_code, body, retry_after=_seconds(answer.headers.get("Retry-After")))
        if body is None and answer.content:
            raise NotABroker(f"The answer of {urlsplit(url).path} is not JSON.")
        return body

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()


def authorization(tokens: Tokens) -> dict[str, str]:
    """The headers that carry the access token (RFC 6750 section 2.1); a proof of possession will be made here and nowhere else."""
    return {"Authorization": f"Bearer {tokens.access_token}"}


def check_address(url: str) -> None:
    """Refuses, as NotABroker, an address that would send tokens in the clear: only https, or http on loopback."""
    parts = urlsplit(url)
    if not (parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK))):
        raise NotABroker(f"{parts.scheme}://{parts.hostname} is neither https nor this machine.")


def _parsed(answer: httpx2.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None


def _seconds(value: str | None) -> int | None:
    return int(value) if value is not None and value.isascii() and value.isdigit() else None
