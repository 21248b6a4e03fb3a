"""A delivery of the example program for the tests of the responder: job, trace, store, messages."""

from dataclasses import replace

from oracle.chain.logs import keys
from oracle.exact import files
from oracle.protocol.canonical import sha256
from oracle.queue.messages import TraceJob
from oracle.store import StoredLog
from oracle.store.job import Job, JobState, SlotPhase
from oracle.store.reply_repository import GameTurn, ReplyKind
from oracle.types import Assurance, Delivery, RequestId, Stamp, Timestamp
from tests.contracts.exact import example
from tests.operator.builders import ME, OTHER, TERMS, published, request
from tests.operator.memory_chain import log_of
from tests.store.samples import block

ID = RequestId(b"\x05" * 32)
NOW, DEADLINE = 100, 200
INPUT = files.record(0, example().honest.tree(0))


def trace_job(committed=None, **changes):
    """Return the job of a delivery of the example."""
    committed = committed or example().honest
    made = TraceJob(
        ID, sha256(b"manifest"), committed.program.model_root, committed.input_root,
        sha256(INPUT), committed.output_root,
    )  # fmt: skip
    return replace(made, **changes)


def demand(ask=ReplyKind.TRACE, op=0, first=0, second=0, deadline=DEADLINE):
    return GameTurn(OTHER, ask, Timestamp(deadline), op, first, second)


def delivered(store, committed=None, *, owed=(), assurance=Assurance.EXACT, **changes):
    """Put a delivery of ours into a store, and what is owed for it, at chain time `NOW`."""
    committed = committed or example().honest
    asked = replace(
        request(), input_root=committed.input_root, input_cid=sha256(INPUT),
        terms=replace(TERMS, assurance=assurance),
    )  # fmt: skip
    job = Job(
        ID, asked, phase=SlotPhase.DELIVERED, state=JobState.DELIVERED,
        delivery=Delivery(ME, Stamp(Timestamp(50)), committed.output_root),
    )  # fmt: skip
    with store.begin() as tx:
        number = NOW // 10
        log = log_of(published(), block(number), 0)
        if not tx.logs_of_model(1):
            tx.add_blocks([block(number)])
            tx.add_logs([StoredLog(log, *keys(log))])
        tx.put_job(replace(job, **changes))
        tx.owe(ID, owed)
