"""The submitter's process: its tasks, its key, and the thread that follows its transactions.

The only process that opens the operator's keystore. Tasks take messages into the store at once;
the thread speaks to the chain, so a slow block holds up no message.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import structlog
from celery import Celery, Task  # type: ignore[import-untyped]  # it ships no types

from oracle.chain import heads, keystore
from oracle.chain.bindings.dispute_game import DisputeGame
from oracle.chain.bindings.inference_market import InferenceMarket
from oracle.chain.rpc import Rpc, RpcError
from oracle.chain.sender import Sender
from oracle.chain.transactions import FundsInsufficient
from oracle.config import Settings
from oracle.errors import ConfigInvalid, InputInvalid, TransientError
from oracle.ipfs.client import IpfsClient
from oracle.metrics import serving
from oracle.operator.player import Player
from oracle.operator.submitter import MAX_DELIVERIES, Submitter
from oracle.patience import Breath, QuietPace
from oracle.queue import celery_app
from oracle.queue.batches import FairBatches
from oracle.queue.message import Message
from oracle.queue.messages import (
    ClaimMessage,
    DeliverMessage,
    FinalizeMessage,
    PlayMessage,
    PostOutputMessage,
    ReceiptMessage,
    ReportFailureMessage,
)
from oracle.store.outbox import SqlOutbox
from oracle.store.store import Store

BATCH_WINDOW = 0.05  # seconds from one delivery to the next transaction of deliveries
_WINDOWS = 5  # at most, after a transaction of so many: a crowd is delivered in fewer ones
FETCHES = 6  # of an answer's bytes: after 1, 2, 4, 8, 16, 32 seconds
FETCH_SECONDS = 5.0  # for one of them: its worker has put it on the same node
RETRY_AFTER = 2.0  # seconds until messages are taken again that the store could not
_BACKOFF_LAST = 5.0  # seconds
_PASSING = (TransientError, RpcError, FundsInsufficient)

M = TypeVar("M", bound=Message)


class Tender(threading.Thread):
    """Follows transactions from its own thread; `turn` keeps the tasks out meanwhile."""

    def __init__(self, submitter: Submitter, interval: float, log: Any) -> None:
        super().__init__(name="tender", daemon=True)
        self._submitter = submitter
        self._interval = interval
        self._log = log
        self._lock = threading.Lock()
        self._awake, self._stopped = threading.Event(), threading.Event()
        self._pace = QuietPace(interval)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Take the submitter for a moment; the thread looks at what was done right after."""
        with self._lock:
            yield
        self._pace.news()
        self._awake.set()

    def new_block(self) -> None:
        """Hear of a new block: look at once."""
        self._awake.set()

    def run(self) -> None:
        """Tend until `stop`; an outage is waited out."""
        pause, breath = self._interval, Breath()
        while not self._stopped.is_set():
            self._awake.wait(pause)
            self._stopped.wait(breath.left())
            self._awake.clear()
            try:
                with self._lock, breath.step():
                    self._submitter.tend()
                pause = self._pace.pause()
            except _PASSING as error:
                self._log.warning("submit.waiting", error=str(error), hint=error.hint)
                pause = min(2 * pause, _BACKOFF_LAST)

    def stop(self) -> None:
        """End the thread after the step it is at."""
        self._stopped.set()
        self._awake.set()
        self.join()


@dataclass(frozen=True)
class KeyProcess:
    """What uses the operator's key, in one process."""

    submitter: Submitter
    player: Player
    tender: Tender
    metrics_port: int  # 0 = none
    ws_url: str  # "" = none

    @contextmanager
    def running(self) -> Iterator[None]:
        """Follow transactions, and serve metrics, while the block runs."""
        log = structlog.get_logger("tallystick.submitter")
        with (
            serving(self.submitter.metrics.registry, self.metrics_port, log),
            heads.heard(self.ws_url, self.tender.new_block),
        ):
            self.tender.start()
            try:
                yield
            finally:
                self.tender.stop()


def open_key(settings: Settings) -> KeyProcess:
    """Open keystore, store and node.

    Raises:
        ConfigInvalid, NotFound, PasswordWrong: no key, or one that does not open.
        WrongChain: the node serves another chain. Unavailable: it cannot be reached.
    """
    if not settings.key or not settings.password_file:
        raise ConfigInvalid(
            "the submitter needs a key and its password file",
            hint="set TALLYSTICK_KEY and TALLYSTICK_PASSWORD_FILE",
        )
    account = keystore.load(
        settings.keystore(), keystore.password_file(Path(settings.password_file))
    )
    contracts = settings.deployed
    log = structlog.get_logger("tallystick.submitter")
    rpc = Rpc(settings.rpc_url)
    rpc.expect_chain(contracts.chain_id)
    store = Store.open(settings.database_url)
    with store.begin() as tx:
        tx.bind(f"{contracts.chain_id}:{contracts.inference_market}")
    sender = Sender(
        rpc, account, SqlOutbox(store), contracts.chain_id, confirmations=settings.finality_depth
    )
    log.info("submit.ready", address=account.address)
    market = InferenceMarket(rpc, contracts.inference_market)
    ipfs = IpfsClient(settings.ipfs_api, min(settings.ipfs_timeout, FETCH_SECONDS))
    player = Player(
        store,
        DisputeGame(rpc, contracts.dispute_game),
        sender,
        lambda words: bytes(account.sign_typed_data(full_message=words).signature),
        chain_id=contracts.chain_id,
        me=sender.address,
        log=log,
    )
    submitter = Submitter(store, market, sender, ipfs, log)
    port = settings.metrics_port + 1 if settings.metrics_port else 0  # the watcher has the first
    return KeyProcess(
        submitter, player, Tender(submitter, settings.poll_interval, log), port, settings.ws_url
    )


