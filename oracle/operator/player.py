"""Signs what this operator says in disputes: answers as transactions, receipts off chain.

```
 play    ─▶ still owed, not over? ─▶ trace stood by (first stands) ─▶ intent ─▶ `Submitter.tend`
 receipt ─▶ delivered by us? ──────▶ trace stood by (first stands) ─▶ signature in the store
```
Two traces of one request would convict us (equivocation), so the first is recorded before anything
leaves, and no other is ever signed or sent. Knows nothing of Celery.
"""

from collections.abc import Callable
from typing import Any

from eth_abi.exceptions import EncodingError

from oracle.chain.arguments import DisputedAnswer
from oracle.chain.bindings.dispute_game import DisputeGame
from oracle.chain.bindings.model_registry import VersionPublished
from oracle.chain.contract import Call
from oracle.chain.logs import topic_of
from oracle.chain.outbox import AlreadyPending
from oracle.chain.versions import record_of
from oracle.errors import InputInvalid, NotFound
from oracle.exact import commitments
from oracle.exact.receipt import receipt
from oracle.merkle import keccak
from oracle.operator.submitter import Transactions
from oracle.protocol.eip712 import TypedData
from oracle.queue.messages import PlayMessage, ReceiptMessage
from oracle.store.job import Job, SlotPhase
from oracle.store.reply_repository import ReplyKind
from oracle.store.store import Store, Transaction
from oracle.types import Address, Bytes32, RequestId

TRACE, REPLY = "trace", "reply"  # kinds of the outbox; a reply's has its challenger behind it

Sign = Callable[[TypedData], bytes]


class Player:
    """One operator's voice in disputes; shares the submitter's key, store and outbox."""

    def __init__(
        self,
        store: Store,
        game: DisputeGame,
        sender: Transactions,
        sign: Sign,
        *,
        chain_id: int,
        me: Address,
        log: Any,
    ) -> None:
        self._store = store
        self._game = game
        self._sender = sender
        self._sign = sign
        self._chain_id = chain_id
        self._me = me
        self._log = log

    def play(self, move: PlayMessage) -> None:
        """Commit to send an answer that is still owed; any other ends quietly.

        Raises:
            InputInvalid: no such function, or arguments that are not its.
        """
        with self._store.begin() as tx:
            if (job := self._job(tx, move.request_id)) is None or not _is_owed(tx, move):
                self._log.info("play.skipped", request_id=move.request_id, ask=move.demand.ask)
                return
            if move.demand.ask is ReplyKind.TRACE and not self._stands(
                tx, move.request_id, _root(move)
            ):
                return
            call = self._call(tx, job, move)
        try:
            self._sender.submit(_kind(move), [move.request_id], call)
        except AlreadyPending:
            return
        self._log.info(
            "play.intent", request_id=move.request_id, function=move.function,
            challenger=move.demand.challenger,
        )  # fmt: skip

    def receipt(self, asked: ReceiptMessage) -> None:
        """Sign what was delivered and the trace behind it, once."""
        request_id, trace_root = asked.request_id, asked.trace_root
        with self._store.begin() as tx:
            job = self._job(tx, request_id)
            if job is None or job.delivery is None:
                self._log.info("receipt.skipped", request_id=request_id)
                return
            if not self._stands(tx, request_id, trace_root):
                return
            if (stated := tx.statement(request_id)) is None or stated.signature:
                return
            words = receipt(
                chain_id=self._chain_id,
                game=self._game.address,
                request_id=request_id,
                output_root=job.delivery.output_root,
                trace_root=trace_root,
            )
            tx.sign(request_id, self._sign(words))
        self._log.info("receipt.signed", request_id=request_id)

    def _job(self, tx: Transaction, request_id: RequestId) -> Job | None:
        """Return the job of a delivery of ours that is not over."""
        job = tx.job(request_id)
        if job is None or job.delivery is None or job.phase is not SlotPhase.DELIVERED:
            return None
        return job if job.delivery.operator == self._me else None

    def _stands(self, tx: Transaction, request_id: RequestId, trace_root: Bytes32) -> bool:
        stated = tx.state(request_id, trace_root)
        if stated.trace_root == trace_root:
            return True
        self._log.error(
            "trace.contradicts", request_id=request_id, stated=stated.trace_root,
            refused=trace_root, hint="this machine computes differently than before",
        )  # fmt: skip
        return False

    def _call(self, tx: Transaction, job: Job, move: PlayMessage) -> Call:
        request = job.request
        assert job.delivery is not None, "asked for in _job"
        logs = tx.logs_of_model(request.model_id, topic_of(VersionPublished))
        try:
            answer = DisputedAnswer(request, job.delivery, record_of(logs, request.version))
            return self._encode(answer, move)
        except NotFound as error:
            raise InputInvalid(str(error)) from error

    def _encode(self, answer: DisputedAnswer, move: PlayMessage) -> Call:
        game, challenger = self._game, move.demand.challenger
        given = (*answer.state, answer.preimage)
        try:
            match move.function, move.demand.ask:
                case "commitTrace", ReplyKind.TRACE:
                    return game.commit_trace(*given, *move.arguments)
                case "openNode", ReplyKind.NODE:
                    return game.open_node(*given, challenger, *move.arguments)
                case "revealLeaves", ReplyKind.NODE:
                    return game.reveal_leaves(*given, challenger, *move.arguments)
                case "answerStep", ReplyKind.STEP:
                    return game.answer_step(*given, challenger, *move.arguments)
        except (TypeError, ValueError, EncodingError) as error:
            raise InputInvalid(f"arguments of {move.function}: {error!r:.300}") from error
        raise InputInvalid(f"{move.function} does not answer {move.demand.ask}")


def _is_owed(tx: Transaction, move: PlayMessage) -> bool:
    reply, newest = tx.reply(move.request_id, move.demand.challenger), tx.newest_block()
    if reply is None or newest is None:
        return False
    return reply.demand == move.demand and newest.timestamp < move.demand.deadline


def _root(move: PlayMessage) -> Bytes32:
    try:
        _, _, leaves = move.arguments
        return commitments.trace_root(leaves)
    except (TypeError, ValueError) as error:
        raise InputInvalid(f"no leaves of a trace: {error!r:.200}") from error


def _kind(move: PlayMessage) -> str:
    """Keep the answers to several challengers apart: each may be under way."""
    if move.demand.ask is ReplyKind.TRACE:
        return TRACE
    return f"{REPLY}:{keccak(move.demand.challenger.encode())[:5].hex()}"
