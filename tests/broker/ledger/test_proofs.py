"""The Merkle tree against Certificate Transparency's known answers, and against the definition of RFC 6962 section 2.1."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledgers import path, root_of, subproof

from broker.ledger import proofs
from broker.ledger.merkle import Tree, verify_consistency, verify_inclusion

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
    tree = Tree(len(leaves) // 2, b"".join(by_frontier([proofs.leaf_hash(leaf) for leaf in leaves[: len(leaves) // 2]])))
    for leaf in leaves[len(leaves) // 2 :]:
        tree.grow(proofs.leaf_hash(leaf))
    assert (tree.size, tree.frontier, tree.root) == (len(leaves), frontier, proofs.root(frontier))


def by_frontier(hashes: list[bytes]) -> list[bytes]:
    frontier = b""
    for size, leaf in enumerate(hashes):
        frontier = proofs.grow(frontier, size, leaf)
    return [frontier]


def test_a_foreign_frontier_is_refused() -> None:
    with pytest.raises(ValueError, match="frontier"):
        proofs.grow(bytes(32), 2 + 1, bytes(32))
    with pytest.raises(ValueError, match="frontier"):
        Tree(2 + 1, bytes(32))


@given(st.integers(1, 70), st.data())
def test_what_is_proven_of_every_size_holds(number: int, data: st.DataObject) -> None:
    """Each proof is the standard's, word by word, and no other leaf, root or size is proven by it."""
    leaves = [proofs.leaf_hash(bytes([each])) for each in range(number)]
    tree = proofs.Leaves(leaves)
    size = data.draw(st.integers(1, number))
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    root = tree.root(size)
    assert root == root_of(leaves[:size])
    proof = tree.inclusion(index, size)
    assert proof == path(index, leaves[:size])
    assert verify_inclusion(index, size, leaves[index], proof, root)
    assert not verify_inclusion(index, size, bytes(32), proof, root)
    assert all(not verify_inclusion(other, size, leaves[index], proof, root) for other in range(-1, size + 1) if other != index)
    between = tree.consistency(old, size)
    assert between == subproof(old, leaves[:size])
    assert verify_consistency(old, size, tree.root(old), root, between)
    assert not verify_consistency(old, size, bytes(32), root, between)
    assert all(not verify_consistency(other, size, tree.root(old), root, between) for other in range(-1, size + 2) if other != old)


def test_nothing_is_proven_of_what_is_not_there() -> None:
    tree = proofs.Leaves([bytes(32)] * 3)
    for index, size in ((3, 3), (-1, 3), (0, 0), (0, 4)):
        with pytest.raises(ValueError, match="no such leaf"):
            tree.inclusion(index, size)
    for size1, size2 in ((0, 3), (3, 2), (1, 4), (-1, 2)):
        with pytest.raises(ValueError, match="nothing to be shown"):
            tree.consistency(size1, size2)
    assert proofs.Leaves([]).root(0) == proofs.EMPTY_ROOT
