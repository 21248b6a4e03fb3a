"""Real weights: several texts at once, honest answers pass the replay, and others do not."""

import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from oracle.errors import InputInvalid
from oracle.protocol import text
from oracle.protocol.text import QuestionInvalid, TextQuestion
from tests.support.parrot import Parrot
from tests.worker.text.conftest import CONTEXT, LOOPS, PARAMS, asked, with_template
from worker.errors import EngineDied, ModelStuck, WeightsInvalid
from worker.runtimes.gguf import TextModel, WritingStopped
from worker.text import binding, child, replay
from worker.text.binding import EngineMissing
from worker.text.engine import EngineLimits, LlamaEngine, PromptTooLong, environ
from worker.text.replay import GAP, MEAN_GAP, AnswerTerms, ReplayFault

TOLERANCE = 0.5


def judge(model, body, params, answer):
    question = TextQuestion.parse(body)
    count, said = model.replay(question, answer.tokens, params, TOLERANCE, answer.shown)
    terms = AnswerTerms(question, params, count, model.context)
    return replay.compare(terms, answer, said, TOLERANCE)


USER = {"role": "user", "content": "Hello"}
BODY = {"prompt": "The capital of France is"}
SHOWN = {**BODY, "logprobs": 3}


@pytest.fixture(scope="module")
def answer(model):
    return text.decode_answer(model.run(asked(**BODY), PARAMS))


@pytest.fixture(scope="module")
def shown_answer(model):
    return text.decode_answer(model.run(asked(**SHOWN), PARAMS))


def test_write__several_at_once__each_as_its_own_parameters_say(model):
    bodies = [BODY, {"prompt": "Once upon a time"}, {"prompt": "def add(a, b):"}, BODY]
    params = [{**PARAMS, "max_tokens": n + 3, "seed": n} for n in range(4)]
    found = model.run_all([asked(**body) for body in bodies], params)
    for body, said, outputs in zip(bodies, params, found, strict=True):
        one = text.decode_answer(outputs)
        assert len(one.tokens) <= said["max_tokens"]
        assert judge(model, body, said, one) is None


def test_write__pieces_that_were_heard__are_the_content(model):
    heard: list[str] = []
    body = {"prompt": "Rare characters: 🦄🧿𝄞 𐍈 𓀀 𓀁 𓀂 𓀃", "stop": ["\n"]}
    params = {**PARAMS, "temperature": 0, "max_tokens": 24}
    one = text.decode_answer(model.write(asked(**body), params, heard.append))
    assert "".join(heard) == one.content
    assert judge(model, body, params, one) is None


def test_write__stop_string__ends_the_text_before_it(model, answer):
    word = answer.content.split()[1]
    stopped = text.decode_answer(model.run(asked(**BODY, stop=[word]), PARAMS))
    assert stopped.finish_reason == "stop"
    assert word not in stopped.content
    assert len(stopped.tokens) < len(answer.tokens)
    assert judge(model, {**BODY, "stop": [word]}, PARAMS, stopped) is None


@pytest.mark.parametrize("heat", [0, 0.8])
def test_write__logprobs_are_asked_for__each_token_is_named_with_the_likeliest(model, heat):
    params = {**PARAMS, "temperature": heat}
    one = text.decode_answer(model.run(asked(**SHOWN), params))
    assert tuple(step.written.token for step in one.shown) == one.tokens
    assert b"".join(step.written.piece for step in one.shown).decode() == one.content
    for step, row in zip(one.shown, one.logprobs, strict=True):
        assert [likely.logprob for likely in step.top] == row[:3].tolist()
        assert heat or step.top[0] == step.written
    assert judge(model, SHOWN, params, one) is None


def test_write__chat__is_rendered_by_the_models_template(model):
    body = {"messages": [USER]}
    one = text.decode_answer(model.run(asked(**body), PARAMS))
    assert one.prompt_tokens > len(model.prompt(TextQuestion("Hello")))
    assert judge(model, body, PARAMS, one) is None


