"""A member of the committee at work: votes on what it is drawn for, and moves disputes on.

```
 drawn? ─▶ compute ─▶ vote on disk (salt and all) ─▶ commit ─▶ reveal ─▶ tally ─▶ report the silent
                      └ a crash from here on loses nothing: the chain says what is done already
```
Everything that is sent can be sent again: the contract refuses what is done. One process per
account.
"""

import json
import os
import secrets
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import structlog
from eth_abi.abi import encode

from oracle.agents.agent import Backoff, locked
from oracle.agents.committee.worker_process import Opinion, VoteWorker
from oracle.chain.committee import Dispute, Stage, Vote
from oracle.chain.contract import Call
from oracle.chain.events import CommitteeCalled, Delivered, VersionPublished
from oracle.chain.revert import ContractError
from oracle.chain.rpc import quantity
from oracle.chain.wallet import Wallet
from oracle.errors import TransientError, Unavailable
from oracle.protocol.canonical import keccak
from oracle.services import committee, requests
from oracle.services.event_history import topic
from oracle.services.network import Network
from oracle.services.request_timeline import RequestInfo
from oracle.types import (
    ZERO32,
    Activation,
    Address,
    Bytes32,
    Finding,
    RequestId,
    Timestamp,
    VersionRecord,
)

_VOTE = ("bytes32", "uint256", "address", "uint8", "bytes32", "int128", "bytes32")
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Seat:
    """One vote that is ours to give: the seed is part of its name, as a reorg may change it."""

    request_id: RequestId
    round: int
    seed: Bytes32

    @property
    def name(self) -> str:
        return f"{self.request_id.hex()}-{self.round}-{self.seed.hex()[:16]}"


