"""The gateway's account as a wallet: its calls go through the outbox, so nonces have one owner."""

import secrets
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from oracle.chain.contract import Call
from oracle.chain.outbox import EntryState, OutboxEntry
from oracle.chain.revert import ContractError
from oracle.chain.rpc import Node
from oracle.chain.transactions import Receipt, TransactionPending, parse_receipt
from oracle.chain.wallet import Wallet
from oracle.store import Store
from oracle.store.outbox import SqlOutbox
from oracle.types import ZERO32, RequestId

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

KIND = "channel"  # of the outbox entries
_PATIENCE = 120.0  # seconds for a block
_PAUSE = 0.02  # seconds between two looks


class OutboxWallet(Wallet):
    """Sends by the dispatcher; what was sent and not waited for is mined all the same."""

    def __init__(
        self,
        rpc: Node,
        account: "LocalAccount",
        store: Store,
        wake: Callable[[], None],
        *,
        chain_id: int,
    ) -> None:
        """Take the collaborators; `wake` tells the dispatcher that there is something to send."""
        super().__init__(rpc, account, chain_id=chain_id)
        self._stored, self._wake = SqlOutbox(store), wake

    def send_all(self, calls: Sequence[Call]) -> list[Receipt]:
        """Send calls in order and wait for all of them.

        Raises:
            ContractError: one was refused. TransactionPending: one is in no block in time.
        """
        names = [RequestId(secrets.token_bytes(32)) for _ in calls]
        for name, call in zip(names, calls, strict=True):
            self._stored.add(KIND, [name], call)
        self._wake()
        return [self._mined(name) for name in names]

    def _mined(self, name: RequestId) -> Receipt:
        deadline = time.monotonic() + _PATIENCE
        while (entry := self._stored.of(name)[-1]).live:
            if time.monotonic() > deadline:
                last = entry.hashes[-1] if entry.hashes else ZERO32
                raise TransactionPending(last, _PATIENCE, entry.error)
            time.sleep(_PAUSE)
        if entry.state is EntryState.FAILED:
            raise ContractError("", {}, entry.error)
        return self._receipt(entry)

    def _receipt(self, entry: OutboxEntry) -> Receipt:
        for form in entry.hashes:
            raw = self.rpc.call("eth_getTransactionReceipt", "0x" + form.hex())
            if raw is not None:
                return parse_receipt(raw)
        raise TransactionPending(entry.hashes[-1], _PATIENCE, "no node shows its receipt")
