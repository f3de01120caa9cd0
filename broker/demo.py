"""`broker demo`: a throw-away broker with a synthetic household and the sample bookshop, and the three steps that show the whole story."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from broker.config import PREFIX, Settings

if TYPE_CHECKING:
    from broker.opening import Broker

SHOP: Final = "127.0.0.1"
BOBS_DAYS: Final = 60
WORDS: Final = (
    "amber", "anchor", "birch", "canyon", "cedar", "clover", "comet", "copper", "delta", "ember", "falcon", "fennel", "garnet", "harbour", "hazel",
    "heron", "indigo", "juniper", "kestrel", "lantern", "linden", "maple", "meadow", "nutmeg", "ocean", "orchard", "pebble", "quartz", "raven",
    "saffron", "tundra", "willow",
)  # fmt: skip


@click.command()
@click.option("--port", default=8440, show_default=True, help="Port of the broker.")
@click.option("--shop-port", default=8450, show_default=True, help="Port of the sample bookshop.")
@click.option("--seed", default=7, show_default=True, help="Another number makes another year.")
def demo(port: int, shop_port: int, seed: int) -> None:
    """Show the whole story in two minutes: a throw-away broker with synthetic people, and a bookshop that asks."""
    from broker.terminal import fail, port_is_free, run_server  # noqa: PLC0415 - the command must answer --help at once

    for wanted in (port, shop_port):
        if not port_is_free(SHOP, wanted):
            fail(f"Port {wanted} is in use. Choose others with --port and --shop-port.")
    with _folder() as folder:
        settings = Settings(data_dir=folder / "data", key_file=folder / "key", port=port, sandbox=True)
        shop = {**os.environ, **_shop_environment(folder, settings, shop_port)}
        passwords = _fill(settings, seed, _metadata(shop))
        with _bookshop(shop):
            click.echo(_story(settings, shop_port, passwords))
            sys.stdout.flush()
            for name in [name for name in os.environ if name.startswith(PREFIX)]:
                del os.environ[name]
            os.environ.update(
                BROKER_DATA_DIR=str(settings.data_dir), BROKER_KEY_FILE=str(settings.key_file), BROKER_PORT=str(port), BROKER_SANDBOX="true",
                BROKER_LOG_LEVEL="WARNING",
            )  # fmt: skip
            run_server(settings)
    click.echo("The demo is over. Its broker and everything in it is gone.", err=True)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder that is gone afterwards, however the demo ends."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    folder = Path(tempfile.mkdtemp(prefix="proffer-demo-"))
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield folder
    except KeyboardInterrupt:
        pass
    finally:
        # A second Ctrl-C must not leave half of it behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        shutil.rmtree(folder, ignore_errors=True)
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _fill(settings: Settings, seed: int, metadata: dict[str, Any]) -> dict[str, str]:
    """Make the household with its events and register the shop; returns the passwords."""
    from broker.opening import opened  # noqa: PLC0415 - the command must answer --help at once
    from broker.people import actions as people  # noqa: PLC0415 - the same
    from broker.vendors.actions import add_client  # noqa: PLC0415 - the same
    from broker.vendors.schemas import ClientMetadata  # noqa: PLC0415 - the same

    passwords = {name: _password() for name in ("Alice", "Bob")}
    with opened(settings) as broker:
        add_client(broker, ClientMetadata().load(metadata))
        broker.vault.add_recovery_key()
        alice, bob = (people.add(broker, name, password) for name, password in passwords.items())
        _store(broker, alice, seed)
        _store(broker, bob, seed + 1, days=BOBS_DAYS)
        _say_of_shops(broker, alice)
    return passwords


def _store(broker: "Broker", person_id: bytes, seed: int, **more: int) -> None:
    from broker import synthetic  # noqa: PLC0415 - see _fill
    from broker.events import actions, shape  # noqa: PLC0415 - the same
    from broker.ledger.actions import Entry  # noqa: PLC0415 - the same

    now = broker.now()
    events = [shape.check(event, now=now) for event in synthetic.year(seed, now, **more)]
    actions.take_in(broker, broker.keyring(person_id), events, origin="demo", within=None, entry=Entry("import", now, about={"source": "demo"}))


def _say_of_shops(broker: "Broker", person_id: bytes) -> None:
    """What Alice knows of two shops, and the totals that the first sweep would else work out half a minute later."""
    from broker.insights import actions  # noqa: PLC0415 - see _fill
    from broker.insights.queries import Shop  # noqa: PLC0415 - the same

    actions.keep_shop(broker, person_id, Shop("plainthread.example", 30, 0, "The label for sending back lies in the parcel."))
    actions.keep_shop(broker, person_id, Shop("voltandwire.example", 14, 24))
    actions.keep_shop(broker, person_id, Shop("hearthware.example", 60, 36))
    while actions.add_up(broker):
        pass


def _password() -> str:
    return "-".join(secrets.choice(WORDS) for _ in range(4))


def _shop_environment(folder: Path, settings: Settings, port: int) -> dict[str, str]:
    told = {"BROKER": settings.origin, "PORT": str(port), "CLIENT_ID": "bookshop", "FOLDER": str(folder / "bookshop")}
    # In a checkout that is not installed the shop lies beside the broker, not on the path.
    beside = str(Path(__file__).parents[1] / "clients" / "vendor")
    path = os.pathsep.join(filter(None, (beside, os.environ.get("PYTHONPATH"))))
    return {f"BOOKSHOP_{name}": value for name, value in told.items()} | {"PYTHONPATH": path}


def _metadata(environment: dict[str, str]) -> dict[str, Any]:
    """What the shop says about itself; the broker knows a vendor by nothing else."""
    said = subprocess.run([sys.executable, "-m", "bookshop", "metadata"], env=environment, check=True, capture_output=True).stdout
    metadata: dict[str, Any] = json.loads(said)
    return metadata


@contextlib.contextmanager
def _bookshop(environment: dict[str, str]) -> Iterator[None]:
    # A session of its own, so that Ctrl-C reaches us alone and the two end in order.
    shop = subprocess.Popen([sys.executable, "-m", "bookshop"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield
    finally:
        shop.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            shop.wait(5)
        shop.kill()


def _story(settings: Settings, shop_port: int, passwords: dict[str, str]) -> str:
    shop = f"http://{SHOP}:{shop_port}/"
    return f"""
A broker with synthetic people. Nothing in it is about anyone, and all of it is gone when you press Ctrl-C.

  1. Open {settings.origin}/ and sign in as Alice with the password {passwords["Alice"]}
     My activity shows a year of hers. (Bob lives here too: {passwords["Bob"]})
  2. Open {shop} and press “Connect my Proffer”. The bookshop asks for more than
     Alice's terms allow: see what is cut, give less still, and read what the shop then sees.
  3. Back at {settings.origin}/grants open the grant and revoke it.
     Reload {shop} : it can read nothing more, and the ledger shows every read.
"""
