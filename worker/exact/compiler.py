"""Compile a float model to a program of integers: the one function to call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from oracle.exact.constants import Constants
from oracle.exact.dtypes import Array as Integers
from oracle.exact.program import Program
from oracle.exact.quantisation import InputCode, Meaning, OutputCode, dequantise, quantise
from oracle.exact.reference import execute
from worker.exact.calibration import calibrate
from worker.exact.graph import Array, Graph, Pass, Sample
from worker.exact.lowering import passes
from worker.exact.lowering.elements import ELEMENTS
from worker.exact.lowering.layers import LAYERS
from worker.exact.lowering.lower import Lowering, Rule
from worker.exact.lowering.policy import Calibrated, RangePolicy
from worker.exact.lowering.reductions import REDUCTIONS
from worker.exact.lowering.shapes import SHAPES
from worker.exact.original import require_faithful

RULES: Mapping[str, Rule] = {**LAYERS, **REDUCTIONS, **ELEMENTS, **SHAPES}


@dataclass(frozen=True)
class Compiled:
    """A program with its constants, and what its integers stand for."""

    program: Program
    constants: Constants
    inputs: tuple[InputCode, ...]
    outputs: tuple[OutputCode, ...]

    def run(self, sample: Sample) -> Array:
        """Return the answer to one sample, as a reader sees it; several one after another."""
        answers = list(self.answers(sample).values())
        return answers[0] if len(answers) == 1 else np.concatenate([a.ravel() for a in answers])

    def answers(self, sample: Sample) -> dict[str, Array]:
        """Return the answers to one sample by name (reference executor)."""
        return dequantise(self.outputs, self.integers(sample))

    def integers(self, sample: Sample) -> Integers:
        """Return the output tensor of one sample."""
        return execute(self.program, self.constants, quantise(self.inputs, sample)).output


def compile_graph(
    graph: Graph,
    samples: Sequence[Sample],
    *,
    policy: RangePolicy | None = None,
    rewrites: Sequence[Pass] = (),
    names: Sequence[str] = (),
    meaning: Meaning = "value",
    labels: tuple[str, ...] = (),
) -> Compiled:
    """Compile a float graph.

    Args:
        graph: from a frontend.
        samples: calibration data, a few dozen to a few hundred inputs of the kind the model gets.
        policy: dtypes and ranges; 8 bits where nothing else is said.
        rewrites: passes over the simplified graph, before calibration (equalisation).
        names: of the outputs; those that the graph has when left out.
        meaning, labels: of the first output.

    Raises:
        OperatorUnsupported: an operator without integer form; it is named with its place.
        ReadingWrong: the graph answers something else than the model that it was read from.
        ModelFailed: no calibration samples, or NaN in them.
        ProgramInvalid: the program breaks a bound of docs/exact.md, section 3.
    """
    require_faithful(graph, samples)
    graph = passes.simplify(passes.scale_columns(graph, samples))
    require_faithful(graph, samples)
    for rewrite in rewrites:
        graph = rewrite(graph)
    lowering = Lowering(graph, calibrate(graph, samples), policy or Calibrated(), RULES)
    lowering.run()
    outputs = lowering.outputs(names, meaning, labels)
    program, constants = lowering.build()
    return Compiled(program, constants, tuple(lowering.inputs), outputs)
