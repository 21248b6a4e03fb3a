"""A gateway put together: opened once in a process, asked by routes, closed without a loss.

A blocking step runs in a pool of threads; who waits for the chain is a coroutine and costs nothing.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from eth_account.signers.local import LocalAccount

from oracle.chain import heads
from oracle.chain.bindings.inference_market import Delivered, Requested
from oracle.chain.outbox import OutboxEntry
from oracle.chain.rpc import quantity
from oracle.chain.sender import ANY_GAS, Sender
from oracle.chain.wallet import Wallet
from oracle.config import Settings
from oracle.errors import DigestMismatch, NotFound, PermanentError, TransientError
from oracle.gateway import channels, relay, signed_transfers
from oracle.gateway.catalogue import Catalogue
from oracle.gateway.channels import ChannelSettings, GatewayChannels, SignedAnswer
from oracle.gateway.dispatcher import Dispatcher, Outcome
from oracle.gateway.facilitator import SETTLE, Facilitator
from oracle.gateway.market_follower import MarketFollower
from oracle.gateway.notifier import Notifier
from oracle.gateway.outbox_wallet import OutboxWallet
from oracle.gateway.payment_follower import PaymentFollower
from oracle.gateway.relay import Relay
from oracle.gateway.sponsor import Lanes, Question, Sponsor
from oracle.gateway.sweeper import Sweeper
from oracle.gateway.worker_progress import Heard, WorkerProgress
from oracle.protocol.cid import raw_cid
from oracle.protocol.pieces import PieceTeller
from oracle.protocol.receipt_file import ReceiptFile
from oracle.protocol.tensor import Array
from oracle.services.amounts import format_time
from oracle.services.event_history import Happened, topic
from oracle.services.inference import AnswerFailed
from oracle.services.network import Network
from oracle.services.request_timeline import LIFE
from oracle.store import Store
from oracle.store.gateway_repository import ApiKey, Ticket, TicketState
from oracle.store.outbox import SqlOutbox
from oracle.types import ZERO32, Address, Bytes32, Request, RequestId, Timestamp

T = TypeVar("T")
THREADS = 32  # of blocking steps: IPFS, RPC, store


class RequestFailed(PermanentError):
    """An accepted request was refused when it was sent; its charge was undone."""


class RequestEnded(PermanentError):
    """A request ended without an answer; its fee came back."""


class NotYet(TransientError):
    """The answer is not there in time; the request goes on."""

    def __init__(self, message: str, place: RequestId) -> None:
        """Say of which ticket or request; its id is the place where the answer will be."""
        super().__init__(message, hint="it goes on and is paid once; look there, or ask again")
        self.place = place


@dataclass(frozen=True, slots=True)
class DeliveredAnswer:
    """An answer whose bytes have the digest that the chain names."""

    request_id: RequestId
    request: Request
    block: int  # of the request
    operator: Address
    output_root: Bytes32
    delivered_at: Timestamp
    units: int  # that it is paid by; 0 = a flat fee
    transaction: Bytes32  # that delivered
    seen_at: float  # unix seconds: when the delivery was seen here, before its bytes were fetched
    outputs: dict[str, Array]
    receipt: ReceiptFile | None = None  # of an answer over a channel, which the chain has not seen


class Gateway:
    """One account's gateway; use `opened`."""

    def __init__(
        self,
        network: Network,
        account: LocalAccount,
        store: Store,
        *,
        threads: int = THREADS,
        paying: ChannelSettings | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Put the parts together; nothing runs yet.

        Args:
            paying: what it puts into channels of its own; None = every answer is on the chain.
            account: whose prepaid balance pays, and whose currency pays for gas.
            store: of this gateway alone.
        """
        settings = network.settings
        self.network = network
        self.store = store
        self.address = Address(account.address)
        self.notifier = Notifier()
        self.pool = ThreadPoolExecutor(threads, "gateway")
        self.catalogue = Catalogue(network, self.pool)
        with store.read() as tx:
            open_tickets = tx.open_tickets()
        self._lanes = Lanes(t.lane for t in open_tickets if t.lane is not None)
        self.sender = Sender(
            network.rpc,
            account,
            SqlOutbox(store),
            network.contracts.chain_id,
            confirmations=settings.finality_depth,
            most_gas=_most_gas,
            clock=clock,
        )
        self.dispatcher = Dispatcher(
            network.rpc,
            self.sender,
            store,
            self.notifier,
            self._lanes.free,
            market=network.market,
            busy=settings.poll_interval / 3,
            others_ended=lambda: self.payments.wake(),  # noqa: PLW0108 -- it is made below
        )
        self.sponsor = Sponsor(
            network,
            self.address,
            store,
            self._lanes,
            simulate=self.sender.gas_of,
            accepted=self.dispatcher.wake,
            clock=clock,
        )
        self.relay = Relay(
            network,
            store,
            simulate=self.sender.gas_of,
            accepted=self.dispatcher.wake,
            clock=clock,
        )
        self.facilitator = Facilitator(
            network,
            self.address,
            store,
            self.notifier,
            self.sponsor,
            simulate=self.sender.gas_of,
            accepted=self.dispatcher.wake,
            clock=clock,
        )
        self.payments = PaymentFollower(
            network,
            Wallet(network.rpc, account, chain_id=network.contracts.chain_id),
            store,
            self.notifier,
            self.facilitator,
            simulate=self.sender.gas_of,
            accepted=self.dispatcher.wake,
            clock=clock,
        )
        self.channels: GatewayChannels | None = None
        if paying is not None:
            chain_id, wake = network.contracts.chain_id, self.dispatcher.wake
            wallet = OutboxWallet(network.rpc, account, store, wake, chain_id=chain_id)
            self.channels = GatewayChannels(
                network, wallet, store, self.sponsor, paying,
                ended=lambda ticket: self.notifier.notify([ticket]),
            )  # fmt: skip
        self.worker_progress = WorkerProgress(settings, self.notifier)
        self._follower: MarketFollower | None = None
        self._sweeper: Sweeper | None = None
        self._heads = ExitStack()
        self._closing = threading.Event()

    def start(self) -> None:
        """Take up what an earlier process left, and follow the chain."""
        with self.store.read() as tx:
            called = any(ticket.state is TicketState.CALLED for ticket in tx.open_tickets())
        if called:
            with self.store.begin() as tx:
                tx.drop_called_tickets()
        self.dispatcher.start()
        settings, head = self.network.settings, quantity(self.network.rpc.call("eth_blockNumber"))
        with self.store.read() as tx:
            blocks = [t.block for t in tx.open_tickets() if t.block is not None]
        self._follower = MarketFollower(
            self.network,
            self.store,
            self.notifier,
            self._ended,
            start=min(blocks, default=max(0, head - settings.finality_depth)),
            interval=settings.poll_interval,
            depth=settings.finality_depth,
        )
        self._follower.start()
        self._heads.enter_context(
            heads.heard(settings.ws_url, self._follower.new_block, self.dispatcher.new_block)
        )
        self.worker_progress.start()
        self._sweeper = Sweeper(self.network, self.store, self._follower, self.dispatcher.wake)
        self._sweeper.start()
        self.payments.start()

    def close(self) -> None:
        """Stop; what was accepted and is not sent yet stays in the store for the next start."""
        self._closing.set()
        self._heads.close()
        if self.channels is not None:  # first: it needs those that send
            self.channels.close()
        self.payments.stop()
        if self._sweeper is not None:
            self._sweeper.stop()
        if self._follower is not None:
            self._follower.stop()
        self.dispatcher.stop()
        self.worker_progress.stop()
        self.sponsor.close()
        self.pool.shutdown(wait=True, cancel_futures=True)
        self.store.close()

    @property
    def follower(self) -> MarketFollower:
        """The watcher of the market; there once `start` is done."""
        if self._follower is None:
            raise RuntimeError("start() comes first")
        return self._follower

    @property
    def sweeper(self) -> Sweeper:
        """Who brings back what expired; there once `start` is done."""
        if self._sweeper is None:
            raise RuntimeError("start() comes first")
        return self._sweeper

    @property
    def ready(self) -> bool:
        """Whether the chain answers and nobody has asked us to stop."""
        started = self._follower is not None and not self._follower.troubled
        return started and not self._closing.is_set()

    async def blocking(self, step: Callable[[], T]) -> T:
        """Run a blocking step in the pool."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, step)

    # ── The life of a request ───────────────────────────────────────────────────────────────────
    async def accept(self, key: ApiKey, question: Question) -> Ticket:
        """Take a request on (see `Sponsor.accept`)."""
        return await self.blocking(lambda: self.sponsor.accept(key, question))

    async def requested(self, ticket: Ticket, timeout: float) -> RequestId:
        """Wait until a ticket has become a request of the chain.

        Raises:
            RequestFailed: the chain refused it. NotYet: it takes longer.
        """
        outcome, called = _outcome_of(ticket), ticket.state is TicketState.CALLED
        if outcome is None:

            def look() -> Outcome | None:
                known = self.dispatcher.outcome(ticket.id)
                return _outcome_of(self.ticket(ticket.id)) if called and not known else known

            try:
                outcome = await self.notifier.until(ticket.id, look, timeout)
            except TimeoutError:
                raise NotYet("the request is not on the chain yet", ticket.id) from None
        if outcome.request_id is None:
            raise RequestFailed(f"the request was refused: {outcome.error}")
        return outcome.request_id

    async def answer(
        self, request_id: RequestId, timeout: float, ticket: Ticket | None = None
    ) -> DeliveredAnswer:
        """Wait for an answer, fetch its bytes and compare their digest with the chain's.

        Raises:
            NotFound: the chain has no such request. NotYet: it is not answered in time.
            RequestEnded: it ended without an answer.
            AnswerFailed: its operator cannot answer it, and nobody else did so far.
            CidUnresolved, DigestMismatch: the bytes cannot be had, or are others.
        """
        if not self.follower.life(request_id):
            signed = await self.blocking(lambda: channels.find(self.store, request_id))
            if signed is not None:
                return self.received(signed)
        first = (await self.life(request_id))[0]
        assert isinstance(first.event, Requested)
        try:
            found: Happened | Heard = await self.notifier.until(
                request_id, lambda: self._delivered_or_failed(request_id), timeout
            )
        except TimeoutError:
            name = f"request 0x{request_id.hex()}"
            place = ticket.id if ticket else request_id
            raise NotYet(f"{name} is not answered yet", place) from None
        if isinstance(found, Heard):
            raise AnswerFailed(
                f"operator {found.operator} cannot answer request 0x{request_id.hex()}: "
                f"{found.reason}",
                hint=f"unless another operator answers before "
                f"{format_time(first.event.request.expires_at)}, the fee comes back then: "
                "this gateway asks for it",
                cause=found.error,
            )
        request, delivered, seen_at = first.event.request, found.event, time.time()
        if not isinstance(delivered, Delivered):
            raise RequestEnded(
                f"request 0x{request_id.hex()} ended without an answer: {type(delivered).__name__}",
                hint="the fee came back",
            )
        outputs = await self.blocking(lambda: self._fetch(request, delivered))
        return DeliveredAnswer(
            request_id=request_id,
            request=request,
            block=first.block,
            operator=delivered.operator,
            output_root=delivered.output_root,
            delivered_at=delivered.stamp.time,
            units=delivered.stamp.units,
            transaction=found.tx_hash,
            seen_at=seen_at,
            outputs=outputs,
        )

    async def hear(self, request_id: RequestId, pieces: PieceTeller) -> None:
        """Tell how an answer grows, for as long as nobody cancels it; nothing may be heard."""
        pieces.accepted()
        before = ""

        def changed() -> str | None:
            text = self.worker_progress.text(request_id)
            return text if text not in ("", before) else None

        while True:
            before = await self.notifier.until(request_id, changed, None)
            pieces.so_far(before)

    async def answer_signed(
        self, key: ApiKey, question: Question, pieces: PieceTeller | None = None
    ) -> SignedAnswer | None:
        """Pay for an answer over a channel; None = none pays now, or it is on the chain path.

        Args:
            pieces: are told how a text grows.

        Raises:
            See `GatewayChannels.answer`.
        """
        if self.channels is None or (client := self.channels.route(question.listing)) is None:
            return None
        return await asyncio.get_running_loop().run_in_executor(
            self.channels.pool, self.channels.answer, key, question, client, pieces
        )

    def received(self, signed: SignedAnswer) -> DeliveredAnswer:
        """Return an answer over a channel as one that the chain delivered."""
        file, now = signed.file, time.time()
        offer, receipt = file.channel.offer, file.receipt
        assert file.output is not None
        served = self.catalogue.version(offer.model_id, offer.version)
        return DeliveredAnswer(
            request_id=file.request_id,
            request=file.channel.request(receipt),
            block=0,
            operator=offer.operator,
            output_root=receipt.output_root,
            delivered_at=receipt.answered_at,
            units=0,
            transaction=ZERO32,
            seen_at=now,
            outputs=served.form.decode_outputs(file.output),
            receipt=file,
        )

    async def life(self, request_id: RequestId) -> tuple[Happened, ...]:
        """Return what happened to a request so far; the first is `Requested`.

        Raises:
            NotFound: the chain has no such request.
        """
        known = self.follower.life(request_id)
        if known and isinstance(known[0].event, Requested):
            return known
        market, history = self.network.market.address, self.network.history
        read = await self.blocking(lambda: history.read(market, LIFE, topic(request_id)))
        if not read or not isinstance(read[0].event, Requested):
            raise NotFound(f"there is no request 0x{request_id.hex()}")
        return self.follower.adopt(request_id, read)

    def ticket(self, any_id: RequestId) -> Ticket:
        """Return a ticket by its own id or its request's.

        Raises:
            NotFound: this gateway accepted no such request.
        """
        with self.store.read() as tx:
            found = tx.ticket(any_id)
        if found is None:
            raise NotFound(f"this gateway knows no request 0x{any_id.hex()}")
        return found

    def _delivered_or_failed(self, request_id: RequestId) -> Happened | Heard | None:
        found = self.follower.find(request_id, Delivered)
        return found or self.worker_progress.failure(request_id)

    def _fetch(self, request: Request, delivered: Delivered) -> dict[str, Array]:
        served = self.catalogue.version(request.model_id, request.version)
        named = delivered.output_cid if any(delivered.output_cid) else delivered.output_root
        data = self.network.ipfs.fetch_bytes(
            raw_cid(Bytes32(named)), served.manifest.max_output_bytes
        )
        if (root := served.form.output_root(data)) != delivered.output_root:
            raise DigestMismatch(
                f"the output's bytes have root 0x{root.hex()}, "
                f"0x{delivered.output_root.hex()} was delivered",
                hint="anyone can oblige the operator to post it: `tallystick request demand`",
            )
        return served.form.decode_outputs(data)

    def _ended(self, request_id: RequestId) -> None:
        with self.store.read() as tx:
            ticket = tx.ticket(request_id)
        if ticket is not None and ticket.lane is not None:
            self._lanes.free(ticket.lane)


def store_url(settings: Settings) -> str:
    """Return where a gateway keeps its keys and tickets."""
    return settings.store_url or f"sqlite:///{folder(settings) / 'store.db'}"


def folder(settings: Settings) -> Path:
    """Return the gateway's folder."""
    return settings.home / "gateway"


def _most_gas(entry: OutboxEntry) -> int:
    """Return what a transaction may take: a payer's or a wallet's contract checks its signature."""
    if entry.kind == SETTLE:
        return signed_transfers.MAX_GAS
    return relay.MAX_GAS if relay.is_relayed(entry) else ANY_GAS


def _outcome_of(ticket: Ticket) -> Outcome | None:
    if ticket.state in (TicketState.ACCEPTED, TicketState.CALLED):
        return None
    return Outcome(ticket.request_id, ticket.block, error=ticket.error)
