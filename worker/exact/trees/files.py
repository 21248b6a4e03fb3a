"""Files of trees: whose they are, our reading of them, and the library that wrote them.

The library runs only what our reader took: its own loaders trust their files. Imports no torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from oracle.errors import ConfigInvalid
from oracle.exact.ranks import LIBRARIES
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
