"""The spread of a text model: of many texts, robust against one, and held to the rule itself."""

from dataclasses import replace

import numpy as np
import pytest

from oracle.protocol import text
from oracle.protocol.manifest import SPREADS
from oracle.protocol.text import TextQuestion
from tests.worker.text.conftest import PARAMS, asked
from worker.errors import ModelFailed
from worker.text import replay, tolerance
from worker.text.tolerance import HonestText

QUESTION = TextQuestion("The capital of France is")


@pytest.fixture(scope="module")
def honest(model):
    answer = text.decode_answer(model.run(asked(prompt=QUESTION.prompt), PARAMS))
    count, replayed = model.replay(QUESTION, answer.tokens, PARAMS, 0.0)
    return HonestText(QUESTION, answer, count, replayed)


def moved(one: HonestText, nat: float) -> HonestText:
    """Return a text whose replay is so far away on average."""
    steps = np.where(np.arange(text.TOP) % 2, 1, -1) * round(nat * text.UNIT)
    said = np.clip(one.answer.logprobs.astype(int) + steps, -(2**15), 0).astype(np.int16)
    return replace(one, answer=replace(one.answer, logprobs=said))


def test_bound__one_text_is_far_away__counts_no_more_than_its_own_acquittal(model, honest):
    calm = [honest] * 19
    usual = tolerance.bound(model, PARAMS, calm)
    far = moved(honest, 0.5)
    found = tolerance.bound(model, PARAMS, [*calm, far])
    assert usual <= found < far.distance / 2  # the largest would have been all of it
    assert far.distance <= SPREADS * found  # and it is not convicted


def test_bound__text_that_no_tolerance_acquits__refused_by_the_rules_name(model, honest):
    edited = replace(honest, answer=replace(honest.answer, content="No."))
    with pytest.raises(ModelFailed, match=replay.ReplayFault.TEXT.value):
        tolerance.bound(model, PARAMS, [honest, edited])


def test_measure__whole__writes_long_prompts_alone_and_together_on_one_thread_and_more(
    model, monkeypatch
):
    seen: list[HonestText] = []
    threads: list[int] = []
    bound, use = tolerance.bound, model.engine.use_threads
    monkeypatch.setattr(tolerance, "bound", lambda *a: (seen.extend(a[2]), bound(*a))[1])
    monkeypatch.setattr(model.engine, "use_threads", lambda n: (threads.append(n), use(n)))
    said: list[str] = []
    found = tolerance.measure(model, PARAMS, 2, say=said.append)
    assert said == [f"measuring text {n} of {len(seen)}" for n in range(1, len(seen) + 1)]
    assert threads == [1, 2, model.engine.threads]
    lengths = [one.prompt_tokens for one in seen]
    assert len(seen) == 2 * (2 + 1 + 2)  # short and long together, then two of them alone
    assert model.context / 2 < max(lengths) < model.context
    assert max(one.distance for one in seen) <= SPREADS * found
