"""A text model as workers and voters have it: a published version, jobs, deliveries, findings."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from oracle.chain.bindings.committee import Finding
from oracle.protocol import tensor, text
from oracle.protocol.canonical import sha256
from oracle.protocol.cid import raw_cid
from oracle.protocol.text import QuestionInvalid
from oracle.types import ZERO32
from tests.worker.builders import Published
from tests.worker.text.conftest import CONTEXT, LOOPS, PARAMS, asked, with_template
from worker import spread
from worker.describe import describe
from worker.errors import ModelStuck, ModelUnsupported
from worker.inputs import InputSource
from worker.models import ModelPool
from worker.outcomes import Answered, Failed
from worker.pipeline import Pipeline
from worker.runtimes import gguf
from worker.text.engine import EngineLimits, LlamaEngine, PromptTooLong
from worker.vote import VoteJob, find

TOLERANCE = 500_000_000


@pytest.fixture
def published(ipfs, weights, tmp_path):
    said = describe(weights)
    said["runtime"]["options"]["context"] = CONTEXT
    os.link(weights, tmp_path / weights.name)
    unit = {"output": "tokens", "maximum": 2**16}
    about = {"name": "gemma", "tolerance": TOLERANCE, "unit": unit, **said}
    (tmp_path / "model.json").write_text(json.dumps(about))
    return Published(ipfs, tmp_path)


@pytest.fixture
def pool(ipfs, cache, log, model, monkeypatch):
    """Return models of which the text model is the session's, not started again."""
    made = ModelPool(ipfs, cache, lambda *_: model, device="cpu", max_bytes=2**40, log=log)
    monkeypatch.setattr(model, "close", lambda: None)
    yield made
    made.close()


def test_describe__gguf__is_a_manifest_that_its_runtime_takes(published):
    manifest = published.manifest
    assert (manifest.license, manifest.runtime.entry) == ("gemma", "gemma.gguf")
    assert manifest.model_root() == published.root != ZERO32
    assert gguf.require(manifest) == CONTEXT


@pytest.mark.parametrize(
    "change", [{"minimum": 0, "default": 0}, {"maximum": 4096}, {"offset": -5}, {"scale": 10}]
)
def test_require__parameter_that_would_convict_who_is_honest__refused(published, change):
    first, *others = published.manifest.parameters
    parameters = (replace(first, **change), *others)
    with pytest.raises(ModelUnsupported, match="max_tokens"):
        gguf.require(replace(published.manifest, parameters=parameters))


def test_run__jobs_with_parameters_of_their_own__are_written_together(published, pool, ipfs, log):
    long = {"prompt": "word " * CONTEXT}
    jobs = [
        published.job(
            n, asked(**body), params=published.manifest.pack_params({"max_tokens": 4, "seed": n})
        )
        for n, body in enumerate([{"prompt": "Once"}, long, {"prompt": "Twice"}])
    ]
    jobs.append(published.job(9, {"question": asked(prompt="x")["question"][:-1]}))
    with ThreadPoolExecutor(2) as threads:
        line = Pipeline(ipfs, InputSource(ipfs, ipfs, threads), pool, threads, log=log)
        first, too_long, third, malformed = line.run(jobs)
    assert isinstance(too_long, Failed)
    assert isinstance(too_long.error, PromptTooLong)
    assert isinstance(malformed, Failed)
    assert isinstance(malformed.error, QuestionInvalid)
    for outcome in (first, third):
        assert isinstance(outcome, Answered)
        data = ipfs.fetch_bytes(raw_cid(outcome.output_root), 65536)
        assert len(text.decode_answer(tensor.decode(data, 65536)).tokens) == outcome.units == 4


def test_find__honest_edited_malformed_lost__each_its_finding(published, pool, ipfs, model):
    word = published.manifest.pack_params({**PARAMS, "max_tokens": 8})
    params = published.manifest.unpack_params(word)
    question = tensor.encode(asked(prompt="The capital of France is"))
    ipfs.publish_bytes(question)
    honest = text.decode_answer(model.run(asked(prompt="The capital of France is"), params))

    def found(delivered, keep=True, more=0):
        if keep:
            ipfs.publish_bytes(delivered)
        job = VoteJob(
            published.digest, published.root, sha256(question), ZERO32, word, sha256(delivered),
            ZERO32, sha256(b"seed"), TOLERANCE, len(honest.tokens) + more,
        )  # fmt: skip
        return find(job, pool, ipfs)

    def encoded(answer):
        return tensor.encode(text.encode_answer(answer))

    unknown = replace(honest, tokens=(2**30, *honest.tokens[1:]))
    endless = replace(
        honest, tokens=honest.tokens * CONTEXT, logprobs=np.tile(honest.logprobs, (CONTEXT, 1))
    )
    findings = [
        found(encoded(honest)),
        found(encoded(honest), more=1),
        found(encoded(replace(honest, content="No."))),
        found(encoded(unknown)),
        found(encoded(endless), more=len(endless.tokens) - len(honest.tokens)),
        found(b"nothing"),
        found(b"lost", keep=False),
    ]
    assert [one.finding for one in findings] == [
        Finding.MATCH, *[Finding.MISMATCH] * 5, Finding.OUTPUT_UNAVAILABLE,
    ]  # fmt: skip
    assert len({one.activation for one in findings}) == 1
    assert findings[0].activation != 0


def test_measure_and_find__template_that_does_not_end__no_version_and_no_verdict(
    published, weights, tmp_path_factory, ipfs, cache, log
):
    template = LOOPS.replace(b"'loop'", b"'Hello'")
    path = with_template(weights, tmp_path_factory.mktemp("loops"), template)
    limits = EngineLimits(chat=1.0)
    engine = LlamaEngine(path, context=CONTEXT, slots=1, threads=1, limits=limits)
    with closing(gguf.TextModel(engine, CONTEXT, 1, 1)) as stuck:
        with pytest.raises(ModelStuck):
            spread.measure(published.manifest, stuck, rows=1)
        question = tensor.encode(asked(messages=[{"role": "user", "content": "Hello"}]))
        ipfs.publish_bytes(question)
        pool = ModelPool(ipfs, cache, lambda *_: stuck, device="cpu", max_bytes=2**40, log=log)
        job = VoteJob(
            published.digest, published.root, sha256(question), ZERO32, ZERO32, ZERO32, ZERO32,
            sha256(b"seed"), TOLERANCE,
        )  # fmt: skip
        assert find(job, pool, ipfs).finding is Finding.INPUT_UNAVAILABLE


def test_measure__text__is_covered_by_the_tolerance(published, model):
    found = spread.measure(published.manifest, model, rows=2)
    assert 0 < found < TOLERANCE
