"""Log-probabilities with the names of their tokens: what an answer shows where its question asks.

```
 {"logprobs": [-120, …]            of each written token, in 1/1024 nat
  "top": [[5, 107], …]             ids of the likeliest; their values are the answer's `logprobs`
  "pieces": {"5": " the", …}}      what each id is; a list of bytes where it is no whole character
```
Naming tokens takes the model's vocabulary, which the operator has and whoever asks has not; a
replay checks the names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from oracle.protocol.tensor import Array

_FIELDS = {"logprobs", "top", "pieces"}
_WRITTEN, _NAMED = 35, 26  # bytes of an answer that a token takes, and each name that it is shown
MAX_PIECE = 1024  # bytes of a token


@dataclass(frozen=True, slots=True)
class LikelyToken:
    """A token that might come next."""

    token: int
    piece: bytes
    logprob: int  # 1/1024 nat


@dataclass(frozen=True, slots=True)
class ShownStep:
    """A token that was written, and the likeliest at its place, sorted."""

    written: LikelyToken
    top: tuple[LikelyToken, ...]

    @property
    def all(self) -> tuple[LikelyToken, ...]:
        """Return the written one and the likeliest."""
        return (self.written, *self.top)


def encode(steps: Sequence[ShownStep]) -> dict[str, Any]:
    """Return what stands in an answer."""
    named = {str(one.token): one.piece for step in steps for one in step.all}
    return {
        "logprobs": [step.written.logprob for step in steps],
        "top": [[one.token for one in step.top] for step in steps],
        "pieces": {token: _told(piece) for token, piece in named.items()},
    }


def decode(body: Any, tokens: Sequence[int], rows: Array) -> tuple[ShownStep, ...]:
    """Read what stands in an answer.

    Args:
        tokens: ids that were written.
        rows: int16 [len(tokens), 8], the largest log-probabilities of each step.

    Raises:
        LookupError, TypeError, ValueError: malformed, or not of these tokens.
    """
    if not isinstance(body, dict) or set(body) != _FIELDS:
        raise ValueError(f"it has not the fields {', '.join(sorted(_FIELDS))}")
    least, wide = -(2**15), rows.shape[1]
    for ids, logprob in zip(body["top"], body["logprobs"], strict=True):
        if type(logprob) is not int or not least <= logprob <= 0:
            raise ValueError(f"{logprob!r:.40} is no log-probability")
        if len(set(ids)) != len(ids) or len(ids) > wide or any(type(one) is not int for one in ids):
            raise ValueError(f"{ids!r:.80} are not ids of tokens")
    used = {str(token) for token in chain(tokens, *body["top"])}
    if not isinstance(body["pieces"], dict) or set(body["pieces"]) != used:
        raise ValueError("other tokens are named than are shown")
    pieces = {int(token): _piece(told) for token, told in body["pieces"].items()}
    return tuple(
        ShownStep(
            LikelyToken(token, pieces[token], logprob),
            tuple(
                LikelyToken(one, pieces[one], int(value))
                for one, value in zip(ids, row, strict=False)
            ),
        )
        for token, logprob, ids, row in zip(
            tokens, body["logprobs"], body["top"], rows, strict=True
        )
    )


def size(tokens: int, top: int) -> int:
    """Return about how many bytes an answer has that shows so many likeliest of each token."""
    return tokens * (_WRITTEN + (top + 1) * _NAMED)


def _told(piece: bytes) -> str | list[int]:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return list(piece)


def _piece(told: Any) -> bytes:
    if not isinstance(told, str | list):  # of a number, `bytes` makes as many zeros
        raise TypeError(f"{told!r:.40} is no piece of a text")
    piece = told.encode() if isinstance(told, str) else bytes(told)
    if len(piece) > MAX_PIECE:  # named once, it stands wherever its token does
        raise ValueError(f"a piece has {len(piece)} bytes, at most {MAX_PIECE}")
    return piece
