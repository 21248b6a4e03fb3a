"""Sends the transactions of one key, so that a crash at any line loses nothing and repeats nothing.

```
  submit   intent is committed                                                ─ store
  step (1) look: what blocks, receipts and the pool say about each form
           (2) do what `decision.py` says: settle, broadcast, outbid, release   ─ store, node
           (3) new intents, in order: estimate, nonce, sign, commit, broadcast  ─ store, node
```
A signature is committed before its first broadcast, so after a restart the very same bytes are sent
again. One process per key: what else uses the key is noticed and stepped around, not coordinated.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog

from oracle.chain import revert
from oracle.chain.contract import Call
from oracle.chain.decision import Action, decide, independent
from oracle.chain.lookup import look
from oracle.chain.outbox import EntryState, OutboxEntry, OutboxStore
from oracle.chain.refusals import Fate, fate_of
from oracle.chain.revert import ContractError
from oracle.chain.rpc import Node, RpcError, block_param, quantity
from oracle.chain.transactions import (
    FEE_HISTORY,
    Fees,
    FundsInsufficient,
    Receipt,
    as_object,
    call_of,
    fees_from,
    funds_error,
    sign,
    with_margin,
)
from oracle.errors import TallystickError
from oracle.grouping import Grouping
from oracle.types import Address, RequestId, Wei

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

_FRESH = 10.0  # seconds that an estimate made at submission is good for
_EMPTY_GAS = 21_000  # of an empty transaction, when the node does not say
ANY_GAS = 2**63  # more than any block has
_FILL = "fill"  # kind of entries that only use up a nonce; told to nobody


class Sender:
    """The transactions of one key on one chain."""

    def __init__(
        self,
        rpc: Node,
        account: "LocalAccount",
        outbox: OutboxStore,
        chain_id: int,
        *,
        stuck_after: float = 30.0,
        confirmations: int = 0,
        fee_ceiling: int = 10**12,
        most_gas: Callable[[OutboxEntry], int] = lambda _: ANY_GAS,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare; nothing is sent.

        Args:
            stuck_after: seconds without a block until a transaction is priced higher.
            confirmations: blocks on top of a block until it counts as finalized.
            fee_ceiling: wei per gas that is never exceeded (1,000 gwei).
            most_gas: returns what a transaction may take; strangers decide what some calls do.
        """
        self.address = Address(account.address)
        self._rpc = rpc
        self._account = account
        self._outbox = outbox
        self._chain_id = chain_id
        self._stuck_after = stuck_after
        self._confirmations = confirmations
        self._fee_ceiling = fee_ceiling
        self._most_gas = most_gas
        self._clock = clock
        self._sleep = sleep
        self._empty = Call(self.address, b"", Wei(0), "use up a nonce")
        self._gas: Grouping[tuple[Call, str], int] = Grouping(self._gas_of_all)
        self._nowhere: set[int] = set()  # entries signed here, every broadcast definitely refused
        self.live = False  # whether the last step left something to be done
        self._ended: list[OutboxEntry] = []  # not yet told: an exception must not swallow them
        self._log = structlog.get_logger("tallystick.sender")

    def gas_of(self, call: Call, block: str = "pending") -> int:
        """Return the gas limit that a call would be sent with now; threads ask together.

        Raises:
            ContractError: it would be refused. FundsInsufficient: the account cannot pay.
        """
        return self._gas.do((call, block))

    def _gas_of_all(self, asked: Sequence[tuple[Call, str]]) -> list[int | BaseException]:
        answers = self._rpc.batch([self._estimate(call, block) for call, block in asked])
        return [
            self._explained(answer)
            if isinstance(answer, RpcError)
            else with_margin(quantity(answer))
            for answer in answers
        ]

    def submit(self, kind: str, request_ids: Sequence[RequestId], call: Call) -> OutboxEntry:
        """Commit the intent to send a call; `step` sends it.

        Raises:
            AlreadyPending: a live transaction of this kind serves one of these requests.
        """
        return self._outbox.add(kind, request_ids, call)

    def withdraw(self, entry: OutboxEntry) -> bool:
        """Give an intent up; False when something of it may be under way, or it has ended."""
        for kept in self._outbox.live():
            if kept.id == entry.id and (not kept.raws or kept.id in self._nowhere):
                self._outbox.put(replace(kept, state=EntryState.FAILED, error="withdrawn"))
                return True
        return False

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

        They carry their receipt, or the error that ended them. May be called at any time, also
        after an exception of the last call; what ended in that one is returned too. What ended
        right before a crash is told to nobody: look it up.

        Raises:
            Unavailable, RpcError: the node cannot be asked; the next call goes on.
            FundsInsufficient: the account cannot pay for gas; nothing moves until it can.
        """
        live = self._outbox.live()
        again = self._follow([entry for entry in live if entry.raws])
        self.begin([entry for entry in live if not entry.raws] + again)
        ended, self._ended = self._ended, []
        self.live = len(ended) < len(live)
        return ended

    def begin(self, intents: Sequence[OutboxEntry]) -> None:
        """Estimate, sign and broadcast intents, as `step` does; raises as it does."""
        for group in independent(intents):
            trouble, fine = self._priced(group)
            for entry in fine:
                self._broadcast(entry)
            if trouble is not None:
                raise trouble

    # ── Follow what was signed ──────────────────────────────────────────────────────────────────

    def _follow(self, entries: Sequence[OutboxEntry]) -> list[OutboxEntry]:
        """Do what is to be done about each; return those that need another nonce."""
        todo: dict[Action, list[OutboxEntry]] = {action: [] for action in Action}
        settled = []
        found = look(self._rpc, self.address, entries, self._confirmations, self._clock())
        for entry, seen in zip(entries, found, strict=True):
            action = decide(entry, seen, self._stuck_after)
            todo[action].append(entry)
            if seen.used and seen.user is None and seen.age >= self._stuck_after:
                self._log.warning("nonce_used_by_unknown", entry=entry.id, nonce=entry.nonce)
            if seen.receipt is not None:
                settled.append(self._settled(entry, seen.receipt))
        self._keep(*settled)
        for entry in todo[Action.RELEASE]:
            self._release(entry)
        if stuck := todo[Action.OUTBID]:
            self._fill_gap(min(e.nonce for e in entries if e.nonce is not None and e.live))
        for entry in stuck:
            self._outbid(entry)
        for entry in todo[Action.BROADCAST]:
            self._broadcast(entry)
        return [entry for entry in todo[Action.WAIT] if entry.nonce is None]

    def _settled(self, entry: OutboxEntry, receipt: Receipt) -> OutboxEntry:
        form = entry.raws[entry.hashes.index(receipt.tx_hash)]
        entry = replace(entry, receipt=receipt, block_number=receipt.block_number)
        if call_of(form) != (entry.to, entry.data, entry.value):
            return self._failed(entry, entry.cause or RpcError(0, entry.error))
        if receipt.succeeded:
            return replace(entry, state=EntryState.MINED, error="")
        return self._failed(entry, self._why_reverted(entry, receipt))

    def _release(self, entry: OutboxEntry) -> None:
        """Take the nonce from an intent: no form of it can be mined any more."""
        self._log.warning("nonce_taken", entry=entry.id, nonce=entry.nonce)
        if entry.state is EntryState.CANCELLING:
            self._keep(self._failed(entry, RpcError(0, entry.error)))
        else:
            self._keep(replace(entry, state=EntryState.INTENT, nonce=None))

    def _fill_gap(self, lowest: int) -> None:
        """Use up nonces that went lost below ours, or everything above them would wait for ever.

        A deep reorg may drop a transaction that has ended: the same bytes are sent again. A
        stranger's may have been dropped by the nodes: an empty one takes its place.
        """
        count = quantity(self._rpc.call("eth_getTransactionCount", self.address, "pending"))
        for nonce in range(count, lowest):
            self._log.warning("nonce_gap", nonce=nonce, waiting=lowest)
            if (dropped := self._outbox.mined_under(nonce)) is not None:
                self._broadcast(dropped)
                continue
            filler = self._outbox.add(_FILL, (), self._empty)
            filler = replace(filler, state=EntryState.CANCELLING, nonce=nonce, error="lost nonce")
            signed = self._signed(filler, self._empty, Fees(0, 0), self._market_fees())
            self._broadcast(signed)

    # ── Sign and broadcast ──────────────────────────────────────────────────────────────────────

    def _priced(
        self, entries: Sequence[OutboxEntry]
    ) -> tuple[TallystickError | None, list[OutboxEntry]]:
        """Sign what would succeed on the next nonces, all in one commit; the rest fails for free.

        Returns:
            The first error that says nothing about its call, and what was signed.
        """
        now = self._clock()
        stale = [e for e in entries if e.raws or not e.gas or now - e.sent_at > _FRESH]
        history, count, *answers = self._ask(
            FEE_HISTORY,
            ("eth_getTransactionCount", self.address, "pending"),
            tolerant=[self._estimate(entry.call, "pending") for entry in stale],
        )
        gas: dict[int, Any] = {entry.id: entry.gas for entry in entries}
        trouble: TallystickError | None = None
        for entry, answer in zip(stale, answers, strict=True):
            gas[entry.id] = None
            if not isinstance(answer, RpcError):
                needed, most = with_margin(quantity(answer)), self._most_gas(entry)
                if needed <= most:
                    gas[entry.id] = needed
                else:
                    why = f"It takes {needed:,} gas, and at most {most:,} are spent on it."
                    self._keep(self._failed(entry, ContractError("", {}, why)))
            elif isinstance(error := self._explained(answer), ContractError):
                self._keep(self._failed(entry, error))
            else:
                trouble = trouble or error
        fees = fees_from(history)
        nonce = max(quantity(count), self._outbox.next_nonce())  # the node may be behind
        fine = [replace(e, gas=gas[e.id]) for e in entries if gas[e.id] is not None]
        signed = [
            self._form(replace(e, state=EntryState.SENT, nonce=nonce + at), e.call, fees)
            for at, e in enumerate(fine)
        ]
        self._keep(*signed)
        self._nowhere.update(entry.id for entry in signed)
        return trouble, signed

    def _outbid(self, entry: OutboxEntry) -> None:
        """Sign a dearer form of what is stuck, or an empty one of what is to be cancelled."""
        cancelling = entry.state is EntryState.CANCELLING
        last, market = Fees(entry.max_fee, entry.priority_fee), self._market_fees()
        if last.bumped(market).max_fee > self._fee_ceiling:
            self._log.warning("fee_ceiling", entry=entry.id, max_fee=last.max_fee)
            self._keep(entry := replace(entry, sent_at=self._clock()))
        else:
            entry = self._signed(entry, self._empty if cancelling else entry.call, last, market)
        self._broadcast(entry)

    def _signed(self, entry: OutboxEntry, call: Call, last: Fees, market: Fees) -> OutboxEntry:
        """Sign a form that may replace one at the last price; commit it before anybody sees it."""
        try:
            gas = self.gas_of(call, "latest")
        except (ContractError, FundsInsufficient, RpcError):  # what it needs is not mined yet
            gas = entry.gas or _EMPTY_GAS
        fees = last.bumped(market)
        gas = max(min(gas, self._most_gas(entry)), entry.gas)
        entry = self._form(replace(entry, gas=gas), call, fees)
        self._log.info("signed_again", entry=entry.id, nonce=entry.nonce, max_fee=fees.max_fee)
        self._keep(entry)
        return entry

    def _form(self, entry: OutboxEntry, call: Call, fees: Fees) -> OutboxEntry:
        nonce, to, data, value = entry.nonce or 0, call.to, call.data, call.value
        raw = sign(self._account, self._chain_id, nonce, to, data, value, entry.gas, fees)
        return replace(
            entry,
            max_fee=fees.max_fee,
            priority_fee=fees.priority_fee,
            raws=(*entry.raws, raw),
            sent_at=self._clock(),
        )

    def _broadcast(self, entry: OutboxEntry) -> None:
        """Hand the newest form to the node, and take in what it says (see `refusals.py`).

        One trip each, in the order of nonces: Anvil serves the calls of a batch at the same time,
        and of one account's transactions that arrive so it left some unmined for ever (measured).
        """
        nowhere = entry.id in self._nowhere
        self._nowhere.discard(entry.id)  # until the node has answered, it may be anywhere
        try:
            self._rpc.call("eth_sendRawTransaction", "0x" + entry.raws[-1].hex())
            return
        except RpcError as caught:
            error, fate = caught, fate_of(caught)
        if fate is Fate.KNOWN or not entry.live:
            return
        self._log.warning("not_accepted", entry=entry.id, fate=fate.value, error=str(error))
        if nowhere and fate is not Fate.OPEN:
            self._nowhere.add(entry.id)
        entry = replace(entry, error=error.message, cause=error)
        if fate is Fate.POOR:
            self._keep(entry)
            raise funds_error(error, self.address) or error from error
        # Of a first form the occupant is a stranger's: it is given the time to be mined
        ours = fate is Fate.OCCUPIED and len(entry.raws) > 1
        if fate is Fate.UNDERPRICED or ours:  # outbid by the next step
            entry = replace(entry, sent_at=self._clock() - self._stuck_after)
        if fate is Fate.REFUSED:
            self._cancel(entry, error, nowhere)
        else:
            self._keep(entry)

    def _cancel(self, entry: OutboxEntry, error: RpcError, nowhere: bool) -> None:
        """Give up what the node refuses for good.

        Its nonce must not stay open, and an earlier form may have been taken in spite of an error.
        So an empty transaction competes for the nonce; whichever is mined is what happened.
        """
        above = any((e.nonce or 0) > (entry.nonce or 0) for e in self._outbox.live())
        if nowhere and not above:
            self._keep(self._failed(entry, error))
        elif entry.state is EntryState.SENT:
            cancelled = replace(entry, state=EntryState.CANCELLING, gas=0)
            self._outbid(cancelled)
        else:
            self._keep(entry)

    def _estimate(self, call: Call, block: str) -> tuple[Any, ...]:
        body = as_object(self.address, call.to, call.data, call.value)
        return "eth_estimateGas", body, block

    def _explained(self, error: RpcError) -> TallystickError:
        return funds_error(error, self.address) or revert.from_rpc(error) or error

    def _market_fees(self) -> Fees:
        method, *params = FEE_HISTORY
        return fees_from(self._rpc.call(str(method), *params))

    def _ask(self, *calls: tuple[Any, ...], tolerant: Sequence[tuple[Any, ...]] = ()) -> list[Any]:
        """Return the answers of one batch; an error is raised, unless it is one of `tolerant`."""
        answers = self._rpc.batch([*calls, *tolerant])
        for answer in answers[: len(calls)]:
            if isinstance(answer, RpcError):
                raise answer
        return answers

    # ── End ─────────────────────────────────────────────────────────────────────────────────────

    def _failed(self, entry: OutboxEntry, error: TallystickError) -> OutboxEntry:
        self._log.warning("refused", entry=entry.id, kind=entry.kind, error=str(error))
        permanent = isinstance(error, ContractError) and error.permanent
        return replace(
            entry, state=EntryState.FAILED, error=str(error), permanent=permanent, cause=error
        )

    def _why_reverted(self, entry: OutboxEntry, receipt: Receipt) -> ContractError:
        """Return why a mined transaction reverted, by running it again on the state after it.

        A reverted transaction changes nothing, so that state has its cause, unless a later
        transaction of the same block removed it.
        """
        if receipt.gas_used >= entry.gas * 63 // 64:
            return ContractError("", {}, "The transaction ran out of gas.", retry_at=None)
        try:
            body = as_object(self.address, entry.to, entry.data, entry.value, entry.gas)
            self._rpc.call("eth_call", body, block_param(receipt.block_number))
        except RpcError as error:
            if (found := revert.from_rpc(error)) is not None:
                return found
        return ContractError(
            "", {}, "The contract refused, for a reason that is gone by now.", hint="look again"
        )

    def _keep(self, *entries: OutboxEntry) -> None:
        """Commit entries together; those that ended are told by `step`."""
        if entries:
            self._outbox.put_all(entries)
            self._ended += [e for e in entries if not e.live and e.kind != _FILL]
            self._nowhere.difference_update(e.id for e in entries if not e.live)
