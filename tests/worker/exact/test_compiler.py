"""Whole models: accuracy on held-out digits, deterministic programs, files that load again."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from eth_abi import encode
from torch import Tensor, nn

from examples.exact import digits as example
from oracle.chain.codec import plain
from oracle.exact import constants, proofs
from oracle.exact.commitments import Committed
from oracle.exact.errors import ProgramInvalid
from oracle.exact.program import Program
from oracle.exact.quantisation import quantise
from oracle.exact.reference import execute
from worker.errors import ModelFailed
from worker.exact import package
from worker.exact.compiler import Compiled, compile_graph
from worker.exact.frontends.torch import from_module
from worker.exact.graph import OperatorUnsupported
from worker.exact.lowering.policy import Calibrated
from worker.exact.report import CompilationReport, measure_graph, proof_bytes

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
Built = tuple[Compiled, CompilationReport]


@pytest.fixture(scope="module")
def cnn() -> Built:
    return example.build("CNN")


@pytest.fixture(scope="module")
def residual() -> Built:
    return example.build("residual CNN")


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(16, 24), nn.GELU(), nn.Linear(24, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def mlp() -> tuple[Mlp, list[dict[str, np.ndarray]]]:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    return Mlp().eval(), [{"x": rng.normal(size=(1, 16)).astype("f4")} for _ in range(40)]


def test_compile_graph__no_samples__is_refused() -> None:
    module, samples = mlp()

    with pytest.raises(ModelFailed, match="no calibration samples"):
        compile_graph(from_module(module, samples[0]), [])


def test_compile_graph__nan_in_a_sample__names_the_value() -> None:
    module, samples = mlp()

    with pytest.raises(ModelFailed, match="x is NaN"):
        compile_graph(from_module(module, samples[0]), [{"x": np.full((1, 16), np.nan)}])


def test_compile_graph__row_too_long_for_a_proof__names_the_layer() -> None:
    module = nn.Sequential(nn.Linear(8200, 2))
    sample = {"input": np.ones((1, 8200), "f4")}

    with pytest.raises((OperatorUnsupported, ProgramInvalid)) as caught:
        compile_graph(from_module(module, sample), [sample])

    assert isinstance(caught.value, OperatorUnsupported)
    assert caught.value.where.startswith("0 ")


def test_build__cnn__is_within_half_a_point_of_float32(cnn: Built) -> None:
    accuracy = cnn[1].accuracy

    assert accuracy.correct_float is not None
    assert accuracy.correct_exact is not None
    assert accuracy.correct_float > 0.97
    assert abs(accuracy.correct_float - accuracy.correct_exact) <= 0.005
    assert accuracy.same_class >= 0.99


def test_write__report__description_says_what_the_integers_were_measured_to_do(
    cnn: Built, tmp_path: Path
) -> None:
    """The float model's accuracy stood there as if it were that of the integers."""
    package.write(cnn[0], tmp_path, {"name": "digits", "description": "right on all."}, cnn[1])
    said = json.loads((tmp_path / "model.json").read_text())["description"]
    assert said.startswith(f"As integers: {cnn[1].accuracy.correct_exact:.1%} right")
    assert said.endswith("held-out samples. The float model: right on all.")


def test_build__residual_cnn__is_within_half_a_point_of_float32(residual: Built) -> None:
    accuracy = residual[1].accuracy

    assert accuracy.correct_float is not None
    assert accuracy.correct_exact is not None
    assert abs(accuracy.correct_float - accuracy.correct_exact) <= 0.005
    assert accuracy.mean_error < 0.03 * accuracy.deviation


def test_compile_graph__twice__gives_one_root() -> None:
    module, samples = mlp()

    roots = {
        compile_graph(from_module(module, samples[0]), samples).program.model_root for _ in "ab"
    }

    assert len(roots) == 1


@pytest.mark.parametrize("clip", ["largest", "percentile", "least_error"])
@pytest.mark.parametrize("weight_bits", [8, 16])
def test_compile_graph__policies__keep_the_answer(clip: str, weight_bits: int) -> None:
    module, samples = mlp()
    graph = from_module(module, samples[0])
    policy = Calibrated(clip=clip, weight_bits=weight_bits)  # type: ignore[arg-type]

    report = measure_graph(compile_graph(graph, samples[:32], policy=policy), graph, samples[32:])

    assert report.accuracy.mean_cosine > 0.995


def test_compile_graph__sixteen_bits_everywhere__is_nearly_exact() -> None:
    module, samples = mlp()
    graph = from_module(module, samples[0])
    wide = dict.fromkeys(("input", "linear", "pointwise", "table"), 16)

    compiled = compile_graph(graph, samples[:32], policy=Calibrated(bits=wide))
    report = measure_graph(compiled, graph, samples[32:])

    assert report.accuracy.mean_error < 0.005 * report.accuracy.deviation


def test_compiled__through_its_files__answers_the_same(cnn: Built) -> None:
    compiled, _ = cnn
    program = Program.parse(compiled.program.encode())
    held = constants.load(constants.save(compiled.program, compiled.constants), program)
    _, test = example.digits(1, 8, 8)
    sample = test.samples(1)[0]

    again = execute(program, held, quantise(compiled.inputs, sample)).output

    assert np.array_equal(again, compiled.integers(sample))


def test_proof_bytes__every_operator__is_an_upper_bound(residual: Built) -> None:
    compiled, report = residual
    _, test = example.digits(1, 8, 8)
    inputs = quantise(compiled.inputs, test.samples(1)[0])
    trace = execute(compiled.program, compiled.constants, inputs)
    committed = Committed(compiled.program, trace.tensors)
    sizes = []
    for op, operator in enumerate(compiled.program.ops):
        row, col = operator.result.rows - 1, operator.result.cols // 2
        step = proofs.step(compiled.constants, committed, op, row, col)
        sizes.append(len(encode([STEP], [plain(step)])))

        assert sizes[-1] <= proof_bytes(compiled.program, op) <= 1.5 * sizes[-1]

    assert max(sizes) <= report.proof_bytes


STEP = (
    "(uint256,uint256,uint256,uint256[],uint256[9],bytes32[],bytes32[],(bytes32,bytes32[])[],"
    "(bytes,bytes32[])[],(bytes32,bytes32[]),(bytes,bytes32[]))"
)
