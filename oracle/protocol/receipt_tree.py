"""One root over all receipts of a channel so far, which grows in a handful of hashes.

A Merkle mountain range: the perfect trees that a count is made of, largest first, and above them

```
root = keccak256(count as 32 bytes ‖ peak 1 ‖ peak 2 ‖ …)        no receipts: zero
leaf = the receipt's EIP-712 digest, node = keccak256(left ‖ right)
```
The count is in the root, so no root of fewer receipts passes for one of more. Whoever holds the
receipts computes every earlier root again: a voucher's root extends the last one, or it does not.
"""

from collections.abc import Iterable, Sequence

from oracle.merkle import climb, keccak
from oracle.types import ZERO32, Bytes32


class ReceiptTree:
    """The peaks of a range; 32 bytes for each bit of the count."""

    def __init__(self, leaves: Iterable[Bytes32] = ()) -> None:
        self.count = 0
        self.peaks: list[Bytes32] = []  # largest tree first
        for leaf in leaves:
            self.append(leaf)

    def append(self, leaf: Bytes32) -> None:
        """Add a receipt's digest: equal trees on the right become one."""
        node = leaf
        for _ in range(_trailing_ones(self.count)):
            node = keccak(self.peaks.pop() + node)
        self.peaks.append(node)
        self.count += 1

    @property
    def root(self) -> Bytes32:
        """What a voucher states."""
        if not self.count:
            return ZERO32
        return keccak(self.count.to_bytes(32, "big") + b"".join(self.peaks))


def proof(leaves: Sequence[Bytes32], index: int) -> tuple[tuple[Bytes32, ...], tuple[Bytes32, ...]]:
    """Return what shows that leaf `index` is below the root: its siblings, and all peaks.

    Raises:
        IndexError: there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(f"leaf {index} of {len(leaves)}")
    first, size = _tree_of(len(leaves), index)
    level, at, path = list(leaves[first : first + size]), index - first, []
    while len(level) > 1:
        path.append(level[at ^ 1])
        level = [keccak(level[i] + level[i + 1]) for i in range(0, len(level), 2)]
        at >>= 1
    return tuple(path), tuple(ReceiptTree(leaves).peaks)


def is_below(
    leaf: Bytes32,
    index: int,
    path: Sequence[Bytes32],
    peaks: Sequence[Bytes32],
    *,
    root: Bytes32,
    count: int,
) -> bool:
    """Say whether `leaf` is receipt number `index` of the `count` below a root."""
    if not 0 <= index < count or len(peaks) != count.bit_count():
        return False
    first, size = _tree_of(count, index)
    if len(path) != size.bit_length() - 1:
        return False
    peak = climb(leaf, index - first, path)
    if peaks[(count >> size.bit_length()).bit_count()] != peak:
        return False
    return keccak(count.to_bytes(32, "big") + b"".join(peaks)) == root


def _tree_of(count: int, index: int) -> tuple[int, int]:
    """Return where the tree that holds a leaf begins, and how many leaves it has."""
    first = 0
    for bit in range(count.bit_length() - 1, -1, -1):
        size = count & (1 << bit)
        if size and index < first + size:
            return first, size
        first += size
    raise IndexError(f"leaf {index} of {count}")


def _trailing_ones(number: int) -> int:
    return (~number & (number + 1)).bit_length() - 1
