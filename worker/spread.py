"""How far honest answers of a float model differ: what its tolerance must cover.

The same rows alone and in batches, on one thread and on all, with and without oneDNN, and padded
where a worker pads. Of texts: see `worker.text.tolerance`. What else moves answers
(instruction set) is of the same size: hence four times. Of what an input may be only its shape is
known: numbers are drawn from a normal distribution, ids are small, masks are one.
"""

import itertools
from collections.abc import Callable, Iterator

import numpy as np

from oracle.protocol import text
from oracle.protocol.manifest import Manifest, real
from oracle.protocol.shapes import TensorSpec
from oracle.protocol.tensor import DTYPES
from oracle.types import ZERO32
from worker import batching, runtimes
from worker.errors import ModelRefused
from worker.runtimes.base import Array, Runtime
from worker.text import tolerance

ROWS = 8
LENGTH = 16  # of dimensions that are open beside the first
_IDS = 100  # below the size of any vocabulary


def measure(
    manifest: Manifest,
    runtime: Runtime,
    rows: int = ROWS,
    say: Callable[[str], object] = lambda _: None,
) -> int:
    """Return the largest difference of answers to the same rows: |a − b| / (1 + |b|), in 1e-9.

    Of a text model it is the distance that nine of ten texts have from their replay at the most.

    Args:
        say: is told which text is measured.

    Raises:
        ModelFailed: the model does not run on such inputs.
    """
    if manifest.runtime.format == text.FORMAT:
        params = manifest.unpack_params(ZERO32)
        found = tolerance.measure(runtime, params, rows, whole=rows == ROWS, say=say)
        return int(np.ceil(found * 1e9))
    inputs = samples(manifest, rows)
    params = manifest.unpack_params(ZERO32)
    batch, padded = batching.can_batch(manifest), runtimes.mask_of(manifest)
    parts = [_rows(inputs, slice(n, n + 1)) for n in range(rows)] if batch else [inputs]
    alone = [runtime.run(part, params) for part in parts]
    spread = 0.0
    for _ in _ways():
        for size in {1, 2, rows} if batch else {1}:
            for start in range(0, len(parts), size):
                joined = batching.join(parts[start : start + size])
                if padded and size == rows:
                    joined = batching.padded_to(joined, 2 * LENGTH)
                got = runtime.run(joined, params)
                for offset, wanted in enumerate(alone[start : start + size]):
                    one = _rows(got, slice(offset, offset + 1)) if batch else got
                    spread = max(spread, _distance(one, wanted))
    return int(np.ceil(spread * 1e9))


def require(manifest: Manifest, runtime: Runtime) -> None:
    """Refuse a float model whose tolerance is below what two rows show on this machine.

    Raises:
        ModelRefused: honest answers would be convicted.
    """
    if manifest.exact is not None:
        return
    spread = measure(manifest, runtime, rows=2)
    if spread > manifest.tolerance:
        raise ModelRefused(
            f"answers of {manifest.name!r} differ by {real(spread)} on this machine, "
            f"its tolerance is {real(manifest.tolerance)}",
            hint="honest answers would be convicted: its owner must publish a higher tolerance",
        )


def samples(manifest: Manifest, rows: int, length: int = LENGTH) -> dict[str, Array]:
    """Return so many rows of what a model may be asked; a text model one question.

    Dimensions that are open beside the first are `length` long.

    Columns of words hold the places of their words.
    """
    if manifest.runtime.format == text.FORMAT:
        return text.encode_question(tolerance.SAMPLE)
    found = {spec.name: sample(spec, rows, length) for spec in manifest.inputs}
    for at, column in enumerate(manifest.features):
        if column.categories:
            places = found[manifest.inputs[0].name][..., at]
            places[...] = np.abs(np.floor(places)) % len(column.categories)
    return found


def sample(spec: TensorSpec, rows: int, length: int = LENGTH) -> Array:
    """Return so many rows of what an input may be; the same each time."""
    random = np.random.default_rng(0)
    shape = [rows if n == 0 else length for n in range(len(spec.shape))]
    shape = [size if want is None else want for size, want in zip(shape, spec.shape, strict=True)]
    dtype = DTYPES[spec.dtype]
    if dtype.kind == "f":
        return random.standard_normal(shape).astype(dtype)
    if "mask" in spec.name:
        return np.ones(shape, dtype)
    if dtype.kind == "b" or "type" in spec.name:
        return np.zeros(shape, dtype)
    return random.integers(1, _IDS, shape).astype(dtype)


def _rows(tensors: dict[str, Array], rows: slice) -> dict[str, Array]:
    return {name: np.ascontiguousarray(array[rows]) for name, array in tensors.items()}


def _distance(got: dict[str, Array], wanted: dict[str, Array]) -> float:
    farthest = 0.0
    for name, array in wanted.items():
        a, b = got[name].astype(np.float64), array.astype(np.float64)
        if a.size:
            farthest = max(farthest, float(np.max(np.abs(a - b) / (1 + np.abs(b)))))
    return farthest


def _ways() -> Iterator[None]:
    """Set threads and kernels as honest operators may have them, one way after the other."""
    import torch  # noqa: PLC0415 - the process that only takes messages starts without it

    before = torch.get_num_threads()
    try:
        for threads, fused in itertools.product((1, before), (True, False)):
            torch.set_num_threads(threads)
            with torch.backends.mkldnn.flags(enabled=fused):
                yield
    finally:
        torch.set_num_threads(before)
