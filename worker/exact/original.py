"""The model as its own library runs it: what a reading of it, and its accuracy, are held to.

A frontend's graph is our reading of a model. `require_faithful` lets both answer the same inputs,
calibration samples and random probes, and refuses where they differ: at the first operator that
does. So an operator that is read wrongly is named, and nothing wrong is measured against itself.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from worker.errors import ModelUnsupported
from worker.exact import floats
from worker.exact.graph import Array, Graph, Sample

_SAMPLES, _PROBES = 8, 8
_BETWEEN = 0.01  # of all numbers, that float32 may round to the other one of two steps
_RELATIVE = 1e-3  # of the largest value: float32, summed in another order


class ReadingWrong(ModelUnsupported):
    """Our reading of a model answers something else than the model."""


def require_faithful(graph: Graph, samples: Sequence[Sample]) -> None:
    """Return if a graph gives what the model gives, at every operator that both have.

    Raises:
        ReadingWrong: it does not; the message names the first operator that differs.
    """
    if graph.original is None or not samples:
        return
    places = {node.output: node.where for node in graph.nodes}
    grids = {node.output: node.attributes.get("grid", node.attributes) for node in graph.nodes
             if node.op == "grid" or "grid" in node.attributes}  # fmt: skip
    steps = {name: grid["scale"] for name, grid in grids.items()}
    with floats.one_thread():
        for sample in (*samples[:_SAMPLES], *probes(samples, graph.inputs)):
            wanted = graph.original.values(sample)
            if not np.isfinite(answered := graph.original.answer(wanted)).all():
                continue  # no answer
            found = _Values(steps, wanted)
            try:
                answer = floats.run(graph, sample, found.keep)
            except (RuntimeError, IndexError, TypeError) as error:
                raise ReadingWrong(f"the reading of the model does not run: {error}") from error
            pairs = [(name, found[name], wanted[name]) for name in found if name in wanted]
            for name, ours, theirs in (*pairs, ("", answer, answered)):
                if difference := _difference(ours, theirs):
                    raise ReadingWrong(
                        f"{name or 'the answer'} at {places.get(name, 'the output')}: the model "
                        f"and the reading of it differ by {difference:.3g}",
                        hint="publish this model as a float one (judged by a committee), or move "
                        "the operator out of the model",
                    )


class _Values(dict[str, Array]):
    """What a graph computes. A number that lies between two steps of a grid may go to either."""

    def __init__(self, steps: Mapping[str, float], wanted: Mapping[str, Array]) -> None:
        super().__init__()
        self._steps, self._wanted = steps, wanted

    def keep(self, name: str, value: torch.Tensor) -> torch.Tensor | None:
        """Note a value; return the library's, from which it differs by such numbers alone."""
        self[name] = value.numpy()
        theirs = self._wanted.get(name)
        if name not in self._steps or theirs is None or theirs.shape != value.shape:
            return None
        apart = np.abs(self[name] - theirs) / self._steps[name]
        if apart.max(initial=0) > 1 + _RELATIVE or (apart > _RELATIVE).mean() > _BETWEEN:
            return None
        self[name] = theirs
        return torch.from_numpy(theirs)


def probes(samples: Sequence[Sample], inputs: Sequence[str]) -> Iterator[Sample]:
    """Yield random inputs: numbers mixed from all samples, with noise; whole tensors of ids."""
    dice = np.random.default_rng(0)
    for number in range(_PROBES):
        probe = {}
        which = int(dice.integers(len(samples)))
        for name, given in samples[which].items():
            alike = [s[name] for s in samples[:64] if s[name].shape == given.shape]
            if given.dtype.kind != "f" or name not in inputs:  # ids and masks belong together
                probe[name] = given
                continue
            stacked = np.stack(alike)
            picked = dice.integers(len(alike), size=(1, *given.shape))
            mixed = np.take_along_axis(stacked, picked, 0)[0]
            noise = dice.standard_normal(given.shape) * stacked.std() * (number % 2)
            probe[name] = np.asarray(mixed + noise, given.dtype)
        yield probe


def _difference(ours: Array, theirs: Array) -> float:
    """Return how far two arrays are apart, 0 when that is rounding."""
    a, b = (np.ravel(value).astype(np.float64) for value in (ours, theirs))
    if a.shape != b.shape:
        return float("inf")
    whole = np.isfinite(b)
    if not np.array_equal(a[~whole], b[~whole], equal_nan=True):
        return float("inf")
    apart = np.abs(a[whole] - b[whole]).max(initial=0.0)
    return float(apart) if apart > _RELATIVE * (np.abs(b[whole]).max(initial=0.0) + 1e-3) else 0.0
