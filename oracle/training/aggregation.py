"""What a training round makes of its updates: running sums, and the next state.

docs/training-rounds.md, section 2.

Client c = 1 … n stands in the order of reveals, with a weight w_c that is 0 when it does not count:
```
 S_0 = 0      S_c = S_{c−1} + w_c · clamp(u_c, −clip, clip)      W = Σ w_c
 mean         θ' = clamp_i32(θ + ⌊(2·S_n + W) / (2·W)⌋)          rounds half up
 median       θ' = clamp_i32(θ + median)                         of an even number: ⌊(a + b) / 2⌋
 trimmed k    θ' = clamp_i32(θ + mean without the k least and the k greatest), each of weight 1
```
All running sums are one vector of P · n coordinates, in which entry x · n + c − 1 is S_c at
coordinate x. So S_{c−1} and S_c mostly share a leaf, and one root stands for all of them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from oracle.merkle import HashAll, hash_all
from oracle.training.errors import AggregationInvalid, VectorInvalid
from oracle.training.vectors import (
    STATE,
    SUMS,
    Integers,
    Map,
    Vector,
    VectorTree,
    block_roots,
    in_batches,
)
from oracle.types import ZERO32, Bytes32

MAX_CLIP = 2**15 - 1
MAX_WEIGHT = MAX_CLIENTS = 2**16 - 1
MAX_SHOWN = 16  # clients of a rule whose proofs show all updates
MAX_PARAMETERS = 2**32
SUMS_AT_ONCE = 2**20  # running sums that a block has at most: 8 MiB
MAX_BLOCK_LEVELS = 10

I32 = np.iinfo(np.int32)


class AggregationRule(IntEnum):
    """How updates become one; the numbers of `ITrainingRounds.AggregationRule`."""

    MEAN = 0
    MEDIAN = 1
    TRIMMED = 2


@dataclass(frozen=True, slots=True)
class Aggregation:
    """How a round aggregates.

    Attributes:
        parameters: P, the coordinates of the state.
        clip: bound of an update's coordinates, 1 … 32,767.
        weights: of each client in the order of reveals, 0 … 65,535; 0: it does not count.
        trim: k of the rule `trimmed`, 0 of others.

    Raises:
        AggregationInvalid: a number is out of its range, or no client counts.
    """

    parameters: int
    clip: int
    weights: tuple[int, ...]
    rule: AggregationRule = AggregationRule.MEAN
    trim: int = 0

    def __post_init__(self) -> None:
        most = MAX_CLIENTS if self.rule == AggregationRule.MEAN else MAX_SHOWN
        counted = len(self.counted)
        require(1 <= self.parameters <= MAX_PARAMETERS, f"{self.parameters} parameters")
        require(1 <= self.clip <= MAX_CLIP, f"a clip of {self.clip}")
        require(len(self.weights) <= most, f"{len(self.weights)} clients of at most {most}")
        require(all(0 <= w <= MAX_WEIGHT for w in self.weights), "a weight above 65,535 or below 0")
        require(counted > 0, "no client that counts")
        trimmed = self.rule == AggregationRule.TRIMMED
        require(self.trim >= 0 and (trimmed or not self.trim), f"a trim of {self.trim}")
        require(counted > 2 * self.trim, f"a trim of {self.trim} with {counted} clients")

    @property
    def counted(self) -> list[int]:
        """The clients that count, from 0."""
        return [client for client, weight in enumerate(self.weights) if weight]

    @property
    def total_weight(self) -> int:
        """W, the sum of all weights."""
        return sum(self.weights)

    def clipped(self, updates: Integers) -> NDArray[np.int64]:
        """Return updates as they count: i64."""
        clipped: NDArray[np.int64] = updates.astype(np.int64).clip(-self.clip, self.clip)
        return clipped

    def running_sums(self, updates: Integers) -> Integers:
        """Return S_1 … S_n of some coordinates: i64, coordinates × clients, of clients × them."""
        weights = np.array(self.weights, np.int64)[:, None]
        sums: Integers = self.clipped(updates) * weights
        for before, after in pairwise(sums):  # `cumsum` along the clients is five times slower
            np.add(before, after, out=after)
        return sums.T

    def step(self, updates: Integers) -> Integers:
        """Return what is added to the state: i64, per coordinate, of clients × coordinates."""
        if self.rule == AggregationRule.MEAN:
            weights = np.array(self.weights, np.int64)
            return rounded(weights @ self.clipped(updates), self.total_weight)
        ranked: Integers = np.sort(self.clipped(updates[self.counted]), axis=0)
        count = len(ranked)
        if self.rule == AggregationRule.MEDIAN:
            middle: Integers = ranked[(count - 1) // 2] + ranked[count // 2]
            return middle // 2
        kept: Integers = ranked[self.trim : count - self.trim]
        return rounded(np.sum(kept, axis=0), len(kept))

    def next_state(self, base: Integers, updates: Integers) -> Integers:
        """Return the state that follows: i32, per coordinate."""
        moved = base.astype(np.int64) + self.step(updates)
        return np.clip(moved, I32.min, I32.max).astype(np.int32)


def rounded(total: Integers, weight: int) -> Integers:
    """Return total / weight, rounded half up."""
    return (2 * total + weight) // (2 * weight)


def require(holds: bool, what: str) -> None:
    """Refuse an aggregation.

    Raises:
        AggregationInvalid: it does not hold.
    """
    if not holds:
        raise AggregationInvalid(
            f"training round: {what}", hint="docs/training-rounds.md, section 2"
        )


class RunningSums:
    """The vector of all running sums, computed where it is asked for."""

    def __init__(self, aggregation: Aggregation, updates: Sequence[Vector]) -> None:
        check(aggregation, updates)
        self._aggregation = aggregation
        self._updates = updates

    def __len__(self) -> int:
        """Return P · n."""
        return self._aggregation.parameters * len(self._updates)

    def __getitem__(self, part: slice, /) -> Integers:
        """Return some of them: i64."""
        start, stop, _ = part.indices(len(self))
        clients = len(self._updates)
        first = start // clients
        shown = stacked(self._updates, first, -(-stop // clients))
        sums = self._aggregation.running_sums(shown).reshape(-1)
        return sums[start - first * clients : stop - first * clients]


@dataclass(frozen=True, slots=True)
class Aggregated:
    """What an aggregator publishes, with the roots of blocks for the trees.

    Attributes:
        state_levels, sums_levels: of a block.
        sums: the roots of blocks of running sums; none where the rule shows all updates.
        state: those of the next state.
    """

    state_levels: int
    sums_levels: int
    sums: list[Bytes32]
    state: list[Bytes32]

    def sums_tree(self, sums: Vector) -> VectorTree:
        """Return the tree of the running sums, from which leaves are opened."""
        return VectorTree(sums, SUMS, self.sums, self.sums_levels)

    def state_tree(self, state: Vector) -> VectorTree:
        """Return the tree of the next state."""
        return VectorTree(state, STATE, self.state, self.state_levels)


def aggregate(
    aggregation: Aggregation,
    base: Vector,
    updates: Sequence[Vector],
    write: Callable[[int, Integers], object],
    *,
    map: Map = map,
    hashing: HashAll = hash_all,
    at_once: int = SUMS_AT_ONCE,
) -> Aggregated:
    """Aggregate a round block by block, in memory of a few blocks.

    Args:
        base: θ.
        updates: u_c of every client, those of weight 0 too.
        write: takes the next state, i32: where a part begins, and the part.
        map: how blocks are spread over processors: the `map` of a pool of processes, or of threads
            where `hashing` lets them run.
        hashing: what hashes leaves and nodes.
        at_once: running sums of a block, at most.

    Raises:
        VectorInvalid: a vector has another length than the round says.
    """
    check(aggregation, updates)
    if len(base) != aggregation.parameters:
        raise VectorInvalid(f"a state of {len(base)} in place of {aggregation.parameters}")
    levels = block_levels(len(updates), at_once)
    of_state = min(levels, STATE.depth(len(base)))
    of_sums = min(levels + 1, SUMS.depth(len(base) * len(updates)))
    made = Aggregated(of_state, of_sums, [], [])
    size = STATE.per_leaf << levels
    for starts in in_batches(range(0, len(base), size)):
        parts = _parts(base, updates, starts, size)
        work = partial(_aggregate_block, aggregation, of_state, of_sums, hashing)
        for start, (state, sums, roots) in zip(starts, map(work, parts), strict=True):
            write(start, state)
            made.sums.extend(sums)
            made.state.extend(roots)
    return made


def block_levels(clients: int, at_once: int = SUMS_AT_ONCE) -> int:
    """Return the levels of a block of the state that has no more running sums than that."""
    leaves = at_once // (STATE.per_leaf * clients)
    return max(0, min(MAX_BLOCK_LEVELS, leaves.bit_length() - 1))


def sums_root(aggregated: Aggregated, sums: Vector) -> Bytes32:
    """Return the root of the running sums; zero where the rule has none."""
    return aggregated.sums_tree(sums).root if aggregated.sums else ZERO32


def check(aggregation: Aggregation, updates: Sequence[Vector]) -> None:
    """Refuse updates that are not those of the round.

    Raises:
        VectorInvalid: too few or too many, or one of another length.
    """
    if len(updates) != len(aggregation.weights):
        raise VectorInvalid(f"{len(updates)} updates of {len(aggregation.weights)} clients")
    for number, update in enumerate(updates):
        if len(update) != aggregation.parameters:
            raise VectorInvalid(
                f"update {number + 1} has {len(update)} coordinates, not {aggregation.parameters}"
            )


def stacked(updates: Sequence[Vector], start: int, stop: int) -> Integers:
    """Return some coordinates of all updates: clients × coordinates."""
    return np.stack([update[start:stop] for update in updates])


def _parts(
    base: Vector, updates: Sequence[Vector], starts: Sequence[int], size: int
) -> Iterator[tuple[Integers, Integers]]:
    for start in starts:
        stop = min(start + size, len(base))
        yield base[start:stop], stacked(updates, start, stop)


def _aggregate_block(
    aggregation: Aggregation,
    of_state: int,
    of_sums: int,
    hashing: HashAll,
    part: tuple[Integers, Integers],
) -> tuple[Integers, list[Bytes32], list[Bytes32]]:
    base, updates = part
    state = aggregation.next_state(base, updates)
    sums: list[Bytes32] = []
    if aggregation.rule == AggregationRule.MEAN:
        running = aggregation.running_sums(updates).reshape(-1)
        sums = block_roots(SUMS, running, of_sums, hashing)
    return state, sums, block_roots(STATE, state, of_state, hashing)
