"""A member of the committee at work: votes on what it is drawn for, and moves disputes on.

```
 drawn? ─▶ compute ─▶ vote in the store (salt and all) ─▶ commit ─▶ reveal ─▶ tally ─▶ report the
                      └ a crash from here on loses nothing: the chain says what is done    silent
```
"""

import json
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from eth_abi.abi import encode
from eth_account.signers.local import LocalAccount

from oracle.agents.agent import Agent
from oracle.agents.committee.vote_worker import VoteOpinion, VoteWorker
from oracle.chain.arguments import Vote
from oracle.chain.bindings.committee import CommitteeCalled, Dispute, Finding, Stage
from oracle.chain.bindings.inference_market import Delivered
from oracle.chain.bindings.model_registry import VersionPublished
from oracle.chain.contract import Call
from oracle.chain.outbox import EntryState, OutboxEntry
from oracle.chain.rpc import quantity
from oracle.protocol.canonical import keccak
from oracle.services import committee, requests
from oracle.services.event_history import topic
from oracle.services.network import Network
from oracle.services.request_timeline import RequestInfo
from oracle.store.agent_repository import Commitment
from oracle.types import (
    ZERO32,
    Activation,
    Address,
    Bytes32,
    RequestId,
    Say,
    Timestamp,
    VersionRecord,
)

_VOTE = ("bytes32", "uint256", "address", "uint8", "bytes32", "int128", "bytes32")
_SILENT = ("bytes32", "uint256", "address")
_MOVE = "move"  # the one transaction about a dispute
_SILENCE = "silence"  # of somebody else


@dataclass(frozen=True, slots=True)
class _Seat:
    """One vote that is ours to give: the seed is part of its name, as a reorg may change it."""

    request_id: RequestId
    round: int
    seed: Bytes32

    @property
    def subject(self) -> bytes:
        return self.request_id + self.round.to_bytes(4) + self.seed


def commitment(request_id: RequestId, round_: int, member: Address, vote: Vote) -> Bytes32:
    """Return what a member commits to, as `ICommittee.commit` says."""
    words = (vote.finding, vote.output_digest, vote.activation, vote.salt)
    return keccak(encode(_VOTE, [request_id, round_, member, *words]))


