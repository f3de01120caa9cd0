"""Settings: every setting's name, default and sentence, read once from the environment."""

import os
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs
from environs import FileAwareEnv
from limits import parse
from marshmallow import ValidationError

PREFIX = "BROKER_"
RANGES = {
    "port": (1, 65535), "workers": (1, 256), "threads": (1, 256), "session_idle_days": (1, 3650), "session_days": (1, 3650), "import_max_mib": (1, 4096),
    "rate_client_in_flight": (1, 10_000), "lock_after": (0, 10_080),
}  # fmt: skip
JURISDICTION = re.compile(r"[A-Z]{2}")
CONTACT = re.compile(r"(mailto:|https://|tel:)[!-~]{1,300}")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def _setting(default: Any, sentence: str) -> Any:
    return field(default=default, metadata={"sentence": sentence})


class WrongSetting(Exception):
    """A setting that start-up cannot work with; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a broker is told at start-up; tests build it directly, `from_environment` reads `BROKER_*`."""

    data_dir: Path = _setting(Path(platformdirs.user_data_dir("proffer")), "Directory of the three stores; made with mode 0700.")
    key_file: Path = _setting(
        Path(platformdirs.user_config_dir("proffer")) / "key", "File of the 32 bytes that open the vault; made with mode 0600, never inside the data directory."
    )
    backup_dir: str = _setting(
        "", "Directory for the backup that the broker makes itself, one and never more, before it destroys keys or changes the stores' form; empty is none."
    )
    host: str = _setting("127.0.0.1", "Address the server listens on.")
    port: int = _setting(8440, "Port the server listens on.")
    origin: str = _setting("", "Public origin, such as https://broker.example; empty means http://localhost:<port>.")
    jurisdiction: str = _setting("EU", "Whose law agreements name: the two letters of the country the people of this broker live in, or EU.")
    security_contact: str = _setting(
        "",
        "Whom to tell of a weakness, as /.well-known/security.txt names them: an address such as mailto:me@exa"
        "mple.org or https://example.org/security; empty means that there is no such file.",
    )
    workers: int = _setting(1, "Server processes.")
    threads: int = _setting(4, "Request threads in each process.")
    sandbox: bool = _setting(False, "Say on every page and in the metadata that the people in this broker are synthetic.")
    log_level: str = _setting("INFO", "Lowest level that is logged: DEBUG, INFO, WARNING or ERROR.")
    lock_after: int = _setting(0, "Minutes without anybody at a page after which the broker seals itself; 0 is never.")
    session_idle_days: int = _setting(30, "Days without a visit after which a session ends.")
    session_days: int = _setting(90, "Days after which a session ends in any case.")
    import_max_mib: int = _setting(256, "Largest file the Import page takes, in MiB.")
    rate_vendor_read: str = _setting("60/minute", "Vendor reads per grant.")
    rate_client_in_flight: int = _setting(4, "Requests of one client that are worked on at once in one process.")
    rate_par: str = _setting("10/minute", "Pushed requests per client.")
    rate_token: str = _setting("60/minute", "Calls of the token endpoint per client.")
    rate_fetch: str = _setting("6/minute", "Fetches of client metadata documents per host.")
    rate_upload: str = _setting("30/minute", "Upload batches per grant of an extension.")
    rate_upload_events: str = _setting("20000/day", "Uploaded events per grant of an extension.")
    rate_unauthenticated: str = _setting("30/minute", "Requests per address whose sender could not be told: wrong tokens, wrong clients, unknown links.")
    rate_sign_in_name: str = _setting("5/15 minutes", "Sign-in attempts per name.")
    rate_unlock: str = _setting("5/15 minutes", "Attempts to unlock the broker per address.")
    rate_invite: str = _setting("20/day", "Invites for vendors that one person makes.")
    rate_recovery: str = _setting("5/day", "Attempts with a recovery code per name.")
    rate_sign_in_address: str = _setting("30/hour", "Sign-in attempts per address.")

    def __post_init__(self) -> None:
        origin = self.origin or f"http://localhost:{self.port}"
        object.__setattr__(self, "origin", origin.rstrip("/"))
        parts = urlsplit(self.origin)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path or parts.query or parts.fragment:
            raise WrongSetting(f"BROKER_ORIGIN is {origin!r}: give scheme and host only, such as https://broker.example.")
        if parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise WrongSetting("BROKER_ORIGIN uses plain http away from this computer: put the broker behind https.")
        if self.data_dir.resolve() in self.key_file.resolve().parents:
            raise WrongSetting("BROKER_KEY_FILE lies inside BROKER_DATA_DIR: a copy of the data would carry its own key. Put it elsewhere.")
        if self.backup_dir and self.data_dir.resolve() in (Path(self.backup_dir).resolve(), *Path(self.backup_dir).resolve().parents):
            raise WrongSetting("BROKER_BACKUP_DIR lies inside BROKER_DATA_DIR: what takes the one would take the other. Put it elsewhere.")
        self._check_ranges()

    def _check_ranges(self) -> None:
        """Refuse numbers and words that a start could only fail on later."""
        for name, (least, most) in RANGES.items():
            if not least <= getattr(self, name) <= most:
                raise WrongSetting(f"{PREFIX}{name.upper()} is {getattr(self, name)}: give a whole number from {least} to {most}.")
        if not JURISDICTION.fullmatch(self.jurisdiction):
            raise WrongSetting(f"{PREFIX}JURISDICTION is {self.jurisdiction!r}: give the two capital letters of a country, such as IE, or EU.")
        if self.security_contact and not CONTACT.fullmatch(self.security_contact):
            raise WrongSetting(f"{PREFIX}SECURITY_CONTACT is {self.security_contact!r}: give an address that begins with mailto:, https:// or tel:.")
        if self.log_level not in LEVELS:
            raise WrongSetting(f"BROKER_LOG_LEVEL is {self.log_level!r}: give one of {', '.join(LEVELS)}.")
        for name in (each.name for each in fields(self) if each.name.startswith("rate_") and each.type is str):
            try:
                parse(getattr(self, name))
            except ValueError:
                raise WrongSetting(f"{PREFIX}{name.upper()} is {getattr(self, name)!r}: give a rate such as 60/minute.") from None

    @property
    def https(self) -> bool:
        """Whether people reach the broker over https."""
        return self.origin.startswith("https://")

    def cookie(self, name: str) -> str:
        """The name of one of our cookies: `__Host-` over https; on loopback http, where browsers refuse that and share cookies between ports, with the port."""
        return f"__Host-{name}" if self.https else f"{name}-{urlsplit(self.origin).port or 80}"

    @property
    def host_header(self) -> str:
        """The `Host` a browser sends for our origin."""
        return urlsplit(self.origin).netloc


