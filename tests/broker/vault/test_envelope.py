"""The envelope: what it binds, and that anything moved, flipped or cut does not open (K74-K76)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import Unsealable
from broker.vault.envelope import ROWS, WRAPS, OpenKey, Place, new_key_pair, parts, seal_to, unseal_with

KEY, KEY_ID = bytes(range(32)), b"k" * 16
PLACE = Place(b"p" * 16, "events").at("purchase", "2026-11-20", b"t" * 16)


@pytest.mark.parametrize("alg", [ROWS, WRAPS])
def test_it_works(alg: int) -> None:
    """46 bytes more than the plaintext: version, algorithm, key id, nonce, tag."""
    key = OpenKey(KEY_ID, KEY, alg)
    sealed = key.seal(PLACE, b"secret")
    assert len(sealed) == len(b"secret") + 46
    assert sealed[:18] == bytes((1, alg)) + KEY_ID
    assert key.unseal(PLACE, sealed) == b"secret"
    assert key.seal(PLACE, b"secret") != sealed


def test_a_vector() -> None:
    """A fixed nonce and place give fixed bytes, so that the format cannot drift unseen."""
    sealed = OpenKey(KEY_ID, KEY, ROWS).seal(PLACE, b"secret", nonce=bytes(12))
    assert sealed.hex() == "01016b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b000000000000000000000000" + VECTOR


VECTOR = "7dd9d6acd05825b8e47b36dd13c84504165008ebc5ce"


@given(st.integers(0, 8 * 52 - 1))
def test_every_flipped_bit_is_found(bit: int) -> None:
    key = OpenKey(KEY_ID, KEY, ROWS)
    sealed = bytearray(key.seal(PLACE, b"secret"))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Unsealable):
        key.unseal(PLACE, bytes(sealed))


@pytest.mark.parametrize("length", range(52))
def test_a_cut_envelope_does_not_open(length: int) -> None:
    key = OpenKey(KEY_ID, KEY, ROWS)
    with pytest.raises(Unsealable):
        key.unseal(PLACE, key.seal(PLACE, b"secret")[:length])


MOVED = {
    "person": Place(b"q" * 16, "events").at("purchase", "2026-11-20", b"t" * 16),
    "table": Place(b"p" * 16, "grants").at("purchase", "2026-11-20", b"t" * 16),
    "column": Place(b"p" * 16, "events", "other").at("purchase", "2026-11-20", b"t" * 16),
    "kind": Place(b"p" * 16, "events").at("cart", "2026-11-20", b"t" * 16),
    "day": Place(b"p" * 16, "events").at("purchase", "2026-11-21", b"t" * 16),
    "tag": Place(b"p" * 16, "events").at("purchase", "2026-11-20", b"u" * 16),
    "lengths": Place(b"p" * 16, "events").at("purchase2026", "-11-20", b"t" * 16),
}


@pytest.mark.parametrize("name", MOVED)
def test_a_moved_value_does_not_open(name: str) -> None:
    """S7, T24: every part of the place is bound, with its length."""
    key = OpenKey(KEY_ID, KEY, ROWS)
    sealed = key.seal(PLACE, b"secret")
    assert key.unseal(PLACE, sealed) == b"secret"
    with pytest.raises(Unsealable):
        key.unseal(MOVED[name], sealed)


def test_another_key_or_algorithm_does_not_open() -> None:
    sealed = OpenKey(KEY_ID, KEY, ROWS).seal(PLACE, b"secret")
    for other in (OpenKey(KEY_ID, bytes(32), ROWS), OpenKey(b"x" * 16, KEY, ROWS), OpenKey(KEY_ID, KEY, WRAPS)):
        with pytest.raises(Unsealable):
            other.unseal(PLACE, sealed)


def test_to_a_public_key() -> None:
    private, public = new_key_pair()
    sealed = seal_to(public, KEY_ID, PLACE, b"secret")
    assert unseal_with(private, PLACE, sealed) == b"secret"
    for wrong in ((new_key_pair()[0], PLACE, sealed), (private, MOVED["kind"], sealed), (private, PLACE, sealed[:-1]), (private, PLACE, sealed[:20])):
        with pytest.raises(Unsealable):
            unseal_with(*wrong)


@given(st.lists(st.binary(max_size=8), max_size=5), st.lists(st.binary(max_size=8), max_size=5))
def test_parts_are_injective(one: list[bytes], other: list[bytes]) -> None:
    assert (parts(one) == parts(other)) == (one == other)


@given(st.text(max_size=10), st.binary(min_size=16, max_size=16))
def test_under_equals_at(kind: str, tag: bytes) -> None:
    """The reading path's short cut gives the same place."""
    where = Place(b"p" * 16, "events")
    head, tail = where.around(kind, rest=len(parts(("2026-11-20", tag))))
    assert head + parts(("2026-11-20", tag)) + tail == where.at(kind, "2026-11-20", tag)
