"""Jobs in, outcomes out: every bad thing is one typed failure, and its neighbours are answered."""

import json

import numpy as np
import pytest
import torch

from oracle.errors import DigestMismatch, InputInvalid
from oracle.ipfs.port import CidUnresolved
from oracle.protocol import tensor
from oracle.protocol.canonical import sha256
from oracle.protocol.cid import raw_cid
from oracle.protocol.params import pack
from oracle.types import Bytes32
from tests.worker.builders import LOGITS, Published, digits_module, images, write_digits
from worker.errors import ModelFailed, ModelUnsupported, OutputInvalid, OutputTooLarge
from worker.inputs import InputLate
from worker.outcomes import Answered, Failed

LOST = Bytes32(b"\1" * 32)


def expect(image):
    with torch.inference_mode():
        return digits_module()(torch.from_numpy(image)).numpy()


def answer(ipfs, outcome):
    assert isinstance(outcome, Answered), outcome
    data = ipfs.fetch_bytes(raw_cid(outcome.output_root), 65536)
    assert sha256(data) == outcome.output_root
    return tensor.decode(data, 65536)["logits"]


BAD_INPUTS = {
    "wrong_shape": ({"image": np.zeros((1, 1, 7, 8), np.float32)}, {}, InputInvalid),
    "wrong_dtype": ({"image": np.zeros((1, 1, 8, 8), np.float64)}, {}, InputInvalid),
    "nan": ({"image": np.full((1, 1, 8, 8), np.nan, np.float32)}, {}, InputInvalid),
    "wrong_name": ({"picture": images()}, {}, InputInvalid),
    "not_canonical": (b"\x80\x02cos\nsystem\n.", {}, InputInvalid),
    "truncated": (tensor.encode({"image": images()})[:-4], {}, InputInvalid),
    "unresolvable": ({"image": images()}, {"input_root": LOST}, InputLate),
    "parameter_without_name": ({"image": images()}, {"params": pack([1])}, InputInvalid),
    "manifest_unresolvable": ({"image": images()}, {"manifest_digest": LOST}, CidUnresolved),
    "another_model_root": ({"image": images()}, {"model_root": LOST}, DigestMismatch),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_run__one_bad_job__fails_typed_and_neighbours_are_answered(pipeline, ipfs, digits, case):
    tensors, changes, error = BAD_INPUTS[case]
    good = [digits.job(n, {"image": images(seed=n)}) for n in range(2)]
    outcomes = pipeline.run([good[0], digits.job(9, tensors, **changes), good[1]])
    assert isinstance(outcomes[1], Failed)
    assert type(outcomes[1].error) is error
    assert outcomes[1].permanent == (error not in (CidUnresolved, InputLate))
    for n, outcome in zip((0, 1), (outcomes[0], outcomes[2]), strict=True):
        np.testing.assert_allclose(answer(ipfs, outcome), expect(images(seed=n)), atol=1e-5)


def test_run__input_cid_of_other_bytes__digest_mismatch(pipeline, ipfs, digits):
    other = ipfs.publish_bytes(tensor.encode({"image": images(seed=5)}))
    job = digits.job(1, {"image": images()}, input_cid=other.sha256)
    (outcome,) = pipeline.run([job])
    assert isinstance(outcome.error, DigestMismatch)
    assert job.input_root.hex() in str(outcome.error)


def test_run__node_serves_another_input__digest_mismatch(pipeline, ipfs, digits):
    job = digits.job(1, {"image": images()})
    ipfs.tamper(raw_cid(job.input_root), tensor.encode({"image": images(seed=2)}))
    (outcome,) = pipeline.run([job])
    assert isinstance(outcome.error, DigestMismatch)


def test_run__weights_with_one_byte_changed__refused_and_reported(pipeline, ipfs, digits):
    (entry,) = digits.manifest.files
    data = bytearray(ipfs._read(entry.cid))
    data[-1] ^= 1
    ipfs.tamper(entry.cid, bytes(data))
    (outcome,) = pipeline.run([digits.job(1, {"image": images()})])
    assert isinstance(outcome.error, DigestMismatch)
    report = outcome.message()
    assert report.error == "DigestMismatch"
    assert report.permanent is True
    assert entry.cid in report.message


def test_run__manifest_tampered__digest_mismatch(pipeline, ipfs, digits):
    other = digits.manifest.to_bytes().replace(b'"digits"', b'"digit5"')
    ipfs.tamper(raw_cid(digits.digest), other)
    (outcome,) = pipeline.run([digits.job(1, {"image": images()})])
    assert isinstance(outcome.error, DigestMismatch)


def test_run__manifest_promises_another_output__output_invalid(pipeline, ipfs, tmp_path):
    lies = Published(ipfs, write_digits(tmp_path / "d", outputs=[{**LOGITS, "shape": [None, 11]}]))
    outcomes = pipeline.run([lies.job(n, {"image": images()}) for n in range(2)])
    assert [type(outcome.error) for outcome in outcomes] == [OutputInvalid] * 2


def test_run__manifest_names_an_output_that_is_not_made__refused(pipeline, ipfs, tmp_path):
    lies = Published(ipfs, write_digits(tmp_path / "d", outputs=[{**LOGITS, "name": "scores"}]))
    (outcome,) = pipeline.run([lies.job(1, {"image": images()})])
    assert isinstance(outcome.error, ModelUnsupported)
    assert "has no output scores" in str(outcome.error)
    assert outcome.error.hint == "it has logits"


def test_run__permanent_failure__is_told_with_its_reason(pipeline, told, ipfs, tmp_path):
    lies = Published(ipfs, write_digits(tmp_path / "d", outputs=[{**LOGITS, "shape": [None, 11]}]))
    (outcome,) = pipeline.run([lies.job(1, {"image": images()})])
    (failed,) = [entry for entry in told if entry[0] == "failed"]
    assert failed[1:] == ([outcome.request_id], outcome.reason)
    pipeline.run([lies.job(2, {"image": images()}, input_root=LOST)])
    assert [step for step, *_ in told].count("failed") == 1  # time may heal that


def test_run__output_above_the_limit__output_too_large(pipeline, ipfs, tmp_path):
    small = Published(ipfs, write_digits(tmp_path / "d", max_output_bytes=400))
    outcomes = pipeline.run(
        [small.job(1, {"image": images(20)}), small.job(2, {"image": images(1)})]
    )
    assert isinstance(outcomes[0].error, OutputTooLarge)
    assert isinstance(outcomes[1], Answered)


def test_run__metered__says_how_many_units_an_answer_has(pipeline, ipfs, tmp_path):
    metered = Published(ipfs, write_digits(tmp_path / "d", unit={"output": "logits", "maximum": 3}))
    jobs = [metered.job(n, {"image": images(n)}) for n in (1, 3, 4)]
    first, most, above = pipeline.run(jobs)
    assert (first.message().units, most.message().units) == (1, 3)
    assert isinstance(above.error, OutputInvalid)
    assert "4 units, more than the 3" in str(above.error)


def test_run__same_request_twice__is_answered_once(pipeline, ipfs, digits, counting):
    job = digits.job(1, {"image": images()})
    first, second = pipeline.run([job, job])
    assert isinstance(first, Answered)
    assert first is second
    assert [rows for rows, _ in counting.calls] == [1]


def test_run__many_sizes__share_batches_and_keep_their_rows(pipeline, ipfs, digits):
    sizes = [1, 3, 2, 1]
    jobs = [digits.job(n, {"image": images(size, n)}) for n, size in enumerate(sizes)]
    for n, (size, outcome) in enumerate(zip(sizes, pipeline.run(jobs), strict=True)):
        np.testing.assert_allclose(answer(ipfs, outcome), expect(images(size, n)), atol=1e-5)


class Counting:
    """A runtime that says what it was given, and fails on a marked row."""

    nbytes = 0

    def __init__(self):
        self.calls = []

    def run(self, inputs, params):
        self.calls.append((len(inputs["image"]), params))
        if (inputs["image"] == 0.5).all(axis=(1, 2, 3)).any():
            raise RuntimeError("poison")
        return {"logits": np.zeros((len(inputs["image"]), 10), np.float32)}


@pytest.fixture
def counting(pipeline, monkeypatch):
    runtime = Counting()
    pipeline._pool._load = lambda *_: runtime
    return runtime


def test_run__input_that_breaks_the_batch__neighbours_are_run_again(pipeline, digits, counting):
    poison = {"image": np.full((1, 1, 8, 8), 0.5, np.float32)}
    jobs = [digits.job(n, {"image": images(seed=n)}) for n in range(3)]
    outcomes = pipeline.run([jobs[0], digits.job(9, poison), *jobs[1:]])
    assert [type(outcome) for outcome in outcomes] == [Answered, Failed, Answered, Answered]
    assert type(outcomes[1].error) is ModelFailed
    assert [rows for rows, _ in counting.calls] == [4, 1, 1, 1, 1]


def test_run__two_parameter_words__never_mix(pipeline, ipfs, tmp_path, counting):
    heat = {"lane": 0, "name": "heat", "minimum": 1, "maximum": 9, "default": 2, "scale": 2}
    model = Published(
        ipfs,
        write_digits(tmp_path / "d", parameters=[{**heat, "offset": 0, "description": ""}]),
    )
    jobs = [
        model.job(n, {"image": images(seed=n)}, params=pack([lane]) if lane else pack([]))
        for n, lane in enumerate([0, 3, 0, 3, 10])
    ]
    outcomes = pipeline.run(jobs)
    assert counting.calls == [(2, {"heat": 1}), (2, {"heat": 1.5})]
    assert isinstance(outcomes[4].error, InputInvalid)


def test_run__more_rows_than_a_batch_holds__several_passes(pipeline, digits, counting):
    pipeline._max_rows = 4
    jobs = [digits.job(n, {"image": images(3, n)}) for n in range(3)]
    assert all(isinstance(outcome, Answered) for outcome in pipeline.run(jobs))
    assert [rows for rows, _ in counting.calls] == [3, 3, 3]


def test_run__fixed_first_dimension__is_not_batched(pipeline, ipfs, tmp_path, counting):
    fixed = {"name": "image", "dtype": "F32", "shape": [1, 1, 8, 8]}
    model = Published(ipfs, write_digits(tmp_path / "d", inputs=[fixed]))
    pipeline.run([model.job(n, {"image": images(seed=n)}) for n in range(2)])
    assert [rows for rows, _ in counting.calls] == [1, 1]


def test_manifest__path_leaves_the_folder__refused_before_anything_is_fetched(
    pipeline, ipfs, digits
):
    body = json.loads(digits.manifest.to_bytes())
    body["files"][0]["path"] = body["runtime"]["entry"] = "../../weights.safetensors"
    evil = ipfs.publish_bytes(json.dumps(body, sort_keys=True, separators=(",", ":")).encode())
    (outcome,) = pipeline.run([digits.job(1, {"image": images()}, manifest_digest=evil.sha256)])
    assert isinstance(outcome.error, InputInvalid)
    assert "path" in str(outcome.error)
