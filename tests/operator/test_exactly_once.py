"""Random histories of requests, rivals, crashes, lost queues, reorgs; then every promise is kept.

The chain is in memory and keeps the market's rules; watcher and store are the real ones. Each
inference gives another answer, as floats may, so that standing by two would show.
"""

from contextlib import suppress
from dataclasses import replace

import hypothesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from oracle.chain.bindings.inference_market import Claimed, Delivered, Finalized, Requested
from oracle.chain.logs import decode_all
from oracle.operator.jobs import Operator, from_events
from oracle.operator.watcher import Watcher
from oracle.queue.broker import MemoryQueue
from oracle.queue.messages import ClaimMessage, DeliverMessage, FinalizeMessage
from oracle.store.job import JobState, SlotPhase
from oracle.store.store import Store
from oracle.types import ZERO32, ZERO_ADDRESS, Amount, Bytes32, RequestId, Stamp, Timestamp
from tests.operator.builders import ME, OTHER, authorized, published, request
from tests.operator.memory_chain import CONTRACTS, MemoryChain
from tests.support.killing import Killed, dying

PRIORITY, CLAIM, LIFETIME = 30, 40, 400  # seconds


class Operation(RuleBasedStateMachine):
    """One operator on a chain where anything may happen."""

    @initialize()
    def begin(self):
        self.chain = MemoryChain()
        self.chain.mine(published(), authorized())
        self.queue = MemoryQueue()
        self.store = Store.open("sqlite://")
        self.wall = 0.0
        self.made = 0
        self.removed = []
        self.known = (b"", {})
        self.start()

    def start(self):
        operator = Operator(ME, requeue_after=50.0)
        self.watcher = Watcher(
            self.chain, self.store, self.queue, operator, CONTRACTS, now=lambda: self.wall
        )

    def teardown(self):
        if not hasattr(self, "store"):
            return
        now = self.now()  # what expired before anybody looked, nobody could have claimed
        in_time = {
            request_id
            for request_id, job in self.truth().items()
            if now + PRIORITY + CLAIM < job.request.expires_at
        }
        for _ in range(200):
            self.wall += 20
            self.cycle()
            while self.queue.messages:
                self.serve(self.queue.messages.pop(0).message)
            self.pass_time(5)
            if not self.open():
                break
        self.cycle()
        self.every_request_came_to_its_end(in_time)
        self.store.close()

    # ── The market's rules ──────────────────────────────────────────────────────────────────────

    def truth(self):
        """What the chain says now of each request."""
        if (head := self.chain.blocks[-1][0].hash) != self.known[0]:
            self.known = head, self.read_truth()
        return self.known[1]

    def read_truth(self):
        events = decode_all(log for _, logs in self.chain.blocks for log in logs)
        lives = {}
        for event in events:
            if hasattr(event, "request_id"):
                lives.setdefault(event.request_id, []).append(event)
        return {request_id: from_events(*_split(life)) for request_id, life in lives.items()}

    def open(self):
        """Requests that this operator may still have to do something about."""
        now = self.now()
        return [
            job
            for job in self.truth().values()
            if (job.delivery is None and now < job.request.expires_at)
            or (job.phase is SlotPhase.DELIVERED and job.delivery.operator == ME)
        ]

    def now(self):
        return self.chain.blocks[-1][0].timestamp

    def claim(self, who, request_id):
        job, at = self.truth().get(request_id), self.now() + 1
        if job is None or job.delivery or not job.request.priority_until <= at:
            return
        if at < job.request.expires_at and at >= job.claim.until:
            until = Timestamp(min(at + CLAIM, job.request.expires_at))
            self.chain.mine(Claimed(request_id, who, until))

    def deliver(self, who, request_id, root):
        job, at = self.truth().get(request_id), self.now() + 1
        if job is None or job.delivery:
            return
        if job.phase is SlotPhase.CLAIMED:
            allowed = job.claim.operator == who and at < job.claim.until
        else:
            allowed = job.request.operator == who and at < job.request.priority_until
        if allowed:
            self.chain.mine(Delivered(request_id, who, root, ZERO32, Stamp(Timestamp(at))))

    def finalize(self, request_id):
        job, at = self.truth().get(request_id), self.now() + 1
        if job is None or job.phase is not SlotPhase.DELIVERED:
            return
        if at >= job.delivery.stamp.time + job.request.terms.challenge_window:
            zero = Amount(0)
            self.chain.mine(
                Finalized(request_id, job.delivery.operator, zero, zero, zero, zero, zero)
            )

    # ── What may happen ─────────────────────────────────────────────────────────────────────────

    @rule(preferred=st.sampled_from([ME, ME, OTHER, ZERO_ADDRESS]))
    def ask(self, preferred):
        self.made += 1
        at = self.now() + 1
        asked = replace(
            request(preferred),
            nonce=self.made,
            priority_until=Timestamp(at if preferred == ZERO_ADDRESS else at + PRIORITY),
            expires_at=Timestamp(at + LIFETIME),
        )
        self.chain.mine(Requested(RequestId(self.made.to_bytes(32)), 1, asked.requester, asked))

    @rule(seconds=st.integers(1, 60))
    def pass_time(self, seconds):
        self.chain.mine_until(self.now() + seconds)

    @rule(seconds=st.integers(1, 200))
    def pass_wall_time(self, seconds):
        self.wall += seconds

    @rule(data=st.data(), delivers=st.booleans())
    def rival_acts(self, data, delivers):
        if waiting := sorted(job.request_id for job in self.open() if job.delivery is None):
            request_id = data.draw(st.sampled_from(waiting))
            if delivers:
                self.deliver(OTHER, request_id, Bytes32(b"\xbb" * 32))
            else:
                self.claim(OTHER, request_id)

    @rule()
    def cycle(self):
        self.watcher.cycle()

    @rule(at=st.integers(1, 9))
    def cycle_and_die(self, at):
        perilous = dying(at)
        begin, read, send = self.store.begin, self.store.read, self.queue.send
        self.store.begin, self.store.read = perilous(begin), perilous(read)
        self.queue.send = perilous(send)
        with suppress(Killed):
            self.watcher.cycle()
        self.store.begin, self.store.read, self.queue.send = begin, read, send
        self.start()

    @rule()
    def queue_forgets(self):
        self.queue.lose()

    @precondition(lambda self: hasattr(self, "queue") and self.queue.messages)
    @rule(data=st.data(), dies=st.booleans())
    def worker_takes_a_message(self, data, dies):
        at = data.draw(st.integers(0, len(self.queue.messages) - 1))
        message = self.queue.messages.pop(at).message
        if not dies:
            self.serve(message)

    @rule(depth=st.integers(1, 5), instead=st.integers(0, 6))
    def reorganise(self, depth, instead):
        depth = min(depth, len(self.chain.blocks) - 2)  # the contracts stay
        if depth:
            gone = [log for _, logs in self.chain.blocks[-depth:] for log in logs]
            self.removed += [e for e in decode_all(gone) if isinstance(e, Requested)]
            self.chain.revert(depth)
        for _ in range(max(instead, 1)):
            self.chain.mine()

    @precondition(lambda self: getattr(self, "removed", None))
    @rule(data=st.data())
    def removed_request_comes_back(self, data):
        event = data.draw(st.sampled_from(self.removed))
        if event.request_id not in self.truth() and self.now() < event.request.expires_at:
            self.chain.mine(event)

    # ── The other processes of the operator ─────────────────────────────────────────────────────

    def serve(self, message):
        if isinstance(message, FinalizeMessage):
            for request_id in message.request_ids:
                self.finalize(request_id)
            return
        request_id = message.request_id
        if isinstance(message, ClaimMessage):
            self.claim(ME, request_id)
            return
        self.made += 1
        root = Bytes32(self.made.to_bytes(32))  # never the same twice
        if isinstance(message, DeliverMessage):
            root = message.output_root
        standing = self.store.record_answer(request_id, root, ZERO32)
        self.deliver(ME, request_id, standing.output_root)

    # ── What holds ──────────────────────────────────────────────────────────────────────────────

    @invariant()
    def one_answer(self):
        """Whatever of mine is on the chain is the answer that the store stands by."""
        if not hasattr(self, "store"):
            return
        with self.store.read() as tx:
            for job in self.truth().values():
                if job.delivery and job.delivery.operator == ME:
                    assert tx.answer(job.request_id).output_root == job.delivery.output_root

    def every_request_came_to_its_end(self, in_time):
        with self.store.read() as tx:
            for request_id, truth in self.truth().items():
                job = tx.job(request_id)
                assert not job.open, job
                mine = truth.delivery is not None and truth.delivery.operator == ME
                assert (job.state is JobState.SETTLED) == mine
                # None was left lying: what nobody delivered had been claimed, and the claim lapsed.
                if request_id in in_time:
                    assert truth.delivery is not None or truth.claim.until > 0


def _split(life):
    first, *later = life
    assert isinstance(first, Requested)
    return first, later


TestOperation = Operation.TestCase
TestOperation.settings = settings(
    max_examples=20,
    stateful_step_count=30,
    deadline=None,
    phases=(hypothesis.Phase.generate,),  # a history of 30 steps is read, not shrunk for minutes
    suppress_health_check=list(HealthCheck),
)
