"""HTTP as this package uses it: one timeout, no redirects followed, errors as types, and the one place that shows tokens and proves their key."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2

from proffer_vendor.errors import NotABroker, Unavailable, refusal
from proffer_vendor.keys import SigningKey
from proffer_vendor.tokens import Tokens

TIMEOUT = 15.0
NONCE_WANTED = {"use_dpop_nonce", "use-nonce"}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class Transport:
    """Sends requests and turns every refusal into an error of this package."""

    def __init__(self, http: httpx2.Client | None = None) -> None:
        self._http = http or httpx2.Client(timeout=TIMEOUT, follow_redirects=False)
        # The newest nonce of each broker (RFC 9449 section 8.2): the next proof carries it.
        self._nonces: dict[str, str] = {}

    def send(
        self,
        method: str,
        url: str,
        *,
        key: SigningKey | None = None,
        tokens: Tokens | None = None,
        form: Mapping[str, str] | None = None,
        json: Any = None,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        """The parsed JSON of a 2xx answer, None if it is empty; raises what `refusal` makes of others, Unavailable without an answer.

        With `key` the call carries a proof of it, and is made once more where the broker wants its own nonce in the proof.
        """
        check_address(url)
        origin = "://".join(urlsplit(url)[:2])
        for last in (False, True):
            headers = {"Accept": "application/json", **shown(key, tokens, method, url, self._nonces.get(origin, ""))}
            try:
                answer = self._http.request(method, url, headers=headers, data=form, json=json, params=query)
            except httpx2.TransportError as error:
                raise Unavailable(f"The broker does not answer: {type(error).__name__}.") from error
            if "DPoP-Nonce" in answer.headers:
                self._nonces[origin] = answer.headers["DPoP-Nonce"]
            body = _parsed(answer)
            if answer.is_success:
                break
            refused = refusal(answer.status_code, body, retry_after=_seconds(answer.headers.get("Retry-After")))
            if last or refused.code not in NONCE_WANTED:
                raise refused
        if body is None and answer.content:
            raise NotABroker(f"The answer of {urlsplit(url).path} is not JSON.")
        return body

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()


def shown(key: SigningKey | None, tokens: Tokens | None, method: str, url: str, nonce: str) -> dict[str, str]:
    """The headers that carry the access token and the proof of the key it was given to (RFC 9449 section 7.1)."""
    if key is None:
        return {}
    if tokens is None:
        return {"DPoP": key.proof(method, url, nonce=nonce)}
    return {"Authorization": f"DPoP {tokens.access_token}", "DPoP": key.proof(method, url, nonce=nonce, token=tokens.access_token)}


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
