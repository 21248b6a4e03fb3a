"""An aggregator at work: adds rounds up, publishes, answers for what it published, settles.

```
 SERVE     fetch ─▶ demand what nobody serves
 CLAIM     compute ─▶ approve ─▶ claim ─▶ publish ─▶ (demands answered) ─▶ settle ─▶ withdraw
```
Claimed is only what is computed: a claim without publication costs the bond. The chain says what is
done, so a process that ends anywhere goes on where it was.
"""

from collections.abc import Iterator
from pathlib import Path

from eth_account.signers.local import LocalAccount

from oracle.agents.training.round_agent import MOVE, RoundAgent
from oracle.chain.bindings.training_game import TrainingMover, TrainingPart
from oracle.chain.bindings.training_rounds import AggregatorConvicted
from oracle.chain.contract import Call
from oracle.services.event_history import topic
from oracle.services.network import Network
from oracle.services.training import (
    aggregating,
    answering,
    bases,
    rounds,
    served_vectors,
    vector_demands,
)
from oracle.services.training.aggregating import AggregateFiles
from oracle.services.training.rounds import TrainingPhase, TrainingRoundInfo
from oracle.types import Amount, Say


class TrainingAggregator(RoundAgent):
    """One account that aggregates rounds of training."""

    role = "aggregator"

    def __init__(
        self,
        network: Network,
        account: LocalAccount,
        folder: Path,
        *,
        least_fee: Amount = Amount(0),  # noqa: B008 - a number with a name
        say: Say | None = None,
    ) -> None:
        """Open the aggregator's folder.

        Args:
            least_fee: token units; rounds that pay less are left to others.

        Raises:
            ConfigInvalid: another process uses it, or it is another account's.
        """
        super().__init__(network, account, folder, say=say)
        self._least_fee = least_fee
        self._made: dict[tuple[int, int], AggregateFiles] = {}  # by round and updates that count

    def _round(self, round_id: int) -> None:
        info = rounds.show(self._network, round_id)
        if info.phase in rounds.ENDED:
            self._over.add(round_id)
            return
        call = next(self._calls(info), None)
        if call is not None:
            self.submit(MOVE, round_id.to_bytes(32), call)
            self._say(f"round {round_id}: {call.label}")

    def _calls(self, info: TrainingRoundInfo) -> Iterator[Call]:
        """Yield what is due in a round, the most urgent first; the first one is sent."""
        mine = info.aggregator == self.address
        if info.phase is TrainingPhase.CHALLENGE and mine:
            self._fetched(info)
            yield from answering.answers(self._network, info, self._base(info), 0)
        yield from vector_demands.overdue(self._network, info.round_id, info.attempt)
        match info.phase:
            case TrainingPhase.SERVE:
                yield from self._demands(info)
            case TrainingPhase.AGGREGATE if mine:
                yield self._publication(info)
            case TrainingPhase.CLAIM | TrainingPhase.LATE if self._wanted(info):
                yield from self._claim(info)
            case TrainingPhase.SETTLE:
                yield self._network.training.settle(info.round_id)

    def _wanted(self, info: TrainingRoundInfo) -> bool:
        """Return whether the round pays enough, and none of our aggregates of it was convicted."""
        place, me = self._network.training.address, topic(self.address)
        lost = self._network.history.read(place, (AggregatorConvicted,), topic(info.round_id), me)
        return info.terms.fee >= self._least_fee and not lost

    def _demands(self, info: TrainingRoundInfo) -> Iterator[Call]:
        game = self._network.training_game
        for number in self._fetched(info) if self._wanted(info) else ():
            asked = game.demand_of(info.round_id, info.attempt, number, self.address)
            if asked.turn is TrainingMover.NONE:
                part = TrainingPart.UPDATE
                yield vector_demands.demand(self._network, info.round_id, part, number)

    def _claim(self, info: TrainingRoundInfo) -> Iterator[Call]:
        if self._fetched(info):
            return  # nobody can aggregate it
        self._compute(info)
        place, bond = self._network.training.address, info.terms.aggregator_bond
        if self._network.token.allowance(self.address, place) < bond:
            yield self._network.token.approve(place, bond)
        yield self._network.training.claim(info.round_id)

    def _publication(self, info: TrainingRoundInfo) -> Call:
        self._fetched(info)
        made = self._compute(info)
        cid, digest = served_vectors.publish_aggregate(self._network.ipfs, made.state, made.sums)
        told = (info.round_id, made.sums_root, made.state_root, cid, digest)
        return self._network.training.publish(*told)

    def _fetched(self, info: TrainingRoundInfo) -> tuple[int, ...]:
        return aggregating.fetch_updates(self._network, info, self._base(info), self.address)

    def _compute(self, info: TrainingRoundInfo) -> AggregateFiles:
        key = (info.round_id, info.counted)
        if key not in self._made:
            self._made[key] = aggregating.compute(self._network, info, self._base(info), _quiet)
        return self._made[key]

    def _base(self, info: TrainingRoundInfo) -> bases.TrainingBase:
        return bases.of_round(self._network, info.terms, _quiet)


def _quiet(_done: int, _total: int) -> None:
    """Report to nobody."""
