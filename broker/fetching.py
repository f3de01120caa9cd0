"""The one way out: fetching a small public document over https, safe against being sent where it should not go (SSRF, K105)."""

import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from http.client import HTTPException, HTTPResponse
from typing import Final
from urllib.parse import urlsplit

MAX_BYTES: Final = 64 * 1024
SECONDS: Final = 5.0
AT_ONCE: Final = 8
HTTPS_PORT: Final = 443
OK: Final = 200
_HOST: Final = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{1,62}")
_PATH: Final = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]{0,1500}")
# Addresses that carry an IPv4 address inside, which may lead anywhere.
_DISGUISED: Final = tuple(ipaddress.ip_network(each) for each in ("::ffff:0:0/96", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))

Resolve = Callable[[str], Sequence[str]]
Connect = Callable[[str, str, float], socket.socket]


class NotFetched(Exception):
    """The document could not be had; the message says why, for the operator."""


def is_host(text: str) -> bool:
    """Whether this has the form of a public host's name: labels in lower-case ASCII, the last of them no number."""
    return _HOST.fullmatch(text) is not None


def host_of(url: str) -> str:
    """The host of an address that may be fetched: https, a public name, the usual port, a plain path. Raises `NotFetched`."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise NotFetched("this is no address") from None
    if url != f"https://{parts.netloc}{parts.path}" or not is_host(parts.netloc):
        raise NotFetched("only https://, a host in lower-case letters and a path are taken: no port, name, query or fragment")
    if not _PATH.fullmatch(parts.path) or any(step in {".", ".."} for step in parts.path.lower().replace("%2e", ".").split("/")):
        raise NotFetched("the path has characters or steps that are not taken")
    return parts.netloc


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet, and says so openly."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return False
    disguised = isinstance(known, ipaddress.IPv6Address) and any(known in network for network in _DISGUISED)
    return known.is_global and not (known.is_multicast or known.is_reserved or known.is_unspecified or disguised)


def resolve(host: str) -> list[str]:
    """The addresses of a host, by the system."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, HTTPS_PORT, type=socket.SOCK_STREAM)]


def connect(address: str, host: str, seconds: float) -> socket.socket:
    """A TLS connection to this very address, whose certificate is the host's."""
    return ssl.create_default_context().wrap_socket(socket.create_connection((address, HTTPS_PORT), seconds), server_hostname=host)


class Fetcher:
    """Fetches documents, `AT_ONCE` at most at one time. Resolver and connector are replaced by tests, and by nothing else."""

    def __init__(self, resolver: Resolve = resolve, connector: Connect = connect, seconds: float = SECONDS) -> None:
        self._resolve = resolver
        self._connect = connector
        self._seconds = seconds
        self._places = threading.BoundedSemaphore(AT_ONCE)

    def __call__(self, url: str) -> bytes:
        """The body of a JSON document, at most 64 KiB, within 5 seconds all in all; redirects are not followed. Raises `NotFetched`."""
        host = host_of(url)
        if not self._places.acquire(blocking=False):
            raise NotFetched("too many documents are being fetched already")
        call = _Call(self, host, url)
        call.start()
        call.join(self._seconds)
        call.stop()
        if call.body is None:
            raise NotFetched(call.problem or f"nothing came within {self._seconds:g} seconds")
        return call.body

    def fetch(self, host: str, path: str, opened: Callable[[socket.socket], None]) -> bytes:
        """Resolve, look at every address, connect to one that was looked at, ask and read; `opened` is told the connection."""
        addresses = self._resolve(host)
        # One private address among public ones is how a name is bound anew between look and use.
        if not addresses or not all(is_public(each) for each in addresses):
            raise NotFetched("the host has no address, or one that is not of the open internet")
        with self._connect(addresses[0], host, self._seconds) as connection:
            opened(connection)
            asked = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n"
            connection.sendall(asked.encode("ascii"))
            answer = HTTPResponse(connection, method="GET")
            answer.begin()
            kind = answer.headers.get_content_type()
            if answer.status != OK:
                raise NotFetched(f"the answer was {answer.status}; redirects are not followed")
            if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
                raise NotFetched("the answer is not application/json")
            if answer.getheader("Content-Encoding", "identity") != "identity":
                raise NotFetched("the answer is compressed")
            body = answer.read(MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            raise NotFetched("the answer is larger than 64 KiB")
        if answer.length:
            raise NotFetched("the answer was cut short")
        return body

    def done(self) -> None:
        """Give the place back."""
        self._places.release()


class _Call(threading.Thread):
    """One fetch on a thread of its own, so that neither a slow name server nor a dripping answer holds the caller longer than it waits."""

    def __init__(self, fetcher: Fetcher, host: str, url: str) -> None:
        super().__init__(name="fetch", daemon=True)
        self.body: bytes | None = None
        self.problem = ""
        self._fetcher = fetcher
        self._host = host
        self._path = url.removeprefix(f"https://{host}")
        self._connection: socket.socket | None = None
        self._stopped = threading.Event()

    def run(self) -> None:
        """Fetch; whatever the other side does is a sentence, not a failure of ours."""
        try:
            body = self._fetcher.fetch(self._host, self._path, self._opened)
            if not self._stopped.is_set():
                self.body = body
        except NotFetched as refused:
            self.problem = str(refused)
        except (OSError, HTTPException, ValueError) as failed:
            self.problem = f"the host did not answer as it should ({type(failed).__name__})"
        finally:
            self._fetcher.done()

    def _opened(self, connection: socket.socket) -> None:
        self._connection = connection
        if self._stopped.is_set():
            raise NotFetched("it came too late")

    def stop(self) -> None:
        """Wait no longer: what still reads finds its connection closed."""
        self._stopped.set()
        if self.is_alive() and self._connection is not None:
            try:
                self._connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                return
