"""The Merkle tree of RFC 6962 section 2.1: leaf hashes, the frontier that lets a tree grow, and its root."""

import base64
import hashlib
from typing import Final

from broker.vault.envelope import Place

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def leaf_hash(body: bytes) -> bytes:
    """`SHA-256(0x00 || body)`, 32 bytes."""
    return hashlib.sha256(b"\x00" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """`SHA-256(0x01 || left || right)`, 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


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


def b64(raw: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def place(person_id: bytes, table: str, log_id: bytes, seq: int) -> bytes:
    """Where an entry's body, or its row ids, are sealed."""
    return Place(person_id, table).at(log_id, seq)
