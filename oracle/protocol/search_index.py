"""What a search index is: passages, a vector of small integers for each, and one document.

```
 document  canonical JSON, one raw block: its SHA-256 is the index's digest, and its CID
 ├─ passages.jsonl       {"source": …, "text": …} for each line, in their order
 └─ vectors.safetensors  I16 [passages, width]: round(STEPS × embedding), cut at ±MOST
```
No graph, and nothing that was drawn: a graph for faster search is anyone's own affair. Likeness is
the product of two vectors of integers. float32 finds all that may be among the nearest, within the
bound of its rounding, and integers decide: every machine finds the same passages, and where two are
alike, the earlier one.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import TypeAdapter, ValidationError

from oracle.errors import InputInvalid
from oracle.protocol import canonical, tensor
from oracle.protocol.border import STRICT, HexBytes32
from oracle.protocol.files import FileEntry, check_files
from oracle.protocol.tensor import Array
from oracle.types import Bytes32

STEPS = 2**14  # in a length of 1: the nearest ten are those of float32, and nothing is cut
MOST = 2**15 - 1
MAX_WIDTH = 1024
MAX_PASSAGES = 4_000_000
MAX_DOCUMENT = 64 * 1024  # bytes
MAX_LINE = 64 * 1024  # bytes of a passage in its file
PASSAGES, VECTORS = "passages.jsonl", "vectors.safetensors"
_BLOCK = 4096  # vectors that are multiplied as integers at once
_LEAST_LINE = len(b'{"source":"","text":""}\n')


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of text, and where it was found."""

    source: str
    text: str


@dataclass(frozen=True, slots=True)
class FoundPassage:
    """A passage that is like a question; `number` counts from 0, `score` is near the cosine."""

    number: int
    score: float
    passage: Passage


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchIndex:
    """The document.

    Attributes:
        model_root: weights of the version that made the vectors; questions are put to these too.
        count: of passages, and of vectors.
        width: of a vector.
    """

    schema: Literal["tallystick/index/1"] = "tallystick/index/1"
    name: str
    model_root: HexBytes32
    count: int
    width: int
    passages: FileEntry
    vectors: FileEntry

    __pydantic_config__ = STRICT

    @classmethod
    def parse(cls, data: bytes) -> "SearchIndex":
        """Read a document from its canonical bytes.

        Raises:
            InputInvalid: not canonical, an unknown or missing field, a number out of range, a path
                that leaves its folder, or a file whose size is not that of so many passages.
        """
        if len(data) > MAX_DOCUMENT:
            raise InputInvalid(f"an index of {len(data)} bytes is above {MAX_DOCUMENT}")
        canonical.loads(data)
        try:
            found = TypeAdapter(cls).validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the document"
            raise InputInvalid(f"index: {where}: {first['msg']}") from error
        if not 1 <= found.count <= MAX_PASSAGES or not 1 <= found.width <= MAX_WIDTH:
            raise InputInvalid(f"index: {found.count} passages of width {found.width}")
        check_files((found.passages, found.vectors))
        found._check_sizes()
        return found

    def _check_sizes(self) -> None:
        """Refuse files that cannot hold so many passages: before anything is fetched or read."""
        size = tensor.encoded_size({"vectors": ("I16", (self.count, self.width))})
        if self.vectors.size != size:
            raise InputInvalid(
                f"index: {self.vectors.path} has {self.vectors.size} bytes, {self.count} vectors "
                f"of width {self.width} have {size}"
            )
        least, most = self.count * _LEAST_LINE, self.count * MAX_LINE
        if not least <= self.passages.size <= most:
            raise InputInvalid(
                f"index: {self.passages.path} has {self.passages.size} bytes, {self.count} "
                f"passages have {least} to {most}"
            )

    def to_bytes(self) -> bytes:
        """Return the canonical bytes.

        Raises:
            InputInvalid: a number is out of range.
        """
        data = canonical.dumps(TypeAdapter(SearchIndex).dump_python(self, mode="json"))
        SearchIndex.parse(data)
        return data

    @property
    def digest(self) -> Bytes32:
        """What names the index."""
        return canonical.sha256(self.to_bytes())


