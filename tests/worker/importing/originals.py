"""Models as their own libraries save them, and what operators answer once they are converted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import skops.io
import xgboost

from worker.runtimes import onnx


def split(load: Any) -> tuple[Any, Any, Any, Any]:
    """Return rows and labels to train on, and a whole test set."""
    rows, labels = load(return_X_y=True)
    held = np.arange(len(labels)) % 4 == 0
    return rows[~held], labels[~held], rows[held], labels[held]


def save(model: Any, folder: Path) -> tuple[str, Path]:
    """Save a fitted model as its own library does; return whose format it is, and the file."""
    if isinstance(model, xgboost.XGBModel | xgboost.Booster):
        model.save_model(folder / "model.ubj")
        return "xgboost", folder / "model.ubj"
    if isinstance(model, lightgbm.LGBMModel):
        model.booster_.save_model(folder / "model.txt")
        return "lightgbm", folder / "model.txt"
    skops.io.dump(model, folder / "model.skops")
    return "scikit-learn", folder / "model.skops"


def served(path: Path, rows: Mapping[str, Any]) -> dict[str, Any]:
    """Answer rows as operators do."""
    session, _ = onnx.open_session(path, "cpu")
    kinds = {"tensor(float)": np.float32, "tensor(double)": np.float64}
    given = {one.name: rows[one.name].astype(kinds[one.type]) for one in session.get_inputs()}
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, given), strict=True))
