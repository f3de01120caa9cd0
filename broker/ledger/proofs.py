"""The Merkle tree of RFC 6962 section 2.1 as its keeper needs it: the frontier that lets it grow, and the proofs made from its leaves.

Hashing and checking proofs, which whoever holds a bundle needs too, stand in `merkle.py`.
"""

import base64
from collections.abc import Sequence

from broker.ledger.merkle import EMPTY_ROOT, HASH_BYTES, leaf_hash, node_hash
from broker.vault.envelope import Place

__all__ = ["EMPTY_ROOT", "HASH_BYTES", "Leaves", "b64", "grow", "leaf_hash", "node_hash", "place", "root"]


def grow(frontier: bytes, size: int, leaf: bytes) -> bytes:
    """The frontier after one more leaf.

    A frontier is the roots of the complete subtrees of a tree of `size` leaves, largest first: one per set bit of `size`, 32 bytes each.
    """
    if len(frontier) != HASH_BYTES * size.bit_count():
        raise ValueError("The frontier does not belong to a tree of this size.")
    while size & 1:
        leaf = node_hash(frontier[-HASH_BYTES:], leaf)
        frontier = frontier[:-HASH_BYTES]
        size >>= 1
    return frontier + leaf


def root(frontier: bytes) -> bytes:
    """The root hash of the tree with this frontier; `SHA-256("")` for the empty one."""
    if not frontier:
        return EMPTY_ROOT
    joined = frontier[-HASH_BYTES:]
    for start in range(len(frontier) - 2 * HASH_BYTES, -1, -HASH_BYTES):
        joined = node_hash(frontier[start : start + HASH_BYTES], joined)
    return joined


class Leaves:
    """A whole tree, from its leaf hashes, for making proofs (RFC 6962 sections 2.1.1 and 2.1.2); it can be asked about each of its earlier sizes too."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        # Of each complete subtree of 2^level leaves its root.
        self._levels: list[Sequence[bytes]] = [leaves]
        while len(below := self._levels[-1]) > 1:
            self._levels.append([node_hash(below[at], below[at + 1]) for at in range(0, len(below) - 1, 2)])

    def root(self, size: int) -> bytes:
        """The root over the first `size` leaves."""
        return self._node(0, size) if size else EMPTY_ROOT

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """The proof that the leaf at `index` is in the tree of the first `size` leaves; `ValueError` where it is not."""
        if not 0 <= index < size <= len(self._levels[0]):
            raise ValueError("There is no such leaf in a tree of this size.")
        path, start, end = [], 0, size
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                path.append(self._node(middle, end))
                end = middle
            else:
                path.append(self._node(start, middle))
                start = middle
        return path[::-1]

    def consistency(self, size1: int, size2: int) -> list[bytes]:
        """The proof that the tree of `size1` leaves is the beginning of that of `size2`; `ValueError` where that says nothing."""
        if not 0 < size1 <= size2 <= len(self._levels[0]):
            raise ValueError("There is nothing to be shown between trees of these sizes.")
        path, start, end = [], 0, size2
        while size1 < end:
            middle = start + _split(end - start)
            if size1 <= middle:
                path.append(self._node(middle, end))
                end = middle
            else:
                path.append(self._node(start, middle))
                start = middle
        # The old tree itself is known to whoever checks, wherever it is a subtree of the new one.
        return [*([self._node(start, end)] if start else []), *path[::-1]]

    def _node(self, start: int, end: int) -> bytes:
        """The root over the leaves from `start` up to `end`, a subtree."""
        width = end - start
        if width & (width - 1) == 0:
            level = width.bit_length() - 1
            return self._levels[level][start >> level]
        middle = start + _split(width)
        return node_hash(self._node(start, middle), self._node(middle, end))


def _split(width: int) -> int:
    """The largest power of two below `width`."""
    return 1 << ((width - 1).bit_length() - 1)


def b64(raw: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def place(person_id: bytes, table: str, log_id: bytes, seq: int) -> bytes:
    """Where an entry's body, or its row ids, are sealed."""
    return Place(person_id, table).at(log_id, seq)
