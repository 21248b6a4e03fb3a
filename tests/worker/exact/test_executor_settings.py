"""The executor gives the reference's bytes whatever a processor can do, and when compiled.

Instruction sets are capped in processes of their own: oneDNN, ATen and MKL read them at start.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from torch._inductor import config as inductor

from oracle.exact.builder import ProgramBuilder
from oracle.exact.constants import Constants
from oracle.exact.dtypes import DType, Spec, channels
from oracle.exact.program import Program
from oracle.exact.reference import execute
from tests.exact import vectors
from worker.exact.kernels import products
from worker.exact.kernels.executor import Executor, KernelSequence

ROOT = Path(__file__).parents[3]
CAPS = {
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "avx512 without vnni": {"ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    "sse": {
        "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    },
}  # fmt: skip


def answers(compiled: bool = False) -> bytes:
    """Return the outputs of golden networks and of a layer of extreme values, as bytes."""
    found = []
    for name in ("network", "dot", "layernorm", "softmax"):
        for vector in vectors.load(name):
            case = vector.case()
            executor = Executor(case.program, case.constants, compiled=compiled)
            found.append(executor.run([x[None] for x in case.inputs])[0])
    return b"".join(part.tobytes() for part in [*found, layer()])


def layer() -> "np.ndarray[tuple[int, ...], np.dtype[np.int8]]":
    """Run 64 rows of a layer that `_int_mm` gets wrong where it saturates."""
    rng = np.random.default_rng(5)
    program, constants = wide_layer(rng)
    inputs = rng.choice(np.array([-128, 127], np.int8), (1, 64, 384))

    output = Executor(program, constants).run([inputs])

    np.testing.assert_array_equal(output[0], execute(program, constants, [inputs[0]]).output)
    return output


def trusted_blindly() -> bool:
    """Return whether a network told that `_int_mm` is exact finds that it is."""
    program, constants = wide_layer(np.random.default_rng(5))
    return KernelSequence(program, constants, int_mm=True).multiplies_exactly()


def wide_layer(rng: np.random.Generator) -> tuple[Program, Constants]:
    builder = ProgramBuilder()
    x = builder.input(Spec(DType.I8, 64, 384))
    weights = rng.choice([-127, 127, 90], (128, 384))
    c = builder.constant(channels(0, rng.integers(1000, 9000, 128), 26), DType.CHANNEL)
    builder.dot(x, builder.constant(weights, DType.I8), c, dtype=DType.I8)
    return builder.build()


def test_run__compiler_missing__runs_eagerly_and_says_so() -> None:
    case = vectors.load("network")[0].case()
    settings = {"cpp.cxx": ("/nowhere/c++",), "force_disable_caches": True}
    executor = Executor(case.program, case.constants, compiled=True)

    with inductor.patch(settings):
        output = executor.run([x[None] for x in case.inputs])[0]

    np.testing.assert_array_equal(output, vectors.load("network")[0].tensors[-1].array)
    assert executor.note.startswith("runs eagerly: torch.compile failed: ")


@pytest.mark.skipif(not (shutil.which("c++") or shutil.which("g++")), reason="no C++ compiler")
def test_run__compiled__same_bytes() -> None:
    case = vectors.load("network")[0].case()
    executor = Executor(case.program, case.constants, compiled=True)
    given = [np.stack([x, x, x]) for x in case.inputs]

    for _ in range(2):  # the first runs both ways
        outputs = executor.run(given)
        np.testing.assert_array_equal(outputs, [vectors.load("network")[0].tensors[-1].array] * 3)
    assert executor.note == ""


@pytest.mark.skipif(not (shutil.which("c++") or shutil.which("g++")), reason="no C++ compiler")
def test_run__two_compiled_programs_of_one_shape__each_has_its_own_weights() -> None:
    given = np.arange(-32, 32, dtype=np.int8).reshape(1, 8, 8)
    for factor in (3, 5, 7):
        builder = ProgramBuilder()
        c = builder.constant(channels(0, 1, 1), DType.CHANNEL)
        weights = builder.constant(np.eye(8, dtype=np.int8) * factor, DType.I8)
        builder.dot(builder.input(Spec(DType.I8, 8, 8)), weights, c, dtype=DType.I32)
        program, constants = builder.build()
        executor = Executor(program, constants, compiled=True)

        for _ in range(2):
            output = executor.run([given])
            np.testing.assert_array_equal(output, given.astype(np.int64) * factor + 1 >> 1)
        assert executor.note == ""


@pytest.mark.parametrize("cap", CAPS, ids=lambda cap: cap.replace(" ", "-"))
def test_run__instruction_set_capped__same_bytes(cap: str) -> None:
    code = (
        "import sys; from tests.worker.exact.test_executor_settings import answers;"
        "sys.stdout.buffer.write(answers())"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | CAPS[cap], cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert done.stdout == answers()


@pytest.mark.parametrize("pays", [False, True])
def test_executor__nobody_says_how__takes_int_mm_where_it_is_exact_and_pays(
    pays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "int_mm_pays", lambda _device: pays)
    program, constants = wide_layer(np.random.default_rng(5))

    found = Executor(program, constants)

    assert found.int_mm is (pays and products.int_mm_is_exact("cpu"))
    assert Executor(program, constants, int_mm=True).int_mm is products.int_mm_is_exact("cpu")


def test_int_mm_is_exact__saturating_instructions__noticed() -> None:
    code = (
        "import torch; from worker.exact.kernels import products; full = torch.full;"
        "a, b = (full(size, 127, dtype=torch.int8) for size in ((64, 384), (384, 64)));"
        "right = bool((torch._int_mm(a, b) == 384 * 127 * 127).all());"
        "from tests.worker.exact.test_executor_settings import trusted_blindly;"
        "print(right, products.int_mm_is_exact('cpu'), trusted_blindly())"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | CAPS["avx2"], cwd=ROOT, capture_output=True, check=True, text=True,
    )  # fmt: skip

    right, believed, in_shape = done.stdout.split()
    assert right == believed == in_shape
