"""The one way out: whatever an address, a name server or a host does, nothing but a small public document comes back (K105, row 50)."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from webhosts import PUBLIC, Hosts, hosting, said

from broker import fetching
from broker.fetching import Fetcher, NotFetched, host_of, is_public

URL = "https://books.example/client.json"


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    with hosting(tmp_path) as made:
        made.paths["/client.json"] = said(b'{"a": 1}')
        yield made


def test_it_fetches(hosts: Hosts) -> None:
    assert hosts.fetcher()(URL) == b'{"a": 1}'
    assert (hosts.asked, hosts.connected, hosts.looked_up) == ([URL], [(PUBLIC, "books.example")], ["books.example"])


PRIVATE = (
    "127.0.0.1", "127.8.9.1", "0.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1",
    "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1",
    "::ffff:93.184.216.34", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001:0:1::1", "", "books.example", "127.1", "0x7f000001", "2130706433",
)  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_no_private_address_is_connected_to(hosts: Hosts, address: str) -> None:
    """Private, loopback, link-local, shared, multicast, v4-mapped, NAT64, 6to4, Teredo; alone and among public ones."""
    assert not is_public(address)
    for found in ([address], [PUBLIC, address], [address, PUBLIC]):
        hosts.addresses["books.example"] = found
        with pytest.raises(NotFetched, match="open internet"):
            hosts.fetcher()(URL)
    assert hosts.connected == []


def test_public_addresses() -> None:
    assert all(is_public(each) for each in (PUBLIC, "8.8.8.8", "2606:2800:220:1:248:1893:25c8:1946"))


def test_a_name_without_address(hosts: Hosts) -> None:
    hosts.addresses["books.example"] = []
    with pytest.raises(NotFetched):
        hosts.fetcher()(URL)


def test_a_name_bound_anew_leads_nowhere(hosts: Hosts) -> None:
    """DNS rebinding: the name is looked up once, and what was looked at is what is connected to."""
    answers = iter([[PUBLIC], ["127.0.0.1"]])
    fetch = Fetcher(lambda _host: next(answers), hosts.connect, 2.0)
    assert fetch(URL) == b'{"a": 1}'
    assert hosts.connected == [(PUBLIC, "books.example")]
    with pytest.raises(NotFetched):
        fetch(URL)
    assert len(hosts.connected) == 1


ADDRESSES = (
    "http://books.example/c", "https://127.0.0.1/c", "https://[::1]/c", "https://localhost/c", "https://books.example:443/c", "https://books.example:8443/c",
    "https://a@books.example/c", "https://a:b@books.example/c", "https://books.example/c?x=1", "https://books.example/c?", "https://books.example/c#x", "https://books.example/c#",
    "https://books.example", "https://books.example/../c", "https://books.example/a/./c", "https://books.example/%2e%2e/c", "https://books.example/%2E./c",
    "https://BOOKS.example/c", "HTTPS://books.example/c", "https://books.example./c", "https://books/c", "https://b\u00fccher.example/c", "https://books.example/\u00fc",
    "https://books.example/a b", "https://books.example/a\r\nX: y", "https://books.example\\@evil.example/c", "https://2130706433/c", "https://0x7f.1/c",
    "file:///etc/passwd", "gopher://books.example/c", "//books.example/c", "", "https://", "https:///c", "https://books.example/" + "a" * 1600, "https://[books.example/c",
)  # fmt: skip


@pytest.mark.parametrize("url", ADDRESSES)
def test_addresses_that_are_not_taken(hosts: Hosts, url: str) -> None:
    with pytest.raises(NotFetched):
        hosts.fetcher()(url)
    assert hosts.looked_up == []


def test_addresses_that_are() -> None:
    for url in (URL, "https://xn--bcher-kva.example/c", "https://a.b.books.example/x/y~z/%41", "https://books.example/"):
        assert host_of(url) in url


def test_the_certificate_is_the_hosts(hosts: Hosts) -> None:
    """A host that is not who it says: the TLS of the name that was asked, not of the address."""
    with pytest.raises(NotFetched, match="SSLCertVerificationError"):
        hosts.fetcher()("https://other.example/client.json")
    assert hosts.asked == []


WRONG = {
    "a redirect": said(b"{}", "302 Found", Location="https://127.0.0.1/"), "a redirect for ever": said(b"{}", "308 Permanent Redirect", Location=URL),
    "no content": said(b"", "204 No Content"), "an error": said(b"{}", "500 Oops"), "another type": said(b"{}", kind="text/html"), "no type": said(b"{}", kind=""),
    "compressed": said(b"{}", Content_Encoding="gzip"), "too large": said(b" " * (64 * 1024 + 1)), "much too large": said(b" " * 2_000_000),
    "no HTTP": lambda connection, _path: connection.sendall(b"hello\r\n\r\n"), "nothing": lambda _connection, _path: None,
    "endless headers": lambda connection, _path: connection.sendall(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 5000),
    "a header without end": lambda connection, _path: connection.sendall(b"HTTP/1.1 200 OK\r\nA: " + b"b" * 200_000),
    "cut short": lambda connection, _path: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{}"),
    "chunks without end": lambda connection, _path: connection.sendall(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + b"ffff\r\n" + b" " * 65535 + b"\r\nffff\r\n" + b" " * 65535 + b"\r\n"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_answers_that_are_not_taken(hosts: Hosts, name: str) -> None:
    hosts.paths["/client.json"] = WRONG[name]
    with pytest.raises(NotFetched):
        hosts.fetcher()(URL)
    assert len(hosts.asked) == 1, "nothing is followed, nothing tried again"


def test_as_much_as_is_taken(hosts: Hosts) -> None:
    hosts.paths["/client.json"] = said(b" " * 64 * 1024, kind="application/client-metadata+json; charset=utf-8")
    assert len(hosts.fetcher()(URL)) == 64 * 1024


def _drip(connection: socket.socket, _path: str) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
    for _ in range(600):
        connection.sendall(b"X: y\r\n")
        time.sleep(0.05)


def _free(fetch: Fetcher) -> bool:
    """Whether all places are free again, after a moment."""
    until = time.monotonic() + 3
    while fetch._places._value < fetching.AT_ONCE and time.monotonic() < until:
        time.sleep(0.02)
    return bool(fetch._places._value == fetching.AT_ONCE)


def test_the_slow_are_not_waited_for(hosts: Hosts) -> None:
    """A dripping answer, a silent one, a name server that never answers: the call ends in its time, and its place comes back."""
    fetch = hosts.fetcher(seconds=0.4)
    hosts.paths["/client.json"] = _drip
    asleep = threading.Event()
    for fetcher in (fetch, Fetcher(lambda _host: (asleep.wait(3) and [PUBLIC]) or [PUBLIC], hosts.connect, 0.4)):
        began = time.monotonic()
        with pytest.raises(NotFetched, match=r"nothing came|did not answer"):
            fetcher(URL)
        assert time.monotonic() - began < 2.5
        if fetcher is fetch:
            assert _free(fetch), "what still read found its connection closed"
    asleep.set()
    hosts.paths["/client.json"] = said(b"{}")
    assert fetch(URL) == b"{}"


def test_only_so_many_at_once(hosts: Hosts) -> None:
    going = threading.Event()
    fetch = Fetcher(lambda _host: (going.wait(5) and [PUBLIC]) or [PUBLIC], hosts.connect, 5.0)
    threads = [threading.Thread(target=fetch, args=(URL,)) for _ in range(fetching.AT_ONCE)]
    for thread in threads:
        thread.start()
    while fetch._places._value:
        time.sleep(0.01)
    with pytest.raises(NotFetched, match="too many"):
        fetch(URL)
    going.set()
    for thread in threads:
        thread.join()
    assert fetch(URL) == b'{"a": 1}'
