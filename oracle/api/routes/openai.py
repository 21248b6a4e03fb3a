"""OpenAI's embeddings API, so that its client works unchanged; models of sentences only.

One call may have more rows than an answer has room for: it becomes as many requests as it takes.
Each is paid once, also when the client repeats the call, and a row that comes twice is asked once.
No model that writes text is published, so chat and completions are answered with a clear refusal.
"""

import asyncio
import base64
import bisect
import hashlib
import json
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StrictInt

from oracle.api import asking
from oracle.api.problems import Rejected
from oracle.api.state import AppState, KeyDep, StateDep
from oracle.errors import InputInvalid, NotFound, TallystickError
from oracle.gateway.catalogue import AskableVersion
from oracle.gateway.sponsor import Question
from oracle.ipfs.port import MAX_BLOCK
from oracle.protocol import tensor
from oracle.protocol.manifest import Manifest, Tokenizer
from oracle.protocol.tensor import Array
from oracle.services import models
from oracle.services.amounts import decimal
from oracle.types import Amount

router = APIRouter(prefix="/v1", tags=["embeddings (OpenAI)"])
MAX_ROWS = 2048

Tokens = Annotated[list[StrictInt], Field(min_length=1)]
Row = str | tuple[int, ...]  # a sentence, or its token ids


class Embeddings(BaseModel):
    """Body of an embeddings request; what OpenAI knows and we cannot do is refused by name."""

    model_config = ConfigDict(extra="ignore")

    model: str = Field(min_length=1, max_length=80)
    input: str | list[str] | Tokens | list[Tokens]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1)] | None = None
    user: str | None = None


@router.get("/models")
async def list_models(state: StateDep) -> dict[str, Any]:
    """List all models that have a version in use."""
    return {"object": "list", "data": await state.blocking(lambda: _listed(state))}


@router.get("/models/{name}")
async def model(state: StateDep, name: str) -> dict[str, Any]:
    """Describe one model."""
    return await state.blocking(lambda: _entry(state, models.select(state.network, name).model_id))


@router.post("/embeddings")
async def embeddings(request: Request, state: StateDep, key: KeyDep, body: Embeddings) -> Response:
    """Embed up to 2,048 sentences or lists of token ids, in as many paid requests as they need."""
    watch = asking.Stopwatch()
    name, _, version = body.model.partition("@")
    listing = await asking.find(state, name, version)
    output, given = _embedding_of(listing.manifest, body), _given(body)
    rows, idempotency = list(dict.fromkeys(given)), asking.idempotency_of(request)
    size = _rows_that_fit(listing.manifest, len(rows))
    questions = await asyncio.gather(
        *(
            _question(state, listing, rows[start : start + size], _part(idempotency, start))
            for start in range(0, len(rows), size)
        )
    )
    watch.mark("prepare")
    served = await asking.ask_all(state, key, questions, watch)

    def write() -> bytes:
        vectors = np.concatenate([one.answer.outputs[output] for one in served]).astype("<f4")
        if body.dimensions is not None:
            vectors = _shortened(vectors, body.dimensions)
        tokens = [count for one in questions for count in one.prepared.tokens]
        place = {row: number for number, row in enumerate(rows)}
        used = sum(tokens[place[row]] for row in given) if tokens else 0
        encoded = [_encoded(vector, body.encoding_format) for vector in vectors]
        document = {
            "object": "list",
            "data": [
                {"object": "embedding", "index": number, "embedding": encoded[place[row]]}
                for number, row in enumerate(given)
            ],
            "model": body.model,
            "usage": {"prompt_tokens": used, "total_tokens": used},
            "tallystick": {"requests": ["0x" + one.answer.request_id.hex() for one in served]},
        }
        return json.dumps(document, separators=(",", ":")).encode()

    fees = sum(one.answer.request.terms.fee for one in served)
    headers = {**asking.headers(served[0]), "Tallystick-Fee": decimal(Amount(fees))}
    return Response(await state.blocking(write), headers=headers, media_type="application/json")


@router.post("/chat/completions", include_in_schema=False)
@router.post("/completions", include_in_schema=False)
@router.post("/responses", include_in_schema=False)
async def text() -> None:
    """Refuse: nobody has published a model that writes text."""
    raise Rejected(
        404, "model_not_found", "no model that writes text is published here; /v1/embeddings is"
    )


def _embedding_of(manifest: Manifest, body: Embeddings) -> str:
    """Return the name of the output that is an embedding: float rows of one width."""
    if isinstance(manifest.preprocess, Tokenizer):
        for spec in manifest.outputs:
            if spec.dtype in ("F32", "F64") and len(spec.shape) == 2:
                most = spec.shape[1]
                if body.dimensions is not None and most is not None and body.dimensions > most:
                    raise InputInvalid(
                        f"this model's embeddings have {most} dimensions, not {body.dimensions}",
                        hint=f"`dimensions` is 1 to {most}, or left out",
                    )
                return spec.name
    raise InputInvalid(f"the model {manifest.name} does not embed text", hint="GET /v1/models")


