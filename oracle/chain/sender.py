"""Sends an operator's transactions so that a crash at any line loses nothing and repeats nothing.

```
  submit   intent is committed                                        ─ store
  step (1) follow what was sent: receipts, nonces, what the node forgot
           (2) stuck: sign again at a higher price, commit, broadcast   ─ store, then node
           (3) new intents, in order: estimate, nonce, sign, commit, broadcast
```
A signature is committed before its first broadcast, so after a restart the very same bytes are sent
again. One process per key: what else uses the key is noticed and stepped around, not coordinated.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog
from eth_account.signers.local import LocalAccount

from oracle.chain import revert
from oracle.chain.contract import Call
from oracle.chain.outbox import EntryState, OutboxEntry, OutboxStore
from oracle.chain.revert import ContractError
from oracle.chain.rpc import Node, RpcError, quantity
from oracle.chain.transactions import (
    FEE_HISTORY,
    Fees,
    Receipt,
    as_object,
    fees_from,
    funds_error,
    hash_of,
    parse_receipt,
    sign,
    with_margin,
)
from oracle.chain.wallet import is_known, why_reverted
from oracle.types import Address, RequestId

_PENDING = "pending"
_FILLER_GAS = 21_000
_UNDERPRICED = ("underpriced", "less than block base fee", "fee cap", "fee too low", "max fee")


@dataclass(frozen=True, slots=True)
class _Found:
    """What the chain says about one transaction that was sent."""

    receipt: Any  # as the node answers it; None while it is not mined
    nonce_used: bool  # by a block deep enough to count
    known: bool  # the node has its newest form


class Sender:
    """The transactions of one key on one chain."""

    def __init__(
        self,
        rpc: Node,
        account: LocalAccount,
        outbox: OutboxStore,
        chain_id: int,
        *,
        stuck_after: float = 30.0,
        confirmations: int = 0,
        fee_ceiling: int = 10**12,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare; nothing is sent.

        Args:
            stuck_after: seconds without a receipt until a transaction is priced higher.
            confirmations: blocks on top of a transaction until it counts as mined; the
                operator's finality depth.
            fee_ceiling: wei per gas that is never exceeded (1,000 gwei).
        """
        self.address = Address(account.address)
        self._rpc = rpc
        self._account = account
        self._outbox = outbox
        self._chain_id = chain_id
        self._stuck_after = stuck_after
        self._confirmations = confirmations
        self._fee_ceiling = fee_ceiling
        self._clock = clock
        self._sleep = sleep
        self._ended: list[OutboxEntry] = []  # not yet told: an exception must not swallow them
        self._log = structlog.get_logger("tallystick.sender")

    def simulate(self, call: Call) -> None:
        """Return if the call would succeed now.

        Raises:
            ContractError: it would be refused.
        """
        self._estimate(call)

    def submit(self, kind: str, request_ids: Sequence[RequestId], call: Call) -> OutboxEntry:
        """Commit the intent to send a call; `step` sends it.

        Raises:
            AlreadyPending: a live transaction of this kind serves one of these requests.
        """
        return self._outbox.add(kind, request_ids, call)

    def settle(self, timeout: float, poll: float = 0.1) -> list[OutboxEntry]:
        """Step until nothing is live or the time is up; return what ended meanwhile."""
        deadline = self._clock() + timeout
        ended = self.step()
        while self._outbox.live() and self._clock() < deadline:
            self._sleep(poll)
            ended += self.step()
        return ended

    def step(self) -> list[OutboxEntry]:
        """Bring every live transaction one step on; return those that ended, mined or failed.

        May be called at any time, also after an exception of the last call; what ended in that
        one is returned too. What ended right before a crash is told to nobody: look it up.

        Raises:
            Unavailable, RpcError: the node cannot be asked; the next call goes on.
            FundsInsufficient: the account cannot pay for gas; nothing moves until it can.
        """
        live = self._outbox.live()
        sent = sorted((e for e in live if e.nonce is not None), key=lambda e: e.nonce or 0)
        for entry, found in zip(sent, self._look_up(sent), strict=True):
            self._follow(entry, found)
        if live:
            self._fill_gap()
        for entry in live:
            if entry.nonce is None:
                self._first_broadcast(entry)
        ended, self._ended = self._ended, []
        return ended

    # ── Follow what was sent ────────────────────────────────────────────────────────────────────

    def _look_up(self, entries: Sequence[OutboxEntry]) -> list[_Found]:
        if not entries:
            return []
        head = quantity(self._rpc.call("eth_blockNumber"))
        final = hex(max(0, head - self._confirmations))
        # the nonce first: a receipt that appears in between must not look like a stranger's
        used = quantity(self._rpc.call("eth_getTransactionCount", self.address, final))
        hashes = [["0x" + hash_of(raw).hex() for raw in entry.raws] for entry in entries]
        calls = [("eth_getTransactionReceipt", h) for of_one in hashes for h in of_one]
        calls += [("eth_getTransactionByHash", of_one[-1]) for of_one in hashes]
        answers = self._rpc.batch(calls)
        for answer in answers:
            if isinstance(answer, RpcError):
                raise answer
        receipts = iter(answers)
        return [
            _Found(
                receipt=next((r for r in [next(receipts) for _ in of_one] if r is not None), None),
                nonce_used=used > (entry.nonce or 0),
                known=answer is not None,
            )
            for entry, of_one, answer in zip(entries, hashes, answers[-len(entries) :], strict=True)
        ]

    def _follow(self, entry: OutboxEntry, found: _Found) -> OutboxEntry:
        if found.receipt is not None:
            return self._end(entry, parse_receipt(found.receipt)) if found.nonce_used else entry
        if found.nonce_used:
            self._log.warning("nonce_taken", entry=entry.id, nonce=entry.nonce)
            return self._keep(
                replace(entry, state=EntryState.INTENT, nonce=None, raws=(), sent_at=0.0)
            )
        if self._clock() - entry.sent_at >= self._stuck_after:
            return self._reprice(entry)
        if not found.known:
            return self._broadcast(entry)
        return entry

    def _end(self, entry: OutboxEntry, receipt: Receipt) -> OutboxEntry:
        if receipt.succeeded:
            return self._keep(
                replace(entry, state=EntryState.MINED, block_number=receipt.block_number)
            )
        error = why_reverted(self._rpc, self.address, entry.call, entry.gas, receipt)
        return self._fail(replace(entry, block_number=receipt.block_number), error)

    def _fail(self, entry: OutboxEntry, error: ContractError) -> OutboxEntry:
        self._log.warning("refused", entry=entry.id, kind=entry.kind, error=str(error))
        return self._keep(
            replace(entry, state=EntryState.FAILED, error=str(error), permanent=error.permanent)
        )

    def _fill_gap(self) -> None:
        """Use up a nonce that went lost below ours, or everything above it would wait for ever.

        A reorg may drop a transaction whose entry has ended. The filler pays nothing to ourselves.
        """
        sent = [e for e in self._outbox.live() if e.nonce is not None]
        if not sent:
            return
        lowest = min(sent, key=lambda e: e.nonce or 0)
        count = quantity(self._rpc.call("eth_getTransactionCount", self.address, _PENDING))
        if lowest.nonce is None or count >= lowest.nonce:
            return
        self._log.warning("nonce_gap", nonce=count, waiting=lowest.nonce)
        fees = Fees(lowest.max_fee, lowest.priority_fee)
        filler = sign(self._account, self._chain_id, count, self.address, b"", 0, _FILLER_GAS, fees)
        self._hand_over(filler.raw)

    # ── Sign and broadcast ──────────────────────────────────────────────────────────────────────

    def _first_broadcast(self, entry: OutboxEntry) -> OutboxEntry:
        try:
            gas = self._estimate(entry.call)
        except ContractError as error:
            return self._fail(entry, error)  # it costs nothing
        nonce = quantity(self._rpc.call("eth_getTransactionCount", self.address, _PENDING))
        taken = {e.nonce for e in self._outbox.live()}
        while nonce in taken:
            nonce += 1
        entry = replace(entry, state=EntryState.SENT, nonce=nonce, gas=gas)
        return self._broadcast(self._signed(entry, self._market_fees()))

    def _reprice(self, entry: OutboxEntry) -> OutboxEntry:
        """Outbid the last form of a transaction that is stuck."""
        market = self._market_fees()
        fees = Fees(entry.max_fee, entry.priority_fee).bumped(market)
        if fees.max_fee > self._fee_ceiling:
            self._log.warning("fee_ceiling", entry=entry.id, max_fee=fees.max_fee)
            return self._broadcast(self._keep(replace(entry, sent_at=self._clock())))
        self._log.info("repriced", entry=entry.id, nonce=entry.nonce, max_fee=fees.max_fee)
        return self._broadcast(self._signed(entry, fees))

    def _signed(self, entry: OutboxEntry, fees: Fees) -> OutboxEntry:
        """Sign, and commit the signature before anybody sees it."""
        nonce = entry.nonce or 0
        signed = sign(
            self._account,
            self._chain_id,
            nonce,
            entry.to,
            entry.data,
            entry.value,
            entry.gas,
            fees,
        )
        return self._keep(
            replace(
                entry,
                max_fee=fees.max_fee,
                priority_fee=fees.priority_fee,
                raws=(*entry.raws, signed.raw),
                sent_at=self._clock(),
            )
        )

    def _broadcast(self, entry: OutboxEntry) -> OutboxEntry:
        """Hand the newest form to the node. A form that is priced too low is outbid next time."""
        try:
            self._hand_over(entry.raws[-1])
        except RpcError as error:
            text = error.message.lower()
            if any(word in text for word in _UNDERPRICED):
                return self._keep(replace(entry, sent_at=self._clock() - self._stuck_after))
            self._log.warning("not_accepted", entry=entry.id, error=str(error))
            if len(entry.raws) == 1:  # no form of it is anywhere: its nonce is free again
                return self._keep(replace(entry, state=EntryState.FAILED, error=str(error)))
        return entry

    def _hand_over(self, raw: bytes) -> None:
        try:
            self._rpc.call("eth_sendRawTransaction", "0x" + raw.hex())
        except RpcError as error:
            if is_known(error) or "nonce too low" in error.message.lower():
                return  # the next step finds the receipt, or the stranger that took the nonce
            raise funds_error(error, self.address) or error from error

    def _estimate(self, call: Call) -> int:
        body = as_object(self.address, call.to, call.data, call.value)
        try:
            return with_margin(quantity(self._rpc.call("eth_estimateGas", body, _PENDING)))
        except RpcError as error:
            found = funds_error(error, self.address) or revert.from_rpc(error)
            raise found or error from error

    def _market_fees(self) -> Fees:
        method, *params = FEE_HISTORY
        return fees_from(self._rpc.call(str(method), *params))

    def _keep(self, entry: OutboxEntry) -> OutboxEntry:
        self._outbox.put(entry)
        if not entry.live:
            self._ended.append(entry)
        return entry
