"""How far honest texts are from their replay: what the tolerance of a version must cover.

```
 prompts: short, 256, 1,024 tokens ─▶ written together and alone, on one thread and on all
                                        └─replayed─▶ distances ─90 %─▶ spread
                does the committee's rule acquit each at four times that? ─┘ else more
```
Nine of ten are below the spread, so that one text that is far away does not make room for forgers.
It is not convicted either: the rule itself says so before the version is published.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from oracle.errors import InputInvalid
from oracle.protocol import text
from oracle.protocol.manifest import SPREADS
from oracle.protocol.text import TextAnswer, TextQuestion
from worker.errors import ModelFailed
from worker.text import replay
from worker.text.engine import LlamaEngine, Replayed

SHARE = 0.9  # of the texts are no farther away than the spread
MOST = 2.0  # nat; a spread that is larger tells no model from another
_TOKENS = 16  # that are written
_LENGTHS = (256, 1024)  # tokens of prompts, beside short ones
_PROMPTS = (
    "Once upon a time", "The capital of France is", "def add(a, b):", "Water boils at",
    "In 1969 people", "The best way to learn a language is", "1, 2, 3, 4,", "Dear Sir or Madam,",
)  # fmt: skip
_CHAT = TextQuestion(messages=({"role": "user", "content": "Hello"},))
SAMPLE = TextQuestion(_PROMPTS[0])


@dataclass(frozen=True, slots=True)
class HonestText:
    """A text that was written, and what its replay says of it."""

    question: TextQuestion
    answer: TextAnswer
    prompt_tokens: int
    replayed: Replayed

    @property
    def distance(self) -> float:
        """Mean difference of log-probabilities, in nat."""
        return replay.distance(self.answer.logprobs, self.replayed.logprobs)


def measure(
    runtime: Any,
    params: Mapping[str, float],
    rows: int,
    *,
    whole: bool = True,
    say: Callable[[str], object] = lambda _: None,
) -> float:
    """Return the spread of a text model, in nat.

    Args:
        runtime: `worker.runtimes.gguf.TextModel`.
        rows: short prompts.
        whole: with long prompts, and on other threads; else as operators look once more.
        say: is told which text is measured, as it takes minutes.

    Raises:
        ModelStuck: its template goes on for ever.
        ModelFailed: no tolerance acquits its honest texts.
    """
    with suppress(InputInvalid):  # not every model takes chats
        runtime.prompt(_CHAT)
    params = {**params, "max_tokens": _TOKENS}
    short = [_asked(prompt) for prompt in _PROMPTS[:rows]]
    questions = [*short, *_long(runtime)] if whole else short
    groups = [questions, *([one] for one in questions[-2:] if whole)]
    threads = _threads(runtime.engine) if whole else []
    total = (len(threads) or 1) * sum(map(len, groups))
    honest: list[HonestText] = []
    say(f"measuring text 1 of {total}")
    for _ in _use(runtime.engine, threads):
        for one in (one for group in groups for one in _write(runtime, group, params)):
            honest.append(one)
            if len(honest) < total:
                say(f"measuring text {len(honest) + 1} of {total}")
    return bound(runtime, params, honest)


def bound(runtime: Any, params: Mapping[str, float], honest: Sequence[HonestText]) -> float:
    """Return the spread of texts, of which `SPREADS` times acquits each.

    Raises:
        ModelFailed: none up to `MOST` does.
    """
    spread = float(np.quantile([one.distance for one in honest], SHARE, method="higher"))
    spread = max(spread, 1 / text.UNIT)
    while spread <= MOST:
        faults = [_fault(runtime, params, one, SPREADS * spread) for one in honest]
        accused = next((fault for fault in faults if fault is not None), None)
        if accused is None:
            return spread
        spread *= 1.25
    raise ModelFailed(f"an honest text is accused: {accused}", hint="the model is no text model")


def _fault(
    runtime: Any, params: Mapping[str, float], one: HonestText, tolerance: float
) -> replay.ReplayFault | None:
    terms = replay.AnswerTerms(one.question, params, one.prompt_tokens, runtime.context)
    found = replay.compare(terms, one.answer, one.replayed, tolerance)
    if found is not replay.ReplayFault.DRAW:
        return found
    # What was drawn from may begin and end higher or lower, by the tolerance
    _, replayed = _replay(runtime, one.question, one.answer, params, tolerance)
    return replay.compare(terms, one.answer, replayed, tolerance)


def _asked(prompt: str) -> TextQuestion:
    """Return a question that shows all that answers may: the rule judges that, too."""
    return TextQuestion(prompt, logprobs=text.TOP)


def _replay(
    runtime: Any, question: TextQuestion, answer: TextAnswer, params: Mapping[str, float],
    slack: float,
) -> tuple[int, Replayed]:  # fmt: skip
    found: tuple[int, Replayed] = runtime.replay(
        question, answer.tokens, params, slack, answer.shown
    )
    return found


def _write(
    runtime: Any, questions: Sequence[TextQuestion], params: Mapping[str, float]
) -> Iterator[HonestText]:
    given = [text.encode_question(question) for question in questions]
    outputs = runtime.run_all(given, [params] * len(given))
    for question, output in zip(questions, outputs, strict=True):
        if isinstance(output, Exception):
            raise output
        answer = text.decode_answer(output)
        count, replayed = _replay(runtime, question, answer, params, 0.0)
        yield HonestText(question, answer, count, replayed)


def _long(runtime: Any) -> Iterator[TextQuestion]:
    """Yield prompts of about so many tokens as `_LENGTHS` says, within the context."""
    lines = (f"{n}. {_PROMPTS[n % len(_PROMPTS)]}" for n in range(max(_LENGTHS)))
    whole = "\n".join(lines)
    for length in sorted({min(length, runtime.context - _TOKENS) for length in _LENGTHS}):
        prompt = whole[: 8 * length]
        while (tokens := len(runtime.engine.prompt(TextQuestion(prompt)))) > length:
            prompt = prompt[: len(prompt) * length // tokens]
        if prompt:
            yield _asked(prompt)


def _threads(engine: Any) -> list[int]:
    """Return threads as honest operators may have them; none where they cannot be set."""
    return sorted({1, max(2, engine.threads)}) if isinstance(engine, LlamaEngine) else []


def _use(engine: Any, threads: Sequence[int]) -> Iterator[None]:
    """Set threads, one way after the other."""
    if not threads:
        yield
        return
    try:
        for count in threads:
            engine.use_threads(count)
            yield
    finally:
        engine.use_threads(engine.threads)
