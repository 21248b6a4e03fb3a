"""What the chain says about signed intents: receipts, finality, and who used a nonce.

Several nodes may answer, some of them behind or on a dead fork. So "it is so" is believed of a
finalized block alone, and "it is not there" means nothing.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from oracle.chain.decision import Seen
from oracle.chain.outbox import OutboxEntry
from oracle.chain.rpc import Node, RpcError, hexbytes, quantity
from oracle.chain.transactions import Receipt, parse_receipt
from oracle.types import Address, Bytes32


def look(
    node: Node, account: Address, entries: Sequence[OutboxEntry], confirmations: int, now: float
) -> list[Seen]:
    """Return what is known of each signed intent.

    Args:
        confirmations: blocks on top of a block until it counts as finalized.
        now: unix seconds.

    Raises:
        Unavailable, RpcError: the node cannot be asked.
    """
    if not entries:
        return []
    forms = [["0x" + h.hex() for h in entry.hashes] for entry in entries]
    head, *answers = node.batch(
        [
            ("eth_blockNumber",),
            *(("eth_getTransactionReceipt", h) for of_one in forms for h in of_one),
            *(("eth_getTransactionByHash", of_one[-1]) for of_one in forms),
        ]
    )
    for answer in (head, *answers):
        if isinstance(answer, RpcError):
            raise answer
    final, each = max(0, quantity(head) - confirmations), iter(answers)
    found = [
        [parse_receipt(raw) for raw in [next(each) for _ in of_one] if _in_block(raw)]
        for of_one in forms
    ]
    ended = [_finalized(node, receipts, final, confirmations) for receipts in found]
    used = _count(node, account, final) if None in ended else 0
    user_of = users(node, account, final, confirmations)
    seen = []
    for entry, receipts, receipt, newest in zip(entries, found, ended, each, strict=True):
        lost = receipt is None and entry.nonce is not None and used > entry.nonce
        seen.append(
            Seen(
                receipt=receipt,
                used=lost,
                user=user_of(entry.nonce) if lost and entry.nonce is not None else None,
                mined=bool(receipts) or _in_block(newest),
                known=newest is not None,
                age=now - entry.sent_at,
            )
        )
    return seen


def users(
    node: Node, account: Address, final: int, confirmations: int
) -> Callable[[int], Bytes32 | None]:
    """Return a function: the hash of an account's transaction with a nonce, in a finalized block.

    No standard call tells it. The block is found by the account's nonce, in ever longer steps back
    from `final` and then by halving. The function returns None when it cannot be told now: the node
    has dropped so old a state (most keep 128 blocks), or several nodes answer and contradict each
    other.
    """

    @functools.cache
    def count(block: int) -> int:
        return quantity(node.call("eth_getTransactionCount", account, hex(block)))

    @functools.cache
    def sent_in(block: int) -> dict[int, Bytes32]:
        found = _deep_block(node, block, confirmations, full=True) or {}
        return {
            quantity(one["nonce"]): Bytes32(hexbytes(one["hash"], 32))
            for one in found.get("transactions", ())
            if one["from"].lower() == account.lower()
        }

    def user_of(nonce: int) -> Bytes32 | None:
        low, high, stride = final, final, 1
        try:
            while low > 0 and count(low) > nonce:
                low, high, stride = max(0, low - stride), low, 2 * stride
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if count(middle) > nonce else (middle, high)
            return sent_in(high).get(nonce)
        except RpcError:
            return None

    return user_of


def _finalized(
    node: Node, receipts: Sequence[Receipt], final: int, confirmations: int
) -> Receipt | None:
    """Return the receipt that is in a finalized block; a node may show one of a dead fork."""
    for receipt in receipts:
        if receipt.block_number <= final:
            if not confirmations:  # the newest block counts as finalized: nothing to compare with
                return receipt
            block = _deep_block(node, receipt.block_number, confirmations, full=False)
            if block and block["hash"] == "0x" + receipt.block_hash.hex():
                return receipt
    return None


def _deep_block(node: Node, number: int, confirmations: int, *, full: bool) -> Any:
    """Return a block if the node that answers has enough blocks on top of it; else None.

    A large batch may be answered by several nodes, and one of them may be on a dead fork: how deep
    a block is, is asked of the node that shows it.
    """
    head, block = node.batch([("eth_blockNumber",), ("eth_getBlockByNumber", hex(number), full)])
    if isinstance(head, RpcError) or isinstance(block, RpcError):
        return None
    return block if number + confirmations <= quantity(head) else None


def _count(node: Node, account: Address, block: int) -> int:
    try:
        return quantity(node.call("eth_getTransactionCount", account, hex(block)))
    except RpcError:  # by a node that is behind: nothing is used, as far as it knows
        return 0


def _in_block(raw: Any) -> bool:
    return raw is not None and raw.get("blockNumber") is not None
