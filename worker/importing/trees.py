"""XGBoost, LightGBM and scikit-learn's trees: our reading of a file, and the library's answers."""

from importlib.metadata import version
from pathlib import Path

import numpy as np

from worker.exact.trees import files, importer
from worker.exact.trees.categories import with_thresholds
from worker.exact.trees.ensemble import Ensemble, classes_of, on_thresholds
from worker.exact.trees.files import FEATURES, TreeModel
from worker.importing.converted import (
    ROWS,
    Array,
    Conversion,
    Converted,
    samples_of,
    write_description,
)
from worker.importing.tree_graph import as_onnx, outputs_of


def convert(job: Conversion) -> Converted:
    """Convert a file of trees (see `files.read` for what is raised)."""
    return converted(files.read(Path(job.source), job.missing), job)


def describe(job: Conversion, folder: Path) -> None:
    """Leave what a file of trees says in a folder (see `files.read` for what is raised)."""
    model = importer.read(Path(job.source), job.missing)
    write_description(folder, _library(model), importer.described(model, {}))


def _library(model: TreeModel) -> str:
    return f"{model.library} {version(model.library)}"


def converted(model: TreeModel, job: Conversion) -> Converted:
    """Return a model of trees with its library's answers to samples, and on the thresholds."""
    ensemble = model.ensemble
    rows = probes(ensemble)
    if (given := samples_of(job, (FEATURES,))) is not None:
        rows = np.concatenate([given[FEATURES].astype(rows.dtype), rows])
    return Converted(
        as_onnx(ensemble),
        _library(model),
        ensemble.classes,
        files.columns(ensemble),
        {FEATURES: rows},
        _answers(model, rows),
    )


def probes(ensemble: Ensemble) -> Array:
    """Draw rows that lie on the thresholds and beside them; no value is missing."""
    dice, kind = np.random.default_rng(0), np.dtype(ensemble.precision)
    trees = [with_thresholds(tree, chain=True) for tree in ensemble.trees]
    inner = [(tree, tree.left >= 0) for tree in trees]
    feature = np.concatenate([np.zeros(0, int), *(tree.feature[at] for tree, at in inner)])
    limit = np.concatenate([np.zeros(0), *(tree.threshold[at] for tree, at in inner)])
    order = np.argsort(feature, kind="stable")
    starts = np.searchsorted(feature[order], np.arange(1, ensemble.features))
    limits = np.split(limit[order], starts)
    return np.stack([on_thresholds(one, ROWS, kind, dice) for one in limits], 1)


def _answers(model: TreeModel, rows: Array) -> dict[str, Array]:
    """Return what the library answers, by the names of the graph's outputs."""
    margins = model.original.margins(rows)
    found: dict[str, Array] = {}
    for name in outputs_of(model.ensemble):
        if name == "class":
            found[name] = classes_of(model.ensemble, margins)
        else:
            answers = margins if name == "margin" else model.answers(rows, margins)
            found[name] = answers.astype(np.float32)
    return found
