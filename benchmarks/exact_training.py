"""Training in integers beside float64: accuracy, what a step costs, and what convicts a wrong one.

Networks of `examples.exact.training`, on real digits. One element of each operator of a step is
changed at a drawn place, and its proof is given to the contracts on Anvil: a step is an exact
answer, whose inputs are a state and a batch.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.proof_market import ProofMarket
from examples.exact.training import NETWORKS, STEPS, Array, Digits
from oracle.chain.anvil import Anvil
from oracle.exact import proofs
from oracle.exact.commitments import Committed
from oracle.exact.steps import ProofStep
from oracle.exact.tensors import Openable

GOALS = {"points": 1.0, "prove": 1_200_000}


def run(report: Callable[[str], None], build: Path) -> dict[str, Any]:
    """Measure and report two lines for each network."""
    del build
    found: dict[str, Any] = {}
    with Anvil() as anvil:
        market = ProofMarket(anvil)
        for name in NETWORKS:
            digits = Digits(name)
            program = digits.step.program
            trained = _trained(digits)
            report(
                f"{name:13} {program.inputs[0].cols:6,} parameters, {len(program.ops):3} operators"
                f"   integer {trained['integer']:.3f}, float64 {trained['float64']:.3f} "
                f"(goal {GOALS['points']:.0f} point)"
                f"   step {trained['step'] * 1e3:.1f} ms, hashes {trained['hashes'] * 1e3:.1f} ms"
            )
            used = [market.convict(program, served, element) for served, element in _wrong(digits)]
            dearest = max(used, key=lambda gas: gas["prove"])
            report(
                f"{'':13} {len(used)} of {len(program.ops)} convicted on chain: register "
                f"{dearest['register']:,} gas, challenge {dearest['challenge']:,}, prove at most "
                f"{dearest['prove']:,} (goal {GOALS['prove']:,})"
            )
            found[name] = {**trained, "convicted": len(used), "gas": dearest}
    return found


def _trained(digits: Digits) -> dict[str, Any]:
    """Return accuracies, and processor seconds of a step and of its hashes."""
    states: list[Array] = []
    began = time.process_time()
    for trace in digits.training().run():
        states.append(trace.output)
    ended = time.process_time()
    root = Committed(trace.program, trace.tensors).trace_root
    return {
        "integer": digits.accuracy(states[-1]),
        "float64": digits.accuracy(),
        "step": (ended - began) / STEPS,
        "hashes": time.process_time() - ended,
        "trace": root.hex(),
    }


def _wrong(digits: Digits) -> Iterator[tuple[Committed, ProofStep]]:
    """Yield, for each operator, the trace of a step with one wrong element, and its proof."""
    program, random = digits.step.program, np.random.default_rng(0)
    (trace,) = digits.training(1).run()
    honest = Committed(program, trace.tensors)
    trees = {number: honest.tree(number) for number in range(len(trace.tensors))}
    for op, operator in enumerate(program.ops):
        row = int(random.integers(operator.result.rows))
        col = int(random.integers(operator.result.cols))
        number, tensors = program.id_of(op), list(trace.tensors)
        tensors[number] = tensors[number].copy()
        tensors[number][row, col] ^= 1
        served = Committed(program, tensors, _without(trees, number))
        yield served, proofs.step(digits.step.constants, served, op, row, col)


def _without(trees: dict[int, Openable], number: int) -> dict[int, Openable]:
    return {other: tree for other, tree in trees.items() if other != number}


if __name__ == "__main__":
    run(print, Path("build/bench"))
