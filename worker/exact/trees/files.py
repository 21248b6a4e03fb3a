"""Files of trees: whose they are, our reading of them, and the library that wrote them.

The library runs only what our reader took: its own loaders trust their files. Imports no torch.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from oracle.errors import ConfigInvalid, InputInvalid
from oracle.exact.ranks import LIBRARIES
from oracle.protocol.shapes import MAX_NAME_LENGTH
from worker.errors import ModelUnsupported, WeightsInvalid
from worker.exact.graph import Array
from worker.exact.trees.ensemble import Ensemble
from worker.exact.trees.lightgbm import LightgbmOriginal, from_lightgbm
from worker.exact.trees.sklearn import SklearnOriginal, from_sklearn, load_skops
from worker.exact.trees.xgboost import XgboostOriginal, from_xgboost

MAX_BYTES = 2**29  # of a model file; JSON takes tenfold of it in memory
FEATURES = "features"  # the name of the input


class TreeOriginal(Protocol):
    """A library with its own model: what our reading of it is held to."""

    def margins(self, rows: Array) -> Array:
        """Return [rows, outputs] before the link."""

    def answers(self, rows: Array) -> Array:
        """Return what the library predicts: probabilities or values, or classes where it does."""


@dataclass(frozen=True, slots=True)
class TreeModel:
    """A model file: our reading of it, and the library that wrote it."""

    library: str
    ensemble: Ensemble
    original: TreeOriginal

    def answers(self, rows: Array, margins: Array) -> Array:
        """Return what the library answers: float64 [rows, numbers], of classes the share of each.

        Args:
            rows: [n, features].
            margins: of the same rows.
        """
        answers = np.asarray(self.original.answers(rows), np.float64).reshape(len(rows), -1)
        if answers.shape[1] == 1 and self.ensemble.link == "softmax":  # multi:softmax says classes
            powers = np.exp(margins - margins.max(1, keepdims=True))
            return np.asarray(powers / powers.sum(1, keepdims=True))
        if answers.shape[1] == 1 and self.ensemble.link in ("two", "logistic"):
            return np.concatenate([1 - answers, answers], 1)
        return answers


def columns(ensemble: Ensemble) -> tuple[str, ...]:
    """Return the names of all columns; none where the file has their numbers alone."""
    names = ensemble.names
    numbered = all(name.removeprefix("Column_").removeprefix("f").isdecimal() for name in names)
    fit = len(set(names)) == len(names) == ensemble.features and not numbered
    return names if fit and all(1 <= len(name) <= MAX_NAME_LENGTH for name in names) else ()


def require_order(features: Iterable[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Return if model.json has the columns in the order of the file, or calls them otherwise.

    Raises:
        InputInvalid: the same columns in another order: requests would mix them up.
    """
    named = [str(feature.get("name")) for feature in features]
    if sorted(named) == sorted(names) and named != list(names):
        raise InputInvalid(
            "model.json names the columns in another order than the original",
            hint=f"in the order of the file's: {', '.join(names)[:200]}",
        )


def read(path: Path, missing: float | None = None) -> TreeModel:
    """Read a file of XGBoost (.ubj, .json), LightGBM (.txt) or scikit-learn (.skops).

    Args:
        missing: XGBoost's `missing=`, which no file keeps.

    Raises:
        ModelUnsupported: what no program of trees can do; the message names it.
        WeightsInvalid, PickleRefused: damaged, or it might run code.
        ConfigInvalid: the library is not installed.
    """
    library = LIBRARIES.get(path.suffix)
    if library is None:
        raise ModelUnsupported(f"{path.name} is no file of trees", hint=", ".join(LIBRARIES))
    if (size := path.stat().st_size) > MAX_BYTES:
        raise WeightsInvalid(f"{path.name} has {size} bytes, above {MAX_BYTES}")
    if missing is not None and library != "xgboost":
        raise ModelUnsupported(f"{library} has no missing=", hint="leave --missing out")
    try:
        ensemble, original = _READERS[library](path, missing)
    except ImportError as error:
        raise ConfigInvalid(
            f"{path.name} needs the library that wrote it: {error}",
            hint="pip install 'tallystick[compile]'",
        ) from error
    return TreeModel(library, ensemble, original)


def read_onnx(path: Path) -> TreeModel | None:
    """Read an ONNX file of trees; None where it has other operators too.

    Raises: as `read`.
    """
    from worker.exact.trees.onnx import from_onnx_trees  # noqa: PLC0415 - only what the file needs

    found = from_onnx_trees(path)
    return None if found is None else TreeModel("onnx", *found)


def _xgboost(path: Path, missing: float | None) -> tuple[Ensemble, TreeOriginal]:
    return from_xgboost(path, missing=missing), XgboostOriginal(path, missing)


def _lightgbm(path: Path, _missing: float | None) -> tuple[Ensemble, TreeOriginal]:
    return from_lightgbm(path), LightgbmOriginal(path)


def _sklearn(path: Path, _missing: float | None) -> tuple[Ensemble, TreeOriginal]:
    model: Any = load_skops(path)
    return from_sklearn(model), SklearnOriginal(model)


_READERS: Mapping[str, Callable[[Path, float | None], tuple[Ensemble, TreeOriginal]]] = {
    "xgboost": _xgboost, "lightgbm": _lightgbm, "scikit-learn": _sklearn,
}  # fmt: skip
