"""The Merkle tree of RFC 6962 section 2.1: hashes, a tree that grows, and proofs checked strictly."""

import hashlib
from collections.abc import Sequence
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def leaf_hash(body: bytes) -> bytes:
    """`SHA-256(0x00 || body)`, 32 bytes."""
    return hashlib.sha256(b"\x00" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """`SHA-256(0x01 || left || right)`, 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """A tree that only grows: the roots of its complete subtrees, largest first."""

    __slots__ = ("_peaks", "size")

    def __init__(self, size: int = 0, frontier: bytes = b"") -> None:
        """`frontier` is 32 bytes for each set bit of `size`; `ValueError` where it cannot belong to a tree of this size."""
        if len(frontier) != HASH_BYTES * size.bit_count():
            raise ValueError("The frontier does not belong to a tree of this size.")
        self.size = size
        # Each with the byte before it that a node is hashed with: the root is worked out for every entry, over and over.
        self._peaks = [b"\x01" + frontier[start : start + HASH_BYTES] for start in range(0, len(frontier), HASH_BYTES)]

    def grow(self, leaf: bytes) -> None:
        """Add a leaf."""
        peaks, size, sha256 = self._peaks, self.size, hashlib.sha256
        while size & 1:
            leaf = sha256(peaks.pop() + leaf).digest()
            size >>= 1
        peaks.append(b"\x01" + leaf)
        self.size += 1

    @property
    def frontier(self) -> bytes:
        """What this tree grows on from."""
        return b"".join(peak[1:] for peak in self._peaks)

    @property
    def root(self) -> bytes:
        """The root hash; `SHA-256("")` of the empty tree."""
        if not self._peaks:
            return EMPTY_ROOT
        sha256, joined = hashlib.sha256, self._peaks[-1][1:]
        for peak in self._peaks[-2::-1]:
            joined = sha256(peak + joined).digest()
        return joined


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` shows that the leaf at `index` is in the tree of `size` leaves (RFC 9162 section 2.1.3.2); every hash has 32 bytes."""
    if not 0 <= index < size or any(len(each) != HASH_BYTES for each in (leaf, root, *proof)):
        return False
    fn, sn, joined = index, size - 1, leaf
    for each in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            joined = node_hash(each, joined)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            joined = node_hash(joined, each)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and joined == root


def verify_consistency(size1: int, size2: int, root1: bytes, root2: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the tree of `size1` leaves is the beginning of that of `size2` (RFC 9162 section 2.1.4.2).

    From the empty tree nothing can be shown, so its size is refused.
    """
    return size1 > 0 and verify_subtree(0, size1, size2, root1, root2, proof)


def is_subtree(start: int, end: int) -> bool:
    """Whether the leaves from `start` up to `end` can be a subtree of their own: `start` is a multiple of the power of two that holds them."""
    return 0 <= start <= end and start % (1 << max(end - start - 1, 0).bit_length()) == 0


def verify_subtree(start: int, end: int, size: int, node: bytes, root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows the subtree of the leaves from `start` up to `end` to be in the tree of `size` (draft-ietf-plants-merkle-tree-certs)."""
    if not is_subtree(start, end) or end > size:
        return False
    if start == end:
        return node == EMPTY_ROOT and not proof
    # Without a proof nothing is hashed: two roots are compared as they are.
    if proof and any(len(each) != HASH_BYTES for each in (node, root, *proof)):
        return False
    fn, sn, tn = start, end - 1, size - 1
    while fn != sn and (sn == tn or sn & 1):
        fn, sn, tn = fn >> 1, sn >> 1, tn >> 1
    rest = list(proof)
    if fn != sn and not rest:
        return False
    first = second = node if fn == sn else rest.pop(0)
    for each in rest:
        if tn == 0:
            return False
        if sn & 1 or sn == tn:
            first = node_hash(each, first) if fn < sn else first
            second = node_hash(each, second)
            while sn and not sn & 1:
                fn, sn, tn = fn >> 1, sn >> 1, tn >> 1
        else:
            second = node_hash(second, each)
        fn, sn, tn = fn >> 1, sn >> 1, tn >> 1
    return tn == 0 and first == node and second == root