def test_prompt__template_asks_for_the_day__is_the_same_on_any_day(weights, tmp_path):
    asks = b"{{ strftime_now('%d %b %Y %H:%M:%S') }}|{{ date_string }}|{{ datetime }}"
    path = with_template(weights, tmp_path, asks)
    with closing(LlamaEngine(path, context=64, slots=1, threads=1)) as engine:
        said = engine._process.chat(TextQuestion.parse({"messages": [USER]}))
    assert said.strip() == "|".join([child.TODAY] * 3)


def test_prompt__tools_that_are_not_to_be_called__are_not_offered(weights, tmp_path):
    offers = b"{% if tools %}{{ tools | tojson }}{% endif %}|{{ messages[0]['content'] }}"
    path = with_template(weights, tmp_path, offers)
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
    with closing(LlamaEngine(path, context=512, slots=1, threads=1)) as engine:
        auto, none, without = (
            engine.prompt(TextQuestion.parse({"messages": [USER], **body}))
            for body in ({"tools": tools}, {"tools": tools, "tool_choice": "none"}, {})
        )
    assert auto != none == without


def test_prompt__template_that_is_none__refused_and_waited_for_by_nobody(weights, tmp_path):
    path = with_template(weights, tmp_path, b"{% for")
    with closing(LlamaEngine(path, context=64, slots=1, threads=1)) as engine:
        with pytest.raises(InputInvalid):
            engine.prompt(TextQuestion.parse({"messages": [USER]}))
        assert engine.prompt(TextQuestion.parse(BODY))


def test_write__nobody_waits__stops_and_the_slot_is_free(model):
    with pytest.raises(WritingStopped):
        model.write(asked(**BODY), {**PARAMS, "max_tokens": 100}, stopped=lambda: True)
    assert text.decode_answer(model.run(asked(**BODY), PARAMS)).tokens


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": "word " * CONTEXT},
        {"messages": [{"role": "user", "content": f"turn {n}"} for n in range(1000)]},
    ],
    ids=["long_prompt", "thousand_turns"],
)
def test_write__prompt_above_the_context__refused_and_never_cut(model, body):
    with pytest.raises(PromptTooLong, match=str(CONTEXT)):
        model.run(asked(**body), PARAMS)


