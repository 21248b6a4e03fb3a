"""Holds an answer to its model: nobody writes again, one pass over prompt and tokens says enough.

```
 question ─▶ prompt ─┐
 tokens ─────────────┴─one pass─▶ log-probabilities   near those that were committed?
                                  each token          the one that the seed draws?
                                  pieces              the answer's text, its end, its counts?
```
Says MISMATCH for a reason that has a name. What an honest answer may differ by is the version's
tolerance; how far others are away from it stands in docs/text.md.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from oracle.protocol import text
from oracle.protocol.tensor import Array
from oracle.protocol.text import UNIT, TextAnswer, TextQuestion
from worker.text.engine import Replayed

GAP = 3.0  # tolerances that one token may be away from the one that is drawn,
MEAN_GAP = 0.125  # and all of them on average: over 24 at least, as one alone may be so far away
SHOWN_GAP = 2.0  # tolerances that log-probabilities which an answer shows may be away, on average


class ReplayFault(StrEnum):
    """What is wrong with an answer."""

    PROMPT_TOKENS = "the prompt has another number of tokens"
    TOO_LONG = "more tokens than were asked for, or than the context holds"
    WENT_ON = "it goes on after its end"
    CUT_SHORT = "it ends before its end"
    TEXT = "the text is not that of the tokens"
    LOGPROBS = "the log-probabilities are not this model's"
    SHOWN = "the tokens that it shows are not this model's, or not as many as were asked for"
    DRAW = "a token that the model with this seed does not draw"


@dataclass(frozen=True, slots=True)
class AnswerTerms:
    """What an answer is held against beside its model."""

    question: TextQuestion
    params: Mapping[str, float]
    prompt_tokens: int
    context: int

    @property
    def most(self) -> int:
        """Tokens that the answer may have."""
        return min(int(self.params["max_tokens"]), self.context - self.prompt_tokens)


def compare(
    asked: AnswerTerms, answer: TextAnswer, replayed: Replayed, tolerance: float
) -> ReplayFault | None:
    """Return what is wrong with an answer; None = it is this model's.

    Args:
        tolerance: nat, of the mean difference of log-probabilities.
    """
    return next(_faults(asked, answer, replayed, tolerance), None)


def _faults(
    asked: AnswerTerms, answer: TextAnswer, replayed: Replayed, tolerance: float
) -> Iterator[ReplayFault]:
    count, stop = len(answer.tokens), asked.question.stop
    if answer.prompt_tokens != asked.prompt_tokens:
        yield ReplayFault.PROMPT_TOKENS
    if count > asked.most:
        yield ReplayFault.TOO_LONG
    before = b"".join(replayed.pieces[:-1])
    if any(replayed.ends[:-1]) or text.stopped_at(before, stop) is not None:
        yield ReplayFault.WENT_ON
    ended = replayed.ends[-1]
    stopped = text.stopped_at(before + replayed.pieces[-1], stop) is not None
    if count < asked.most and not ended and not stopped:
        yield ReplayFault.CUT_SHORT
    told = text.finish(replayed.pieces, asked.question, ended=ended)
    if told != (answer.content, answer.finish_reason, answer.tool_calls):
        yield ReplayFault.TEXT
    if distance(answer.logprobs, replayed.logprobs) > tolerance:
        yield ReplayFault.LOGPROBS
    if not _shown(asked, answer, replayed, tolerance):
        yield ReplayFault.SHOWN
    gaps, most = replayed.gaps, max(GAP, MEAN_GAP * count) * tolerance
    if not (max(gaps) <= GAP * tolerance and sum(gaps) <= most):  # what is NaN is not near
        yield ReplayFault.DRAW


def _shown(asked: AnswerTerms, answer: TextAnswer, replayed: Replayed, tolerance: float) -> bool:
    """Whether the names of tokens are the model's, and about as likely as it says.

    One value a token has more chance than eight, so those that were written, and the likeliest, may
    each be `SHOWN_GAP` tolerances away on average.
    """
    wanted, shown = asked.question.logprobs, answer.shown
    if wanted is None or not shown:
        return (wanted is None) == (not shown)
    theirs, ours = [step.all for step in shown], replayed.named
    if any(len(step.top) != wanted for step in shown) or len(theirs) != len(ours):
        return False
    pairs = [list(zip(a, b, strict=True)) for a, b in zip(theirs, ours, strict=True)]
    apart = np.array([[abs(a.logprob - b.logprob) for a, b in step] for step in pairs]) / UNIT
    named = all(a.piece == b.piece for step in pairs for a, b in step)
    return named and bool(
        apart[:, 0].mean() <= SHOWN_GAP * tolerance
        and apart[:, 1:].sum() <= SHOWN_GAP * tolerance * max(1, apart[:, 1:].size)
    )


def distance(committed: Array, replayed: Array) -> float:
    """Return the mean difference of log-probabilities, in nat."""
    apart = np.abs(committed.astype(np.int32) - replayed.astype(np.int32))
    return float(apart.mean()) / UNIT
