"""From arrays or sentences to an answer, and the headers that say what the answer is worth."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from fastapi import Request

from oracle.api.problems import Rejected
from oracle.api.state import AppState
from oracle.errors import InputInvalid
from oracle.gateway import worker_progress
from oracle.gateway.catalogue import AskableVersion, VersionFacts
from oracle.gateway.gateway import DeliveredAnswer
from oracle.gateway.sponsor import Question
from oracle.protocol.tensor import Array
from oracle.services import inputs
from oracle.services.amounts import decimal
from oracle.store.gateway_repository import ApiKey, Ticket

MAX_IDEMPOTENCY = 128


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
            prepared = inputs.seal(tensors, texts, served.manifest)
        except (UnicodeError, OverflowError) as error:
            raise InputInvalid(f"the input does not fit: {error}") from error
        return Question(listing, prepared, served.manifest.pack_params(params), idempotency)

    return await state.blocking(prepare)


async def ask(state: AppState, key: ApiKey, asked: Question, watch: Stopwatch) -> ServedAnswer:
    """Pay for an answer and wait for it.

    Raises:
        Whatever `Gateway.accept`, `requested` and `answer` raise.
    """
    gateway, timeout = state.asking, state.config.answer_timeout
    ticket = await gateway.accept(key, asked)
    watch.mark("accept")
    request_id = await gateway.requested(ticket, timeout)
    watch.mark("chain")
    answer = await gateway.answer(request_id, timeout, ticket)
    watch.mark("answer")
    parts = worker_progress.seconds(
        gateway.worker_progress.of(request_id), ticket.created_at, answer.seen_at
    )
    taken = {**watch.seconds, **parts}
    state.metrics.stages(taken)
    return ServedAnswer(asked.listing, asked, ticket, answer, taken)


def worth(served: VersionFacts, answer: DeliveredAnswer) -> dict[str, str]:
    """Return the headers of what every answer says about itself."""
    request_id = f"0x{answer.request_id.hex()}"
    return {
        "Tallystick-Request-Id": request_id,
        "Tallystick-Model": f"{served.model_id}@{served.version}",
        "Tallystick-Manifest": f"0x{served.digest.hex()}",
        "Tallystick-Input-Digest": f"0x{answer.request.input_root.hex()}",
        "Tallystick-Output-Digest": f"0x{answer.output_root.hex()}",
        "Tallystick-Operator": answer.operator,
        "Tallystick-Assurance": answer.request.terms.assurance.name.lower(),
        "Tallystick-Fee": decimal(answer.request.terms.fee),
        "Link": f'</api/requests/{request_id}/receipt>; rel="describedby"',
    }


def headers(served: ServedAnswer) -> dict[str, str]:
    """Return the headers of an answer that was just paid for, with where the time went."""
    timing = ", ".join(f"{name};dur={1000 * took:.1f}" for name, took in served.seconds.items())
    return {**worth(served.listing.served, served.answer), "Server-Timing": timing}