def test_prompt__more_bytes_than_any_tokens_of_the_context_have__is_not_tokenized(model):
    longest = max(len(model.engine.piece(token)[0]) for token in range(200, 300))
    with pytest.raises(PromptTooLong, match="bytes") as caught:
        model.prompt(TextQuestion("x" * 2**20))  # tokenizing it takes minutes
    most = int(str(caught.value).split()[-4])
    assert CONTEXT * longest <= most < 2**20
    with pytest.raises(PromptTooLong, match=f"{CONTEXT}$"):
        model.prompt(TextQuestion("a b " * (most // 4)))  # so many bytes might fit


def test_write__more_is_to_be_shown_than_an_answer_holds__refused_before_it_is_written():
    parrot = Parrot()
    with (
        closing(TextModel(parrot, CONTEXT, 1, 1, room=2_000)) as model,
        pytest.raises(QuestionInvalid, match="log-probabilities of 7 tokens, not of 64"),
    ):
        model.run(asked(**BODY, logprobs=8), {**PARAMS, "max_tokens": 64})
    assert not parrot.begun


def test_write__context_ends_first__says_length(model):
    body = {"prompt": "one two three four five six seven eight nine ten " * 11}
    room = CONTEXT - len(model.prompt(TextQuestion.parse(body)))
    assert 0 < room < 100
    params = {**PARAMS, "max_tokens": 1000, "temperature": 0}
    one = text.decode_answer(model.run(asked(**body), params))
    assert (len(one.tokens), one.finish_reason) == (room, "length")
    assert judge(model, body, params, one) is None


# ── What is no honest answer ────────────────────────────────────────────────────────────────────
def test_compare__text_was_edited__named(model, answer):
    edited = replace(answer, content=answer.content + "!")
    assert judge(model, BODY, PARAMS, edited) is ReplayFault.TEXT


def test_compare__cut_short__named(model, answer):
    short = replace(answer, tokens=answer.tokens[:-2], logprobs=answer.logprobs[:-2])
    assert judge(model, BODY, PARAMS, short) is ReplayFault.CUT_SHORT


def test_compare__longer_than_asked__named(model, answer):
    asked_for = {**PARAMS, "max_tokens": 4}
    assert judge(model, BODY, asked_for, answer) is ReplayFault.TOO_LONG


def test_compare__another_prompt__named(model, answer):
    other = {"prompt": "The capital of Spain is a city that"}
    assert judge(model, other, PARAMS, answer) is ReplayFault.PROMPT_TOKENS
    same_length = {"prompt": "The price of bread was"}
    assert len(model.prompt(TextQuestion.parse(same_length))) == answer.prompt_tokens
    assert judge(model, same_length, PARAMS, answer) in (ReplayFault.LOGPROBS, ReplayFault.DRAW)


def other_piece(step):
    return replace(step, written=replace(step.written, piece=b"no"))


def other_logprob(step):
    return replace(step, written=replace(step.written, logprob=step.written.logprob - 2048))


def other_likeliest(step):
    others = [replace(one, token=one.token + 1) for one in step.top]
    return replace(step, top=tuple(others))


@pytest.mark.parametrize("forge", [other_piece, other_logprob, other_likeliest])
def test_compare__shown_tokens_are_forged__named(model, shown_answer, forge):
    forged = replace(shown_answer, shown=tuple(map(forge, shown_answer.shown)))
    assert judge(model, SHOWN, PARAMS, forged) is ReplayFault.SHOWN


def test_compare__other_tokens_shown_than_asked_for__named(model, answer, shown_answer):
    assert judge(model, SHOWN, PARAMS, answer) is ReplayFault.SHOWN
    assert judge(model, BODY, PARAMS, shown_answer) is ReplayFault.SHOWN
    assert judge(model, {**SHOWN, "logprobs": 2}, PARAMS, shown_answer) is ReplayFault.SHOWN


def test_compare__another_seed__named(model, answer):
    assert judge(model, BODY, {**PARAMS, "seed": 9}, answer) is ReplayFault.DRAW


def test_compare__logprobs_of_other_weights__named(model, answer):
    shifted = np.clip(answer.logprobs - 1024, text.LEAST, 0).astype(np.int16)
    found = judge(model, BODY, PARAMS, replace(answer, logprobs=shifted))
    assert found is ReplayFault.LOGPROBS


def test_compare__model_that_says_no_number__named(model, answer):
    question = TextQuestion.parse(BODY)
    count, said = model.replay(question, answer.tokens, PARAMS, TOLERANCE)
    terms = AnswerTerms(question, PARAMS, count, model.context)
    for gaps in ((np.nan, *said.gaps[1:]), (*said.gaps[:-1], np.nan)):
        found = replay.compare(terms, answer, replace(said, gaps=gaps), TOLERANCE)
        assert found is ReplayFault.DRAW


@pytest.mark.parametrize(
    ("gaps", "found"),
    [
        ((GAP,), None),  # one token of a short text that was all but drawn
        ((GAP / 2, GAP / 2), None),
        ((GAP, 0.01), ReplayFault.DRAW),
        ((GAP + 0.01,), ReplayFault.DRAW),
    ],
)
def test_compare__short_text__one_token_may_be_as_far_as_in_a_long_one(model, answer, gaps, found):
    question = TextQuestion.parse(BODY)
    count, said = model.replay(question, answer.tokens, PARAMS, TOLERANCE)
    assert MEAN_GAP * len(answer.tokens) < GAP
    far = [TOLERANCE * gap for gap in gaps] + [0.0] * (len(answer.tokens) - len(gaps))

    terms = AnswerTerms(question, PARAMS, count, model.context)
    assert replay.compare(terms, answer, replace(said, gaps=tuple(far)), TOLERANCE) is found


def test_compare__a_token_exchanged_with_its_text__named(model, answer):
    other = (answer.tokens[2] + 7) % 1000 + 1000
    tokens = (*answer.tokens[:2], other, *answer.tokens[3:])
    _, said = model.replay(TextQuestion.parse(BODY), tokens, PARAMS, TOLERANCE)
    content = b"".join(said.pieces).decode("utf-8", "replace")
    edited = replace(answer, tokens=tokens, content=content)
    assert judge(model, BODY, PARAMS, edited) in (ReplayFault.LOGPROBS, ReplayFault.DRAW)


def test_replay__token_that_the_model_does_not_know__refused(model):
    with pytest.raises(InputInvalid, match="no token"):
        model.replay(TextQuestion.parse(BODY), (2**30,), PARAMS, TOLERANCE)


# ── An engine that dies ─────────────────────────────────────────────────────────────────────────
def test_generate__engine_dies_in_the_middle__typed_and_heals(model):
    engine = model.engine
    prompt = model.prompt(TextQuestion.parse(BODY))
    with closing(engine.generate(prompt, [], {**PARAMS, "max_tokens": 100})) as steps:
        next(steps)
        engine._process._process.kill()
        with pytest.raises(EngineDied):
            list(steps)
    assert len(list(engine.generate(prompt, [], {**PARAMS, "max_tokens": 2}))) == 2


def test_generate__two_threads__both_are_answered(model):
    prompt = model.prompt(TextQuestion.parse(BODY))
    counts: list[int] = []

    def write() -> None:
        counts.append(len(list(model.engine.generate(prompt, [], {**PARAMS, "max_tokens": 3}))))

    threads = [threading.Thread(target=write) for _ in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert counts == [3, 3]


def test_engine__process_that_says_anything__is_a_dead_one(weights, monkeypatch):
    monkeypatch.setattr(child, "__name__", "tests.support.babbler")
    engine = LlamaEngine(weights, context=64, slots=1, threads=1)
    with closing(engine), pytest.raises(EngineDied):
        engine.prompt(TextQuestion("x"))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="Linux counts its threads there")
def test_child__before_it_is_confined__has_one_thread():
    said = f"import os; from {child.__name__} import library; library()"
    counted = subprocess.run(
        [sys.executable, "-c", f"{said}; print(len(os.listdir('/proc/self/task')))"],
        env=environ(), capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert counted.stdout.split() == ["1"]


# ── An engine that does not go on ───────────────────────────────────────────────────────────────
def test_prompt__template_that_loops__ended_in_time_and_the_next_is_answered(weights, tmp_path):
    path = with_template(weights, tmp_path, LOOPS)
    limits = EngineLimits(chat=1.0)
    with closing(LlamaEngine(path, context=64, slots=1, threads=1, limits=limits)) as engine:
        chat = TextQuestion.parse({"messages": [USER]})
        fine = engine.prompt(chat)
        with pytest.raises(ModelStuck, match="template"):
            engine.prompt(TextQuestion.parse({"messages": [{**USER, "content": "loop"}]}))
        assert engine.prompt(chat) == fine


def test_engine__weights_that_are_not_loaded_in_time__refused_and_the_process_ended(weights):
    before = set(psutil.Process().children())
    limits = EngineLimits(load=1e-3, read=1e15)
    with pytest.raises(ModelStuck, match="not loaded"):
        LlamaEngine(weights, context=64, slots=1, threads=1, limits=limits)
    assert set(psutil.Process().children()) <= before


def test_generate__no_sign_of_life__ended(weights):
    limits = EngineLimits(silent=1e-3)  # no pass is so fast
    with closing(LlamaEngine(weights, context=64, slots=1, threads=1, limits=limits)) as engine:
        with pytest.raises(ModelStuck, match="said nothing"):
            list(engine.generate([2, 3], [], {**PARAMS, "max_tokens": 60}))
        assert engine._process._process.wait(60) < 0


def test_engine__file_that_is_no_model__refused(tmp_path):
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF" + bytes(64))
    with pytest.raises(WeightsInvalid):
        LlamaEngine(path, context=64, slots=1, threads=1)


def test_require__package_missing__named(monkeypatch):
    monkeypatch.setattr(binding, "PACKAGE", "no_such_package")
    with pytest.raises(EngineMissing, match="no_such_package"):
        binding.require()
