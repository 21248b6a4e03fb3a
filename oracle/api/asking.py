"""From arrays or sentences to an answer, and the headers that say what the answer is worth."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import Request

from oracle.api.problems import Rejected
from oracle.api.state import AppState
from oracle.errors import InputInvalid
from oracle.gateway import worker_progress
from oracle.gateway.catalogue import AskableVersion, VersionFacts
from oracle.gateway.channels import SignedAnswer
from oracle.gateway.gateway import DeliveredAnswer, NotYet
from oracle.gateway.sponsor import Question
from oracle.protocol import channel_wire
from oracle.protocol.pieces import PieceTeller
from oracle.protocol.tensor import Array
from oracle.services import inputs
from oracle.services.amounts import decimal
from oracle.store.gateway_repository import ApiKey, Ticket

MAX_IDEMPOTENCY = 128
PATH = "Tallystick-Path"
_WRITING = 600.0  # seconds that a text may take as long as it grows
_SLACK = 1.0  # seconds: a single request says by itself that it is late

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ServedAnswer:
    """An answer with everything that led to it."""

    listing: AskableVersion
    question: Question
    ticket: Ticket
    answer: DeliveredAnswer
    seconds: Mapping[str, float] = field(default_factory=dict)


class Stopwatch:
    """Seconds between marks, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._at = time.perf_counter()

    def mark(self, name: str) -> None:
        """Note the time since the last mark."""
        now = time.perf_counter()
        self.seconds[name] = now - self._at
        self._at = now


async def find(state: AppState, name: str, version: str = "") -> AskableVersion:
    """Return a version as it can be asked now (see `Catalogue.find`)."""
    catalogue = state.asking.catalogue
    if (kept := catalogue.peek(name, version)) is not None:
        return kept
    return await state.blocking(lambda: catalogue.find(name, version))


def idempotency_of(request: Request) -> str | None:
    """Return the Idempotency-Key that came along.

    Raises:
        Rejected: it is too long or not printable.
    """
    given = request.headers.get("idempotency-key")
    if given is None:
        return None
    if not 1 <= len(given) <= MAX_IDEMPOTENCY or not given.isprintable():
        raise Rejected(400, "IdempotencyKeyInvalid", "an Idempotency-Key has 1 to 128 characters")
    return given


async def question(
    state: AppState,
    listing: AskableVersion,
    *,
    arrays: dict[str, Array],
    texts: tuple[str, ...],
    params: Mapping[str, float],
    idempotency: str | None,
) -> Question:
    """Make the canonical input (beside the event loop: tokenizers and hashes take their time)."""
    catalogue, served = state.asking.catalogue, listing.served

    def prepare() -> Question:
        tensors = arrays
        if texts:
            encoder = catalogue.encoder(served.model_id, served.version)
            tensors = inputs.tokenize(texts, served.manifest, encoder)
        try:
            prepared = inputs.seal(tensors, texts, served.manifest, served.form)
        except (UnicodeError, OverflowError) as error:
            raise InputInvalid(f"the input does not fit: {error}") from error
        return Question(listing, prepared, served.manifest.pack_params(params), idempotency)

    return await state.blocking(prepare)


def over_channels(request: Request) -> bool:
    """Return whether a client takes answers over channels; `Tallystick-Path: chain` says no.

    Raises:
        Rejected: it says something else.
    """
    given = request.headers.get(PATH, "channel")
    if given not in ("channel", "chain"):
        raise Rejected(400, "PathInvalid", f"{PATH} is `channel` or `chain`")
    return given == "channel"


async def ask(
    state: AppState, key: ApiKey, asked: Question, watch: Stopwatch,
    *, channels: bool = False, pieces: PieceTeller | None = None,
) -> ServedAnswer:  # fmt: skip
    """Pay for an answer and wait for it; arguments and errors as in `ask_all`.

    Args:
        pieces: are told how a text grows; as long as it does, the answer is waited for.
    """
    return (await ask_all(state, key, [asked], watch, channels=channels, pieces=pieces))[0]


async def ask_all(
    state: AppState,
    key: ApiKey,
    questions: Sequence[Question],
    watch: Stopwatch,
    *,
    channels: bool = False,
    pieces: PieceTeller | None = None,
) -> list[ServedAnswer]:
    """Pay for all answers and wait for them, as long as now and then one comes.

    Args:
        channels: whether the gateway's channels may pay, where there are some.
        pieces: are told how the text of a single question grows.

    Raises:
        BudgetExhausted: the key cannot pay for all of them; nothing is charged.
        NotYet: nothing came for `answer_timeout` seconds.
        Whatever `Gateway.accept`, `requested` and `answer` raise.
    """
    began, version = time.perf_counter(), questions[0].listing.served
    statistics = state.statistics[version.model_id, version.version]
    try:
        served = await _ask_all(state, key, questions, watch, channels=channels, pieces=pieces)
    except Exception:
        statistics.failed(time.perf_counter() - began)
        raise
    for one in served:
        rows = next(iter(one.question.prepared.shapes.values()))[:1]
        took = time.perf_counter() - began
        count = rows[0] if rows and pieces is None else 1  # of a text they would be bytes
        statistics.answered(took, one.seconds, count, time.time())
    return served


