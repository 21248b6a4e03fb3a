"""A challenger at work: follows deliveries, re-executes them, disputes what is wrong to the end.

```
  follow ─▶ due ─▶ re-execute ─▶ right
                        └──────▶ wrong ─▶ engine, a move at a time ─▶ over ─▶ bonds withdrawn
```
"""

from collections import deque
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from eth_account.signers.local import LocalAccount

from oracle.agents.agent import OWN, Agent
from oracle.agents.challenger.chain_view import RpcChainView
from oracle.agents.challenger.deliveries import Deliveries, Scope
from oracle.agents.challenger.engine import Budget, Engine
from oracle.agents.challenger.moves import End, Move, Wait
from oracle.agents.challenger.store import ChallengerStore
from oracle.chain.outbox import EntryState, OutboxEntry
from oracle.errors import Unavailable
from oracle.services.audits import Audits
from oracle.services.exact_faults import HonestTrace
from oracle.services.network import Network
from oracle.services.reexecution import Reexecutor, output_of
from oracle.services.request_timeline import RequestState
from oracle.services.served_traces import SignedReceipt, TraceSource
from oracle.store.agent_repository import CaseState, DeliveryCase
from oracle.types import RequestId, Say

_SENT = 1000  # transactions that a report names at most, the newest


@dataclass(frozen=True, slots=True)
class SentTransaction:
    """A transaction that a challenger sent and that ended."""

    request_id: RequestId | None
    what: str
    mined: bool
    block: int | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class ChallengerReport:
    """What a run did."""

    looked_at: int = 0
    right: int = 0
    wrong: int = 0
    transactions: tuple[SentTransaction, ...] = ()
    games: tuple[DeliveryCase, ...] = ()  # known to be wrong, in their present state


