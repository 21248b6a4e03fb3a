"""A valuator at work: claims sealed rounds, publishes their values, answers for them, settles.

```
 sealed ─▶ job ─▶ rows are here ─▶ claim ─▶ tables are here ─▶ publish ─▶ (demands answered)
                                                            window over ─▶ settle ─▶ withdraw
```
Claimed is only what can be shown: a claim without publication costs the forfeit. Nothing is kept in
memory that matters: the chain says what is done, the folder what is computed, and the contract
refuses what is sent twice. One process per account.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

import structlog

from oracle.agents.agent import Backoff, locked
from oracle.agents.valuation.jobs_folder import Result, Work
from oracle.chain.contract import Call
from oracle.chain.data_credits import RoundStage
from oracle.chain.events import TableDemanded
from oracle.chain.revert import ContractError
from oracle.chain.rpc import quantity
from oracle.chain.valuation_game import Case, Mover
from oracle.chain.wallet import Wallet
from oracle.errors import PermanentError, TransientError
from oracle.services.data import sealed_rounds
from oracle.services.event_history import topic
from oracle.services.network import Network
from oracle.types import ZERO_ADDRESS, Address, Timestamp
from oracle.valuation import openings
from oracle.valuation.jobs import ValueJob

WITHHOLD = "withhold"  # a fault on purpose (worker/faults.py): demands are not answered
Say = Callable[[str], None]


class Valuator(AbstractContextManager["Valuator"]):
    """One account that values rounds."""

    def __init__(
        self, context: Network, wallet: Wallet, work: Work, folder: Path, say: Say | None = None
    ) -> None:
        """Open the valuator's folder.

        Raises:
            ConfigInvalid: another process uses it.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = locked(folder / "valuator.lock")
        self._context = context
        self._wallet = wallet
        self._work = work
        self._say = say or (lambda _: None)
        self._config = context.valuations.config()
        self._silent = WITHHOLD in context.settings.fault
        self._backoff = Backoff()
        self._jobs: dict[int, ValueJob] = {}
        self._over: set[int] = set()
        self._told: dict[int, str] = {}
        self._collect = True
        self._log: Any = structlog.get_logger("tallystick.valuator")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.close()

    def run(self, stop: Callable[[], bool], pause: float) -> None:
        """Work until `stop` says so."""
        while not stop():
            try:
                moved = self.cycle()
            except TransientError as error:
                self._log.warning("unavailable", error=str(error))
                moved = False
            if not moved:
                time.sleep(pause)

    def cycle(self) -> bool:
        """Look at every sealed round once; return whether anything was sent.

        Raises:
            TransientError, RpcError: the node cannot be used.
        """
        moved = False
        for round_id in sealed_rounds.sealed(self._context):
            if round_id not in self._over and self._backoff.ready(_key(round_id)):
                moved |= self._attend(round_id)
        if self._collect:
            moved |= self._withdraw()
        return moved

    # ── One round ───────────────────────────────────────────────────────────────────────────────

    def _attend(self, round_id: int) -> bool:
        if self._context.credits.round_of(round_id).stage is not RoundStage.VALUING:
            self._over.add(round_id)
            self._jobs.pop(round_id, None)
            self._work.forget(round_id)
            self._collect = True
            return False
        try:
            call = self._next(round_id, self._context.valuations.case_of(round_id))
            if call is None:
                return False
            self._wallet.send(call)
        except (ContractError, PermanentError, TransientError) as error:
            # somebody was faster, it is not time, or something is not there yet: look again
            self._log.warning("stuck", round_id=round_id, error=str(error))
            self._tell(round_id, str(error))
            self._backoff.failed(_key(round_id))
            return False
        self._backoff.worked(_key(round_id))
        self._tell(round_id, call.label)
        return True

    def _next(self, round_id: int, case: Case) -> Call | None:
        """Return what is to be sent about a round now, if anything."""
        me, now = self._wallet.address, self._now()
        if case.published:
            return self._defend(round_id, case, now) if case.valuator == me else None
        under_way = case.valuator != ZERO_ADDRESS and now < case.until
        if under_way and case.valuator != me:
            return None
        job = self._job(round_id)
        self._work.ask(job)
        result = self._work.result(job)
        if under_way:
            return self._publish(round_id, result)
        if not self._claimable(round_id, job, case, now):
            return None
        return self._context.valuations.claim(round_id)

    def _claimable(self, round_id: int, job: ValueJob, case: Case, now: Timestamp) -> bool:
        """Tell whether to take a round: we can show its rows, and nothing speaks against us."""
        if failure := self._work.failure(job):
            self._tell(round_id, f"{failure.error}: {failure.message}")
            return False
        ours = case.valuator == self._wallet.address  # lapsed: once more only with the values ready
        ready = self._work.result(job) is not None if ours else self._work.fetched(job)
        if not ready:
            return False
        sealed_at = self._context.credits.round_of(round_id).sealed_at
        if now >= (case.end_by or sealed_at + self._config.valuing_period):
            self._tell(round_id, "nobody valued it in time: anyone may void it")
            return False
        if sealed_rounds.convicted(self._context, round_id, self._wallet.address):
            self._tell(round_id, "a valuation of ours was convicted: left to others")
            return False
        seat = self._context.valuations.seat_of(self._wallet.address)
        # what is locked behind a claim of ours that lapses comes free with the new one
        free = seat.free + (self._config.stake - self._config.forfeit if ours else 0)
        if free < self._config.stake:
            self._tell(round_id, "the free stake is too low: tallystick valuator stake")
            return False
        return True

    def _publish(self, round_id: int, result: Result | None) -> Call | None:
        if result is None:
            return None
        index = result.index
        valuation = sealed_rounds.roots(index.valuation)
        return self._context.valuations.publish(round_id, valuation, index.values, result.cid)

    # ── What stands behind a valuation ──────────────────────────────────────────────────────────

    def _defend(self, round_id: int, case: Case, now: Timestamp) -> Call | None:
        """Answer demands, end challenges that nobody goes on with, settle."""
        chain = self._context.valuations
        if now >= case.until and case.challenges == 0:
            return chain.settle(round_id, sealed_rounds.published(self._context, round_id).values)
        if case.challenges == 0:
            return None
        for challenger in self._challengers(round_id, case.attempt):
            demands = chain.demands_of(round_id, case.attempt, challenger)
            over = now >= demands.deadline
            if demands.turn is Mover.CHALLENGER and over:
                return chain.lapse(round_id, challenger)
            if demands.turn is Mover.VALUATOR and not over and not self._silent:
                return self._answer(round_id, case.attempt, challenger)
        return None

    def _answer(self, round_id: int, attempt: int, challenger: Address) -> Call:
        """Return what shows the node that a challenger demands.

        Raises:
            DigestMismatch: the tables are gone; they are computed again.
        """
        chain = self._context.valuations
        demands = chain.demands_of(round_id, attempt, challenger)
        job = self._job(round_id)
        self._work.ask(job)
        data, tables = self._work.tables(job, self._context.ipfs)
        tree = openings.tree(data, tables, demands.part, demands.number)
        shown = openings.answer(tree, demands.level, demands.index)
        valuation = sealed_rounds.published(self._context, round_id, attempt).valuation
        if isinstance(shown, openings.Leaf):
            return chain.reveal_leaf(round_id, valuation, challenger, shown.data, shown.path)
        return chain.open_node(round_id, valuation, challenger, shown.nodes, shown.path)

    def _challengers(self, round_id: int, attempt: int) -> list[Address]:
        place, kinds = self._context.valuations.address, (TableDemanded,)
        found = self._context.history.read(place, kinds, topic(round_id))
        named = [
            happened.event.challenger
            for happened in found
            if isinstance(happened.event, TableDemanded) and happened.event.attempt == attempt
        ]
        return list(dict.fromkeys(named))

    # ── Money ───────────────────────────────────────────────────────────────────────────────────

    def _withdraw(self) -> bool:
        """Take out what rounds and challenges paid."""
        context, me = self._context, self._wallet.address
        owed = (
            (context.credits.balance_of(me), context.credits.withdraw),
            (context.valuations.bond_of(me), context.valuations.withdraw_bond),
            (context.valuations.reward_of(me), context.valuations.withdraw_reward),
        )
        calls = [make() for amount, make in owed if amount]
        for call in calls:
            self._wallet.send(call)
        self._collect = False
        return bool(calls)

    # ── What the chain knows ────────────────────────────────────────────────────────────────────

    def _job(self, round_id: int) -> ValueJob:
        if round_id not in self._jobs:
            self._jobs[round_id] = sealed_rounds.job(self._context, round_id)
        return self._jobs[round_id]

    def _tell(self, round_id: int, text: str) -> None:
        if self._told.get(round_id) != text:
            self._told[round_id] = text
            self._say(f"round {round_id}: {text}")

    def _now(self) -> Timestamp:
        """Return the time of the block that is being built."""
        block = self._context.rpc.call("eth_getBlockByNumber", "pending", False)
        return Timestamp(quantity(block["timestamp"])) if block else self._context.history.now()


def _key(round_id: int) -> bytes:
    return round_id.to_bytes(32)
