"""Signing keys: one for each person and vendor, made once, sealed at rest, the same for ever (rule S2)."""

import threading

from joserfc import jws
from joserfc.jwk import OKPKey
from makers import Browser
from sqlalchemy import select

from broker.vault.keys import Keyring
from broker.vault.models import person_keys, person_wraps
from broker.vault.signing import Signer

VENDOR = "https://books.example"


def fresh(person: Browser) -> Keyring:
    """The person's keys as another process would open them."""
    broker = person.app.extensions["broker"]
    return Keyring(broker.keys, broker.vault.kek, person.person_id, broker.vault.log_tag(person.person_id))


def test_it_is_made_once_and_found_again(alice: Browser) -> None:
    signer = alice.ring.signer(VENDOR)
    assert alice.ring.signer(VENDOR) is signer
    assert fresh(alice).signer(VENDOR).jwk == signer.jwk


def test_each_person_and_vendor_has_another(alice: Browser, bob: Browser) -> None:
    kids = [ring.signer(vendor).kid for ring in (alice.ring, bob.ring) for vendor in (VENDOR, "https://other.example")]
    assert len(set(kids)) == 4


def test_two_that_come_at_once_get_the_same(alice: Browser) -> None:
    found: list[str] = []
    rings = [fresh(alice) for _ in range(8)]
    barrier = threading.Barrier(len(rings))

    def one(ring: Keyring) -> None:
        barrier.wait()
        found.append(ring.signer(VENDOR).kid)

    threads = [threading.Thread(target=one, args=(ring,)) for ring in rings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(rings)
    assert len(set(found)) == 1


def test_at_rest_it_is_wrapped_and_names_no_vendor(alice: Browser) -> None:
    """What lies in keys.db opens with the person's key alone, and does not say for whom it signs."""
    signer, broker = alice.ring.signer(VENDOR), alice.app.extensions["broker"]
    with broker.keys.reading() as tx:
        (row,) = tx.execute(select(person_keys).where(person_keys.c.person_id == alice.person_id, person_keys.c.role == "signing"))
        (wrap,) = tx.execute(select(person_wraps).where(person_wraps.c.person_id == alice.person_id, person_wraps.c.key_id == row.key_id))
    seed = alice.ring._unwrap(wrap)
    assert Signer(seed).jwk == signer.jwk
    assert seed not in wrap.wrapped
    for secret in (seed, b"books.example"):
        assert secret not in (broker.settings.data_dir / "keys.db").read_bytes()


def test_it_signs_what_any_library_verifies() -> None:
    signer = Signer(b"\x07" * 32)
    protected, signature = signer.sign("x+jws", b"payload")
    opened = jws.deserialize_compact(f"{protected}.cGF5bG9hZA.{signature}", OKPKey.import_key(dict(signer.jwk)), algorithms=["Ed25519"])
    assert (opened.payload, opened.headers()["kid"]) == (b"payload", OKPKey.import_key(dict(signer.jwk)).thumbprint())
    assert repr(signer) == f"Signer({signer.kid})"
