"""A version's weights, held to what its history says they are. Reads safetensors alone.

```
 rounds  weights ─ rint(w · 2^bits), tensors by name ─▶ i32 state ─▶ root = the last round's
 job     state file ─▶ root ─▶ last record ─▶ history;  state · 2^-24 as float32 = weights
 run     weights ─▶ SHA-256 over names, dtypes, shapes and bytes = what the run ended with
```
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from oracle.errors import InputInvalid
from oracle.exact.dtypes import DType
from oracle.exact.tensors import TensorTree
from oracle.protocol import tensor
from oracle.protocol.manifest import Manifest
from oracle.protocol.tensor import Array
from oracle.protocol.training_history import MadeByJob, MadeByRounds, MadeByRun
from oracle.services.lineage.findings import HistoryCheck, fits, hexed, unknown, wrong
from oracle.training import exact_job, vectors
from oracle.types import Bytes32

_LONGEST = 1 << 20  # bytes of an exact job's state: 16,384 coordinates and a header


class WeightsUnread(InputInvalid):
    """A file of weights cannot be read here."""


def files_of(manifest: Manifest) -> tuple[str, ...]:
    """Return the paths that `check` reads; () where it needs none."""
    made = manifest.history.made if manifest.history else None
    entry = (manifest.runtime.entry,) if manifest.runtime.format == "safetensors" else ()
    if isinstance(made, MadeByJob):
        return (made.state, *(path for path in entry if path != made.state))
    return entry if isinstance(made, MadeByRounds | MadeByRun) else ()


def check(manifest: Manifest, paths: Mapping[str, Path] | None) -> Iterator[HistoryCheck]:
    """Say whether the weights are those that the history names, and what nobody checks.

    Args:
        paths: of the files of `files_of`; None = they were not fetched.
    """
    made = manifest.history.made if manifest.history else None
    if made is None:
        return
    if isinstance(made, MadeByRounds | MadeByJob | MadeByRun):
        if paths is None:
            yield unknown("weights", "lineage.weights.unread")
        else:
            try:
                yield from _weights(manifest, made, paths)
            except WeightsUnread as error:
                yield unknown("weights", "lineage.weights.unreadable", reason=f"{error}"[:300])
            except InputInvalid as error:
                yield wrong("weights", "lineage.weights.damaged", reason=f"{error}"[:300])
    values = {"digest": hexed(_job_digest(made))} if isinstance(made, MadeByJob) else {}
    yield unknown("training", f"lineage.training.{made.kind}", **values)


def _job_digest(made: MadeByJob) -> Bytes32:
    roots = (made.program, made.samples, made.labels, made.first_state)
    return exact_job.digest_of(roots, made.seed, made.batches, made.steps)


def _weights(
    manifest: Manifest, made: MadeByRounds | MadeByJob | MadeByRun, paths: Mapping[str, Path]
) -> Iterator[HistoryCheck]:
    state: Array | None = None
    if isinstance(made, MadeByJob):
        state = _state(paths[made.state])
        root = TensorTree.of(state, DType.I32).root
        if not exact_job.ends_with(made.history, root, made.steps, made.last_path):
            yield wrong("state", "lineage.state.not_last", file=made.state)
            return
        yield fits("state", "lineage.state.fits", file=made.state)
    if manifest.runtime.format != "safetensors":
        yield unknown("weights", "lineage.weights.format", format=manifest.runtime.format)
        return
    held = read(paths[manifest.runtime.entry])
    if isinstance(made, MadeByRun):
        digest = run_digest(held)
        if digest == made.weights:
            yield fits("weights", "lineage.weights.run")
        else:
            yield wrong(
                "weights", "lineage.weights.not_run", digest=hexed(digest), said=hexed(made.weights)
            )
    elif isinstance(made, MadeByJob):
        assert state is not None
        floats = (state[0] / 2.0**exact_job.STATE_BITS).astype(np.float32)
        if np.array_equal(floats, np.concatenate([held[name].ravel() for name in sorted(held)])):
            yield fits("weights", "lineage.weights.fits", root=hexed(root))
        else:
            yield wrong("weights", "lineage.weights.differ", file=made.state)
    else:
        yield _of_rounds(made, held)


def _of_rounds(made: MadeByRounds, held: Mapping[str, Array]) -> HistoryCheck:
    values, kept = coordinates(held, made.scale_bits)
    root = vectors.VectorTree(values, vectors.STATE).root
    if root == made.state_root:
        return fits("weights", "lineage.weights.fits", root=hexed(root))
    if not kept:
        dtypes = ", ".join(sorted({array.dtype.name for array in held.values()}))
        return unknown("weights", "lineage.weights.lost", dtype=dtypes)
    return wrong("weights", "lineage.weights.other", root=hexed(root), said=hexed(made.state_root))


def coordinates(held: Mapping[str, Array], scale_bits: int) -> tuple[Array, bool]:
    """Return weights as a state (i32), and whether no other state gives the same weights.

    Raises:
        InputInvalid: a tensor is not floating, a weight not finite or too large for 32 bits.
    """
    parts, kept = [], True
    for name in sorted(held):
        array = held[name]
        if array.dtype.kind != "f":
            raise InputInvalid(f"tensor {name} is {array.dtype}: a state has floats alone")
        values = np.rint(np.ldexp(array.astype(np.float64).ravel(), scale_bits))
        if not np.isfinite(values).all() or np.abs(values).max(initial=0) >= 2.0**31:
            raise InputInvalid(f"tensor {name} does not fit a state of {scale_bits} bits of scale")
        exact = 2.0 ** (np.finfo(array.dtype).nmant + 1)  # integers up to here have floats
        kept = kept and bool(np.abs(values).max(initial=0) <= exact)
        parts.append(values.astype(np.int32))
    return np.concatenate(parts), kept


def run_digest(held: Mapping[str, Array]) -> Bytes32:
    """Return the digest that `tallystick train run` prints (worker.training.distributed)."""
    whole = hashlib.sha256()
    for name in sorted(held):
        array = np.ascontiguousarray(held[name])
        one = hashlib.sha256(f"torch.{array.dtype.name} {list(held[name].shape)}\n".encode())
        one.update(array.reshape(-1).view(np.uint8).data)
        whole.update(f"{len(name.encode())} {name}".encode() + one.digest())
    return Bytes32(whole.digest())


def read(path: Path) -> dict[str, Array]:
    """Return the tensors of a safetensors file by name.

    Raises:
        WeightsUnread: it is none, or has a dtype that NumPy lacks.
    """
    try:
        from safetensors import safe_open  # noqa: PLC0415 - comes with what runs models

        with safe_open(path, "numpy") as file:
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
    except Exception as error:  # the library raises its own, undocumented, Rust exception
        raise WeightsUnread(f"{path.name} cannot be read: {error}") from error
    if not found:
        raise WeightsUnread("there are no weights")
    return found


def _state(path: Path) -> Array:
    with path.open("rb") as file:
        data = file.read(_LONGEST + 1)
    held = tensor.decode(data, max_bytes=_LONGEST)
    if set(held) != {"state"} or held["state"].dtype != np.int32 or held["state"].ndim != 2:
        raise InputInvalid("a job's state is one row of int32, called state")
    return held["state"]
