"""An engine by URL: llama.cpp's own server writes, our draw is repeated by the replay."""

import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest

from oracle.errors import ConfigInvalid
from oracle.protocol import text
from oracle.protocol.text import TextQuestion
from tests.worker.text.conftest import CONTEXT, PARAMS, asked
from worker.errors import EngineDied, EngineUnfit
from worker.runtimes.gguf import TextModel
from worker.text import by_url, replay
from worker.text.by_url import UrlEngine
from worker.text.engine import environ
from worker.text.replay import AnswerTerms, ReplayFault

TOLERANCE = 0.5
BODY = {"prompt": "The capital of France is", "logprobs": 3}
SERVE = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.cpuparams.n_threads = sys.argv[1], 1
told = {"n_ctx": 256, "n_parallel": 1, "warmup": False, "ui": False, "cache_ram_mib": 0,
        "hostnames": ["127.0.0.1"], "port": 0}
for name, value in told.items():
    setattr(params, name, value)
server = xllamacpp.Server(params)
print("serves at", server.listening_address, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def server(weights):
    started = subprocess.Popen(
        [sys.executable, "-c", SERVE, weights], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, env=environ(),
    )  # fmt: skip
    try:
        url = next(line.split()[-1] for line in started.stdout if line.startswith("serves at"))
        yield started, url
    finally:
        started.kill()
        started.wait()
        started.stdin.close()
        started.stdout.close()


@pytest.mark.real
def test_write__by_llama_cpps_server__is_convictable_at_any_temperature_and_its_death_typed(
    server, model
):
    process, url = server
    made = TextModel(UrlEngine(url, "gemma", model.engine), CONTEXT, 3, 1)
    question = TextQuestion.parse(BODY)

    def judged(answer, params):
        count, said = made.replay(question, answer.tokens, params, TOLERANCE, answer.shown)
        terms = AnswerTerms(question, params, count, CONTEXT)
        return replay.compare(terms, answer, said, TOLERANCE)

    for heat in (0, 0.8):
        params = {**PARAMS, "temperature": heat, "max_tokens": 20}
        answer = text.decode_answer(made.run(asked(**BODY), params))
        assert len(answer.tokens) == len(answer.shown) == 20
        assert judged(answer, params) is None
    assert judged(answer, {**params, "seed": 9}) is ReplayFault.DRAW
    greedy = {**params, "temperature": 0}
    stopped = text.decode_answer(made.run(asked(**BODY, stop=[" capital"]), greedy))
    assert (stopped.finish_reason, stopped.content) == ("stop", " the")
    with pytest.raises(EngineUnfit, match="top_k"):
        made.run(asked(**BODY), {**params, "top_k": 0})
    with closing(made.engine.generate(made.prompt(question), [], params)) as steps:
        next(steps)
        process.kill()
        process.wait()
        with pytest.raises(EngineDied):
            list(steps)


@pytest.mark.parametrize("url", ["", "file:///etc", "127.0.0.1:8000", "http://user:word@host"])
def test_url_engine__no_url_of_a_server__refused(url, model):
    with pytest.raises(ConfigInvalid, match=by_url.SETTING):
        UrlEngine(url, "gemma", model.engine)


def test_parse__form_of_vllm__ids_in_order():
    said = {"tokens": ["token_id:5"], "top_logprobs": [{"token_id:7": -2.0, "token_id:5": -0.5}]}
    (row,) = by_url._parse(said)
    assert (row.ids, row.logprobs, row.chosen) == ((5, 7), (-0.5, -2.0), 5)


@pytest.mark.parametrize(
    "said", [None, {}, {"top_logprobs": [{" Paris": -0.5}]}, {"content": [{"token": "x"}]}]
)
def test_parse__no_ids__refused(said):
    with pytest.raises((LookupError, TypeError, ValueError)):
        by_url._parse(said)


def test_draw__from_as_many_as_top_k__is_the_draw_from_all():
    random = np.random.default_rng(3)
    for step in range(20):
        logits = random.standard_normal(5000).astype(np.float32) * 3
        ids = np.argsort(-logits)[:40]
        logprobs = logits[ids] - 20.0  # whatever the engine subtracts
        row = by_url._Row(tuple(map(int, ids)), tuple(map(float, logprobs)), 0)
        wanted = by_url.Logits(logits).draw(PARAMS, step)
        assert by_url._draw(row, PARAMS, step, 5000) == wanted
