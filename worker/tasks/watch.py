"""The task `tallystick.watch`: one cycle of the watcher, by whichever process takes the message.

Beat sends a message every `TALLYSTICK_POLL_INTERVAL` seconds; one that waits too long expires. One
process looks at a time: the lease is in the store, which all of them share. A thread renews it as
long as the look takes.
"""

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from celery import Celery  # type: ignore[import-untyped]  # it ships no types

from oracle.errors import TransientError
from oracle.operator.watcher import PASSING, Watcher
from oracle.queue.messages import WatchMessage
from oracle.store.store import Store
from worker.process import WorkerProcess

LEASE = "watch"
LEASE_SECONDS = 15.0  # until another process looks when one died; two that look do no harm
RENEW_SECONDS = LEASE_SECONDS / 3  # between renewals


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
    try:
        with _leased(store) as mine:
            if mine:
                watcher.cycle()
    except PASSING as error:
        _log().warning("waiting", reason=str(error), hint=error.hint)


@contextmanager
def _leased(store: Store) -> Iterator[bool]:
    """Hold the lease while the block runs; yield False when another process has it."""
    me = secrets.token_hex(8)
    with store.begin() as tx:
        mine = tx.lease(LEASE, me, LEASE_SECONDS)
    if not mine:
        yield False
        return
    over = threading.Event()
    renewing = threading.Thread(target=_renew, args=(store, me, over), name="lease", daemon=True)
    renewing.start()
    try:
        yield True
    finally:
        over.set()
        renewing.join()
        with store.begin() as tx:
            tx.release(LEASE, me)


def _renew(store: Store, me: str, over: threading.Event) -> None:
    while not over.wait(RENEW_SECONDS):
        try:
            with store.begin() as tx:
                tx.lease(LEASE, me, LEASE_SECONDS)
        except TransientError as error:  # the look itself meets the outage, too
            _log().warning("lease.not_renewed", reason=str(error))


def _log() -> Any:
    return structlog.get_logger("tallystick.watcher")
