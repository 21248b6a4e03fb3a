"""One account that works until it is stopped: what challenger, committee and valuators share.

```
  follow ─▶ look at every subject ─▶ submit: intent on disk ─▶ follow ─▶ nothing moved? pause
    ▲        (a request, a round)     (salts before them)                         │
    └─────────────────────────────────────────────────────────────────────────────┘
```
What must survive a crash is in the agent's store before it is relied on; everything else is read
from the chain again. One process per account: a second one finds the folder locked.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog
from eth_account.signers.local import LocalAccount

from oracle.agents.backoff import Backoff
from oracle.agents.folder import locked, open_store
from oracle.chain.contract import Call
from oracle.chain.outbox import EntryState, OutboxEntry
from oracle.chain.revert import ContractError
from oracle.chain.rpc import RpcError, quantity
from oracle.chain.sender import Sender
from oracle.chain.transactions import FundsInsufficient, Receipt, TransactionPending
from oracle.errors import PermanentError, TransientError
from oracle.private_files import make_folder
from oracle.services.network import Network
from oracle.store.agent_repository import Commitment
from oracle.store.outbox import SqlOutbox
from oracle.types import ZERO32, Address, RequestId, Say, Timestamp

_MINED = 60.0  # seconds that `settle` waits for transactions
_UNDER_WAY = 0.5  # seconds: the longest pause while a transaction is not mined
_PASSING = (TransientError, RpcError, FundsInsufficient)  # waited out

OWN = RequestId(ZERO32)  # the subject of what concerns the account itself


class Agent(ABC):
    """One account at work. A subject is what it looks at: 32 bytes, a request's id or a round's.

    An agent says which subjects there are and what is to be sent about each (`look`).
    """

    role: str  # challenger, committee, …

    def __init__(
        self,
        network: Network,
        account: LocalAccount,
        folder: Path,
        *,
        say: Say | None = None,
        confirmations: int = 0,
    ) -> None:
        """Lock and open the agent's folder.

        Args:
            confirmations: blocks on top of a transaction until it counts as mined; 0 for an agent
                that looks at the newest block.

        Raises:
            ConfigInvalid: another process uses the folder, or it belongs to another account.
        """
        make_folder(folder)
        contracts = network.contracts
        self.address = Address(account.address)
        self._network = network
        self._say = say or (lambda _: None)
        self._failed, self._refused = Backoff(), Backoff()  # looks that failed; transactions
        self._log: Any = structlog.get_logger(f"tallystick.{self.role}")
        identity = f"{contracts.chain_id}:{contracts.inference_market}:{self.address}"
        with ExitStack() as opened:
            opened.enter_context(locked(folder / "lock", self.role))
            self._store = open_store(folder, identity)
            opened.callback(self._store.close)
            self._opened = opened.pop_all()
        self._outbox = SqlOutbox(self._store)
        self._sender = Sender(
            network.rpc, account, self._outbox, contracts.chain_id, confirmations=confirmations
        )
        self._mined = 0  # transactions, seen by this process

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._opened.close()

    # ── Run ─────────────────────────────────────────────────────────────────────────────────────

    def run(
        self, stop: Callable[[], bool], wait: Callable[[float], object], interval: float
    ) -> None:
        """Work until `stop` says so, or there is nothing left; pause unless something was mined.

        An outage and an empty account are waited out.

        Args:
            wait: waits for that many seconds.
            interval: of a pause, in seconds; at most 0.5 while a transaction is under way.
        """
        while not stop():
            mined, under_way = self._mined, False
            try:
                under_way = self.cycle()
            except _PASSING as error:
                self._log.warning("unavailable", error=str(error), hint=error.hint)
            if self.finished():
                return
            if self._mined == mined:
                wait(min(interval, _UNDER_WAY) if under_way else interval)

    def cycle(self) -> bool:
        """Look at everything once; return whether a transaction was mined or is under way.

        Raises:
            TransientError, RpcError: the node cannot be used.
            FundsInsufficient: the account cannot pay for gas; what is to be sent is kept.
        """
        mined = self._mined
        self.follow()
        self.look()
        self.follow()
        return self._mined > mined or bool(self._outbox.live())

    @abstractmethod
    def look(self) -> None:
        """Look at every subject, and submit what is to be sent about it now."""

    def finished(self) -> bool:
        """Return whether nothing is left to be waited for."""
        return False

    def attend(
        self,
        subject: bytes,
        look: Callable[[], object],
        stuck: Callable[[Exception], object] = lambda _: None,
    ) -> None:
        """Look at one subject, unless it waits; an error of one does not end the others.

        Args:
            stuck: what is done when looking failed; it is tried again later.
        """
        ready = self._failed.ready(subject) and self._refused.ready(subject)
        if not ready or self.busy(subject):
            return
        try:
            look()
        except (PermanentError, TransientError) as error:
            self._log.warning("stuck", subject="0x" + subject.hex(), error=str(error))
            self._failed.failed(subject)
            stuck(error)
        else:
            self._failed.worked(subject)

    # ── Send ────────────────────────────────────────────────────────────────────────────────────

    def busy(self, subject: bytes) -> bool:
        """Return whether a transaction about a subject is under way."""
        return any(subject in entry.request_ids for entry in self._outbox.live())

    def simulate(self, call: Call) -> None:
        """Return if a call would succeed now.

        Raises:
            ContractError: it would be refused.
        """
        self._sender.gas_of(call)

    def submit(self, kind: str, subject: bytes, call: Call) -> OutboxEntry:
        """Keep the intent to send a call; it is sent later, whatever happens to us.

        Args:
            kind: what is sent at most once at a time about a subject; up to 16 characters.

        Raises:
            AlreadyPending: a transaction of this kind about the subject is under way.
        """
        return self._outbox.add(kind, [RequestId(subject)], call)

    def send(self, kind: str, subject: bytes, call: Call) -> Receipt:
        """Submit a call and follow it until it is mined.

        Raises:
            ContractError: it was refused. TransactionPending: it is not mined within a minute.
        """
        entry = self.submit(kind, subject, call)
        entry = next((one for one in self.settle() if one.id == entry.id), entry)
        if entry.state is EntryState.FAILED:
            raise ContractError("", {}, entry.error)
        if entry.receipt is None:
            raise TransactionPending((ZERO32, *entry.hashes)[-1], _MINED, entry.error)
        return entry.receipt

    def follow(self) -> None:
        """Bring what was submitted one step on."""
        self._note(self._sender.step())

    def settle(self) -> list[OutboxEntry]:
        """Follow what was submitted until it has ended, for a minute at most; return what ended."""
        ended = self._sender.settle(_MINED)
        self._note(ended)
        return ended

    def ended(self, entry: OutboxEntry) -> None:  # noqa: B027 -- most need nothing
        """Do what is to be done when a transaction was mined or refused."""

    def _note(self, entries: list[OutboxEntry]) -> None:
        for entry in entries:
            refused = entry.state is EntryState.FAILED
            for subject in entry.request_ids:
                (self._refused.failed if refused else self._refused.worked)(subject)
            said = self._log.warning if refused else self._log.info
            said(entry.state.value, what=entry.label, block=entry.block_number, error=entry.error)
            self._mined += not refused
            self.ended(entry)

    # ── Remember ────────────────────────────────────────────────────────────────────────────────

    def commit(self, subject: bytes, content: str = "") -> Commitment:
        """Fix what will be committed to, with a salt: on disk when this returns, for ever.

        Returns:
            The first commitment about this subject, whatever `content` is now.
        """
        with self._store.begin() as tx:
            return tx.keep_commitment(subject, content)

    def committed(self, subject: bytes) -> Commitment | None:
        """Return what was committed to about a subject."""
        with self._store.read() as tx:
            return tx.commitment(subject)

    def now(self) -> Timestamp:
        """Return the time of the block that is being built."""
        block = self._network.rpc.call("eth_getBlockByNumber", "pending", False)
        return Timestamp(quantity(block["timestamp"])) if block else self._network.history.now()
