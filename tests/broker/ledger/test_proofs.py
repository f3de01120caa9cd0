"""The Merkle tree against Certificate Transparency's known answers, and against the definition of RFC 6962 section 2.1."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.ledger import proofs

LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def test_known_answers() -> None:
    frontier = b""
    assert proofs.root(frontier).hex() == hashlib.sha256(b"").hexdigest()
    for size, (leaf, root) in enumerate(zip(LEAVES, ROOTS, strict=True)):
        frontier = proofs.grow(frontier, size, proofs.leaf_hash(bytes.fromhex(leaf)))
        assert proofs.root(frontier).hex() == root


def by_definition(leaves: list[bytes]) -> bytes:
    if len(leaves) < 2:
        return proofs.leaf_hash(leaves[0]) if leaves else proofs.EMPTY_ROOT
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return proofs.node_hash(by_definition(leaves[:split]), by_definition(leaves[split:]))


@given(st.lists(st.binary(max_size=4), max_size=70))
def test_growing_equals_the_definition(leaves: list[bytes]) -> None:
    frontier = b""
    for size, leaf in enumerate(leaves):
        frontier = proofs.grow(frontier, size, proofs.leaf_hash(leaf))
    assert proofs.root(frontier) == by_definition(leaves)


def test_a_foreign_frontier_is_refused() -> None:
    with pytest.raises(ValueError, match="frontier"):
        proofs.grow(bytes(32), 2 + 1, bytes(32))
