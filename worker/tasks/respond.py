"""The responder's tasks: a demand comes in, the arguments of the answer go out. Holds no key.

```
 respond ─▶ trace behind our delivery (Traces) ─▶ answer (oracle.exact.game) ─▶ play ─▶ submitter
```
What fails here is not reported: the watcher asks again as long as there is time.
"""

from collections.abc import Callable
from typing import Any

import structlog
from celery import Celery  # type: ignore[import-untyped]  # it ships no types

from oracle.errors import InputInvalid, TallystickError
from oracle.exact import game
from oracle.exact.partial_tensor import TreeNode
from oracle.queue.dispute_messages import PLAY, RESPOND, Move, RespondJob
from oracle.store.reply_repository import ReplyKind
from worker.traces import Traced, Traces

Send = Callable[[str, dict[str, Any]], None]


def answer(traced: Traced, job: RespondJob) -> Move:
    """Return the move that answers a demand."""
    demand, committed = job.demand, traced.committed
    function, arguments = "", ()  # type: tuple[str, tuple[Any, ...]]
    match demand.ask:
        case ReplyKind.TRACE:
            trace = game.answer_trace(committed)
            function = "commitTrace"
            arguments = (trace.preamble, trace.graph_root, trace.leaves)
        case ReplyKind.NODE:
            shown = game.answer_node(committed, demand.op, TreeNode(demand.first, demand.second))
            if isinstance(shown, game.OpenNodeArguments):
                function, arguments = "openNode", (shown.tensor, shown.nodes, shown.path)
            else:
                function, arguments = "revealLeaves", (shown.tensor, shown.data, shown.path)
        case ReplyKind.STEP:
            step = game.answer_step(
                traced.constants, committed, demand.op, demand.first, demand.second
            )
            function, arguments = "answerStep", (step,)
    return Move(job.trace.request_id, demand, function, arguments)


def register(app: Celery, traces: Traces, send: Send) -> None:
    """Add `tallystick.respond` to an application; `send` puts a message on its task's queue."""
    log = structlog.get_logger("tallystick.responder")

    def respond(**payload: Any) -> None:
        try:
            job = RespondJob.parse(payload)
        except InputInvalid as error:
            log.error("respond.malformed", error=str(error))
            return
        about = {"request_id": job.trace.request_id, "ask": job.demand.ask}
        try:
            move = answer(traces.get(job.trace), job)
        except TallystickError as error:
            log.error("respond.failed", error=type(error).__name__, message=str(error), **about)
            return
        send(PLAY, move.payload())
        log.info("respond.answered", function=move.function, **about)

    app.task(respond, name=RESPOND)


def register_silence(app: Celery) -> None:
    """Add a task that answers nothing (`worker.faults.WITHHOLD`)."""
    log = structlog.get_logger("tallystick.responder")

    def withhold(**payload: Any) -> None:
        log.error("respond.withheld", request_id=payload.get("request_id"))

    app.task(withhold, name=RESPOND)
