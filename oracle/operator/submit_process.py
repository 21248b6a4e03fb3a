"""The submitter's process: its tasks, its key, and the thread that follows its transactions.

The only process that opens the operator's keystore. Tasks take messages into the store at once;
the thread speaks to the chain, so a slow block holds up no message.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import structlog
from celery import Celery, Task, signals  # type: ignore[import-untyped]  # it ships no types

from oracle.chain import keystore
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
from oracle.queue import dispute_messages, messages
from oracle.queue.batches import FairBatches
from oracle.queue.dispute_messages import Move
from oracle.queue.messages import Answered, parse_bytes32
from oracle.store.outbox import SqlOutbox
from oracle.store.store import Store
from oracle.types import RequestId

MAX_BATCH = MAX_DELIVERIES  # messages
BATCH_WINDOW = 0.05  # seconds between two batches: answers in between share a transaction
RETRY_AFTER = 2.0  # seconds until messages are taken again that the store could not
_BACKOFF_LAST = 5.0  # seconds
_PASSING = (TransientError, RpcError, FundsInsufficient)


class Tender(threading.Thread):
    """Follows transactions from its own thread; `turn` keeps the tasks out meanwhile."""

    def __init__(self, submitter: Submitter, interval: float, log: Any) -> None:
        super().__init__(name="tender", daemon=True)
        self._submitter = submitter
        self._interval = interval
        self._log = log
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._stopping = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Take the submitter for a moment; the thread looks at what was done right after."""
        with self._lock:
            yield
        self._news.set()

    def run(self) -> None:
        """Tend until `stop`; an outage is waited out."""
        pause = self._interval
        while not self._stopping:
            self._news.wait(pause)
            self._news.clear()
            try:
                with self._lock:
                    self._submitter.tend()
                pause = self._interval
            except _PASSING as error:
                self._log.warning("submit.waiting", error=str(error), hint=error.hint)
                pause = min(2 * pause, _BACKOFF_LAST)

    def stop(self) -> None:
        """End the thread after the step it is at."""
        self._stopping = True
        self._news.set()
        self.join()


def open_hands(settings: Settings) -> tuple[Submitter, Player]:
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
    ipfs = IpfsClient(settings.ipfs_api, settings.ipfs_timeout)
    player = Player(
        store,
        DisputeGame(rpc, contracts.dispute_game),
        sender,
        lambda words: bytes(account.sign_typed_data(full_message=words).signature),
        chain_id=contracts.chain_id,
        me=sender.address,
        log=log,
    )
    return Submitter(store, market, sender, ipfs, log), player


def register(app: Celery, settings: Settings) -> None:
    """Open the submitter, add its tasks to an application, and follow its transactions."""
    log = structlog.get_logger("tallystick.submitter")
    submitter, player = open_hands(settings)
    tender = Tender(submitter, settings.poll_interval, log)
    port = settings.metrics_port + 1 if settings.metrics_port else 0  # the watcher has the first
    running = ExitStack()

    def start(**_: Any) -> None:
        running.enter_context(serving(submitter.metrics.registry, port, log))
        tender.start()
        running.callback(tender.stop)

    add_tasks(app, submitter, player, tender.turn)
    signals.worker_ready.connect(start, weak=False)
    signals.worker_shutdown.connect(lambda **_: running.close(), weak=False)


def add_tasks(
    app: Celery,
    submitter: Submitter,
    player: Player,
    turn: Callable[[], AbstractContextManager[Any]],
) -> None:
    """Add the tasks of the queue `submit`; each parses, calls submitter or player, is done."""
    log = structlog.get_logger("tallystick.submitter")

    class Deliver(FairBatches):
        """Delivers the answers that wait, together."""

        name = messages.DELIVER
        flush_every = MAX_BATCH
        _flushed = 0.0  # when; of the monotonic clock

        def _do_flush(self) -> None:
            """Let an answer that comes alone go at once, and a crowd together."""
            crowded = self._buffer.qsize() >= MAX_BATCH
            if crowded or time.monotonic() - self._flushed >= BATCH_WINDOW:
                super()._do_flush()

        def flush(self, requests: Sequence[Any]) -> None:
            """Send what waits."""
            self._flushed = time.monotonic()
            super().flush(requests)

        def run(self, requests: Sequence[Any]) -> None:
            """Take a batch of messages."""
            answers = []
            for request in requests:
                try:
                    answers.append(_answered(request.kwargs))
                except InputInvalid as error:
                    log.error("submit.malformed", error=str(error))
            try:
                with turn():
                    submitter.deliver(answers)
            except TransientError as error:  # the store is away: take them again later
                log.warning("submit.later", answers=len(answers), error=str(error))
                for request in requests:
                    self.apply_async(kwargs=request.kwargs, countdown=RETRY_AFTER)

    app.register_task(Deliver())

    def task(name: str, function: Callable[..., None]) -> None:
        def run(self: Task, **payload: Any) -> None:
            try:
                with turn():
                    function(payload, self.request.id)
            except (KeyError, ValueError, InputInvalid) as error:
                log.error("submit.malformed", task=name, error=repr(error))

        app.task(
            run, name=name, bind=True, autoretry_for=(TransientError,), retry_backoff=1,
            retry_backoff_max=60, max_retries=6,
        )  # fmt: skip

    task(messages.CLAIM, lambda p, _: submitter.claim(_request_id(p["request_id"])))
    task(messages.POST_OUTPUT, lambda p, _: submitter.post_output(_request_id(p["request_id"])))
    task(
        messages.FINALIZE,
        lambda p, _: submitter.finalize([_request_id(text) for text in p["request_ids"]]),
    )
    task(
        messages.REPORT_FAILURE,
        lambda p, task_id: submitter.report_failure(
            _request_id(p["request_id"]), str(p["error"]), str(p["message"]), bool(p["permanent"]),
            task_id,
        ),
    )  # fmt: skip
    task(dispute_messages.PLAY, lambda p, _: player.play(Move.parse(p)))
    task(
        dispute_messages.RECEIPT,
        lambda p, _: player.receipt(_request_id(p["request_id"]), parse_bytes32(p["trace_root"])),
    )


def _answered(payload: dict[str, Any]) -> Answered:
    try:
        return Answered(
            _request_id(payload["request_id"]),
            parse_bytes32(payload["output_root"]),
            parse_bytes32(payload["output_cid"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputInvalid(f"malformed deliver message: {error!r}") from error


def _request_id(text: Any) -> RequestId:
    return RequestId(parse_bytes32(text))
