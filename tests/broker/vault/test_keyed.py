"""HMAC with the key's blocks hashed beforehand is HMAC (RFC 2104)."""

import hmac

from hypothesis import given
from hypothesis import strategies as st

from broker.vault.derive import keyed


@given(st.binary(max_size=64), st.lists(st.binary(max_size=200), min_size=1, max_size=3))
def test_it_is_hmac_sha_256_however_often_it_is_called(key: bytes, messages: list[bytes]) -> None:
    digest = keyed(key)
    assert [digest(each) for each in messages] == [hmac.digest(key, each, "sha256") for each in messages]
