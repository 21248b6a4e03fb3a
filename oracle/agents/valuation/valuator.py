"""A valuator at work: claims sealed rounds, publishes their values, answers for them, settles.

```
 sealed ─▶ job ─▶ rows are here ─▶ claim ─▶ tables are here ─▶ publish ─▶ (demands answered)
                                                            window over ─▶ settle ─▶ withdraw
```
Claimed is only what can be shown: a claim without publication costs the forfeit. The chain says
what is done, the folder of jobs what is computed.
"""

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from eth_account.signers.local import LocalAccount

from oracle.agents.agent import OWN, Agent
from oracle.agents.valuation.jobs_folder import Jobs, Result, Work
from oracle.chain.bindings.data_rounds import RoundStage
from oracle.chain.bindings.valuation_game import Case, Mover, TableDemanded
from oracle.chain.contract import Call
from oracle.chain.outbox import OutboxEntry
from oracle.queue.broker import CeleryQueue
from oracle.services.data import sealed_rounds, valuator_stakes
from oracle.services.event_history import topic
from oracle.services.network import Network
from oracle.types import ZERO_ADDRESS, Address, Say, Timestamp
from oracle.valuation import openings
from oracle.valuation.jobs import ValueJob

WITHHOLD = "withhold"  # a fault on purpose (worker/faults.py): demands are not answered
_MOVE = "move"  # the one transaction about a round


