"""What disputability adds to an answer on the happy path: roots instead of file digests.

The same exact executor answers the same inputs, one at a time, on one thread. Beside it once what
a delivery that can be disputed does (records, input root, output root), once what one that cannot
would do (tensor files, SHA-256). Nothing else differs: no trace is made or hashed. The goal is an
answer at most 1 % slower. Medians of processor time; the two take turns.
"""

import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from oracle.exact import files
from oracle.exact.quantisation import quantise
from oracle.exact.tensors import TensorTree
from oracle.protocol import tensor

ROUNDS = 60
GOAL = 0.01

Say = Callable[[str], None]


def run(say: Say, build: Path) -> dict[str, Any]:
    """Measure MiniLM and the digits CNN; return medians in milliseconds."""
    import torch  # noqa: PLC0415 - only here

    from examples.exact import digits, minilm, models  # noqa: PLC0415

    torch.set_num_threads(1)
    _, test = models.digits(*models.RECIPES["CNN"].shape)
    found = {}
    for name, compiled, sample in (
        ("digits CNN", digits.build("CNN")[0], test.samples()[0]),
        ("all-MiniLM-L6-v2", minilm.compile_minilm(), minilm.held_out()[0]),
    ):
        found[name] = _measure(compiled, quantise(compiled.inputs, sample))
        figures = found[name]
        say(
            f"{name:18} run {figures['run_ms']:8.3f} ms  undisputable +{figures['plain_ms']:.3f}  "
            f"disputable +{figures['exact_ms']:.3f}  slower by {figures['slower']:.2%} "
            f"(goal ≤ {GOAL:.0%})"
        )
    build.mkdir(parents=True, exist_ok=True)
    (build / "exact_delivery.json").write_text(json.dumps(found, indent=2) + "\n")
    return found


def _measure(compiled: Any, inputs: list[Any]) -> dict[str, float]:
    from worker.exact.kernels.executor import Executor  # noqa: PLC0415

    program = compiled.program
    executor = Executor(program, compiled.constants)
    batch = [array[np.newaxis] for array in inputs]
    last = program.id_of(len(program.ops) - 1)
    records = files.write_inputs(program.inputs, inputs)
    plain = tensor.encode({str(number): array for number, array in enumerate(inputs)})
    times: dict[str, list[float]] = {"run": [], "exact": [], "plain": []}

    def timed(name: str, action: Callable[[], Any]) -> Any:
        begun = time.process_time()
        result = action()
        times[name].append(time.process_time() - begun)
        return result

    def disputable(output: Any) -> None:
        files.input_root(records)
        answer = files.record(last, TensorTree.of(output, program.output.dtype))
        files.output_root(answer)
        tensor.digest(answer)  # its CID

    def undisputable(output: Any) -> None:
        tensor.digest(plain)
        tensor.decode(plain, len(plain))
        tensor.digest(tensor.encode({"output": output}))

    for _ in range(ROUNDS):
        output = timed("run", lambda: executor.run(batch))[0]
        timed("exact", functools.partial(disputable, output))
        timed("plain", functools.partial(undisputable, output))
    run, exact, without = (1000 * float(np.median(times[n])) for n in ("run", "exact", "plain"))
    return {
        "run_ms": run,
        "exact_ms": exact,
        "plain_ms": without,
        "slower": (exact - without) / (run + without),
    }
