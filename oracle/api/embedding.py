"""OpenAI's embeddings: what a body asks, as a model's input, and outputs as its reply. Pure."""

import base64
import bisect
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StrictInt

from oracle.errors import InputInvalid
from oracle.ipfs.port import MAX_BLOCK
from oracle.protocol import tensor
from oracle.protocol.manifest import Manifest, Tokenizer
from oracle.protocol.tensor import Array

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


# ── Asked ───────────────────────────────────────────────────────────────────────────────────────
def output_of(manifest: Manifest, body: Embeddings) -> str:
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
    raise InputInvalid(
        f"the model {manifest.name} does not embed text",
        hint="ask a model that takes text; each model's page says what it takes",
    )


def rows_of(body: Embeddings) -> list[Row]:
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


def rows_that_fit(manifest: Manifest, rows: int) -> int:
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


def arrays_of(rows: Sequence[Row], manifest: Manifest) -> dict[str, Array]:
    """Return the inputs of rows that are token ids; rows of text have none yet."""
    given = [row for row in rows if not isinstance(row, str)]
    if not given:
        return {}
    step = manifest.preprocess
    assert isinstance(step, Tokenizer)
    longest = max(map(len, given))
    if longest > step.max_length:
        raise InputInvalid(f"a row has {longest} tokens, the model takes {step.max_length}")
    if any(not 0 <= token < 2**31 for row in given for token in row):
        raise InputInvalid("a token id is negative or too large")
    ids = np.zeros((len(given), longest), np.int64)
    mask = np.zeros_like(ids)
    for i, row in enumerate(given):
        ids[i, : len(row)], mask[i, : len(row)] = row, 1
    made = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    return {spec.name: made[spec.name] for spec in manifest.inputs if spec.name in made}


# ── Answered ────────────────────────────────────────────────────────────────────────────────────
def reply(
    body: Embeddings,
    rows: Sequence[Row],
    vectors: Array,
    tokens: Sequence[int],
    extra: Mapping[str, Any],
) -> bytes:
    """Return the reply as OpenAI's client reads it.

    Args:
        rows: of which `vectors` and `tokens` are, each once.
        vectors: one row each.
        tokens: how many each row has; () = not known.
        extra: what we say beside it, as `tallystick`.
    """
    vectors = vectors.astype("<f4")
    if body.dimensions is not None:
        vectors = _shortened(vectors, body.dimensions)
    place, given = {row: number for number, row in enumerate(rows)}, rows_of(body)
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
        "tallystick": extra,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _shortened(vectors: Array, dimensions: int) -> Array:
    """Return the first dimensions, of length 1 again (arXiv:2205.13147, section 3)."""
    cut = vectors[:, :dimensions]
    lengths = np.linalg.norm(cut, axis=1, keepdims=True)
    shortened: Array = (cut / np.where(lengths > 0, lengths, 1)).astype("<f4")
    return shortened


def _encoded(row: Array, encoding: str) -> Any:
    return base64.b64encode(row.tobytes()).decode() if encoding == "base64" else row.tolist()
