"""Encoders in integers: near the float model, and the same bytes from both executors."""

import numpy as np
import pytest
import torch

from examples.exact import minilm
from oracle.exact.dtypes import DType
from oracle.exact.quantisation import quantise
from oracle.exact.reference import execute
from tests.support.effort import SOAK
from worker.errors import ModelFailed
from worker.exact.compiler import Compiled
from worker.exact.graph import Array, Sample
from worker.exact.kernels.executor import Executor
from worker.exact.lowering.transformer import Recipe, compile_encoder
from worker.exact.lowering.transformer_ranges import observe
from worker.runtimes.architectures import MiniLm

LENGTH = 12
SIZES = {"layers": 2, "width": 32, "heads": 4, "inner": 64, "vocabulary": 50, "positions": 16}


@pytest.fixture(scope="module")
def model() -> MiniLm:
    torch.manual_seed(1)
    return MiniLm(SIZES).eval()


def texts(seed: int, count: int) -> list[Sample]:
    rng = np.random.default_rng(seed)
    found: list[Sample] = []
    for _ in range(count):
        mask = (np.arange(LENGTH) < rng.integers(2, LENGTH + 1)).astype(np.int64)[None]
        ids = rng.integers(1, 50, (1, LENGTH)) * mask
        found.append({"input_ids": ids, "attention_mask": mask})
    return found


@pytest.fixture(scope="module")
def compiled(model: MiniLm) -> Compiled:
    return compile_encoder(model, texts(0, 40), LENGTH)


def floats(model: MiniLm, sample: Sample) -> Array:
    with torch.inference_mode():
        given = [torch.from_numpy(sample[name]) for name in ("input_ids", "attention_mask")]
        answer: Array = model(*given).numpy()
    return answer


def test_compile_encoder__no_texts__refused(model: MiniLm) -> None:
    with pytest.raises(ModelFailed, match="no calibration texts"):
        compile_encoder(model, [], LENGTH)


def test_observe__padded_texts__leave_the_padding_out(model: MiniLm) -> None:
    samples = texts(3, 20)

    seen = observe(model, samples)

    tokens = sum(int(sample["attention_mask"].sum()) for sample in samples)
    assert {len(values) for values in seen.values()} == {tokens}
    assert model.words.weight.dtype == torch.float32, "the model itself is left as it was"


@pytest.mark.parametrize("table", [DType.I8, DType.I16])
def test_compile_encoder__other_texts__near_the_float_model(model: MiniLm, table: DType) -> None:
    compiled = compile_encoder(model, texts(0, 40), LENGTH, Recipe(table=table))

    cosines = [
        (compiled.run(sample) * floats(model, sample)).sum() for sample in texts(9, 30)
    ]  # fmt: skip

    assert np.mean(cosines) > 0.998


def test_compile_encoder__products__are_all_of_eight_bits(compiled: Compiled) -> None:
    ways = Executor(compiled.program, compiled.constants, int_mm=False).ways

    assert ways == {"float32": 2 * 6}


def test_compile_encoder__padding__does_not_reach_the_answer(compiled: Compiled) -> None:
    (sample,) = texts(5, 1)
    sample = {**sample, "attention_mask": np.array([[1, 1, 1] + [0] * (LENGTH - 3)])}
    other = {**sample, "input_ids": sample["input_ids"].copy()}
    other["input_ids"][0, 3:] = 7

    np.testing.assert_array_equal(compiled.integers(sample), compiled.integers(other))


def test_trace__encoder__is_the_reference(compiled: Compiled) -> None:
    for int_mm in (False, True):
        executor = Executor(compiled.program, compiled.constants, int_mm=int_mm)
        for sample in texts(11, 3):
            inputs = quantise(compiled.inputs, sample)
            expected = execute(compiled.program, compiled.constants, inputs)
            for given, wanted in zip(executor.trace(inputs).tensors, expected.tensors, strict=True):
                np.testing.assert_array_equal(given, wanted)


@pytest.mark.real
def test_compile_minilm__held_out_sentences__mean_cosine_of_99_percent() -> None:
    compiled = minilm.compile_minilm()
    samples = minilm.held_out()
    assert len(samples) >= 200

    accuracy = minilm.compare(compiled, samples[:: 1 if SOAK else 10])

    assert accuracy.mean >= 0.99
    inputs = quantise(compiled.inputs, samples[0])
    trace = Executor(compiled.program, compiled.constants).trace(inputs)
    expected = execute(compiled.program, compiled.constants, inputs)
    for given, wanted in zip(trace.tensors, expected.tensors, strict=True):
        np.testing.assert_array_equal(given, wanted)