class Challenger(Agent):
    """One account that watches others."""

    role = "challenger"

    def __init__(
        self,
        network: Network,
        account: LocalAccount,
        traces: TraceSource,
        *,
        folder: Path,
        scope: Scope,
        budget: Budget,
        audits: Audits | None = None,
        say: Say | None = None,
    ) -> None:
        """Open the challenger's folder.

        Args:
            audits: an operator's share of the audits, which are looked at as well.

        Raises:
            ConfigInvalid: another process uses it, or it is another account's.
        """
        depth = network.settings.finality_depth  # games are read as deep as that
        super().__init__(network, account, folder, say=say, confirmations=depth)
        self._cases = ChallengerStore(self._store)
        self._view = RpcChainView(network, self)
        outputs = partial(output_of, network)
        self._engine = Engine(self._view, self._cases, traces, outputs, budget)
        self._deliveries = Deliveries(network, self._cases, self.address, scope, audits)
        self._reexecutor = Reexecutor(network)
        self._scope = scope
        self._truths: dict[RequestId, HonestTrace] = {}
        self._report = ChallengerReport()
        self._transactions: deque[SentTransaction] = deque(maxlen=_SENT)  # since the last report
        for request_id, output_root in self._deliveries.orphans():
            self._cases.add(request_id, output_root, CaseState.WRONG)

    def keep_receipt(self, request_id: RequestId, signed: SignedReceipt) -> None:
        """Take a receipt that came another way; whether it is the operator's is looked at later."""
        self._cases.keep_receipt(request_id, signed)

    # ── Run ─────────────────────────────────────────────────────────────────────────────────────

    def once(self) -> ChallengerReport:
        """Look at everything that is there, move until others have to, and report."""
        while self.cycle():
            self.settle()
        return self.report()

    def look(self) -> None:
        found = self._deliveries.follow(self._view.finalized())
        self._deliveries.collect()
        if found:
            self._say(f"deliveries to look at: {found}")
        for case in self._cases.cases(CaseState.DUE):
            self.attend(
                case.request_id, partial(self._examine, case), partial(self._not_executed, case)
            )
        for case in self._cases.cases(CaseState.WRONG):
            self.attend(case.request_id, partial(self._play, case), partial(self._stuck, case))

    def ended(self, entry: OutboxEntry) -> None:
        self._transactions.append(_sent(entry))

    def finished(self) -> bool:
        """Return whether requests were named, and their games are over."""
        known = self._cases.cases(CaseState.DUE, CaseState.WRONG)
        return bool(self._scope.requests) and not known and not self._outbox.live()

    def report(self) -> ChallengerReport:
        """Withdraw what came back; say what was done since the last report, and how games stand."""
        if self._network.game.bond_of(self.address) and not self._outbox.live():
            self.submit("withdraw", OWN, self._network.game.withdraw_bond())
            self.settle()
        games = tuple(self._cases.cases(CaseState.WRONG, CaseState.OVER))
        sent = tuple(self._transactions)
        done, self._report = self._report, ChallengerReport()
        self._transactions.clear()
        return replace(done, transactions=sent, games=games)

    # ── One delivery ────────────────────────────────────────────────────────────────────────────

    def _examine(self, case: DeliveryCase) -> None:
        """Re-execute one delivery."""
        info = self._deliveries.info(case.request_id)
        if info is None or info.state is not RequestState.DELIVERED or info.output_root is None:
            self._put(case, CaseState.OVER, "it ended before it was looked at")
            return
        if info.output_root != case.output_root:
            self._put(case, CaseState.OVER, "the chain has another answer now")
            return
        right = self._truth(case.request_id).output_root == case.output_root
        self._report = replace(
            self._report,
            looked_at=self._report.looked_at + 1,
            right=self._report.right + right,
            wrong=self._report.wrong + (not right),
        )
        self._put(case, CaseState.RIGHT if right else CaseState.WRONG)
        self._tell(case, "right" if right else f"WRONG, by {info.answered_by}")
        if right:
            self._truths.pop(case.request_id, None)

    def _not_executed(self, case: DeliveryCase, error: Exception) -> None:
        """Try again as long as a challenge would be in time; ours that is open is never left."""
        self._tell(case, f"cannot be re-executed: {error}")
        info = self._deliveries.info(case.request_id)
        if info is None or self._network.history.now() >= (info.final_at or 0):
            self._put(case, CaseState.OVER, f"never re-executed: {error}")
        else:
            self._put(case, CaseState.DUE, str(error))

    def _play(self, case: DeliveryCase) -> None:
        """Make a move in the dispute of one delivery."""
        move = self._engine.step(case.request_id, lambda: self._truth(case.request_id))
        if isinstance(move, End):
            self._put(case, CaseState.OVER, move.outcome)
            self._truths.pop(case.request_id, None)
            self._tell(case, move.outcome)
        elif isinstance(move, Wait):
            self._put(case, CaseState.WRONG, move.reason)
        else:
            self._tell(case, _name(move))

    def _stuck(self, case: DeliveryCase, error: Exception) -> None:
        self._put(case, CaseState.WRONG, str(error))
        self._tell(case, str(error))

    def _truth(self, request_id: RequestId) -> HonestTrace:
        if request_id not in self._truths:
            info = self._deliveries.info(request_id)
            if info is None:
                raise Unavailable(f"request 0x{request_id.hex()} is not on the chain")
            self._truths[request_id] = self._reexecutor.run(info.request)
        return self._truths[request_id]

    def _put(self, case: DeliveryCase, state: CaseState, note: str = "") -> None:
        if (state, note) != (case.state, case.note):
            self._cases.put(replace(case, state=state, note=note))
        if state is not case.state:
            self._log.info("case", request_id=case.request_id, state=state.value, note=note)

    def _tell(self, case: DeliveryCase, text: str) -> None:
        self._say(f"0x{case.request_id.hex()}: {text}")


def folder_of(network: Network, name: str) -> Path:
    """Return the folder of a wallet's challenger."""
    return network.settings.home / "challengers" / name


def _sent(entry: OutboxEntry) -> SentTransaction:
    return SentTransaction(
        request_id=entry.request_ids[0] if entry.request_ids[0] != OWN else None,
        what=entry.label,
        mined=entry.state is EntryState.MINED,
        block=entry.block_number,
        error=entry.error,
    )


def _name(move: Move) -> str:
    return {
        "Open": "challenged",
        "Prove": "the fault is shown",
        "AskNode": "a node of the trace is demanded",
        "AskStep": "an element's proof is demanded",
        "ConvictSilent": "the operator was silent and is convicted",
        "Equivocate": "two statements of the operator are shown",
        "Release": "the bond is released",
    }[type(move).__name__]
