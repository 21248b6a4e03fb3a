"""The gateway's own channels to operators: which one pays for a version, and its answers.

```
 question ─▶ route? ─no─▶ chain path
     │ charged, ticket CALLED ─▶ endpoint ─▶ receipt checked, kept ─▶ ticket ANSWERED ─▶ reply
     │                              └─ any failure: ticket ACCEPTED with its intent: chain path
     └ asked before: the same answer, or the chain path
```
Each arrow into the store is one transaction, so a budget is charged once. A gateway that dies while
a question is called out gives the charge back when it starts: what the operator signed meanwhile is
the gateway's loss, one price for each question under way.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from oracle.chain.rpc import RpcError
from oracle.chain.wallet import Wallet
from oracle.errors import NotFound, TallystickError, TransientError
from oracle.gateway.catalogue import AskableVersion
from oracle.gateway.sponsor import Question, Sponsor
from oracle.protocol import receipt_file, text
from oracle.protocol.pieces import PieceTeller
from oracle.protocol.receipt_file import ReceiptFile
from oracle.services.channels import endpoints, offers
from oracle.services.channels.endpoint_client import EndpointOverloaded, VoucherNotTaken
from oracle.services.channels.kept import KeptChannel
from oracle.services.channels.paid_channel import ChannelClient
from oracle.services.channels.received_receipts import ReceiptWrong
from oracle.services.network import Network
from oracle.store import Store, Transaction
from oracle.store.gateway_repository import ApiKey, CalledAnswer, Ticket, TicketState
from oracle.types import Amount, RequestId

FRESH = 10.0  # seconds that the choice of an operator is kept
BARRED = 30.0  # seconds in which an operator that failed is not asked; overload is shorter
PATIENCE = 10.0  # seconds for one answer; then the chain path is faster
_PAUSE = 5.0  # seconds until a top-up that failed is tried again
THREADS = 64  # questions that are called out at a time


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """What the gateway puts into channels; each version has one."""

    deposit: Amount  # that a channel is opened, and topped up, with
    limit: Amount  # of all deposits of a channel together


@dataclass(frozen=True, slots=True)
class ChannelRoute:
    """A channel as it is shown."""

    model_id: int
    version: int
    operator: str
    url: str
    channel_id: bytes
    deposit: Amount
    answered: int
    barred: str  # why it is not asked now; "" = it is


@dataclass(frozen=True, slots=True)
class SignedAnswer:
    """An answer over a channel: charged, kept, and its receipt checked."""

    ticket: Ticket
    file: ReceiptFile  # with input and output


@dataclass(slots=True)
class _Choice:
    """The channel of one version."""

    client: ChannelClient | None = None
    looked_at: float = float("-inf")
    looking: bool = False
    topping: bool = False
    top_up_failed_at: float = float("-inf")
    barred_until: float = float("-inf")
    why: str = ""


def find(store: Store, any_id: RequestId) -> SignedAnswer | None:
    """Return an answer that was given over a channel, by its ticket's or its request's id.

    Raises:
        NotFound: its bytes are gone.
    """
    with store.read() as tx:
        ticket = tx.ticket(any_id)
        found = tx.called_answer(ticket.id) if ticket is not None else None
    if ticket is None or found is None:
        return None
    file = receipt_file.read(found.receipt.encode())
    given, output = KeptChannel(Path(found.folder)).bytes_of(file.receipt.index)
    if output is None:
        raise NotFound(f"the answer of receipt {file.receipt.index} is not in {found.folder}")
    return SignedAnswer(ticket, replace(file, input=given, output=output))


class GatewayChannels:
    """The channels of one gateway. Safe for threads."""

    def __init__(
        self,
        network: Network,
        wallet: Wallet,
        store: Store,
        sponsor: Sponsor,
        settings: ChannelSettings,
        *,
        ended: Callable[[RequestId], None],
    ) -> None:
        """Take the collaborators; nothing is opened.

        Args:
            wallet: that pays deposits.
            ended: is told of tickets that are called out no more.
        """
        self._network, self._wallet, self._store, self._sponsor = network, wallet, store, sponsor
        self._settings, self._ended = settings, ended
        self._choices: dict[tuple[int, int], _Choice] = {}
        self._under_way: dict[RequestId, threading.Event] = {}
        self._lock = threading.Lock()
        self.pool = ThreadPoolExecutor(THREADS, "gateway-channels")
        self._setting_up = ThreadPoolExecutor(2, "gateway-channel-setup")
        self._log = structlog.get_logger("tallystick.gateway")

    def close(self) -> None:
        """End; questions under way are finished first."""
        self.pool.shutdown(wait=True, cancel_futures=True)
        self._setting_up.shutdown(wait=True, cancel_futures=True)

    def routes(self) -> list[ChannelRoute]:
        """Return the channels that pay now."""
        now = time.monotonic()
        return [
            ChannelRoute(
                model_id, version, client.channel.offer.operator, client.url, client.channel_id,
                client.deposit, client.answered, choice.why if now < choice.barred_until else "",
            )
            for (model_id, version), choice in sorted(self._choices.items())
            if (client := choice.client) is not None
        ]  # fmt: skip

    def route(self, listing: AskableVersion) -> ChannelClient | None:
        """Return the channel that pays for a version now; None = the chain path. Waits for nothing.

        Who asks first finds none: it is set up meanwhile.
        """
        version = listing.served.model_id, listing.served.version
        with self._lock:
            choice = self._choices.setdefault(version, _Choice())
            now = time.monotonic()
            if now - choice.looked_at >= FRESH and not choice.looking:
                choice.looking = True
                self._setting_up.submit(self._look, choice, listing)
            client = choice.client
            if client is None or now < choice.barred_until:
                return None
            if client.channel.offer.terms != listing.terms:
                return None
            fee = listing.terms.fee
            low = client.left < self._settings.deposit // 2
            if low and not choice.topping and now - choice.top_up_failed_at >= _PAUSE:
                choice.topping = True
                self._setting_up.submit(self._top_up, choice, client)
            return client if client.left >= fee else None

    def answer(
        self, key: ApiKey, question: Question, client: ChannelClient,
        pieces: PieceTeller | None = None,
    ) -> SignedAnswer | None:  # fmt: skip
        """Pay for an answer over a channel; None = it is on the chain path, charged once.

        Args:
            pieces: are told how a text grows.

        Raises:
            BudgetExhausted, IdempotencyConflict, ModelNotAllowed: nothing is charged.
            Whatever `Sponsor.accept` raises when neither path is open; nothing is charged.
        """
        ticket = self._sponsor.call_out(key, question)
        if ticket.state is not TicketState.CALLED:
            return find(self._store, ticket.id) if ticket.state is TicketState.ANSWERED else None
        with self._lock:
            others = self._under_way.get(ticket.id)
            mine = self._under_way.setdefault(ticket.id, threading.Event())
        if others is not None:  # the same question is under way
            others.wait(2 * PATIENCE)
            return find(self._store, ticket.id)
        try:
            return self._called(ticket, question, client, pieces)
        finally:
            with self._lock:
                del self._under_way[ticket.id]
            mine.set()
            self._ended(ticket.id)

    # ── Inside ──────────────────────────────────────────────────────────────────────────────────
    def _called(
        self, ticket: Ticket, question: Question, client: ChannelClient,
        pieces: PieceTeller | None,
    ) -> SignedAnswer | None:  # fmt: skip
        heard = None
        if pieces is not None:
            pieces.accepted()
            heard = pieces.piece
        try:
            received = client.ask_encoded(question.prepared.data, question.params, heard)
        except Exception as error:  # whatever it is, the chain path answers
            self._failed(question.listing, client, error)
            self._sponsor.put_on_chain(ticket, question)
            return None
        file = ReceiptFile(
            client.channel, received.receipt, input=received.input, output=received.output
        )
        answer = CalledAnswer(receipt_file.write(file, without_bytes=True), str(client.folder))

        def commit(tx: Transaction) -> None:
            tx.ticket_answered(ticket.id, file.request_id, answer)

        self._store.write(commit)
        return SignedAnswer(replace(ticket, state=TicketState.ANSWERED), file)

    def _failed(self, listing: AskableVersion, client: ChannelClient, error: Exception) -> None:
        """Ask an operator no more: for good after a wrong receipt, for a while after an outage,
        and as long as it says when it has too much to do."""
        operator = client.channel.offer.operator
        self._log.warning("channel.failed", operator=operator, error=f"{error!r:.300}")
        if not isinstance(error, ReceiptWrong | VoucherNotTaken | TransientError):
            return  # about this question alone
        pause = min(error.retry_after, BARRED) if isinstance(error, EndpointOverloaded) else BARRED
        with self._lock:
            choice = self._choices[listing.served.model_id, listing.served.version]
            choice.barred_until, choice.why = time.monotonic() + pause, str(error)
            if isinstance(error, ReceiptWrong) and choice.client is client:
                choice.client = None  # its folder says so to the next look too

    def _look(self, choice: _Choice, listing: AskableVersion) -> None:
        """Choose the operator of a version: the cheapest offer at the terms that clients pay."""
        served, network = listing.served, self._network
        found: ChannelClient | None = None
        try:
            for info in offers.announced(network, served.model_id, served.version):
                if info.offer.terms != listing.terms or not info.current:
                    continue
                url = endpoints.reachable(network, info.endpoint)
                old = choice.client
                if old is not None and (old.offer_id, old.url) == (info.offer_id, url):
                    found = old
                    break
                written = served.manifest.runtime.format == text.FORMAT
                try:
                    client = ChannelClient(
                        network, self._wallet, info.offer, served.manifest, url,
                        deposit=self._settings.deposit, limit=self._settings.limit,
                        patience=None if written else PATIENCE,
                    )  # fmt: skip
                    client.require_use()
                    if client.left < listing.terms.fee:
                        client.top_up()
                except (TallystickError, RpcError) as error:
                    self._log.info("channel.not_used", url=url, error=str(error))
                    continue
                found = client
                self._log.info("channel.used", url=url, operator=info.operator)
                break
        except Exception as error:
            self._log.warning("channel.look_failed", error=f"{error!r:.300}")
            found = choice.client
        with self._lock:
            choice.client, choice.looked_at, choice.looking = found, time.monotonic(), False

    def _top_up(self, choice: _Choice, client: ChannelClient) -> None:
        failed_at = float("-inf")
        try:
            client.top_up()
        except Exception as error:  # the chain path goes on
            self._log.warning("channel.not_topped_up", error=f"{error!r:.300}")
            failed_at = time.monotonic()
        with self._lock:
            choice.topping, choice.top_up_failed_at = False, failed_at