class CommitteeMember(Agent):
    """One member."""

    role = "committee"

    def __init__(
        self,
        network: Network,
        account: LocalAccount,
        worker: VoteWorker,
        folder: Path,
        say: Say | None = None,
    ) -> None:
        """Open the member's folder.

        Raises:
            ConfigInvalid: another process uses it, or it is another account's.
        """
        super().__init__(network, account, folder, say=say)
        self._worker = worker
        self._opened.callback(worker.close)
        self._thread = ThreadPoolExecutor(1)  # a vote that takes minutes holds up no reveal
        self._opened.callback(self._thread.shutdown, wait=False, cancel_futures=True)
        self._computing: dict[_Seat, Future[VoteOpinion]] = {}
        self._over: set[RequestId] = set()

    def look(self) -> None:
        for happened in self._network.history.read(
            self._network.committee.address, (CommitteeCalled,)
        ):
            assert isinstance(happened.event, CommitteeCalled)
            request_id = happened.event.request_id
            if request_id not in self._over:
                self.attend(request_id, partial(self._attend, request_id))

    def ended(self, entry: OutboxEntry) -> None:
        if entry.kind == _MOVE and entry.state is EntryState.MINED:
            self._say(f"0x{entry.request_ids[0].hex()}: {entry.label}")

    # ── One dispute ─────────────────────────────────────────────────────────────────────────────

    def _attend(self, request_id: RequestId) -> None:
        dispute = self._network.committee.dispute_of(request_id)
        if dispute.stage is Stage.CLOSED:
            self._report(request_id, dispute)
            self._over.add(request_id)
        elif (call := self._next(request_id, dispute)) is not None:
            self.submit(_MOVE, request_id, call)

    def _next(self, request_id: RequestId, dispute: Dispute) -> Call | None:
        """Return what is to be sent about a dispute now, if anything."""
        chain, now = self._network.committee, self.now()
        if self._network.market.open_disputes_of(request_id) == 0:
            return chain.release_bond(request_id)
        if dispute.stage is Stage.CHALLENGED:
            if now >= chain.draw_until(request_id):
                return chain.lapse(*self._answer(request_id))
            head = quantity(self._network.rpc.call("eth_blockNumber"))
            return chain.draw(request_id) if head >= dispute.seed_block else None
        if now >= dispute.reveal_until:
            return chain.tally(*self._answer(request_id))
        return self._vote(request_id, dispute, now)

    def _vote(self, request_id: RequestId, dispute: Dispute, now: Timestamp) -> Call | None:
        chain = self._network.committee
        if not chain.is_drawn(request_id, dispute.round, self.address):
            return None
        seat = _Seat(request_id, dispute.round, chain.activation_seed(request_id, dispute.round))
        return self._commit(seat) if now < dispute.commit_until else self._reveal(seat)

    def _commit(self, seat: _Seat) -> Call | None:
        chain, me = self._network.committee, self.address
        if any(chain.ballot_of(seat.request_id, seat.round, me).commitment):
            return None
        kept = self.committed(seat.subject)
        if kept is None:
            opinion = self._opinion(seat)
            if opinion is None:
                return None
            kept = self.commit(seat.subject, _content(opinion))
            self._say(f"0x{seat.request_id.hex()}: {committee.FINDINGS[opinion.finding]}")
        return chain.commit(
            seat.request_id, commitment(seat.request_id, seat.round, me, _vote(kept))
        )

    def _reveal(self, seat: _Seat) -> Call | None:
        chain, me = self._network.committee, self.address
        ballot = chain.ballot_of(seat.request_id, seat.round, me)
        if not any(ballot.commitment) or ballot.finding is not Finding.NONE:
            return None
        kept = self.committed(seat.subject)
        vote = None if kept is None else _vote(kept)
        known = vote and commitment(seat.request_id, seat.round, me, vote)
        if vote is None or known != ballot.commitment:
            self._log.error("vote_lost", request_id=seat.request_id, round=seat.round)
            return None
        return chain.reveal(seat.request_id, *vote)

    def _opinion(self, seat: _Seat) -> VoteOpinion | None:
        """Return what the worker found; None while it is at it.

        Raises:
            Unavailable: it could not; it is asked again later.
        """
        if seat not in self._computing:
            job = self._job(seat)
            self._computing[seat] = self._thread.submit(self._worker.opinion, job)
        if not self._computing[seat].done():
            return None
        return self._computing.pop(seat).result()

    def _report(self, request_id: RequestId, dispute: Dispute) -> None:
        """Report who was drawn and never committed: a fifth of the penalty is ours."""
        chain, me = self._network.committee, self.address
        for round_ in range(dispute.tallied):
            if not chain.is_drawn(request_id, round_, me):
                continue  # who had no part in it leaves it to those who had
            for member in committee.members(self._network, dispute.runtime_class):
                subject = keccak(encode(_SILENT, [request_id, round_, member]))
                if not chain.is_drawn(request_id, round_, member) or self.busy(subject):
                    continue
                ballot = chain.ballot_of(request_id, round_, member)
                if not any(ballot.commitment) and not ballot.reported:
                    self.submit(_SILENCE, subject, chain.report_silence(request_id, round_, member))

    # ── What the chain knows ────────────────────────────────────────────────────────────────────

    def _answer(self, request_id: RequestId) -> tuple[Any, Any]:
        info = requests.show(self._network, request_id)
        assert info.delivery is not None, "only deliveries are disputed"
        return info.request, info.delivery

    def _job(self, seat: _Seat) -> dict[str, Any]:
        info = requests.show(self._network, seat.request_id)
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
        market = self._network.market.address
        found = self._network.history.read(market, (Delivered,), topic(request_id))
        named = [h.event.output_cid for h in found if isinstance(h.event, Delivered)]
        return named[-1] if named else ZERO32

    def _record(self, info: RequestInfo) -> VersionRecord:
        network = self._network
        found = network.history.read(
            network.registry.address, (VersionPublished,), topic(info.model_id)
        )
        records = (h.event.record for h in found if isinstance(h.event, VersionPublished))
        return next(record for record in records if record.version == info.version)


def _content(opinion: VoteOpinion) -> str:
    return json.dumps(
        {
            "finding": opinion.finding.name,
            "output_digest": opinion.output_digest.hex(),
            "activation": str(opinion.activation),
        }
    )


def _vote(kept: Commitment) -> Vote:
    body = json.loads(kept.content)
    digest = Bytes32(bytes.fromhex(body["output_digest"]))
    return Vote(Finding[body["finding"]], digest, Activation(int(body["activation"])), kept.salt)
