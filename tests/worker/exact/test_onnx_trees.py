"""Trees inside ONNX: onnxruntime's classes on every row, through the one importer of trees."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx  # type: ignore[import-untyped]
from skl2onnx.common.data_types import (  # type: ignore[import-untyped]
    DoubleTensorType,
    FloatTensorType,
)
from sklearn.datasets import (  # type: ignore[import-untyped]
    load_breast_cancer,
    load_diabetes,
    load_wine,
)
from sklearn.ensemble import (  # type: ignore[import-untyped]
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]
from sklearn.tree import DecisionTreeClassifier  # type: ignore[import-untyped]

from tests.worker.exact.agreement import require_identical, require_judged
from worker.errors import ModelUnsupported, WeightsInvalid
from worker.exact.__main__ import build, main
from worker.exact.frontends.onnx import from_onnx
from worker.exact.graph import OperatorUnsupported
from worker.exact.trees.importer import FEATURES, TreeModel, compile_model, read_onnx

Data = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
SETS = {"tumours": load_breast_cancer, "wine": load_wine, "diabetes": load_diabetes}
FITTED: dict[str, tuple[str, Any]] = {
    "forest of two classes": ("tumours", RandomForestClassifier(5, max_depth=4, random_state=0)),
    "forest of three": ("wine", RandomForestClassifier(5, max_depth=4, random_state=0)),
    "extra trees": ("wine", ExtraTreesClassifier(5, max_depth=4, random_state=0)),
    "one tree": ("wine", DecisionTreeClassifier(max_depth=3, random_state=0)),
    "forest of numbers": ("diabetes", RandomForestRegressor(5, max_depth=4, random_state=0)),
    "boosting": ("diabetes", GradientBoostingRegressor(n_estimators=9, random_state=0)),
    "boosting of two": ("tumours", GradientBoostingClassifier(n_estimators=9, random_state=0)),
    "boosting of three": ("wine", GradientBoostingClassifier(n_estimators=9, random_state=0)),
}


def rows(name: str) -> Data:
    x, y = SETS[name](return_X_y=True)
    return x.astype(np.float32), y


def written(model: Any, given: np.ndarray[Any, Any], folder: Path, kind: Any) -> Path:
    classes = {"zipmap": False} if hasattr(model, "classes_") else None
    made = to_onnx(
        model, initial_types=[("x", kind([None, given.shape[1]]))], options=classes,
        target_opset={"": 18, "ai.onnx.ml": 3},
    )  # fmt: skip
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def taken(path: Path) -> TreeModel:
    model = read_onnx(path)
    assert model is not None
    return model


@pytest.mark.parametrize("kind", [FloatTensorType, DoubleTensorType])
@pytest.mark.parametrize("name", FITTED)
def test_read_onnx__trees_of_skl2onnx__answer_as_onnxruntime(
    name: str, kind: Any, tmp_path: Path
) -> None:
    data, model = FITTED[name]
    x, y = rows(data)
    model.fit(x, y)
    path = written(model, x, tmp_path, kind)

    program, report = compile_model(taken(path), path.stat().st_size, rows=x)

    assert report.accuracy.same_class == 1.0
    assert report.accuracy.largest_error <= 1e-5 * np.abs(y).max()
    if hasattr(model, "classes_"):
        ours = [program.run({FEATURES: row}).argmax() for row in x[::7]]
        np.testing.assert_array_equal(ours, model.predict(x[::7]))
    if kind is FloatTensorType:
        require_identical(program, {FEATURES: x[0]})
        require_judged(program, {FEATURES: x[0]})


def newer(**changed: Any) -> onnx.ModelProto:
    """Return TreeEnsemble of ai.onnx.ml 5: two trees, two targets, splits of every mode."""
    modes = np.array([0, 3, 2, 1], np.uint8)  # ≤, >, ≥, <
    splits, weights = np.array([0.5, 1.0, -1.0, 0.0], "f4"), np.array([1, 2, -4, 8, 16], "f4")
    fields: dict[str, Any] = {
        "tree_roots": [0, 2], "n_targets": 2, "aggregate_function": 1, "post_transform": 0,
        "nodes_featureids": [0, 1, 2, 0],
        "nodes_modes": numpy_helper.from_array(modes, "modes"),
        "nodes_splits": numpy_helper.from_array(splits, "splits"),
        "nodes_truenodeids": [1, 0, 2, 3], "nodes_trueleafs": [0, 1, 1, 1],
        "nodes_falsenodeids": [1, 2, 3, 4], "nodes_falseleafs": [1, 1, 0, 1],
        "nodes_missing_value_tracks_true": [1, 0, 1, 0],
        "leaf_targetids": [0, 1, 0, 1, 0],
        "leaf_weights": numpy_helper.from_array(weights, "weights"), **changed,
    }  # fmt: skip
    node = helper.make_node("TreeEnsemble", ["x"], ["y"], domain="ai.onnx.ml", **fields)
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
    )  # fmt: skip
    domains = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 5)]
    return helper.make_model(graph, opset_imports=domains, ir_version=10)


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("aggregate", [0, 1])
def test_read_onnx__newer_operator__every_mode_and_missing_values(
    aggregate: int, tmp_path: Path
) -> None:
    path = saved(newer(aggregate_function=aggregate), tmp_path)
    x = np.random.default_rng(0).choice([-1, 0, 0.5, 1, 2, np.nan], (200, 3)).astype("f4")

    program, report = compile_model(taken(path), 1, rows=x)

    assert report.accuracy.largest_error < 1e-6
    assert program.inputs[0].name == FEATURES
    require_identical(program, {FEATURES: x[0]})


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"aggregate_function": 2}, ModelUnsupported, "aggregate_function 2"),
        ({"post_transform": 4}, ModelUnsupported, "post_transform 4"),
        ({"nodes_modes": numpy_helper.from_array(np.array([4, 3, 2, 1], np.uint8), "m")},
         ModelUnsupported, "splits of mode 4"),
        ({"nodes_truenodeids": [9, 0, 2, 3]}, WeightsInvalid, "damaged"),
        ({"nodes_truenodeids": [0, 0, 2, 3]}, WeightsInvalid, "two nodes lead to one"),
    ],
    ids=["greatest of trees", "probit", "equality", "no such node", "circle"],
)  # fmt: skip
def test_read_onnx__what_no_program_does__refused(
    changed: dict[str, Any], error: type[Exception], said: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=said):
        read_onnx(saved(newer(**changed), tmp_path))


def test_from_onnx__scaler_before_trees__refused_with_what_compiles(tmp_path: Path) -> None:
    x, y = rows("wine")
    model = make_pipeline(StandardScaler(), DecisionTreeClassifier(max_depth=2)).fit(x, y)
    path = written(model, x, tmp_path, FloatTensorType)
    assert read_onnx(path) is None

    with pytest.raises(OperatorUnsupported, match="TreeEnsembleClassifier at node") as caught:
        from_onnx(path, {"x": x[:1]})

    assert "trees alone" in caught.value.hint


def test_main__folder_with_trees_in_onnx__writes_the_exact_version(tmp_path: Path) -> None:
    x, y = rows("wine")
    folder, out = tmp_path / "model", tmp_path / "exact"
    folder.mkdir()
    written(RandomForestClassifier(5, max_depth=4).fit(x, y), x, folder, FloatTensorType)
    np.savez(folder / "samples.npz", x=x, labels=y)
    about = {
        "name": "wine", "runtime": {"format": "onnx", "entry": "model.onnx"},
        "inputs": [{"name": "x", "dtype": "F32", "shape": [None, 13]}],
        "outputs": [{"name": "probabilities", "dtype": "F32", "shape": [None, 3]}],
    }  # fmt: skip
    (folder / "model.json").write_text(json.dumps(about))

    assert main([str(folder), str(out)]) == 0

    body = json.loads((out / "model.json").read_text())
    assert body["exact"]["inputs"][0]["kind"] == "ranks"
    assert json.loads((out / "report.json").read_text())["accuracy"]["same_class"] == 1.0


def test_build__file_of_trees__the_process_is_shut_before_it_is_opened(tmp_path: Path) -> None:
    shut: list[Any] = []
    (tmp_path / "wine.skops").write_bytes(b"no archive")
    about = {
        "name": "wine", "runtime": {"format": "scikit-learn", "entry": "wine.skops"},
        "inputs": [], "outputs": [],
    }  # fmt: skip
    (tmp_path / "model.json").write_text(json.dumps(about))

    with pytest.raises(WeightsInvalid):
        build(
            tmp_path, tmp_path / "exact", None, lambda *_: None,
            shut=lambda folder, read: shut.append((folder, read)),
        )  # fmt: skip

    assert shut == [(tmp_path / "exact", [tmp_path / "wine.skops"])]
