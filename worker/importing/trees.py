"""XGBoost, LightGBM and scikit-learn's trees: our reading of a file, and the library's answers."""

from importlib.metadata import version
from pathlib import Path

import numpy as np

from oracle.protocol.shapes import MAX_NAME_LENGTH
from worker.exact.trees import files
from worker.exact.trees.ensemble import Ensemble, classes_of
from worker.exact.trees.files import FEATURES, TreeModel
from worker.importing.converted import ROWS, Array, Conversion, Converted, samples_of
from worker.importing.tree_graph import as_onnx, outputs_of


def convert(job: Conversion) -> Converted:
    """Convert a file of trees (see `files.read` for what is raised)."""
    return converted(files.read(Path(job.source), job.missing), job)


def converted(model: TreeModel, job: Conversion) -> Converted:
    """Return a model of trees with its library's answers to samples, and on the thresholds."""
    ensemble = model.ensemble
    rows = probes(ensemble)
    if (given := samples_of(job, (FEATURES,))) is not None:
        rows = np.concatenate([given[FEATURES].astype(rows.dtype), rows])
    return Converted(
        as_onnx(ensemble),
        f"{model.library} {version(model.library)}",
        ensemble.classes,
        columns(ensemble),
        {FEATURES: rows},
        _answers(model, rows),
    )


def columns(ensemble: Ensemble) -> tuple[str, ...]:
    """Return the names of all columns; none where the file has their numbers alone."""
    names = ensemble.names
    numbered = all(name.removeprefix("Column_").removeprefix("f").isdecimal() for name in names)
    fit = len(set(names)) == len(names) == ensemble.features and not numbered
    return names if fit and all(1 <= len(name) <= MAX_NAME_LENGTH for name in names) else ()


def probes(ensemble: Ensemble) -> Array:
    """Draw rows that lie on the thresholds and beside them; no value is missing."""
    dice, kind = np.random.default_rng(0), np.dtype(ensemble.precision)
    drawn = np.zeros((ROWS, ensemble.features), kind)
    inner = [tree.left >= 0 for tree in ensemble.trees]
    feature = np.concatenate(
        [np.zeros(0, int), *(t.feature[i] for t, i in zip(ensemble.trees, inner, strict=True))]
    )
    limit = np.concatenate(
        [np.zeros(0), *(t.threshold[i] for t, i in zip(ensemble.trees, inner, strict=True))]
    )
    order = np.argsort(feature, kind="stable")
    feature, limit = feature[order], limit[order]
    starts = np.searchsorted(feature, np.arange(ensemble.features + 1))
    for column in range(ensemble.features):
        picked = limit[starts[column] : starts[column + 1]]
        picked = picked[np.isfinite(picked)]
        if picked.size:
            on = dice.choice(picked, ROWS).astype(kind)
            side = dice.choice([-np.inf, np.inf], ROWS).astype(kind)
            drawn[:, column] = np.where(dice.random(ROWS) < 0.5, on, np.nextafter(on, side))
    return drawn


def _answers(model: TreeModel, rows: Array) -> dict[str, Array]:
    """Return what the library answers, by the names of the graph's outputs."""
    ensemble, original = model.ensemble, model.original
    margins = original.margins(rows)
    found: dict[str, Array] = {}
    for name in outputs_of(ensemble):
        if name == "class":
            found[name] = classes_of(ensemble, margins)
        elif name == "margin":
            found[name] = margins.astype(np.float32)
        else:
            answers = np.asarray(original.answers(rows), np.float64).reshape(len(rows), -1)
            if ensemble.link == "softmax" and answers.shape[1] == 1:  # multi:softmax says classes
                powers = np.exp(margins - margins.max(1, keepdims=True))
                answers = powers / powers.sum(1, keepdims=True)
            if ensemble.link in ("two", "logistic") and answers.shape[1] == 1:
                answers = np.concatenate([1 - answers, answers], 1)
            found[name] = answers.astype(np.float32)
    return found
