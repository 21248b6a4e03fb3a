"""A model in llama.cpp: its vocabulary, and steps over several texts at once.

```
 rows (token, position, text, wanted?) ─step─▶ logits of the wanted rows      one pass for all
```
Everything here may end the process: weights are hostile, and the library asserts. It is used in
`worker.text.child` alone.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oracle.errors import InputInvalid
from oracle.protocol.logprobs import MAX_PIECE
from oracle.protocol.tensor import Array
from worker.errors import DeviceFull, ModelFailed, WeightsInvalid
from worker.text.binding import Batch, library

BATCH = 512  # rows of a pass


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One token of a text at its place."""

    token: int
    position: int
    sequence: int  # the text that it belongs to
    wanted: bool = False  # the logits after it


class Llama:
    """A loaded model with room for some texts of `context` tokens each."""

    def __init__(self, path: Path, *, context: int, slots: int, threads: int) -> None:
        """Load a file.

        Raises:
            WeightsInvalid: the library refuses it. DeviceFull: no memory for its texts.
        """
        self._library = library()
        self._library.llama_log_set(_SILENT, None)
        params = self._library.llama_model_default_params()
        self._model = self._library.llama_model_load_from_file(str(path).encode(), params)
        if not self._model:
            raise WeightsInvalid(f"llama.cpp does not load {path.name}")
        self._vocabulary = self._library.llama_model_get_vocab(self._model)
        self.size = int(self._library.llama_vocab_n_tokens(self._vocabulary))
        self.longest = self._longest()
        self.trained = int(self._library.llama_model_n_ctx_train(self._model))
        wanted = self._library.llama_context_default_params()
        for name in ("n_batch", "n_ubatch", "n_outputs_max", "n_outputs_max_per_seq"):
            setattr(wanted, name, BATCH)
        for name, value in {
            "n_ctx": context * slots, "n_seq_max": slots, "n_threads": threads,
            "n_threads_batch": threads, "swa_full": False,
        }.items():  # fmt: skip
            setattr(wanted, name, value)
        self._context = self._library.llama_init_from_model(self._model, wanted)
        if not self._context:
            raise DeviceFull(f"no room for {slots} texts of {context} tokens")
        self._batch = self._library.llama_batch_init(BATCH, 0, 1)
        self._memory = self._library.llama_get_memory(self._context)

    def tokenize(self, text: str) -> list[int]:
        """Return the ids of a text, the model's beginning before it; special tokens are parsed."""
        data = text.encode()
        room = len(data) + 8
        ids = (ctypes.c_int32 * room)()
        count = self._library.llama_tokenize(
            self._vocabulary, data, len(data), ids, room, True, True
        )
        if count < 0:
            raise InputInvalid("the model's tokenizer does not take this text")
        return list(ids[:count])

    def template(self, name: str | None = None) -> str:
        """Return the template of chats, or another one that has a name; "" = there is none."""
        wanted = None if name is None else name.encode()
        found: bytes | None = self._library.llama_model_chat_template(self._model, wanted)
        return (found or b"").decode(errors="replace")

    def piece(self, token: int) -> bytes:
        """Return the bytes of a token; special ones have none.

        Raises:
            InputInvalid: the model knows no such token.
        """
        if not 0 <= token < self.size:
            raise InputInvalid(f"the model has no token {token}", hint=f"it has {self.size}")
        if self.ends(token):
            return b""
        buffer = ctypes.create_string_buffer(MAX_PIECE)
        count = self._library.llama_token_to_piece(
            self._vocabulary, token, buffer, MAX_PIECE, 0, False
        )
        return buffer.raw[: max(0, count)]

    def ends(self, token: int) -> bool:
        """Whether a token ends a text."""
        return bool(self._library.llama_vocab_is_eog(self._vocabulary, token))

    def step(self, rows: Sequence[BatchRow]) -> list[Array]:
        """Run one pass; return the logits of the wanted rows, in their order.

        They are views, which the next pass overwrites.

        Raises:
            ModelFailed: the pass failed.
        """
        buffers = (getattr(self._batch, name) for name, _ in Batch._fields_[1:])
        batch = Batch(len(rows), *buffers)
        for place, row in enumerate(rows):
            batch.token[place], batch.pos[place] = row.token, row.position
            batch.n_seq_id[place], batch.seq_id[place][0] = 1, row.sequence
            batch.logits[place] = row.wanted
        if code := self._library.llama_decode(self._context, batch):
            raise ModelFailed(f"llama.cpp's pass over {len(rows)} tokens failed with {code}")
        return [self._logits(place) for place, row in enumerate(rows) if row.wanted]

    def use_threads(self, count: int) -> None:
        """Compute with so many threads from now on."""
        self._library.llama_set_n_threads(self._context, count, count)

    def forget(self, sequence: int) -> None:
        """Free the room of a text."""
        self._library.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def _longest(self) -> int:
        """Return the bytes of the vocabulary's longest token, at least 1."""
        told, room = self._library.llama_token_to_piece, MAX_PIECE
        buffer = ctypes.create_string_buffer(room)
        sizes = (told(self._vocabulary, one, buffer, room, 0, True) for one in range(self.size))
        return max(
            1, *(abs(int(size)) for size in sizes)
        )  # below zero: what a larger buffer would have held

    def _logits(self, place: int) -> Array:
        pointer = self._library.llama_get_logits_ith(self._context, place)
        if not pointer:
            raise ModelFailed("llama.cpp gave no logits")
        return np.ctypeslib.as_array(pointer, (self.size,))


# Says nothing: what goes wrong is an error here
_SILENT = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)