class Valuator(Agent):
    """One account that values rounds."""

    role = "valuator"

    def __init__(
        self,
        network: Network,
        account: LocalAccount,
        work: Work,
        folder: Path,
        say: Say | None = None,
    ) -> None:
        """Open the valuator's folder.

        Raises:
            ConfigInvalid: another process uses it, or it is another account's.
        """
        super().__init__(network, account, folder, say=say)
        self._work = work
        self._config = network.valuations.config()
        self._silent = WITHHOLD in network.settings.fault
        self._jobs: dict[int, ValueJob] = {}
        self._over: set[int] = set()
        self._told: dict[int, str] = {}
        self._collect = True

    @classmethod
    def of(
        cls, network: Network, account: LocalAccount, name: str, say: Say | None = None
    ) -> "Valuator":
        """Open the valuator of this name, with the queue that its worker listens to.

        Raises:
            ConfigInvalid: another process uses its folder, or it is another account's.
        """
        settings = replace(network.settings, operator=name)
        with ExitStack() as opened:
            queue = CeleryQueue(settings)
            opened.callback(queue.close)
            mine, folder = replace(network, settings=settings), settings.state_dir / "valuator"
            made = cls(mine, account, Jobs.of(settings, queue), folder, say)
            made._opened.push(opened.pop_all())
        return made

    def look(self) -> None:
        for round_id in sealed_rounds.sealed(self._network):
            if round_id not in self._over:
                look, stuck = partial(self._attend, round_id), partial(self._stuck, round_id)
                self.attend(_key(round_id), look, stuck)
        if self._collect:
            self.attend(OWN, self._withdraw)

    def ended(self, entry: OutboxEntry) -> None:
        subject = entry.request_ids[0]
        if subject == OWN:
            self._collect |= bool(entry.error)  # again, later
        else:
            self._tell(int.from_bytes(subject), entry.error or entry.label)

    # ── One round ───────────────────────────────────────────────────────────────────────────────

    def _attend(self, round_id: int) -> None:
        if self._network.data_rounds.round_of(round_id).stage is not RoundStage.VALUING:
            self._over.add(round_id)
            self._jobs.pop(round_id, None)
            self._work.forget(round_id)
            self._collect = True
            return
        call = self._next(round_id, self._network.valuations.case_of(round_id))
        if call is not None:
            self.submit(_MOVE, _key(round_id), call)

    def _stuck(self, round_id: int, error: Exception) -> None:
        """Somebody was faster, it is not time, or something is not there yet."""
        self._tell(round_id, str(error))

    def _next(self, round_id: int, case: Case) -> Call | None:
        """Return what is to be sent about a round now, if anything."""
        me, now = self.address, self.now()
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
        return self._network.valuations.claim(round_id)

    def _claimable(self, round_id: int, job: ValueJob, case: Case, now: Timestamp) -> bool:
        """Tell whether to take a round: we can show its rows, and nothing speaks against us."""
        if failure := self._work.failure(job):
            self._tell(round_id, f"{failure.error}: {failure.message}")
            return False
        ours = case.valuator == self.address  # lapsed: once more only with the values ready
        ready = self._work.result(job) is not None if ours else self._work.fetched(job)
        if not ready:
            return False
        sealed_at = self._network.data_rounds.round_of(round_id).sealed_at
        lapsed = case.valuator != ZERO_ADDRESS  # the time to value begins anew with its end
        if not lapsed and now >= (case.end_by or sealed_at + self._config.valuing_period):
            self._tell(round_id, "nobody valued it in time: anyone may void it")
            return False
        if sealed_rounds.convicted(self._network, round_id, self.address):
            self._tell(round_id, "a valuation of ours was convicted: left to others")
            return False
        seat = self._network.valuations.seat_of(self.address)
        # what is locked behind a claim of ours that lapses comes free with the new one
        lost = min(self._config.stake, self._config.forfeit << case.lapses)
        free = seat.staked - seat.locked + (self._config.stake - lost if ours else 0)
        if free < self._config.stake:
            self._tell(round_id, "the free stake is too low: tallystick valuator stake")
            return False
        return True

    def _publish(self, round_id: int, result: Result | None) -> Call | None:
        if result is None:
            return None
        index = result.index
        valuation = sealed_rounds.roots(index.valuation)
        return self._network.valuations.publish(round_id, valuation, index.values, result.cid)

    # ── What stands behind a valuation ──────────────────────────────────────────────────────────

    def _defend(self, round_id: int, case: Case, now: Timestamp) -> Call | None:
        """Answer demands, end challenges that nobody goes on with, settle."""
        chain = self._network.valuations
        if now >= case.until and case.challenges == 0:
            return chain.settle(round_id, sealed_rounds.published(self._network, round_id).values)
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
        chain = self._network.valuations
        demands = chain.demands_of(round_id, attempt, challenger)
        job = self._job(round_id)
        self._work.ask(job)
        data, tables = self._work.tables(job, self._network.ipfs)
        tree = openings.tree(data, tables, demands.part, demands.number)
        shown = openings.answer(tree, demands.level, demands.index)
        valuation = sealed_rounds.published(self._network, round_id, attempt).valuation
        if isinstance(shown, openings.Leaf):
            return chain.reveal_leaf(round_id, valuation, challenger, shown.data, shown.path)
        return chain.open_node(round_id, valuation, challenger, shown.nodes, shown.path)

    def _challengers(self, round_id: int, attempt: int) -> list[Address]:
        place, kinds = self._network.valuations.address, (TableDemanded,)
        found = self._network.history.read(place, kinds, topic(round_id))
        named = [
            happened.event.challenger
            for happened in found
            if isinstance(happened.event, TableDemanded) and happened.event.attempt == attempt
        ]
        return list(dict.fromkeys(named))

    # ── Money ───────────────────────────────────────────────────────────────────────────────────

    def _withdraw(self) -> None:
        """Take out what rounds and challenges paid."""
        for at, call in enumerate(valuator_stakes.payouts(self._network, self.address)):
            self.submit(f"payout {at}", OWN, call)
        self._collect = False  # only now: an outage before must not make us forget the payout

    # ── What the chain knows ────────────────────────────────────────────────────────────────────

    def _job(self, round_id: int) -> ValueJob:
        if round_id not in self._jobs:
            self._jobs[round_id] = sealed_rounds.job(self._network, round_id)
        return self._jobs[round_id]

    def _tell(self, round_id: int, text: str) -> None:
        if self._told.get(round_id) != text:
            self._told[round_id] = text
            self._say(f"round {round_id}: {text}")


def _key(round_id: int) -> bytes:
    return round_id.to_bytes(32)
