"""Fits many items into one transaction that does not revert: deliveries, settlements.

A batch on chain is all or nothing, so one item that is refused must be left out beforehand.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from oracle.chain.contract import Call
from oracle.chain.revert import ContractError

T = TypeVar("T")
MAX_BATCH = 64  # about 1.3 M gas of deliveries


@dataclass(frozen=True, slots=True)
class Batch(Generic[T]):
    """One call for many items, and what became of the others."""

    call: Call | None  # None when nothing fits
    taken: tuple[T, ...]
    refused: tuple[tuple[T, ContractError], ...]  # each would be refused on its own
    left: tuple[T, ...]  # possible, but not together with the others: try again later


def fit(
    items: Sequence[T],
    call_of: Callable[[Sequence[T]], Call],
    simulate: Callable[[Call], object],
    limit: int = MAX_BATCH,
) -> Batch[T]:
    """Return the largest prefix-stable batch that would succeed now.

    The usual case, all of them possible, costs one simulation.

    Args:
        call_of: makes the call for some of the items, at least one.
        simulate: raises ContractError when a call would be refused.
    """
    taken, left = list(items[:limit]), list(items[limit:])
    refused: list[tuple[T, ContractError]] = []
    if taken and not _possible(call_of(taken), simulate):
        possible: list[T] = []
        for item in taken:
            try:
                simulate(call_of([item]))
            except ContractError as error:
                refused.append((item, error))
            else:
                possible.append(item)
        taken = possible
        # each fits alone, but the operator's free stake may not cover all of them
        while len(taken) > 1 and not _possible(call_of(taken), simulate):
            half = len(taken) // 2
            left = taken[half:] + left
            taken = taken[:half]
    return Batch(call_of(taken) if taken else None, tuple(taken), tuple(refused), tuple(left))


def _possible(call: Call, simulate: Callable[[Call], object]) -> bool:
    try:
        simulate(call)
    except ContractError:
        return False
    return True
