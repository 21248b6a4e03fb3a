"""A challenger at work: follows deliveries, re-executes them, disputes what is wrong to the end.

```
  follow ─▶ due ─▶ re-execute ─▶ right
                        └──────▶ wrong ─▶ engine, a move at a time ─▶ over ─▶ bonds withdrawn
```
One process per account: a second one finds the folder locked.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import structlog
from eth_account.signers.local import LocalAccount

from oracle.agents.agent import Backoff, Report, Transaction, locked
from oracle.agents.challenger.chain_view import ChainBoard
from oracle.agents.challenger.deliveries import Deliveries, Scope
from oracle.agents.challenger.engine import Budget, Engine, Outputs
from oracle.agents.challenger.moves import End, Move, Wait
from oracle.agents.challenger.store import Case, CaseState, Memory
from oracle.chain.outbox import EntryState, OutboxEntry
from oracle.chain.sender import Sender
from oracle.chain.wallet import Wallet
from oracle.errors import PermanentError, TransientError, Unavailable
from oracle.services import wallets
from oracle.services.audits import Audits
from oracle.services.exact_faults import HonestTrace
from oracle.services.network import Network
from oracle.services.reexecution import Reexecutor, output_of
from oracle.services.request_timeline import RequestState
from oracle.services.served_traces import SignedReceipt, TraceSource
from oracle.store.outbox import SqlOutbox
from oracle.store.store import Store
from oracle.types import Bytes32, RequestId

_MINED = 60.0  # seconds that one pass waits for its own transactions

Say = Callable[[str], None]


class _IpfsOutputs(Outputs):
    def __init__(self, context: Network) -> None:
        self._context = context

    def fetch(self, output_cid: Bytes32, output_root: Bytes32) -> bytes:
        return output_of(self._context, output_cid, output_root)


class Challenger(AbstractContextManager["Challenger"]):
    """One account that watches others."""

    def __init__(
        self,
        context: Network,
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
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock: IO[str] = locked(folder / "lock")
        self._context = context
        wallet = Wallet(context.rpc, account, chain_id=context.contracts.chain_id)
        self.address = wallet.address
        self._say = say or (lambda _: None)
        self._memory = Memory(folder / "challenger.db", wallet.address)
        self._store = Store.open(f"sqlite:///{folder / 'outbox.db'}")
        self._outbox = SqlOutbox(self._store)
        self._sender = Sender(
            context.rpc,
            account,
            self._outbox,
            context.contracts.chain_id,
            confirmations=context.settings.finality_depth,
        )
        self._board = ChainBoard(context, wallet, self._sender, self._outbox)
        self._engine = Engine(self._board, self._memory, traces, _IpfsOutputs(context), budget)
        self._deliveries = Deliveries(context, self._memory, wallet.address, scope, audits)
        self._reexecutor = Reexecutor(context)
        self._scope = scope
        self._truths: dict[RequestId, HonestTrace] = {}
        self._backoff = Backoff()
        self._report = Report()
        self._log: Any = structlog.get_logger("tallystick.challenger")
        for request_id, output_root in self._deliveries.orphans():
            self._memory.add(request_id, output_root, CaseState.WRONG)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._memory.close()
        self._store.close()
        self._lock.close()

    def keep_receipt(self, request_id: RequestId, signed: SignedReceipt) -> None:
        """Take a receipt that came another way; whether it is the operator's is looked at later."""
        self._memory.keep_receipt(request_id, signed)

    # ── Run ─────────────────────────────────────────────────────────────────────────────────────

    def once(self) -> Report:
        """Look at everything that is there and move until others have to."""
        self._report = Report()
        while self.cycle():
            self._note(self._sender.settle(_MINED))
        return self._finish()

    def run(self, stop: Callable[[], bool], pause: float) -> Report:
        """Work until `stop` says so, or, for named requests, until their games are over."""
        self._report = Report()
        while not stop():
            try:
                moved = self.cycle()
            except TransientError as error:
                self._log.warning("unavailable", error=str(error))
                moved = False
            if self._scope.requests and not self._open():
                break
            if not moved:
                time.sleep(pause)
        return self._finish()

    def cycle(self) -> bool:
        """Follow, re-execute, move; return whether a transaction ended or is under way.

        Raises:
            TransientError, RpcError: the node cannot be used.
        """
        before = len(self._report.transactions)
        self._note(self._sender.step())
        found = self._deliveries.follow(self._board.finalized())
        self._deliveries.collect()
        if found:
            self._say(f"{found} deliveries to look at")
        for case in self._memory.cases(CaseState.DUE):
            if self._backoff.ready(case.request_id):
                self._examine(case)
        for case in self._memory.cases(CaseState.WRONG):
            if self._backoff.ready(case.request_id):
                self._play(case)
        self._note(self._sender.step())
        return bool(self._outbox.live()) or len(self._report.transactions) > before

    # ── One delivery ────────────────────────────────────────────────────────────────────────────

    def _examine(self, case: Case) -> None:
        """Re-execute one delivery."""
        info = self._deliveries.info(case.request_id)
        if info is None or info.state is not RequestState.DELIVERED or info.output_root is None:
            self._put(case, CaseState.OVER, "it ended before it was looked at")
            return
        if info.output_root != case.output_root:
            self._put(case, CaseState.OVER, "the chain has another answer now")
            return
        try:
            truth = self._truth(case.request_id)
        except (PermanentError, TransientError) as error:
            self._give_up_later(case, error, late=self._late(info.final_at))
            return
        self._backoff.worked(case.request_id)
        right = truth.output_root == case.output_root
        self._report = replace(
            self._report,
            looked_at=self._report.looked_at + 1,
            right=self._report.right + right,
            wrong=self._report.wrong + (not right),
        )
        self._put(case, CaseState.RIGHT if right else CaseState.WRONG)
        name = "0x" + case.request_id.hex()
        self._say(f"{name}: {'right' if right else f'WRONG, by {info.answered_by}'}")
        if right:
            self._truths.pop(case.request_id, None)

    def _play(self, case: Case) -> None:
        """Make a move in the dispute of one delivery."""
        try:
            move = self._engine.step(case.request_id, lambda: self._truth(case.request_id))
        except (PermanentError, TransientError) as error:
            self._put(case, CaseState.WRONG, str(error))
            self._backoff.failed(case.request_id)
            self._log.warning("stuck", request_id=case.request_id, error=str(error))
            self._say(f"0x{case.request_id.hex()}: {error}")
            return
        self._backoff.worked(case.request_id)
        if isinstance(move, End):
            self._put(case, CaseState.OVER, move.outcome)
            self._truths.pop(case.request_id, None)
            self._say(f"0x{case.request_id.hex()}: {move.outcome}")
        elif isinstance(move, Wait):
            self._put(case, CaseState.WRONG, move.reason)
        else:
            self._say(f"0x{case.request_id.hex()}: {_name(move)}")

    def _truth(self, request_id: RequestId) -> HonestTrace:
        if request_id not in self._truths:
            info = self._deliveries.info(request_id)
            if info is None:
                raise Unavailable(f"request 0x{request_id.hex()} is not on the chain")
            self._truths[request_id] = self._reexecutor.run(info.request)
        return self._truths[request_id]

    def _late(self, final_at: int | None) -> bool:
        return self._context.history.now() >= (final_at or 0)

    def _give_up_later(self, case: Case, error: Exception, *, late: bool) -> None:
        """Try again as long as a challenge would be in time; ours that is open is never left."""
        self._log.warning("cannot_execute", request_id=case.request_id, error=str(error))
        self._say(f"0x{case.request_id.hex()}: cannot be re-executed: {error}")
        if late:
            self._put(case, CaseState.OVER, f"never re-executed: {error}")
        else:
            self._put(case, CaseState.DUE, str(error))
            self._backoff.failed(case.request_id)

    def _put(self, case: Case, state: CaseState, note: str = "") -> None:
        if (state, note) != (case.state, case.note):
            self._memory.put(replace(case, state=state, note=note))
        if state is not case.state:
            self._log.info("case", request_id=case.request_id, state=state.value, note=note)

    # ── The whole ───────────────────────────────────────────────────────────────────────────────

    def _open(self) -> bool:
        return bool(self._memory.cases(CaseState.DUE, CaseState.WRONG)) or bool(self._outbox.live())

    def _note(self, ended: list[OutboxEntry]) -> None:
        done = [
            Transaction(
                request_id=entry.request_ids[0] if entry.request_ids else None,
                what=entry.label,
                mined=entry.state is EntryState.MINED,
                block=entry.block_number,
                error=entry.error,
            )
            for entry in ended
        ]
        for entry in ended:
            if entry.state is EntryState.FAILED:
                for request_id in entry.request_ids:
                    self._backoff.failed(request_id)
        self._report = replace(self._report, transactions=self._report.transactions + tuple(done))

    def _finish(self) -> Report:
        """Withdraw what came back, and say how the games stand."""
        if self._context.game.bond_of(self.address) and not self._outbox.live():
            self._sender.submit("withdraw", [], self._context.game.withdraw_bond())
            self._note(self._sender.settle(_MINED))
        known = self._memory.cases(CaseState.WRONG, CaseState.OVER)
        return replace(self._report, games=tuple(known))


def folder_of(context: Network, name: str) -> Path:
    """Return the folder of a wallet's challenger."""
    return context.settings.home / "challengers" / name


def open_named(
    context: Network,
    traces: TraceSource,
    name: str,
    password: str,
    *,
    scope: Scope,
    budget: Budget,
    audits: Audits | None = None,
    say: Say | None = None,
) -> Challenger:
    """Open the challenger of a wallet; raises what `Challenger` and the keystore do."""
    account = wallets.unlock(context.settings, name, password)
    folder = folder_of(context, Path(name).stem)
    return Challenger(
        context, account, traces, folder=folder, scope=scope, budget=budget, audits=audits, say=say
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