def _given(body: Embeddings) -> list[Row]:
    """Return the rows: all sentences, or all token ids."""
    given = body.input
    if isinstance(given, str):
        given = [given]
    elif given and isinstance(given[0], int):
        return [tuple(token for token in given if isinstance(token, int))]
    if not given or len(given) > MAX_ROWS:
        raise InputInvalid(f"input has {len(given)} rows, not 1 to {MAX_ROWS}")
    rows: list[Row] = [tuple(row) if isinstance(row, list) else str(row) for row in given]
    if not all(rows):
        raise InputInvalid("input holds an empty string")
    try:
        "".join(row for row in rows if isinstance(row, str)).encode()
    except UnicodeEncodeError as error:  # half of a surrogate pair, written \ud800 in JSON
        raise InputInvalid("input is no valid Unicode") from error
    return rows


async def _question(
    state: AppState, listing: AskableVersion, rows: list[Row], idempotency: str | None
) -> Question:
    texts = tuple(row for row in rows if isinstance(row, str))
    tokens = [row for row in rows if not isinstance(row, str)]
    arrays = _of_tokens(tokens, listing.manifest) if tokens else {}
    return await asking.question(
        state, listing, arrays=arrays, texts=texts, params={}, idempotency=idempotency
    )


def _part(idempotency: str | None, start: int) -> str | None:
    """Return the Idempotency-Key of the request for the rows from `start` on."""
    if idempotency is None or start == 0:
        return idempotency
    return hashlib.sha256(f"{idempotency}#{start}".encode()).hexdigest()


def _rows_that_fit(manifest: Manifest, rows: int) -> int:
    """Return how many rows one request may have: its answer and its input have bounds."""
    if (fixed := manifest.inputs[0].shape[0]) is not None:
        return fixed
    step = manifest.preprocess
    assert isinstance(step, Tokenizer)

    def too_many(count: int) -> bool:
        shapes = {
            spec.name: tuple(
                (count if axis == 0 else step.max_length) if size is None else size
                for axis, size in enumerate(spec.shape)
            )
            for spec in manifest.inputs
        }
        whole = {spec.name: (spec.dtype, shapes[spec.name]) for spec in manifest.inputs}
        like = {name: np.broadcast_to(np.int8(0), shape) for name, shape in shapes.items()}
        answer = manifest.output_size(like)
        return tensor.encoded_size(whole) > MAX_BLOCK or answer > manifest.max_output_bytes

    return max(1, bisect.bisect_left(range(1, rows + 1), True, key=too_many))


def _shortened(vectors: Array, dimensions: int) -> Array:
    """Return the first dimensions, of length 1 again (arXiv:2205.13147, section 3)."""
    cut = vectors[:, :dimensions]
    lengths = np.linalg.norm(cut, axis=1, keepdims=True)
    shortened: Array = (cut / np.where(lengths > 0, lengths, 1)).astype("<f4")
    return shortened


def _of_tokens(rows: list[tuple[int, ...]], manifest: Manifest) -> dict[str, Array]:
    step = manifest.preprocess
    assert isinstance(step, Tokenizer)
    longest = max(map(len, rows))
    if longest > step.max_length:
        raise InputInvalid(f"a row has {longest} tokens, the model takes {step.max_length}")
    if any(not 0 <= token < 2**31 for row in rows for token in row):
        raise InputInvalid("a token id is negative or too large")
    ids = np.zeros((len(rows), longest), np.int64)
    mask = np.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = row, 1
    made = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    return {spec.name: made[spec.name] for spec in manifest.inputs if spec.name in made}


def _encoded(row: Array, encoding: str) -> Any:
    return base64.b64encode(row.tobytes()).decode() if encoding == "base64" else row.tolist()


def _listed(state: AppState) -> list[dict[str, Any]]:
    entries = []
    for model_id in range(1, state.network.registry.model_count() + 1):
        try:
            entries.append(_entry(state, model_id))
        except TallystickError:  # nothing published, everything retired, or no manifest to be had
            continue
    return entries


def _entry(state: AppState, model_id: int) -> dict[str, Any]:
    listed = models.versions(state.network, model_id)
    usable = [version for version in listed if not version.retired]
    if not usable:
        raise NotFound(f"model {model_id} has no version in use")
    newest = usable[-1]
    return {
        "id": state.network.registry.name_of(model_id),
        "object": "model",
        "created": newest.timestamp,
        "owned_by": newest.publisher,
        "tallystick": {
            "model_id": model_id,
            "version": newest.version,
            "assurance": newest.assurance.name.lower(),
            "fee": newest.fee / 10**6,
        },
    }
