"""Requests that wait, as one transaction: `requestBatch` takes what `request` takes, in a list.

An order has no dynamic part (Solidity ABI, "static types"), so the arguments of a batch are those
of its requests, one after the other, behind an offset and a count. Pure.
"""

from collections.abc import Sequence
from dataclasses import replace

from oracle.chain.contract import Call
from oracle.chain.outbox import OutboxEntry

MOST = 64  # requests of one transaction
MOST_GAS = 12_000_000  # of one transaction: below the cap of EIP-7825
_WORD, _HEAD = 32, 4 + 64  # bytes: of a word; of selector, offset and count


def groups(waiting: Sequence[OutboxEntry]) -> list[list[OutboxEntry]]:
    """Return what goes together: at least two requests each, in order."""
    found: list[list[OutboxEntry]] = [[]]
    for entry in waiting:
        gas = sum(one.gas for one in found[-1])
        if len(found[-1]) == MOST or gas + entry.gas > MOST_GAS:
            found.append([])
        found[-1].append(entry)
    return [group for group in found if len(group) > 1]


def batch(empty: Call, entries: Sequence[OutboxEntry]) -> Call:
    """Return the call that makes all these requests; `empty` is that of none."""
    count = len(entries).to_bytes(_WORD)
    body = b"".join(entry.data[4:] for entry in entries)
    return replace(
        empty, data=empty.data[: _HEAD - _WORD] + count + body, label=f"{len(entries)} requests"
    )


def singles(batched: OutboxEntry, selector: bytes) -> list[Call]:
    """Return the requests of a batch, each alone."""
    count = len(batched.request_ids)
    size = (len(batched.data) - _HEAD) // count
    parts = [batched.data[_HEAD + at * size : _HEAD + (at + 1) * size] for at in range(count)]
    return [Call(batched.to, selector + part, batched.value, "request") for part in parts]
