"""The task `tallystick.watch`: one cycle of the watcher, by whichever process takes the message.

Beat sends a message every `TALLYSTICK_POLL_INTERVAL` seconds; one that waits too long expires. One
process looks at a time: the lease is in the store, which all of them share.
"""

import secrets

import structlog
from celery import Celery  # type: ignore[import-untyped]  # it ships no types

from oracle.operator.watcher import PASSING, Watcher
from oracle.queue.messages import WatchMessage
from oracle.store.store import Store
from worker.process import WorkerProcess

LEASE = "watch"
LEASE_SECONDS = 15.0  # until another process looks when one died; two that look do no harm


def register(app: Celery, process: WorkerProcess) -> None:
    """Add `tallystick.watch` to an application."""

    def watch() -> None:
        run(process.watcher, process.store)

    app.task(watch, name=WatchMessage.name, shared=False)


def run(watcher: Watcher, store: Store) -> None:
    """Look once, unless another process is looking; an outage is told, and the next look goes on.

    Raises:
        PermanentError: something that a repetition does not mend, e.g. WrongChain.
    """
    me = secrets.token_hex(8)
    try:
        with store.begin() as tx:
            if not tx.lease(LEASE, me, LEASE_SECONDS):
                return
        try:
            watcher.cycle()
        finally:
            with store.begin() as tx:
                tx.release(LEASE, me)
    except PASSING as error:
        log = structlog.get_logger("tallystick.watcher")
        log.warning("waiting", reason=str(error), hint=error.hint)
