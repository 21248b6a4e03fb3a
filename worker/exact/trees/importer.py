"""One door for trees: a file of XGBoost, LightGBM or scikit-learn to a program and its report.

```
 .ubj .json ─┐              ┌─ compile ─▶ program ─┐
 .txt .onnx  ├─▶ Ensemble ──┤                      ├─ the same on samples, and on rows that lie on
 .skops     ─┘   (checked)  └─ the library itself ─┘  the thresholds? else `ReadingWrong`
```
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from oracle.errors import InputInvalid
from oracle.exact.ranks import Ranks, Thresholds
from worker.exact.compiler import Compiled
from worker.exact.graph import Array
from worker.exact.kernels.executor import Executor
from worker.exact.original import ReadingWrong
from worker.exact.report import CompilationReport, compare
from worker.exact.trees.compile import Answer, compile_trees, output_code
from worker.exact.trees.ensemble import Ensemble, classes_of, on_thresholds
from worker.exact.trees.files import (
    FEATURES,
    TreeModel,
    TreeOriginal,
    columns,
    read,
    read_onnx,
    require_order,
)

__all__ = ["FEATURES", "TreeModel", "compile_model", "described", "read", "read_onnx", "run"]
PROBES = 256
_RELATIVE = 2e-5  # of the largest margin: XGBoost adds in float32, tree after tree


def described(model: TreeModel, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the file says in the words of `model.json`: inputs, outputs, classes, columns.

    Args:
        about: what the owner has written already, which goes first.

    Raises:
        InputInvalid: another number of labels, or columns in another order.
    """
    ensemble = model.ensemble
    output = output_code(ensemble, "prediction", 1.0)
    labels = about.get("labels")
    if labels is not None and len(labels) != len(ensemble.classes):
        raise InputInvalid(
            f"model.json has {len(labels)} labels, the file {len(ensemble.classes)} classes",
            hint=f"in the order of the file's: {', '.join(ensemble.classes)[:200]}",
        )
    given: Mapping[str, Any] = next(iter(about.get("inputs", ())), {})
    known = given.get("description", "")
    said: dict[str, Any] = {
        "inputs": [
            {
                "name": FEATURES,
                "dtype": "F64" if ensemble.precision == "float64" else "F32",
                "shape": [1, ensemble.features],
                "description": known or _missing(ensemble),
            }
        ],
        "outputs": [
            {
                "name": output.name,
                "dtype": "I64" if output.meaning == "class" else "F32",
                "shape": list(output.answer_shape),
            }
        ],
    }
    if ensemble.classes and "labels" not in about:
        said["labels"] = list(ensemble.classes)
    names = columns(ensemble)
    if names and "features" not in about:
        said["features"] = [{"name": name} for name in names]
    require_order(about.get("features") or (), names)
    return said


def _missing(ensemble: Ensemble) -> str:
    """Say which values count as missing."""
    kinds = set(ensemble.missing)
    if kinds == {"refused"}:
        return "No value may be missing."
    also = "" if ensemble.missing_value is None else f" and {ensemble.missing_value:g}"
    zero = " In some columns zero is missing too." if "zero" in kinds else ""
    return f"NaN{also} (null in JSON) stands for a missing value.{zero}"


def compile_model(
    model: TreeModel,
    size: int,
    *,
    answer: Answer = "prediction",
    rows: Array | None = None,
    labels: list[int] | None = None,
) -> tuple[Compiled, CompilationReport]:
    """Compile a model and hold it to its library; report on the samples, else on the probes.

    Args:
        size: bytes of the model file.
        answer: see `compile_trees`.
        rows: samples [n, features].
        labels: their true classes.

    Raises:
        ReadingWrong: the integers and the library differ by more than rounding.
        ModelUnsupported: see `compile_trees`.
    """
    ensemble, original = model.ensemble, model.original
    compiled = compile_trees(ensemble, answer=answer, name=FEATURES)
    margins = compiled
    if compiled.outputs[0].name != "margin":
        margins = compile_trees(ensemble, answer="margin", name=FEATURES)
    drawn = probes(compiled, rows)
    for some in (drawn,) if rows is None else (rows, drawn):
        _require_same(ensemble, margins, original, some)
    held = drawn if rows is None else rows
    wanted = _wanted(model, compiled, held)
    # Trees need no calibration: nothing is held out from it, and rows may be those of training
    return compiled, compare(
        compiled, wanted, run(compiled, held), size, labels, drawn=rows is None, held_out=False
    )


def run(compiled: Compiled, rows: Array) -> Array:
    """Return the answers to many rows as readers see them: [rows, numbers]."""
    (code,) = compiled.inputs
    ranks = np.stack([code.quantise(row) for row in rows])
    integers = Executor(compiled.program, compiled.constants).run([ranks])
    return np.stack([np.ravel(compiled.outputs[0].dequantise(one)) for one in integers])


def probes(compiled: Compiled, rows: Array | None) -> Array:
    """Draw rows that lie on the thresholds and beside them, and that miss values."""
    (code,) = compiled.inputs
    assert isinstance(code, Ranks)
    assert isinstance(code.thresholds, Thresholds)
    dice, kind = np.random.default_rng(0), np.dtype(code.precision)
    drawn = np.zeros((PROBES, code.columns), kind)
    for column, limits in enumerate(code.thresholds.limits):
        drawn[:, column] = on_thresholds(limits, PROBES, kind, dice)
        if rows is not None:
            drawn[::2, column] = dice.choice(rows[:, column], len(drawn[::2]))
        if code.thresholds.missing[column] != "refused":
            drawn[dice.random(PROBES) < 0.05, column] = np.nan
        drawn[dice.random(PROBES) < 0.05, column] = code.missing_value or 0.0
    return drawn


def _require_same(
    ensemble: Ensemble, compiled: Compiled, original: TreeOriginal, rows: Array
) -> None:
    wanted, found = original.margins(rows), run(compiled, rows)
    if wanted.shape != found.shape:
        raise ReadingWrong(f"the library gives {wanted.shape[1]} numbers, not {found.shape[1]}")
    close = _RELATIVE * max(1.0, float(np.abs(wanted).max()))
    close += compiled.outputs[0].scale * len(ensemble.trees) / 2
    apart = np.abs(wanted - found).max(1)
    worst = int(apart.argmax())
    if apart[worst] > close:
        raise ReadingWrong(
            f"the library answers {wanted[worst][:4]}, our reading {found[worst][:4]} to "
            f"{rows[worst][:8]}",
            hint="publish it as ONNX (judged by a committee), and report the file",
        )
    if not ensemble.classes:
        return
    sure = np.sort(wanted, 1)
    gap = sure[:, -1] - sure[:, -2] if sure.shape[1] > 1 else np.abs(sure[:, 0] - ensemble.cut)
    other = classes_of(ensemble, found) != classes_of(ensemble, wanted)
    if (other & (gap > close)).any():
        raise ReadingWrong("the library and our reading of it choose different classes")


def _wanted(model: TreeModel, compiled: Compiled, rows: Array) -> Array:
    """Return the library's answers in the form of the compiled one: [rows, numbers]."""
    margins = model.original.margins(rows)
    match compiled.outputs[0].name:
        case "class":
            return classes_of(model.ensemble, margins)[:, None]
        case "margin":
            return margins
    return model.answers(rows, margins)
