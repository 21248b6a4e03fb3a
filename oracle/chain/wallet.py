"""Sends the calls of one account and waits for them: for people and scripts.

The nonce is the node's, asked for along with the estimate. So several wallets of one key, or a
chain that is rolled back, do no harm. Operators, whose transactions must survive a crash, use
sender.py.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from eth_account.signers.local import LocalAccount

from oracle.chain import revert
from oracle.chain.contract import Call
from oracle.chain.revert import ContractError
from oracle.chain.rpc import BlockId, Node, RpcError, block_param, hexbytes, quantity
from oracle.chain.transactions import (
    FEE_HISTORY,
    Receipt,
    Signed,
    TransactionPending,
    as_object,
    fees_from,
    funds_error,
    parse_receipt,
    sign,
    with_margin,
)
from oracle.types import Address, Bytes32

# Against the pending block a simulation sees its time and our own waiting transactions.
_PENDING = "pending"
_POLL_FIRST, _POLL_MAX = 0.005, 0.5  # seconds


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
        self, rpc: Node, account: LocalAccount, *, chain_id: int | None = None, timeout: float = 120
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

    def simulate(self, call: Call, block: BlockId = _PENDING) -> bytes:
        """Return what the call would return if it were sent.

        Raises:
            ContractError: it would be refused.
        """
        try:
            body = as_object(self.address, call.to, call.data, call.value)
            return hexbytes(self.rpc.call("eth_call", body, block_param(block)))
        except RpcError as error:
            raise self._explained(error) from error

    def send(self, call: Call) -> Receipt:
        """Estimate, sign, send, and wait for the receipt.

        Raises:
            ContractError: it would be refused; nothing was sent, nothing is paid.
            TransactionReverted: it was mined and refused.
            TransactionPending: it was sent and is not mined in time.
            FundsInsufficient: the account cannot pay for gas.
        """
        return self.send_all([call])[0]

    def send_all(self, calls: Sequence[Call]) -> list[Receipt]:
        """Send calls in order without waiting in between, then wait for all of them.

        Raises as `send`, at the first call that would be refused: those before it are sent, and
        after a TransactionReverted too the others were sent.
        """
        with self._lock:
            sent = []
            least = 0  # a node may be slow to count what it just took
            for call in calls:
                gas, nonce, signed = self._submit(call.to, call.data, call.value, least)
                sent.append((call, gas, signed))
                least = nonce + 1
        return [self.explain(call, self.wait(signed.tx_hash), gas) for call, gas, signed in sent]

    def create(self, bytecode: bytes) -> Receipt:
        """Create a contract; its address is in the receipt. Raises as `send`."""
        with self._lock:
            gas, _, signed = self._submit(None, bytecode, 0)
        return self.explain(None, self.wait(signed.tx_hash), gas)

    def sign_typed(self, message: Mapping[str, Any]) -> bytes:
        """Sign EIP-712 typed data (`types`, `primaryType`, `domain`, `message`): 65 bytes."""
        return bytes(self._account.sign_typed_data(full_message=dict(message)).signature)

    def next_nonce(self) -> int:
        """Return the nonce that the next transaction gets."""
        return quantity(self.rpc.call("eth_getTransactionCount", self.address, _PENDING))

    def explain(self, call: Call | None, receipt: Receipt, gas: int = 2**63) -> Receipt:
        """Return the receipt of a call when it succeeded.

        Raises:
            TransactionReverted: it did not; with the reason.
        """
        if receipt.succeeded:
            return receipt
        error = why_reverted(self.rpc, self.address, call, gas, receipt)
        raise TransactionReverted(receipt, error)

    def wait(self, tx_hash: Bytes32) -> Receipt:
        """Wait for a receipt.

        Raises:
            TransactionPending: there is none in time.
        """
        deadline, pause = time.monotonic() + self._timeout, _POLL_FIRST
        while True:
            raw = self.rpc.call("eth_getTransactionReceipt", "0x" + tx_hash.hex())
            if raw is not None:
                return parse_receipt(raw)
            if time.monotonic() > deadline:
                raise TransactionPending(tx_hash, self._timeout)
            time.sleep(pause)
            pause = min(2 * pause, _POLL_MAX)

    def _submit(
        self, to: Address | None, data: bytes, value: int, least_nonce: int = 0
    ) -> tuple[int, int, Signed]:
        """Send without waiting; return the gas limit, the nonce and what was sent."""
        if self._chain_id is None:
            self._chain_id = quantity(self.rpc.call("eth_chainId"))
        answers = self.rpc.batch(
            [
                ("eth_estimateGas", as_object(self.address, to, data, value), _PENDING),
                FEE_HISTORY,
                ("eth_getTransactionCount", self.address, _PENDING),
            ]
        )
        for answer in answers:
            if isinstance(answer, RpcError):
                raise self._explained(answer) from answer
        gas, fees = with_margin(quantity(answers[0])), fees_from(answers[1])
        nonce = max(quantity(answers[2]), least_nonce)
        signed = sign(self._account, self._chain_id, nonce, to, data, value, gas, fees)
        try:
            self.rpc.call("eth_sendRawTransaction", "0x" + signed.raw.hex())
        except RpcError as error:
            if not is_known(error):
                raise self._explained(error) from error
        return gas, nonce, signed

    def _explained(self, error: RpcError) -> Exception:
        return funds_error(error, self.address) or revert.from_rpc(error) or error


def is_known(error: RpcError) -> bool:
    """Return whether the node refused a transaction because it has it already."""
    text = error.message.lower()
    return "already known" in text or "already imported" in text or "known transaction" in text


def why_reverted(
    rpc: Node, sender: Address, call: Call | None, gas: int, receipt: Receipt
) -> ContractError:
    """Return why a mined transaction reverted, by running it again on the state after its block.

    A reverted transaction changes nothing, so that state has its cause, unless a later transaction
    of the same block removed it.
    """
    if receipt.gas_used >= gas * 63 // 64:
        return ContractError("", {}, "The transaction ran out of gas.", retry_at=None)
    if call is not None:
        try:
            body = as_object(sender, call.to, call.data, call.value, gas)
            rpc.call("eth_call", body, block_param(receipt.block_number))
        except RpcError as error:
            if (found := revert.from_rpc(error)) is not None:
                return found
    return ContractError(
        "", {}, "The contract refused, for a reason that is gone by now.", hint="look again"
    )
