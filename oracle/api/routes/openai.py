"""OpenAI's embeddings API, so that its client works unchanged; models of sentences only.

No model that writes text is published, so chat and completions are answered with a clear refusal.
"""

import base64
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StrictInt

from oracle.api import asking
from oracle.api.problems import Rejected
from oracle.api.state import AppState, KeyDep, StateDep
from oracle.errors import InputInvalid, NotFound, TallystickError
from oracle.protocol.manifest import Manifest, Tokenizer
from oracle.protocol.tensor import Array
from oracle.services import models

router = APIRouter(prefix="/v1", tags=["embeddings (OpenAI)"])
MAX_ROWS = 2048

Tokens = Annotated[list[StrictInt], Field(min_length=1)]


class Embeddings(BaseModel):
    """Body of an embeddings request; what OpenAI knows and we cannot do is refused by name."""

    model_config = ConfigDict(extra="ignore")

    model: str = Field(min_length=1, max_length=80)
    input: str | list[str] | Tokens | list[Tokens]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
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
    """Embed sentences or lists of token ids; one paid request for all of them."""
    watch = asking.Stopwatch()
    name, _, version = body.model.partition("@")
    listing = await asking.find(state, name, version)
    output = _embedding_of(listing.manifest, body)
    arrays, texts = _given(body, listing.manifest)
    question = await asking.question(
        state,
        listing,
        arrays=arrays,
        texts=texts,
        params={},
        idempotency=asking.idempotency_of(request),
    )
    watch.mark("prepare")
    served = await asking.ask(state, key, question, watch)
    rows = served.answer.outputs[output].astype("<f4")
    used = sum(question.prepared.tokens)
    document = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": i, "embedding": _encoded(row, body.encoding_format)}
            for i, row in enumerate(rows)
        ],
        "model": body.model,
        "usage": {"prompt_tokens": used, "total_tokens": used},
    }
    return JSONResponse(document, headers=asking.headers(served))


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
                if body.dimensions is not None and body.dimensions != spec.shape[1]:
                    raise InputInvalid(
                        f"this model's embeddings have {spec.shape[1]} dimensions",
                        hint="leave `dimensions` out",
                    )
                return spec.name
    raise InputInvalid(f"the model {manifest.name} does not embed text", hint="GET /v1/models")


def _given(body: Embeddings, manifest: Manifest) -> tuple[dict[str, Array], tuple[str, ...]]:
    given = body.input
    if isinstance(given, str):
        return {}, _checked([given])
    if not given or len(given) > MAX_ROWS:
        raise InputInvalid(f"input has {len(given)} rows, not 1 to {MAX_ROWS}")
    if isinstance(given[0], str):
        return {}, _checked([item for item in given if isinstance(item, str)])
    rows = [given] if isinstance(given[0], int) else given
    return _of_tokens([list(row) for row in rows], manifest), ()


def _checked(texts: list[str]) -> tuple[str, ...]:
    if not all(texts):
        raise InputInvalid("input holds an empty string")
    try:
        "".join(texts).encode()
    except UnicodeEncodeError as error:  # half of a surrogate pair, written \ud800 in JSON
        raise InputInvalid("input is no valid Unicode") from error
    return tuple(texts)


def _of_tokens(rows: list[list[int]], manifest: Manifest) -> dict[str, Array]:
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
