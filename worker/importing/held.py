"""Holds a converted model to the library that it comes from: the same classes, the same numbers."""

from typing import Any

import numpy as np

from worker.errors import ModelUnsupported
from worker.importing.converted import Array, Converted

CLOSE = 1e-5  # of |a − b| / max(1, |b|)
_SHOWN = 4  # numbers of an answer


class ConversionWrong(ModelUnsupported):
    """The converted model answers something else than its original."""


def require_same(made: Converted, session: Any) -> float:
    """Return the largest difference of numbers, if all classes and numbers are the original's.

    Rows whose answer is not finite are left out: no operator could deliver it. A class may differ
    where the original's two largest numbers differ by less than rounding.

    Args:
        session: of onnxruntime, which has the converted model.

    Raises:
        ConversionWrong: they are not, or it fails; the message has the row.
    """
    found = _run(session, made) if made.rows else {}
    largest, close = 0.0, np.zeros(0, bool)
    for name, wanted in made.answers.items():
        if name not in found or found[name].shape != wanted.shape:
            shape = found[name].shape if name in found else "no answer"
            raise ConversionWrong(f"output {name} is {shape}, of the original {wanted.shape}")
        got = found[name]
        if wanted.dtype.kind == "f":
            apart = _apart(got, wanted)
            if len(apart) and apart.max() > CLOSE:
                _refuse(name, made, got, int(apart.argmax()))
            largest = max(largest, float(apart.max(initial=0.0)))
            close = close_calls(wanted)
        else:
            other = got != wanted
            if close.shape == other.shape:
                other &= ~close
            if other.any():
                _refuse(name, made, got, int(np.flatnonzero(other.reshape(len(got), -1).any(1))[0]))
    return largest


def _run(session: Any, made: Converted) -> dict[str, Array]:
    """Return the outputs by name."""
    names = [output.name for output in session.get_outputs()]
    try:
        found = session.run(names, dict(made.rows))
    except Exception as error:  # onnxruntime's errors share no base class
        raise ConversionWrong(f"the ONNX graph failed: {error!r:.200}") from error
    return dict(zip(names, map(np.asarray, found), strict=True))


def _apart(got: Array, wanted: Array) -> Array:
    """Return the largest relative difference of each row."""
    got, wanted = (one.astype(np.float64).reshape(len(one), -1) for one in (got, wanted))
    with np.errstate(invalid="ignore"):
        apart = np.abs(got - wanted) / np.maximum(1.0, np.abs(wanted))
    apart = np.where(np.isfinite(wanted), np.nan_to_num(apart, nan=np.inf), 0.0)
    largest: Array = apart.max(1, initial=0.0)
    return largest


def close_calls(numbers: Array) -> Array:
    """Return of each row whether its class hangs on rounding."""
    if numbers.ndim != 2:
        return np.zeros(0, bool)
    if numbers.shape[1] == 1:
        return np.abs(numbers[:, 0]) < CLOSE
    two = np.sort(numbers.astype(np.float64), 1)[:, -2:]
    gap: Array = (two[:, 1] - two[:, 0]) < 2 * CLOSE * np.maximum(1.0, np.abs(two[:, 1]))
    return gap


def _refuse(name: str, made: Converted, got: Array, row: int) -> None:
    given = "; ".join(
        f"{key} {np.ravel(array[row])[:8].tolist()}" for key, array in made.rows.items()
    )
    raise ConversionWrong(
        f"{name} is {np.ravel(got[row])[:_SHOWN].tolist()}, the original answers "
        f"{np.ravel(made.answers[name][row])[:_SHOWN].tolist()} to {given:.300}",
        hint="ONNX has no such operator with this meaning; give samples (--samples) if such an "
        "input never comes, or train another kind of model",
    )