def sentences() -> dict[str, tuple[str, str]]:
    """Each environment name with its default (as text) and its sentence, in order; the reference page is tested against this."""
    return {PREFIX + f.name.upper(): (str(f.default), f.metadata["sentence"]) for f in fields(Settings)}


def from_environment() -> Settings:
    """Settings from `BROKER_*` (each also as `BROKER_…_FILE`); an unknown name or a wrong value raises `WrongSetting`."""
    known = set(sentences())
    for name in os.environ:
        if name.startswith(PREFIX) and name not in known and name.removesuffix("_FILE") not in known:
            raise WrongSetting(f"{name} is not a setting of the broker. `broker config` lists them all.")
    env = FileAwareEnv(strip_whitespace=True)
    given: dict[str, Any] = {}
    readers: dict[type, Any] = {int: env.int, bool: env.bool, str: env.str}
    for f in fields(Settings):
        name = PREFIX + f.name.upper()
        # A name such as BROKER_KEY_FILE ends like a secret's file but is a setting itself.
        if name in os.environ or f"{name}_FILE" in os.environ:
            try:
                given[f.name] = readers.get(type(f.default), env.path)(name)
            except (ValueError, ValidationError) as wrong:
                kind = {int: "a whole number", bool: "true or false"}.get(type(f.default), "a text")
                raise WrongSetting(f"{name} cannot be used: give {kind}. {f.metadata['sentence']}") from wrong
    return Settings(**given)


def in_force(settings: Settings) -> dict[str, str]:
    """What `broker config` prints: name to value as text."""
    return {PREFIX + f.name.upper(): re.sub(r"\s+", " ", str(getattr(settings, f.name))) for f in fields(settings)}
