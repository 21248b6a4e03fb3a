"""A sender for many calls that do not depend on each other: few questions, few commits for all.

```
  step (1) all receipts in one question; what was mined in one commit
           (2) as `Sender` does: what is stuck, lost, or whose nonce a stranger took
           (3) all new intents: estimates in one question, all signatures in one commit,
               then broadcast in the order of their nonces
```
As with `Sender` a signature is committed before anybody sees it. Calls are estimated on the state
before all of them: one that needs another one mined belongs to `Sender`.
"""

from dataclasses import replace
from typing import Any

from oracle.chain import revert
from oracle.chain.contract import Call
from oracle.chain.outbox import EntryState, OutboxEntry
from oracle.chain.rpc import RpcError, quantity
from oracle.chain.sender import Sender
from oracle.chain.transactions import (
    FEE_HISTORY,
    Fees,
    Receipt,
    as_object,
    fees_from,
    funds_error,
    parse_receipt,
    sign,
    with_margin,
)

AT_ONCE = 64  # intents of one step


class BatchSender(Sender):
    """The transactions of one key on one chain, many at a time."""

    def gas_of(self, call: Call) -> int:
        """Return the gas limit that a call would be sent with now.

        Raises:
            ContractError: it would be refused.
        """
        return self._estimate(call)

    def step(self) -> list[OutboxEntry]:
        """Bring every live transaction one step on (see `Sender.step`)."""
        return [entry for entry, _ in self.step_with_receipts()]

    def step_with_receipts(self) -> list[tuple[OutboxEntry, Receipt | None]]:
        """As `step`; what was mined and succeeded comes with its receipt, when it is at hand."""
        live = self._outbox.live()
        sent = sorted((e for e in live if e.nonce is not None), key=lambda e: e.nonce or 0)
        receipts: dict[int, Receipt] = {}
        mined: list[OutboxEntry] = []
        for entry, found in zip(sent, self._look_up(sent), strict=True):
            if found.receipt is not None and found.nonce_used:
                receipt = parse_receipt(found.receipt)
                if receipt.succeeded:
                    receipts[entry.id] = receipt
                    mined.append(
                        replace(entry, state=EntryState.MINED, block_number=receipt.block_number)
                    )
                    continue
            self._follow(entry, found)
        if mined:
            self._outbox.put_all(mined)
            self._ended += mined
        if len(mined) < len(sent):
            self._fill_gap()
        fresh = [entry for entry in live if entry.nonce is None][:AT_ONCE]
        if fresh:
            self._broadcast_all(self._sign_all(self._estimate_all(fresh)))
        ended, self._ended = self._ended, []
        return [(entry, receipts.get(entry.id)) for entry in ended]

    def _estimate_all(self, entries: list[OutboxEntry]) -> list[OutboxEntry]:
        """Return those that would succeed, with their gas; the others have failed for free."""
        unknown = [entry for entry in entries if not entry.gas]
        answers = iter(
            self._rpc.batch(
                [
                    ("eth_estimateGas", as_object(self.address, e.to, e.data, e.value), "pending")
                    for e in unknown
                ]
            )
        )
        fine = []
        for entry in entries:
            if entry.gas:
                fine.append(entry)
                continue
            answer = next(answers)
            if not isinstance(answer, RpcError):
                fine.append(replace(entry, gas=with_margin(quantity(answer))))
                continue
            refused = revert.from_rpc(answer)
            if refused is None:
                raise funds_error(answer, self.address) or answer
            self._fail(entry, refused)
        return fine

    def _sign_all(self, entries: list[OutboxEntry]) -> list[OutboxEntry]:
        """Sign on the next free nonces, and commit all signatures."""
        if not entries:
            return []
        history, count = self._rpc.batch(
            [FEE_HISTORY, ("eth_getTransactionCount", self.address, "pending")]
        )
        for answer in (history, count):
            if isinstance(answer, RpcError):
                raise answer
        fees: Fees = fees_from(history)
        taken = {e.nonce for e in self._outbox.live()}
        nonce, signed = quantity(count), []
        for entry in entries:
            while nonce in taken:
                nonce += 1
            raw: Any = sign(
                self._account,
                self._chain_id,
                nonce,
                entry.to,
                entry.data,
                entry.value,
                entry.gas,
                fees,
            ).raw
            signed.append(
                replace(
                    entry,
                    state=EntryState.SENT,
                    nonce=nonce,
                    max_fee=fees.max_fee,
                    priority_fee=fees.priority_fee,
                    raws=(*entry.raws, raw),
                    sent_at=self._clock(),
                )
            )
            nonce += 1
        self._outbox.put_all(signed)
        return signed

    def _broadcast_all(self, entries: list[OutboxEntry]) -> None:
        """Hand over one after the other: a node that mines at once wants them in order."""
        for entry in entries:
            self._broadcast(entry)
