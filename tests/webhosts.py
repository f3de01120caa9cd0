"""Hosts of the open internet, played on loopback: real TLS, certificates of a test authority, and answers as bad as a test wants them."""

import datetime as dt
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from broker.fetching import Fetcher

# An address of the open internet, as far as anybody can tell by looking at it.
PUBLIC = "93.184.216.34"
Answer = Callable[[socket.socket, str], None]


def _certificate(name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer[0].subject if issuer else subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )  # fmt: skip
    if issuer:
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return made.sign(issuer[1] if issuer else key, hashes.SHA256()), key


def said(body: bytes, status: str = "200 OK", kind: str = "application/json", **more: str) -> Answer:
    """An answer with these headers."""
    head = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *(f"{name.replace('_', '-')}: {value}" for name, value in more.items())]
    return lambda connection, _path: connection.sendall("\r\n".join([*head, "", ""]).encode() + body)


@dataclass
class Hosts:
    """What each path answers, what was asked, and where the names lead."""

    port: int
    authority: Path
    paths: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    connected: list[tuple[str, str]] = field(default_factory=list)
    addresses: dict[str, list[str]] = field(default_factory=dict)
    looked_up: list[str] = field(default_factory=list)

    def resolve(self, host: str) -> list[str]:
        """The addresses of a host, `PUBLIC` unless a test says otherwise; a second look gives the next of several answers."""
        self.looked_up.append(host)
        return self.addresses.get(host, [PUBLIC])

    def connect(self, address: str, host: str, seconds: float) -> socket.socket:
        """The connection that would be made to `address`, made to loopback."""
        self.connected.append((address, host))
        context = ssl.create_default_context(cafile=str(self.authority))
        return context.wrap_socket(socket.create_connection(("127.0.0.1", self.port), seconds), server_hostname=host)

    def fetcher(self, seconds: float = 2.0) -> Fetcher:
        """The broker's way out, led here."""
        return Fetcher(self.resolve, self.connect, seconds)

    def serve(self, connection: socket.socket) -> None:
        """Answer one request."""
        with suppress(OSError), connection:
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(4096)
            host = head.partition(b"Host: ")[2].partition(b"\r\n")[0].decode()
            path = head.split(b" ", 2)[1].decode()
            self.asked.append(f"https://{host}{path}")
            self.paths.get(path, said(b"{}", "404 Not Found"))(connection, path)


@contextmanager
def hosting(where: Path, name: str = "books.example") -> Iterator[Hosts]:
    """A server whose certificate is for `name`."""
    authority = _certificate("Test authority", None)
    certificate, key = _certificate(name, authority)
    pem = serialization.Encoding.PEM
    (where / "ca.pem").write_bytes(authority[0].public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (where / "host.pem").write_bytes(certificate.public_bytes(pem) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(where / "host.pem")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        hosts = Hosts(listening.getsockname()[1], where / "ca.pem")

        def accept() -> None:
            while True:
                try:
                    plain, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=take, args=(plain,), daemon=True).start()

        def take(plain: socket.socket) -> None:
            with suppress(OSError):
                hosts.serve(context.wrap_socket(plain, server_side=True))

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield hosts
        # A listening socket that is only closed would leave its thread waiting.
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)