# ── Files ───────────────────────────────────────────────────────────────────────────────────────
def write_passages(passages: Sequence[Passage]) -> bytes:
    """Return passages as lines of JSON.

    Raises:
        InputInvalid: a passage is longer than a line may be, or no text.
    """
    lines = [canonical.dumps({"source": p.source, "text": p.text}) + b"\n" for p in passages]
    for number, line in enumerate(lines):
        if len(line) > MAX_LINE:
            raise InputInvalid(
                f"passage {number + 1} has {len(line)} bytes with its source, above {MAX_LINE}",
                hint="shorten its source, or cut it",
            )
    return b"".join(lines)


def read_passages(data: bytes, count: int) -> tuple[Passage, ...]:
    """Read so many lines of JSON.

    Raises:
        InputInvalid: there are more or fewer, or a line is no passage; its number is named.
    """
    if (lines := data.count(b"\n")) != count or not data.endswith(b"\n"):
        raise InputInvalid(f"{PASSAGES} has {lines} lines, the index names {count} passages")
    found = []
    for number, line in enumerate(data.split(b"\n")[:-1]):
        try:
            if len(line) >= MAX_LINE:
                raise ValueError("too long")
            body = json.loads(line)
            passage = Passage(body["source"] + "", body["text"] + "")
            (passage.source + passage.text).encode()  # half a surrogate is no text
            found.append(passage)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputInvalid(f"line {number + 1} of {PASSAGES} is no passage") from error
    return tuple(found)


def quantise(embeddings: Array) -> Array:
    """Return I16 [n, width] of embeddings of length 1, F32 [n, width].

    Raises:
        InputInvalid: another shape, too wide, or not finite.
    """
    if embeddings.ndim != 2 or embeddings.shape[1] > MAX_WIDTH or not len(embeddings):
        raise InputInvalid(
            f"embeddings of shape {list(embeddings.shape)}", hint=f"[n, 1 to {MAX_WIDTH}]"
        )
    if not np.isfinite(embeddings).all():
        raise InputInvalid("an embedding is not finite")
    return np.clip(np.rint(embeddings.astype(np.float64) * STEPS), -MOST, MOST).astype(np.int16)


def write_vectors(vectors: Array) -> bytes:
    """Return the canonical file of I16 [n, width]."""
    return tensor.encode({"vectors": vectors})


def read_vectors(data: bytes, index: SearchIndex) -> Array:
    """Return I16 [n, width] of a file.

    Raises:
        InputInvalid: not the vectors that the document names.
    """
    arrays = tensor.decode(data, len(data))
    found = arrays.get("vectors")
    if found is None or found.dtype != np.int16 or found.shape != (index.count, index.width):
        raise InputInvalid(f"the vectors are not I16 [{index.count}, {index.width}]")
    return found


# ── Search ──────────────────────────────────────────────────────────────────────────────────────
def nearest(vectors: Array, question: Array, top: int) -> list[tuple[int, float]]:
    """Return the numbers of the most alike vectors with their likeness, the most alike first.

    A sum of products in float32, in any order, is wrong by less than width × 2**-23 × the product
    of both lengths (N. Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).

    Args:
        vectors: whole numbers of −MOST … MOST as F32 [n, width].
        question: I16 [width].
        top: how many, at most.
    """
    near = vectors @ question.astype(np.float32)
    kept, width = min(top, len(near)), len(question)
    longest = MOST * width**0.5  # of a vector
    wrong = width * 2.0**-23 * longest * float(np.linalg.norm(question.astype(np.float64)))
    least = float(np.partition(near, len(near) - kept)[len(near) - kept]) - 2 * wrong
    candidates = np.flatnonzero(near >= least)
    whole = question.astype(np.int64)
    scores = np.concatenate([
        vectors[candidates[start : start + _BLOCK]].astype(np.int64) @ whole
        for start in range(0, len(candidates), _BLOCK)
    ])  # fmt: skip
    order = np.lexsort((candidates, -scores))[:kept]
    return [(int(candidates[n]), float(scores[n]) / STEPS**2) for n in order]
