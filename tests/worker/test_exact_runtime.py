"""Exact versions through the pipeline: roots instead of digests, integers instead of floats."""

import numpy as np
import pytest

from oracle.errors import DigestMismatch, InputInvalid
from oracle.exact import commitments, files, form
from oracle.exact.reference import execute
from oracle.protocol.canonical import sha256
from oracle.protocol.cid import raw_cid
from oracle.types import Bytes32
from tests.exact import models
from tests.worker.builders import Published
from worker.outcomes import Answered, Failed


@pytest.fixture
def linear(ipfs, tmp_path):
    program, constants = models.write(tmp_path / "model")
    published = Published(ipfs, tmp_path / "model")
    published.root = program.model_root
    return published, program, constants


def ask(published, seed, **changes):
    data = form.of(published.manifest).encode_inputs({"image": models.image(seed)})
    fields = {"input_root": files.input_root(data), "input_cid": sha256(data), **changes}
    return published.job(seed, data, **fields)


def test_run__other_model_root__refused(pipeline, linear):
    (outcome,) = pipeline.run([ask(linear[0], 1, model_root=Bytes32(b"\7" * 32))])
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, DigestMismatch)


def test_run__input_with_another_root__refused(pipeline, linear):
    (outcome,) = pipeline.run([ask(linear[0], 1, input_root=Bytes32(b"\7" * 32))])
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, DigestMismatch)


def test_run__input_that_is_no_record__refused(pipeline, linear):
    job = linear[0].job(1, b"{}", input_cid=sha256(b"{}"))
    (outcome,) = pipeline.run([job])
    assert isinstance(outcome.error, InputInvalid)


def test_run__several_requests__each_answered_as_the_reference_does(pipeline, ipfs, linear):
    published, program, constants = linear
    made = form.of(published.manifest)
    outcomes = pipeline.run([ask(published, seed) for seed in range(5)])
    for seed, outcome in enumerate(outcomes):
        assert isinstance(outcome, Answered), outcome
        data = ipfs.fetch_bytes(raw_cid(outcome.output_cid), 65536)
        (given,) = made.decode_inputs(made.encode_inputs({"image": models.image(seed)})).values()
        expected = execute(program, constants, [given[0]]).output
        assert outcome.output_root == files.output_root(data)
        assert outcome.output_root == commitments.output_root(program, expected)
        np.testing.assert_array_equal(
            made.decode_outputs(data)["scores"], expected / np.float32(256)
        )
