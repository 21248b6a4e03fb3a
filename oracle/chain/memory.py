"""A chain in memory behind the `Node` port: blocks, logs, nonces, a mempool and reorgs, no EVM.

For tests and experiments. What a transaction does is a function that the user gives.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import rlp  # type: ignore[import-untyped]  # it ships no types
from eth_account import Account
from eth_utils.crypto import keccak

from oracle.chain.bloom import bloom_of
from oracle.chain.codec import address
from oracle.chain.logs import parse, to_json
from oracle.chain.rpc import RpcError
from oracle.types import Address, Bytes32, Log

_REVERTED = 3
_REFUSED = -32000


@dataclass(frozen=True, slots=True)
class MemoryTransaction:
    """One signed EIP-1559 transaction, read."""

    hash: bytes
    sender: Address
    nonce: int
    to: Address
    data: bytes
    max_fee: int
    priority_fee: int


class MemoryRevert(Exception):
    """Raised by `execute` to revert, with revert data."""

    def __init__(self, data: bytes = b"") -> None:
        super().__init__(data.hex())
        self.data = data


@dataclass(slots=True)
class _Block:
    hash: bytes
    parent: bytes
    timestamp: int
    transactions: list[tuple[MemoryTransaction, bool]] = field(default_factory=list)
    logs: list[dict[str, Any]] = field(default_factory=list)


Execute = Callable[[Address, Address, bytes], Sequence[Log]]


class MemoryNode:
    """One chain. `automine` puts each accepted transaction into a block of its own at once."""

    def __init__(
        self,
        execute: Execute = lambda sender, to, data: (),
        *,
        chain_id: int = 31337,
        automine: bool = True,
        base_fee: int = 10**9,
        start: int = 1_700_000_000,
    ) -> None:
        """Start with a genesis block.

        Args:
            execute: (sender, to, data) → logs of the transaction; raises MemoryRevert.
            start: timestamp of the genesis block; each block is a second later.
        """
        self.automine = automine
        self.base_fee = base_fee
        self.mempool: dict[tuple[Address, int], MemoryTransaction] = {}
        self._execute = execute
        self._chain_id = chain_id
        self._forks = 0
        self._blocks = [_Block(keccak(b"genesis"), bytes(32), start)]

    # ── What a test does ────────────────────────────────────────────────────────────────────────

    @property
    def transactions(self) -> list[tuple[MemoryTransaction, bool]]:
        """All mined transactions in order, with whether they succeeded."""
        return [item for block in self._blocks for item in block.transactions]

    def mine(self, blocks: int = 1) -> None:
        """Append blocks; the first takes what the mempool has to offer."""
        for _ in range(blocks):
            self._append()
            self._include()

    def emit(self, *logs: Log) -> None:
        """Append a block with these logs; their position is set here."""
        self._append()
        self._record(logs, keccak(self._blocks[-1].hash))

    def reorg(self, depth: int, *, keep: bool = False) -> None:
        """Replace the last blocks by empty ones; `keep` puts transactions back in the mempool."""
        gone = self._blocks[-depth:]
        del self._blocks[-depth:]
        self._forks += 1
        for block in gone:
            if keep:
                self.mempool |= {(t.sender, t.nonce): t for t, _ in block.transactions}
        for _ in gone:
            self._append()

    def behind(self, blocks: int) -> "MemoryNode":
        """Return the chain as a node shows it that is so many blocks behind; for reading."""
        seen = copy.copy(self)
        seen._blocks = self._blocks[: max(1, len(self._blocks) - blocks)]
        return seen

    def forget(self) -> None:
        """Lose the mempool, as a node does that is restarted."""
        self.mempool.clear()

    # ── Node ────────────────────────────────────────────────────────────────────────────────────

    def call(self, method: str, *params: Any) -> Any:
        """Answer one call."""
        handler = getattr(self, "_" + method.replace("eth_", "").lower(), None)
        if handler is None:
            raise RpcError(-32601, f"method {method} not found")
        return handler(*params)

    def batch(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Answer many calls."""
        answers: list[Any] = []
        for call in calls:
            try:
                answers.append(self.call(*call))
            except RpcError as error:
                answers.append(error)
        return answers

    def _chainid(self) -> str:
        return hex(self._chain_id)

    def _blocknumber(self) -> str:
        return hex(len(self._blocks) - 1)

    def _getblockbynumber(self, number: str, full: bool) -> dict[str, Any] | None:
        at = 0 if number == "earliest" else self._height(number)
        if at >= len(self._blocks):
            return None
        block = self._blocks[at]
        return {
            "number": hex(at),
            "hash": "0x" + block.hash.hex(),
            "parentHash": "0x" + block.parent.hex(),
            "timestamp": hex(block.timestamp),
            "logsBloom": "0x" + bloom_of(map(parse, block.logs)).to_bytes(256).hex(),
            "transactions": [_shown(t) if full else _hash(t) for t, _ in block.transactions],
        }

    def _getblockbyhash(self, block_hash: str, full: bool) -> dict[str, Any] | None:
        hashes = ["0x" + block.hash.hex() for block in self._blocks]
        if block_hash not in hashes:
            return None
        return self._getblockbynumber(hex(hashes.index(block_hash)), full)

    def _getlogs(self, question: dict[str, Any]) -> list[dict[str, Any]]:
        if "blockHash" in question:
            found = [b for b in self._blocks if "0x" + b.hash.hex() == question["blockHash"]]
            if not found:
                raise RpcError(_REFUSED, "unknown block")
        else:
            first, last = self._height(question["fromBlock"]), self._height(question["toBlock"])
            found = self._blocks[first : last + 1]
        wanted = {a.lower() for a in question.get("address", ())}
        topics = question.get("topics", [[]])[0]
        return [
            log
            for block in found
            for log in block.logs
            if (not wanted or log["address"].lower() in wanted)
            and (not topics or log["topics"][0] in topics)
        ]

    def _gettransactioncount(self, account: str, block: str) -> str:
        if (at := self._height(block)) >= len(self._blocks):
            raise RpcError(_REFUSED, "unknown block")
        mined = [t for b in self._blocks[: at + 1] for t, _ in b.transactions]
        count = max((t.nonce + 1 for t in mined if t.sender == account), default=0)
        while block == "pending" and (Address(account), count) in self.mempool:
            count += 1
        return hex(count)

    def _feehistory(self, *_: Any) -> dict[str, Any]:
        return {"baseFeePerGas": [hex(self.base_fee)], "reward": []}

    def _estimategas(self, body: dict[str, str], _block: str = "latest") -> str:
        self._simulated(body)
        return hex(100_000)

    def _call(self, body: dict[str, str], _block: str = "latest") -> str:
        self._simulated(body)
        return "0x"

    def _sendrawtransaction(self, raw: str) -> str:
        transaction = read_transaction(bytes.fromhex(raw[2:]))
        place = (transaction.sender, transaction.nonce)
        waiting = self.mempool.get(place)
        if waiting == transaction:
            raise RpcError(_REFUSED, "already known")
        if transaction.nonce < int(self._gettransactioncount(transaction.sender, "latest"), 16):
            raise RpcError(_REFUSED, "nonce too low")
        if waiting is not None and not (
            transaction.max_fee * 100 >= waiting.max_fee * 110
            and transaction.priority_fee * 100 >= waiting.priority_fee * 110
        ):
            raise RpcError(_REFUSED, "replacement transaction underpriced")
        self.mempool[place] = transaction
        if self.automine:
            self.mine()
        return "0x" + transaction.hash.hex()

    def _gettransactionbyhash(self, tx_hash: str) -> dict[str, Any] | None:
        for transaction in self.mempool.values():
            if _hash(transaction) == tx_hash:
                return _shown(transaction) | {"blockNumber": None}
        for number, block in enumerate(self._blocks):
            for transaction, _ in block.transactions:
                if _hash(transaction) == tx_hash:
                    return _shown(transaction) | {"blockNumber": hex(number)}
        return None

    def _gettransactionreceipt(self, tx_hash: str) -> dict[str, Any] | None:
        for number, block in enumerate(self._blocks):
            for transaction, succeeded in block.transactions:
                if "0x" + transaction.hash.hex() == tx_hash:
                    return {
                        "transactionHash": tx_hash,
                        "blockNumber": hex(number),
                        "blockHash": "0x" + block.hash.hex(),
                        "status": hex(int(succeeded)),
                        "gasUsed": hex(21_000),
                        "effectiveGasPrice": hex(self.base_fee),
                        "logs": [e for e in block.logs if e["transactionHash"] == tx_hash],
                    }
        return None

    # ── Inside ──────────────────────────────────────────────────────────────────────────────────

    def _append(self) -> None:
        parent, number = self._blocks[-1], len(self._blocks)
        name = keccak(parent.hash + number.to_bytes(8) + self._forks.to_bytes(8))
        self._blocks.append(_Block(name, parent.hash, parent.timestamp + 1))

    def _include(self) -> None:
        """Mine what is next in nonce order and pays the base fee."""
        progress = True
        while progress:
            progress = False
            for place, transaction in sorted(self.mempool.items()):
                expected = int(self._gettransactioncount(transaction.sender, "latest"), 16)
                if transaction.nonce < expected:
                    del self.mempool[place]
                    progress = True
                elif transaction.nonce == expected and transaction.max_fee >= self.base_fee:
                    del self.mempool[place]
                    self._mine_one(transaction)
                    progress = True

    def _mine_one(self, transaction: MemoryTransaction) -> None:
        try:
            logs = self._execute(transaction.sender, transaction.to, transaction.data)
        except MemoryRevert:
            self._blocks[-1].transactions.append((transaction, False))
            return
        self._blocks[-1].transactions.append((transaction, True))
        self._record(logs, transaction.hash)

    def _record(self, logs: Sequence[Log], tx_hash: bytes) -> None:
        block, number = self._blocks[-1], len(self._blocks) - 1
        for log in logs:
            placed = replace(
                log,
                block_number=number,
                block_hash=Bytes32(block.hash),
                tx_hash=Bytes32(tx_hash),
                log_index=len(block.logs),
            )
            block.logs.append(to_json(placed))

    def _simulated(self, body: dict[str, str]) -> None:
        try:
            self._execute(
                Address(body["from"]), Address(body["to"]), bytes.fromhex(body["data"][2:])
            )
        except MemoryRevert as error:
            data = "0x" + error.data.hex()
            raise RpcError(_REVERTED, "execution reverted", data) from error

    def _height(self, block: str) -> int:
        return len(self._blocks) - 1 if block in ("latest", "pending") else int(block, 16)


def _hash(transaction: MemoryTransaction) -> str:
    return "0x" + transaction.hash.hex()


def _shown(transaction: MemoryTransaction) -> dict[str, Any]:
    return {
        "hash": _hash(transaction),
        "from": transaction.sender,
        "nonce": hex(transaction.nonce),
    }


def read_transaction(raw: bytes) -> MemoryTransaction:
    """Read a signed EIP-1559 transaction."""
    _, nonce, tip, max_fee, _, to, _, data, *_ = rlp.decode(raw[1:])
    return MemoryTransaction(
        hash=keccak(raw),
        sender=Address(Account.recover_transaction(raw)),
        nonce=int.from_bytes(nonce),
        to=address(to),
        data=data,
        max_fee=int.from_bytes(max_fee),
        priority_fee=int.from_bytes(tip),
    )