class Deliver(FairBatches):
    """Hands over a delivery that comes alone at once, and a crowd together."""

    flush_every = MAX_DELIVERIES
    clock = staticmethod(time.monotonic)
    _flushed = 0.0  # when
    _window = BATCH_WINDOW

    def _do_flush(self) -> None:
        crowded = self._buffer.qsize() >= MAX_DELIVERIES
        if crowded or self.clock() - self._flushed >= self._window:
            super()._do_flush()

    def flush(self, requests: Sequence[Any]) -> None:
        """Send what waits."""
        requests = list(requests)
        self._flushed = self.clock()
        self._window = BATCH_WINDOW * max(1, min(len(requests), _WINDOWS))
        super().flush(requests)


def _seen(app: Celery, submitter: Submitter, answer: DeliverMessage) -> bool:
    """Say whether an answer's bytes were seen; ask again later for those that cannot be had now."""
    try:
        return submitter.has_bytes(answer)
    except TransientError as error:
        again = replace(answer, attempt=answer.attempt + 1)
        log = structlog.get_logger("tallystick.submitter")
        log.warning("submit.no_bytes", request_id=answer.request_id, error=str(error))
        if answer.attempt < FETCHES:  # after that the watcher asks for the answer anew
            celery_app.send(app, again, delay=2.0**answer.attempt)
        return False


def register(app: Celery, key: Callable[[], KeyProcess]) -> None:
    """Add the tasks of the queue `submit`; each parses, calls submitter or player, is done.

    A process without the key, told to take from this queue as it runs, puts messages back.
    """
    log = structlog.get_logger("tallystick.submitter")

    def key_for(messages: Sequence[Message], id_: str | None = None) -> KeyProcess | None:
        try:
            return key()
        except ConfigInvalid as error:
            log.error("submit.no_key", error=str(error), hint=error.hint)
            for message in messages:
                celery_app.send(app, message, id_, delay=RETRY_AFTER)
            return None

    def deliver(requests: Sequence[Any]) -> None:
        answers = []
        for request in requests:
            body = celery_app.opened(app, DeliverMessage, request.id, request.kwargs)
            if body is None:
                continue
            try:
                answers.append(DeliverMessage.from_json(body))
            except InputInvalid as error:
                log.error("submit.malformed", error=str(error))
        if not (held := key_for(answers)):
            return
        answers = [answer for answer in answers if _seen(app, held.submitter, answer)]
        try:
            with held.tender.turn():
                held.submitter.deliver(answers)
        except TransientError as error:  # the store is away: take them again later
            log.warning("submit.later", answers=len(answers), error=str(error))
            for answer in answers:
                celery_app.send(app, answer, delay=RETRY_AFTER)

    app.task(deliver, name=DeliverMessage.name, base=Deliver, shared=False)

    def task(kind: type[M], do: Callable[[KeyProcess, M, str], None]) -> None:
        def run(self: Task, **sealed: Any) -> None:
            body = celery_app.opened(app, kind, self.request.id, sealed)
            if body is None:
                return
            try:
                message = kind.from_json(body)
                if held := key_for([message], self.request.id):
                    with held.tender.turn():
                        do(held, message, self.request.id)
            except InputInvalid as error:
                log.error("submit.malformed", task=kind.name, error=str(error))

        app.task(
            run, name=kind.name, bind=True, shared=False, autoretry_for=(TransientError,),
            retry_backoff=1, retry_backoff_max=60, max_retries=6,
        )  # fmt: skip

    task(ClaimMessage, lambda key, asked, _: key.submitter.claim(asked.request_id))
    task(PostOutputMessage, lambda key, asked, _: key.submitter.post_output(asked.request_id))
    task(FinalizeMessage, lambda key, asked, _: key.submitter.finalize(asked.request_ids))
    task(ReportFailureMessage, lambda key, told, id_: key.submitter.report_failure(told, id_))
    task(PlayMessage, lambda key, move, _: key.player.play(move))
    task(ReceiptMessage, lambda key, asked, _: key.player.receipt(asked))
