"""The task `tallystick.respond`: a demand comes in, the arguments of the answer go out. No key.

```
 respond ─▶ trace behind our delivery (Traces) ─▶ answer (oracle.exact.game) ─▶ play ─▶ submitter
```
What fails here is not reported: the watcher asks again after a quarter of the time that is left.
What may pass sooner is tried again before that, since an operator's clock runs meanwhile: whoever
summons and challenges in one transaction is faster than the endpoint that publishes the input.
"""

from typing import Any

import structlog
from celery import Celery, Task  # type: ignore[import-untyped]  # it ships no types

from oracle.chain.codec import plain
from oracle.errors import InputInvalid, TallystickError, TransientError
from oracle.exact import game
from oracle.exact.partial_tensor import TreeNode
from oracle.queue import celery_app
from oracle.queue.messages import PlayMessage, RespondMessage
from oracle.store.reply_repository import ReplyKind
from worker.process import WorkerProcess
from worker.traces import Traced

_RETRIES = 4  # after 1, 2, 4, 8 seconds


def answer(traced: Traced, asked: RespondMessage) -> PlayMessage:
    """Return the move that answers a demand."""
    demand, committed = asked.demand, traced.committed
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
    return PlayMessage(asked.trace.request_id, demand, function, tuple(plain(arguments)))


def register(app: Celery, process: WorkerProcess) -> None:
    """Add `tallystick.respond` to an application; with `worker.faults.WITHHOLD` it is silent."""
    log = structlog.get_logger("tallystick.responder")

    def respond(self: Task, **sealed: Any) -> None:
        body = celery_app.opened(app, RespondMessage, self.request.id, sealed)
        if body is None:
            return
        try:
            asked = RespondMessage.from_json(body)
        except InputInvalid as error:
            log.error("respond.malformed", error=str(error))
            return
        about = {"request_id": asked.trace.request_id, "ask": asked.demand.ask}
        if process.withholds:
            log.error("respond.withheld", **about)
            return
        try:
            move = answer(process.traces.get(asked.trace), asked)
        except TransientError as error:
            log.warning("respond.later", error=type(error).__name__, message=str(error), **about)
            raise
        except TallystickError as error:
            log.error("respond.failed", error=type(error).__name__, message=str(error), **about)
            return
        process.send(move)
        log.info("respond.answered", function=move.function, **about)

    app.task(
        respond, name=RespondMessage.name, bind=True, shared=False,
        autoretry_for=(TransientError,), retry_backoff=1, retry_jitter=False, max_retries=_RETRIES,
    )  # fmt: skip