class Votes:
    """Votes on disk: what was committed to must be revealed, whatever happens to us."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder

    def get(self, name: str) -> Vote | None:
        """Return a vote; None when there is none."""
        try:
            body = json.loads((self._folder / f"{name}.json").read_text())
        except FileNotFoundError:
            return None
        return Vote(
            Finding[body["finding"]],
            Bytes32(bytes.fromhex(body["output_digest"])),
            Activation(int(body["activation"])),
            Bytes32(bytes.fromhex(body["salt"])),
        )

    def put(self, name: str, vote: Vote) -> None:
        """Keep a vote; it is on the disk when this returns."""
        body = {
            "finding": vote.finding.name,
            "output_digest": vote.output_digest.hex(),
            "activation": str(vote.activation),
            "salt": vote.salt.hex(),
        }
        written = self._folder / f"{name}.tmp"
        with written.open("w") as file:
            json.dump(body, file)
            file.flush()
            os.fsync(file.fileno())
        written.replace(self._folder / f"{name}.json")
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def commitment(request_id: RequestId, round_: int, member: Address, vote: Vote) -> Bytes32:
    """Return what a member commits to, as `ICommittee.commit` says."""
    words = (vote.finding, vote.output_digest, vote.activation, vote.salt)
    return keccak(encode(_VOTE, [request_id, round_, member, *words]))


class CommitteeVoter(AbstractContextManager["CommitteeVoter"]):
    """One member."""

    def __init__(
        self,
        context: Network,
        wallet: Wallet,
        worker: VoteWorker,
        folder: Path,
        say: Say | None = None,
    ) -> None:
        """Open the member's folder.

        Raises:
            ConfigInvalid: another process uses it.
        """
        self._votes = Votes(folder / "votes")
        self._lock = locked(folder / "lock")
        self._context = context
        self._wallet = wallet
        self._worker = worker
        self._say = say or (lambda _: None)
        self._thread = ThreadPoolExecutor(1)  # a vote that takes minutes holds up no reveal
        self._computing: dict[str, Future[Opinion]] = {}
        self._backoff = Backoff()
        self._over: set[RequestId] = set()
        self._log: Any = structlog.get_logger("tallystick.committee")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._worker.close()
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
        """Look at every dispute once; return whether anything was sent.

        Raises:
            TransientError, RpcError: the node cannot be used.
        """
        found = self._context.history.read(self._context.committee.address, (CommitteeCalled,))
        moved = False
        for happened in found:
            assert isinstance(happened.event, CommitteeCalled)
            request_id = happened.event.request_id
            if request_id not in self._over and self._backoff.ready(request_id):
                moved |= self._attend(request_id)
        return moved

    # ── One dispute ─────────────────────────────────────────────────────────────────────────────

    def _attend(self, request_id: RequestId) -> bool:
        dispute = self._context.committee.dispute_of(request_id)
        if dispute.stage is Stage.CLOSED:
            self._report(request_id, dispute)
            self._over.add(request_id)
            return False
        try:
            call = self._next(request_id, dispute)
            if call is None:
                return False
            self._wallet.send(call)
        except ContractError as error:  # somebody else was faster, or it is not time yet
            self._log.info("refused", request_id=request_id, error=str(error))
            self._backoff.failed(request_id)
            return False
        except Unavailable as error:
            self._log.warning("stuck", request_id=request_id, error=str(error))
            self._backoff.failed(request_id)
            return False
        self._backoff.worked(request_id)
        self._say(f"0x{request_id.hex()}: {call.label}")
        return True

    def _next(self, request_id: RequestId, dispute: Dispute) -> Call | None:
        """Return what is to be sent about a dispute now, if anything."""
        chain, now = self._context.committee, self._now()
        if self._context.market.open_disputes_of(request_id) == 0:
            return chain.release_bond(request_id)
        if dispute.stage is Stage.CHALLENGED:
            if now >= chain.draw_until(request_id):
                return chain.lapse(*self._answer(request_id))
            head = quantity(self._context.rpc.call("eth_blockNumber"))
            return chain.draw(request_id) if head >= dispute.seed_block else None
        if now >= dispute.reveal_until:
            return chain.tally(*self._answer(request_id))
        return self._vote(request_id, dispute, now)

    def _vote(self, request_id: RequestId, dispute: Dispute, now: Timestamp) -> Call | None:
        chain = self._context.committee
        if not chain.is_drawn(request_id, dispute.round, self._wallet.address):
            return None
        seat = _Seat(request_id, dispute.round, chain.activation_seed(request_id, dispute.round))
        return self._commit(seat) if now < dispute.commit_until else self._reveal(seat)

    def _commit(self, seat: _Seat) -> Call | None:
        chain, me = self._context.committee, self._wallet.address
        if any(chain.ballot_of(seat.request_id, seat.round, me).commitment):
            return None
        vote = self._votes.get(seat.name)
        if vote is None:
            opinion = self._opinion(seat)
            if opinion is None:
                return None
            words = (opinion.finding, opinion.output_digest, opinion.activation)
            vote = Vote(*words, Bytes32(secrets.token_bytes(32)))
            self._votes.put(seat.name, vote)
            self._say(f"0x{seat.request_id.hex()}: {committee.FINDINGS[vote.finding]}")
        return chain.commit(seat.request_id, commitment(seat.request_id, seat.round, me, vote))

    def _reveal(self, seat: _Seat) -> Call | None:
        chain, me = self._context.committee, self._wallet.address
        ballot = chain.ballot_of(seat.request_id, seat.round, me)
        if not any(ballot.commitment) or ballot.finding is not Finding.NONE:
            return None
        vote = self._votes.get(seat.name)
        known = vote and commitment(seat.request_id, seat.round, me, vote)
        if vote is None or known != ballot.commitment:
            self._log.error("vote_lost", request_id=seat.request_id, round=seat.round)
            return None
        return chain.reveal(seat.request_id, vote)

    def _opinion(self, seat: _Seat) -> Opinion | None:
        """Return what the worker found; None while it is at it.

        Raises:
            Unavailable: it could not; it is asked again later.
        """
        if seat.name not in self._computing:
            job = self._job(seat)
            self._computing[seat.name] = self._thread.submit(self._worker.opinion, job)
        if not self._computing[seat.name].done():
            return None
        return self._computing.pop(seat.name).result()

    def _report(self, request_id: RequestId, dispute: Dispute) -> None:
        """Report who was drawn and never committed: a fifth of the penalty is ours."""
        chain, me = self._context.committee, self._wallet.address
        for round_ in range(dispute.tallied):
            if not chain.is_drawn(request_id, round_, me):
                continue  # who had no part in it leaves it to those who had
            for member in committee.members(self._context, dispute.runtime_class):
                if not chain.is_drawn(request_id, round_, member):
                    continue
                ballot = chain.ballot_of(request_id, round_, member)
                if any(ballot.commitment) or ballot.reported:
                    continue
                try:
                    self._wallet.send(chain.report_silence(request_id, round_, member))
                except ContractError as error:  # crowded out, or reported meanwhile
                    self._log.info("not_reported", member=member, error=str(error))

    # ── What the chain knows ────────────────────────────────────────────────────────────────────

    def _answer(self, request_id: RequestId) -> tuple[Any, Any]:
        info = requests.show(self._context, request_id)
        assert info.delivery is not None, "only deliveries are disputed"
        return info.request, info.delivery

    def _job(self, seat: _Seat) -> dict[str, Any]:
        info = requests.show(self._context, seat.request_id)
        assert info.delivery is not None
        record = self._record(info)
        digests = {
            "manifest_digest": record.manifest_digest,
            "model_root": record.model_root,
            "input_root": info.request.input_root,
            "input_cid": info.request.input_cid,
            "params": info.request.params,
            "output_root": info.delivery.output_root,
            "output_cid": self._output_cid(seat.request_id),
            "seed": seat.seed,
        }
        texts = {name: "0x" + value.hex() for name, value in digests.items()}
        return {**texts, "tolerance": info.request.terms.tolerance}

    def _output_cid(self, request_id: RequestId) -> Bytes32:
        market = self._context.market.address
        found = self._context.history.read(market, (Delivered,), topic(request_id))
        named = [h.event.output_cid for h in found if isinstance(h.event, Delivered)]
        return named[-1] if named else ZERO32

    def _record(self, info: RequestInfo) -> VersionRecord:
        context = self._context
        found = context.history.read(
            context.registry.address, (VersionPublished,), topic(info.model_id)
        )
        records = (h.event.record for h in found if isinstance(h.event, VersionPublished))
        return next(record for record in records if record.version == info.version)

    def _now(self) -> Timestamp:
        """Return the time of the block that is being built."""
        block = self._context.rpc.call("eth_getBlockByNumber", "pending", False)
        return Timestamp(quantity(block["timestamp"])) if block else self._context.history.now()
