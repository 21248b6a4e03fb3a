"""A challenger of valuations: computes a round again, and convicts who published another result.

```
 published ─▶ computed again ─▶ right
                   └─ wrong ─▶ announce ─▶ (a block) ─▶ prove ─▶ convicted
                        └─ not served ─▶ demand ─▶ (silence) ─▶ convict
```
What an announcement commits to is in the store before it is sent.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from eth_abi.abi import encode
from eth_account.signers.local import LocalAccount

from oracle.agents.agent import OWN, Agent
from oracle.agents.valuation import checking, shown_tables
from oracle.agents.valuation.checking import NotServed, Recompute, Truth
from oracle.agents.valuation.report import Stand, ValuationReport
from oracle.chain.arguments import TableNode
from oracle.chain.bindings.data_rounds import RoundStage
from oracle.chain.bindings.valuation_game import Case, Demands, Mover, ValuationPublished
from oracle.chain.contract import Call
from oracle.chain.revert import ContractError
from oracle.chain.transactions import Receipt
from oracle.merkle import keccak
from oracle.services.data import sealed_rounds
from oracle.services.network import Network
from oracle.types import Bytes32, Say, ValuationPart, Wei
from oracle.valuation.faults import Fault

_WITNESS = ("uint256", "uint256", "address", "bytes32", "uint8") + ("uint32",) * 5
_BOND_MARGIN = 2  # the base fee may rise until a demand is mined
_REFUSALS = 3  # by the contract, until an error is one
_PROBES = 3  # rows of a data set that nobody serves: who shows them all at random has them


@dataclass
class _Game:
    """What is known of one published valuation."""

    said: ValuationPublished
    truth: Truth | None = None
    fault: Fault | None = None
    missing: NotServed | None = None
    sent: list[Receipt] = field(default_factory=list)  # since the last report


class ValuationChallenger(Agent):
    """One account that checks valuations."""

    role = "challenger"

    def __init__(
        self,
        network: Network,
        account: LocalAccount,
        recompute: Recompute,
        folder: Path,
        say: Say | None = None,
    ) -> None:
        """Open the challenger's folder.

        Raises:
            ConfigInvalid: another process uses it, or it is another account's.
        """
        super().__init__(network, account, folder, say=say)
        self._folder = folder
        self._recompute = recompute
        self._games: dict[tuple[int, int], _Game] = {}
        self._done: set[tuple[int, int]] = set()
        self._over: set[int] = set()
        self._swept: dict[int, int] = {}  # attempts whose bonds were looked for, by round

    def look(self) -> None:
        for round_id in sealed_rounds.sealed(self._network):
            if round_id not in self._over:
                self.attend(round_id.to_bytes(32), partial(self._step, round_id))

    def settle_round(
        self, round_id: int, stop: Callable[[], bool], pause: Callable[[], object]
    ) -> ValuationReport:
        """Check one round, and move until its valuation is right or convicted, or `stop`."""
        report, refused = self.step(round_id), 0
        done = report.transactions
        while report.stand in (Stand.WRONG, Stand.UNSERVED) and not stop():
            if not report.transactions:
                pause()
            try:
                report = self.step(round_id)
            except ContractError:  # somebody else may have been faster: look again
                refused += 1
                if refused == _REFUSALS:
                    raise
                continue
            done += report.transactions
        return replace(report, transactions=done)

    # ── One round ───────────────────────────────────────────────────────────────────────────────

    def step(self, round_id: int) -> ValuationReport:
        """Look at a round's valuation, and make the next move, if there is one to make now.

        Raises:
            NotFound: there is no such round, or it is not sealed.
            Unavailable: node or IPFS is away. AlreadyPending: our last move is not mined.
            ContractError: the contract refused.
        """
        self.settle()  # what a process before us submitted
        return self._step(round_id)

    def _step(self, round_id: int) -> ValuationReport:
        case = self._network.valuations.case_of(round_id)
        key = (round_id, case.attempt)
        if not case.published:
            stage = self._network.data_rounds.round_of(round_id).stage
            if stage in (RoundStage.SETTLED, RoundStage.VOID):
                self._over.add(round_id)
            return ValuationReport(
                *key, Stand.NONE, transactions=self._sweep(round_id, case.attempt)
            )
        if key not in self._games:
            said = sealed_rounds.published(self._network, round_id, case.attempt)
            self._games[key] = _Game(said, sent=list(self._sweep(round_id, case.attempt - 1)))
        game = self._games[key]
        if case.valuator == self.address or key in self._done:
            ours = case.valuator == self.address
            return self._report(game, Stand.OURS if ours else Stand.RIGHT)
        demands = self._demands(game)
        if demands.turn is Mover.VALUATOR:
            return self._wait(game, demands)
        self._look(game)
        if game.fault is not None:
            return self._prove(game, case, game.fault)
        if game.missing is not None:
            return self._demand(game, case, demands, game.missing.node)
        self._done.add(key)
        self._forget(game)
        return self._report(game, Stand.RIGHT)

    def _look(self, game: _Game) -> None:
        """Find out who is right, unless that is known."""
        if game.fault is not None:
            return
        network, folder, round_id = self._network, self._of(game.said), game.said.round_id
        unserved = game.truth is not None and game.missing is not None
        try:
            if game.truth is None:
                job = sealed_rounds.job(network, round_id)
                game.truth = checking.truth(job, network.ipfs, self._recompute, folder)
            seen = shown_tables.read(network, game.said) if unserved else None
            game.fault = checking.fault(game.truth, game.said, network.ipfs, folder, seen)
        except NotServed as missing:
            if game.missing is None:
                self._say(f"round {round_id}: {missing}")
            game.missing = missing
            return
        game.missing = None
        if game.fault is not None:
            self._say(f"round {round_id}: WRONG, fault {game.fault.code}")

    # ── Prove ───────────────────────────────────────────────────────────────────────────────────

    def _prove(self, game: _Game, case: Case, fault: Fault) -> ValuationReport:
        said, chain = game.said, self._network.valuations
        if self.now() >= case.until and not case.challenges:
            return self._report(game, Stand.LATE, "the window has passed")
        salt = self.commit(_subject(said)).salt
        hidden = witness(said, self.address, salt, fault)
        if not chain.announced_at(hidden):
            self._move(game, chain.announce(hidden))
            return self._report(game, Stand.WRONG, "announced")
        self._move(game, chain.prove(said.round_id, said.valuation, salt, fault))
        game.sent += self._sweep(said.round_id, said.attempt)
        return self._report(game, Stand.CONVICTED, f"fault {fault.code}")

    # ── Demand ──────────────────────────────────────────────────────────────────────────────────

    def _demand(
        self, game: _Game, case: Case, demands: Demands, node: TableNode
    ) -> ValuationReport:
        """Have what is not served shown on chain."""
        said, chain = game.said, self._network.valuations
        if demands.turn is Mover.NONE and self.now() >= case.until:
            return self._report(game, Stand.LATE, "the window has passed")
        if node.part in (ValuationPart.DATA, ValuationPart.TEST) and demands.count >= _PROBES:
            return self._report(game, Stand.UNSERVED, "whatever row is demanded, it is shown")
        bond = Wei(_BOND_MARGIN * chain.bond_needed())
        call = chain.demand(
            said.round_id,
            said.valuation,
            node.part,
            node.number,
            node.level,
            node.index,
            value=bond,
        )
        self._move(game, call)
        return self._report(game, Stand.UNSERVED, call.label)

    def _wait(self, game: _Game, demands: Demands) -> ValuationReport:
        """It is the valuator's turn; convict it when that is over."""
        if self.now() < demands.deadline:
            return self._report(game, Stand.UNSERVED, f"its turn until {demands.deadline}")
        me = self.address
        said = game.said
        self._move(game, self._network.valuations.convict_silent(said.round_id, me))
        game.sent += self._sweep(said.round_id, said.attempt)
        return self._report(game, Stand.CONVICTED, "silent")

    def _demands(self, game: _Game) -> Demands:
        said, me = game.said, self.address
        return self._network.valuations.demands_of(said.round_id, said.attempt, me)

    # ── After ───────────────────────────────────────────────────────────────────────────────────

    def _sweep(self, round_id: int, upto: int) -> tuple[Receipt, ...]:
        """Take back what is ours once the valuations up to this attempt were convicted or settled.

        Looks on the chain, so that nothing is lost with a process that ended in between.
        """
        chain, me = self._network.valuations, self.address
        subject = round_id.to_bytes(32)
        sent = []
        for attempt in range(self._swept.get(round_id, 0) + 1, upto + 1):
            if chain.demands_of(round_id, attempt, me).turn is not Mover.NONE:
                sent.append(
                    self.send("release", subject, chain.release_bond(round_id, attempt, me))
                )
            if game := self._games.pop((round_id, attempt), None):
                self._forget(game)
        self._swept[round_id] = max(upto, self._swept.get(round_id, 0))
        if chain.bond_of(me):
            sent.append(self.send("bond", OWN, chain.withdraw_bond()))
        if chain.reward_of(me):
            sent.append(self.send("reward", OWN, chain.withdraw_reward()))
        return tuple(sent)

    def _forget(self, game: _Game) -> None:
        """Give back memory and disk: tables of a large round are gigabytes."""
        game.truth = None
        shutil.rmtree(self._of(game.said), ignore_errors=True)

    def _move(self, game: _Game, call: Call) -> None:
        game.sent.append(self.send("move", game.said.round_id.to_bytes(32), call))
        self._say(f"round {game.said.round_id}: {call.label}")

    def _report(self, game: _Game, stand: Stand, note: str = "") -> ValuationReport:
        """Return how a round stands, with what was sent since the last report."""
        done, game.sent = tuple(game.sent), []
        return ValuationReport(game.said.round_id, game.said.attempt, stand, note, game.fault, done)

    def _of(self, said: ValuationPublished) -> Path:
        return self._folder / f"{said.round_id}-{said.attempt}-{said.valuation_root.hex()[:16]}"


def witness(said: ValuationPublished, me: str, salt: Bytes32, fault: Fault) -> Bytes32:
    """Return what hides a fault until it is shown (`IValuationGame.announce`)."""
    place = (fault.code, fault.t, fault.p, fault.i, fault.j, fault.a)
    return keccak(encode(_WITNESS, [said.round_id, said.attempt, me, salt, *place]))


def _subject(said: ValuationPublished) -> bytes:
    return said.round_id.to_bytes(32) + said.attempt.to_bytes(4) + said.valuation_root
