"""Sends the calls of one account and waits for them: for people and scripts.

A `Sender` whose outbox ends with the process. So several wallets of one key, or a chain that is
rolled back, do no harm. What must survive a crash is sent with a store's outbox.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from oracle.chain import revert
from oracle.chain.contract import Call
from oracle.chain.outbox import EntryState, MemoryOutbox, OutboxEntry
from oracle.chain.revert import ContractError
from oracle.chain.rpc import BlockId, Node, RpcError, block_param, hexbytes, quantity
from oracle.chain.transactions import (
    FundsInsufficient,
    Receipt,
    TransactionPending,
    as_object,
    funds_error,
)
from oracle.errors import TransientError
from oracle.types import Address

if TYPE_CHECKING:  # its import takes 0.15 s, and a command that only reads needs no key
    from eth_account.signers.local import LocalAccount

    from oracle.chain.sender import Sender

# Against the pending block a simulation sees its time and our own waiting transactions.
_PENDING = "pending"
_POLL_FIRST, _POLL_MAX = 0.005, 0.5  # seconds
_PASSING = (TransientError, RpcError, FundsInsufficient)


class TransactionReverted(ContractError):
    """A transaction was mined and refused: gas was spent, nothing else happened."""

    def __init__(self, receipt: Receipt, error: ContractError) -> None:
        super().__init__(
            error.name,
            error.values,
            f"{error} (transaction 0x{receipt.tx_hash.hex()} reverted)",
            hint=error.hint,
            retry_at=error.retry_at,
        )
        self.receipt = receipt


class Wallet:
    """One account on one chain. Safe to share between threads."""

    def __init__(
        self,
        rpc: Node,
        account: "LocalAccount",
        *,
        chain_id: int | None = None,
        timeout: float = 120,
    ) -> None:
        """Prepare; nothing is sent.

        Args:
            chain_id: what is signed for; asked from the node when left out.
            timeout: seconds to wait for a receipt.
        """
        self.rpc = rpc
        self.address = Address(account.address)
        self._account = account
        self._chain_id = chain_id
        self._timeout = timeout
        self._lock = threading.Lock()
        self._outbox = MemoryOutbox()
        self._ended: dict[int, OutboxEntry] = {}  # that somebody waits for

    @cached_property
    def _sender(self) -> "Sender":
        from oracle.chain.sender import Sender  # noqa: PLC0415 - its log takes 0.1 s to import

        chain_id = self._chain_id or quantity(self.rpc.call("eth_chainId"))
        return Sender(self.rpc, self._account, self._outbox, chain_id)

    def simulate(self, call: Call, block: BlockId = _PENDING) -> bytes:
        """Return what the call would return if it were sent.

        Raises:
            ContractError: it would be refused.
        """
        try:
            body = as_object(self.address, call.to, call.data, call.value)
            return hexbytes(self.rpc.call("eth_call", body, block_param(block)))
        except RpcError as error:
            found = funds_error(error, self.address) or revert.from_rpc(error)
            raise found or error from error

    def send(self, call: Call) -> Receipt:
        """Estimate, sign, send, and wait for the receipt.

        Raises:
            ContractError: it would be refused; nothing was sent, nothing is paid.
            TransactionReverted: it was mined and refused.
            TransactionPending: it was signed and is in no block in time; it may still be.
            FundsInsufficient: the account cannot pay for gas.
        """
        return self.send_all([call])[0]

    def send_all(self, calls: Sequence[Call]) -> list[Receipt]:
        """Send calls in order without waiting in between, then wait for all of them.

        Raises as `send`, at the first call that would be refused: those before it are sent, and
        after a TransactionReverted too the others were sent.
        """
        begun = [self._begin(call) for call in calls]
        return [self._wait(entry) for entry in begun]

    def create(self, bytecode: bytes) -> Receipt:
        """Create a contract; its address is in the receipt. Raises as `send`."""
        return self.send(Call(None, bytecode))

    def sign_typed(self, message: Mapping[str, Any]) -> bytes:
        """Sign EIP-712 typed data (`types`, `primaryType`, `domain`, `message`): 65 bytes."""
        return bytes(self._account.sign_typed_data(full_message=dict(message)).signature)

    def next_nonce(self) -> int:
        """Return the nonce that the next transaction gets."""
        return quantity(self.rpc.call("eth_getTransactionCount", self.address, _PENDING))

    def _begin(self, call: Call) -> OutboxEntry:
        """Sign and broadcast a call. What is raised means that nothing of it is under way."""
        with self._lock:
            entry = self._outbox.add("call", (), call)
            try:
                self._sender.begin([entry])
            except BaseException as error:  # an interrupt too must leave no intent behind
                if self._sender.withdraw(entry):
                    del self._outbox.entries[entry.id]
                    raise
                if not isinstance(error, _PASSING):
                    raise
            now = self._outbox.entries[entry.id]
            if now.live:
                return now
            del self._outbox.entries[entry.id]
            raise now.cause or ContractError("", {}, now.error)

    def _wait(self, entry: OutboxEntry) -> Receipt:
        deadline, pause = time.monotonic() + self._timeout, _POLL_FIRST
        while (ended := self._step(entry)) is None:
            if time.monotonic() > deadline:
                left = self._outbox.entries[entry.id]
                raise TransactionPending(left.hashes[-1], self._timeout, left.error)
            time.sleep(pause)
            pause = min(2 * pause, _POLL_MAX)
        if ended.state is EntryState.MINED and ended.receipt is not None:
            return ended.receipt
        error = ended.cause or ContractError("", {}, ended.error)
        if ended.receipt is not None and isinstance(error, ContractError):
            raise TransactionReverted(ended.receipt, error)
        raise error

    def _step(self, entry: OutboxEntry) -> OutboxEntry | None:
        """Follow what is under way, for all threads; return the entry once it has ended."""
        with self._lock:
            if entry.id not in self._ended:
                try:
                    ended = self._sender.step()
                except _PASSING:  # it is signed: only the chain says what becomes of it
                    ended = []
                for one in ended:
                    if self._outbox.entries.pop(one.id, None) is not None:
                        self._ended[one.id] = one
            return self._ended.pop(entry.id, None)
