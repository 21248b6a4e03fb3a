"""A member of the committee at work: votes on what it is drawn for, and moves disputes on.

```
 drawn? ─▶ compute ─▶ vote in the store (salt and all) ─▶ commit ─▶ reveal ─▶ tally ─▶ settle,
                      └ a crash from here on loses nothing: the chain says what is done │ report the
 a finding that its own run contradicts ─▶ appeal, within a budget ─▶ a larger round ◀──┘ silent
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
from oracle.chain.bindings.committee import (
    BallotState,
    CommitteeCalled,
    CommitteeConfig,
    Dispute,
    Finding,
    RoundCalled,
    Stage,
)
from oracle.chain.bindings.inference_market import Delivered, OutputPosted
from oracle.chain.bindings.model_registry import VersionPublished
from oracle.chain.contract import Call
from oracle.chain.outbox import EntryState, OutboxEntry
from oracle.chain.rpc import quantity
from oracle.protocol.canonical import keccak
from oracle.services import committee, requests
from oracle.services.amounts import format_ether
from oracle.services.event_history import topic
from oracle.services.network import Network
from oracle.services.request_timeline import RequestInfo
from oracle.store.agent_repository import Commitment
from oracle.types import (
    ZERO32,
    Activation,
    Address,
    Amount,
    Bytes32,
    RequestId,
    Say,
    Timestamp,
    VersionRecord,
    Wei,
)

_VOTE = ("bytes32", "uint256", "address", "uint8", "bytes32", "int128", "bytes32")
_SILENT = ("bytes32", "uint256", "address")
_KEPT = 22  # bytes of a commitment that the chain keeps
_MOVE = "move"  # the one transaction about a dispute
_SILENCE = "silence"  # of somebody else
_SETTLE = "settle"  # votes of a dispute that has ended


@dataclass(frozen=True, slots=True)
class AppealPolicy:
    """When a member appeals a finding that its own run contradicts.

    Attributes:
        budget: wei that its bonds may come to, those of open and of lost appeals together.
        least_gain: what an appeal must bring at the least when it is right: its gas is worth that.
    """

    budget: Wei = Wei(0)  # noqa: RUF009 -- a number with a name
    least_gain: Amount = Amount(0)  # noqa: RUF009


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
        *,
        appeals: AppealPolicy | None = None,
    ) -> None:
        """Open the member's folder.

        Raises:
            ConfigInvalid: another process uses it, or it is another account's.
        """
        super().__init__(network, account, folder, say=say)
        self._worker, self._appeals = worker, appeals or AppealPolicy()
        self._fixed: CommitteeConfig = network.committee.config()
        self._opened.callback(worker.close)
        self._thread = ThreadPoolExecutor(1)  # a vote that takes minutes holds up no reveal
        self._opened.callback(self._thread.shutdown, wait=False, cancel_futures=True)
        self._computing: dict[_Seat, Future[VoteOpinion]] = {}
        self._found: dict[RequestId, Finding] = {}  # where we had no vote
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
            self._settle(request_id)
            self._report(request_id, dispute)
            self._over.add(request_id)
        elif (call := self._next(request_id, dispute)) is not None:
            self.submit(_MOVE, request_id, call)

    def _next(self, request_id: RequestId, dispute: Dispute) -> Call | None:
        """Return what is to be sent about a dispute now, if anything."""
        chain, now = self._network.committee, self.now()
        if self._network.market.open_disputes_of(request_id) == 0:
            return chain.release_bond(request_id)
        if dispute.stage is Stage.DRAWING:
            if now >= dispute.until:
                return chain.lapse(*self._answer(request_id))
            head = quantity(self._network.rpc.call("eth_blockNumber"))
            return chain.draw(request_id) if head >= dispute.seed_block else None
        revealed = dispute.until + self._fixed.reveal_period
        if now < revealed:
            return self._vote(request_id, dispute, now)
        finding = chain.finding_of(request_id, dispute.round)
        stands = finding is Finding.NONE or self._is_last(request_id, dispute)
        if stands or now >= revealed + self._fixed.appeal_period:
            return chain.tally(*self._answer(request_id))
        return self._appeal(request_id, dispute, finding)

    def _vote(self, request_id: RequestId, dispute: Dispute, now: Timestamp) -> Call | None:
        if not self._network.committee.deposit_of(request_id, dispute.round, self.address):
            return None
        seat = self._seat(request_id, dispute)
        return self._commit(seat) if now < dispute.until else self._reveal(seat)

    def _seat(self, request_id: RequestId, dispute: Dispute) -> _Seat:
        seed = self._network.committee.activation_seed(request_id, dispute.round)
        return _Seat(request_id, dispute.round, seed)

    def _is_last(self, request_id: RequestId, dispute: Dispute) -> bool:
        size_of = self._network.committee.size_of
        return size_of(request_id, dispute.round) == size_of(request_id, dispute.round + 1)

    # ── Appeals ─────────────────────────────────────────────────────────────────────────────────

    def _appeal(self, request_id: RequestId, dispute: Dispute, finding: Finding) -> Call | None:
        """Return an appeal, if this finding is wrong by our own run and the appeal worth it."""
        if not self._appeals.budget or self._gain(request_id, dispute, finding) <= 0:
            return None
        bond = committee.appeal_bond(self._network, request_id)
        if self._bound() + bond > self._appeals.budget:
            self._log.warning("appeal_beyond_budget", request_id=request_id, bond=bond)
            return None
        own = self._own_finding(request_id, dispute)
        sure = own not in (None, Finding.NONE, Finding.INPUT_UNAVAILABLE)
        if not sure or (own in committee.AGAINST) == (finding in committee.AGAINST):
            return None
        self._say(f"0x{request_id.hex()}: appeals with {format_ether(bond)}")
        return self._network.committee.appeal(request_id, value=bond)

    def _gain(self, request_id: RequestId, dispute: Dispute, finding: Finding) -> int:
        """Return what an appeal brings when it is right: a quarter of what contradicted votes bind.

        Returns:
            Token units, less what an appeal must bring.
        """
        votes = self._network.committee.round_of(request_id, dispute.round)
        against = votes.mismatched + votes.output_missing
        clear = votes.matched + votes.input_missing
        bound = against if finding in committee.AGAINST else clear
        return bound // 4 - self._appeals.least_gain

    def _bound(self) -> Wei:
        """Return what our open appeals bind, and what those that were lost have cost."""
        chain, bound = self._network.committee, 0
        mine = topic(self.address)
        for happened in self._network.history.read(chain.address, (RoundCalled,), None, mine):
            event = happened.event
            assert isinstance(event, RoundCalled)
            if event.round == 0:
                continue  # a challenge of ours
            last = chain.dispute_of(event.request_id)
            lost = last.finding is chain.finding_of(event.request_id, event.round - 1)
            if last.stage is not Stage.CLOSED or lost:
                bound += event.bond
        return Wei(bound)

    def _own_finding(self, request_id: RequestId, dispute: Dispute) -> Finding | None:
        """Return what we found, in a round that we voted in or just now; None while computing."""
        for round_ in range(dispute.round + 1):
            seed = self._network.committee.activation_seed(request_id, round_)
            kept = self.committed(_Seat(request_id, round_, seed).subject)
            if kept is not None:
                return _vote(kept).finding
        seat = self._seat(request_id, dispute)
        if request_id not in self._found and (opinion := self._opinion(seat)) is not None:
            self._found[request_id] = opinion.finding
        return self._found.get(request_id)

    # ── Votes ───────────────────────────────────────────────────────────────────────────────────

    def _commit(self, seat: _Seat) -> Call | None:
        chain, me = self._network.committee, self.address
        if chain.ballot_of(seat.request_id, seat.round, me).state is not BallotState.NONE:
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
        if ballot.state is not BallotState.COMMITTED:
            return None
        kept = self.committed(seat.subject)
        vote = None if kept is None else _vote(kept)
        known = vote and commitment(seat.request_id, seat.round, me, vote)
        if vote is None or known is None or known[:_KEPT] != ballot.commitment[:_KEPT]:
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

    def _settle(self, request_id: RequestId) -> None:
        """Settle what is ours, or all of it: who lost does not, and we get a part."""
        for round_, members in committee.unsettled(self._network, request_id):
            subject = keccak(encode(("bytes32", "uint256"), [request_id, round_]))
            if not self.busy(subject):
                call = self._network.committee.settle(request_id, round_, members)
                self.submit(_SETTLE, subject, call)

    def _report(self, request_id: RequestId, dispute: Dispute) -> None:
        """Report who was drawn and never committed: a fifth of the penalty is ours."""
        chain, me = self._network.committee, self.address
        for round_ in range(dispute.tallied):
            if not chain.deposit_of(request_id, round_, me):
                continue  # who had no part in it leaves it to those who had
            for member in committee.members(self._network, dispute.runtime_class):
                subject = keccak(encode(_SILENT, [request_id, round_, member]))
                if not chain.deposit_of(request_id, round_, member) or self.busy(subject):
                    continue
                if chain.ballot_of(request_id, round_, member).state is BallotState.NONE:
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
        posted = self._posted(seat.request_id)
        return {
            **texts,
            "tolerance": info.request.terms.tolerance,
            "units": info.delivery.stamp.units,
            "posted": "0x" + posted.hex(),
        }

    def _posted(self, request_id: RequestId) -> bytes:
        """Return the output that was put on chain, if a demand was answered."""
        market = self._network.market.address
        found = self._network.history.read(market, (OutputPosted,), topic(request_id))
        return b"".join(h.event.output for h in found if isinstance(h.event, OutputPosted))

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