async def _ask_all(
    state: AppState, key: ApiKey, questions: Sequence[Question], watch: Stopwatch,
    *, channels: bool, pieces: PieceTeller | None,
) -> list[ServedAnswer]:  # fmt: skip
    gateway = state.asking
    if len(questions) > 1:  # of one the sponsor asks itself
        await gateway.blocking(lambda: gateway.sponsor.require_budget(key, questions))
    signed: list[SignedAnswer | None] = [None] * len(questions)
    if channels:
        signed = await asyncio.gather(
            *(gateway.answer_signed(key, one, pieces) for one in questions)
        )
        watch.mark("channel")
    left = [asked for asked, one in zip(questions, signed, strict=True) if one is None]
    delivered = iter(await _ask_on_chain(state, key, left, watch, pieces) if left else ())
    return [
        next(delivered)
        if one is None
        else ServedAnswer(
            asked.listing, asked, one.ticket, gateway.received(one), dict(watch.seconds)
        )
        for asked, one in zip(questions, signed, strict=True)
    ]


async def _ask_on_chain(
    state: AppState, key: ApiKey, questions: Sequence[Question], watch: Stopwatch,
    pieces: PieceTeller | None,
) -> list[ServedAnswer]:  # fmt: skip
    gateway, patience = state.asking, state.config.answer_timeout
    longest = patience * len(questions)
    accepting = (gateway.accept(key, one) for one in questions)
    tickets: list[Ticket] = []
    for found in await asyncio.gather(*accepting, return_exceptions=True):
        if isinstance(found, BaseException):
            raise found
        tickets.append(found)
    watch.mark("accept")
    request_ids = await _while_moving(
        tickets, [gateway.requested(ticket, longest) for ticket in tickets], patience
    )
    watch.mark("chain")
    if pieces is not None:
        longest = max(longest, _WRITING)
    waits = [
        gateway.answer(request_id, longest, ticket)
        for request_id, ticket in zip(request_ids, tickets, strict=True)
    ]
    hearing = None
    if pieces is not None:
        hearing = asyncio.ensure_future(gateway.hear(request_ids[0], pieces))
    try:
        answers = await _while_moving(
            tickets, waits, patience, lambda: gateway.worker_progress.text(request_ids[0])
        )
    finally:
        if hearing is not None:
            hearing.cancel()
    watch.mark("answer")
    served = []
    for asked, ticket, answer in zip(questions, tickets, answers, strict=True):
        heard = gateway.worker_progress.of(answer.request_id)
        parts = worker_progress.seconds(heard, ticket.created_at, answer.seen_at)
        taken = {**watch.seconds, **parts}
        state.metrics.stages(taken)
        served.append(ServedAnswer(asked.listing, asked, ticket, answer, taken))
    return served


async def _while_moving(
    tickets: Sequence[Ticket], waits: Sequence[Coroutine[Any, Any, T]], patience: float,
    state: Callable[[], object] = lambda: None,
) -> list[T]:  # fmt: skip
    """Return what all waits bring, unless nothing moves for so many seconds.

    Args:
        state: which moves too when it changes.

    Raises:
        NotYet: then. Whatever the first wait that fails raises.
    """
    tasks = [asyncio.ensure_future(one) for one in waits]
    pending, before = set(tasks), state()
    try:
        while pending:
            done, pending = await asyncio.wait(
                pending, timeout=patience + _SLACK, return_when=asyncio.FIRST_COMPLETED
            )
            if not done and (now := state()) != before:
                before = now
            elif not done:
                late = next(
                    one for one, task in zip(tickets, tasks, strict=True) if task in pending
                )
                raise NotYet(f"{len(pending)} of {len(tasks)} requests are not answered", late.id)
            for task in done:
                task.result()
        return [task.result() for task in tasks]
    finally:
        for task in pending:
            task.cancel()


def path_of(answer: DeliveredAnswer) -> str:
    """Return which way an answer came: with a delivery on the chain, or signed over a channel."""
    return "chain" if answer.receipt is None else "channel"


def worth(served: VersionFacts, answer: DeliveredAnswer) -> dict[str, str]:
    """Return the headers of what every answer says about itself."""
    request_id = f"0x{answer.request_id.hex()}"
    signed = {}
    if answer.receipt is not None:
        signed[channel_wire.RECEIPT] = channel_wire.receipt_header(answer.receipt.receipt)
    metered = {}
    if answer.units:
        used = decimal(answer.request.terms.price(answer.units))
        metered = {"Tallystick-Units": str(answer.units), "Tallystick-Used": used}
    return {
        **signed,
        "Tallystick-Request-Id": request_id,
        "Tallystick-Model": f"{served.model_id}@{served.version}",
        "Tallystick-Manifest": f"0x{served.digest.hex()}",
        "Tallystick-Input-Digest": f"0x{answer.request.input_root.hex()}",
        "Tallystick-Output-Digest": f"0x{answer.output_root.hex()}",
        "Tallystick-Operator": answer.operator,
        PATH: path_of(answer),
        "Tallystick-Assurance": answer.request.terms.assurance.name.lower(),
        "Tallystick-Fee": decimal(answer.request.terms.fee),
        **metered,
        "Link": f'</api/requests/{request_id}/receipt>; rel="describedby"',
    }


def headers(served: ServedAnswer) -> dict[str, str]:
    """Return the headers of an answer that was just paid for, with where the time went."""
    timing = ", ".join(f"{name};dur={1000 * took:.1f}" for name, took in served.seconds.items())
    said = {**worth(served.listing.served, served.answer), "Server-Timing": timing}
    if outside := served.question.prepared.outside:
        said["Tallystick-Outside"] = ", ".join(f"{o.name}={o.count}/{o.total}" for o in outside)
    return said
