"""Compiles four networks on handwritten digits to integers and says what that kept.

    python -m examples.exact.digits

Softmax regression, an MLP, a CNN and a residual CNN: trained, read through torch.export, calibrated
on training images, compared with float32 on test images. About ten seconds on one core.
"""

import warnings

from examples.exact.models import RECIPES, digits, train
from worker.exact.compiler import Compiled, compile_graph
from worker.exact.frontends import torch
from worker.exact.report import CompilationReport, measure_graph

CALIBRATION = 256
LABELS = tuple(str(digit) for digit in range(10))


def build(name: str) -> tuple[Compiled, CompilationReport]:
    """Train and compile one of `RECIPES`; report on the test images."""
    recipe = RECIPES[name]
    training, test = digits(*recipe.shape)
    model = train(recipe, training)
    samples = training.samples(CALIBRATION)
    with warnings.catch_warnings():  # the exporter's own deprecations
        warnings.simplefilter("ignore")
        graph = torch.from_module(model, samples[0])
    compiled = compile_graph(graph, samples, names=["logits"], meaning="logits", labels=LABELS)
    return compiled, measure_graph(compiled, graph, test.samples(), test.labels.tolist())


def main() -> None:
    """Print one line for each model."""
    print(f"{'':20} float32   exact  same class  size  largest proof  operators")
    for name in RECIPES:
        compiled, report = build(name)
        accuracy = report.accuracy
        print(
            f"{name:20} {accuracy.correct_float:7.2%} {accuracy.correct_exact:7.2%} "
            f"{accuracy.same_class:11.2%} {report.size_ratio:5.0%} {report.proof_bytes:8,} bytes  "
            f"{len(compiled.program.ops)}"
        )


if __name__ == "__main__":
    main()
