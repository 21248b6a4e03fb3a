"""Log-probabilities of an answer's tokens in OpenAI's shapes. Pure.

Shown are the tokens whose text is part of the answer: not the one that ends it without a text, nor
those of a stop string. Together they are the text, unless a stop string begins within a token.
Source: https://platform.openai.com/docs/api-reference/chat/object (`logprobs`), and
…/completions/object for the older form.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from oracle.protocol import text
from oracle.protocol.logprobs import LikelyToken, ShownStep
from oracle.protocol.text import TextAnswer


def of_chat(answer: TextAnswer, stops: Sequence[str]) -> dict[str, Any] | None:
    """Return `logprobs` of a message; None = its question does not ask for them."""
    if not answer.shown:
        return None
    return {"content": of_response(answer, stops), "refusal": None}


def of_response(answer: TextAnswer, stops: Sequence[str]) -> list[dict[str, Any]]:
    """Return `logprobs` of a response's text; empty = its question does not ask for them."""
    return [
        {**_entry(step.written), "top_logprobs": [_entry(one) for one in step.top]}
        for step in _of_the_text(answer, stops)
    ]


def of_completion(answer: TextAnswer, stops: Sequence[str]) -> dict[str, Any] | None:
    """Return `logprobs` of a completion; None = its question does not ask for them."""
    if not answer.shown:
        return None
    steps = _of_the_text(answer, stops)
    written = b"".join(step.written.piece for step in steps)
    ends = accumulate((len(step.written.piece) for step in steps), initial=0)
    return {
        "tokens": [_name(step.written.piece) for step in steps],
        "token_logprobs": [_nat(step.written) for step in steps],
        "top_logprobs": [
            {_name(one.piece): _nat(one) for one in (*step.top, step.written)} for step in steps
        ],
        "text_offset": [
            len(written[:at].decode("utf-8", "ignore")) for at, _ in zip(ends, steps, strict=False)
        ],
    }


def _of_the_text(answer: TextAnswer, stops: Sequence[str]) -> list[ShownStep]:
    pieces = [step.written.piece for step in answer.shown]
    whole = b"".join(pieces)
    cut = text.stopped_at(whole, stops)
    end = len(whole) if cut is None else cut
    starts = accumulate(map(len, pieces), initial=0)
    return [step for step, start in zip(answer.shown, starts, strict=False) if start < end]


def _entry(one: LikelyToken) -> dict[str, Any]:
    return {"token": _name(one.piece), "bytes": list(one.piece), "logprob": _nat(one)}


def _nat(one: LikelyToken) -> float:
    return one.logprob / text.UNIT


def _name(piece: bytes) -> str:
    """Return a token as text; of one that is no whole character OpenAI writes the bytes."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)
