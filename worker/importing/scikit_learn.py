"""scikit-learn's estimators and pipelines from a skops file, by skl2onnx; trees, neighbours by us.

skl2onnx is tried in doubles, in which scikit-learn computes, and where onnxruntime has no such
operator in float32. The first that answers as the estimator does is taken. Float32 alone was wrong
for naive Bayes, discriminant analysis, SGD, and a tree behind a scaler at its threshold.
"""

import itertools
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from worker.errors import ModelUnsupported
from worker.exact.trees import sklearn as tree_reader
from worker.exact.trees.ensemble import Ensemble
from worker.exact.trees.files import FEATURES, TreeModel
from worker.importing import neighbours, sklearn_words, trees
from worker.importing.converted import (
    ROWS,
    Array,
    Categories,
    Conversion,
    Converted,
    samples_of,
)
from worker.importing.held import ConversionWrong, close_calls, require_same
from worker.importing.nodes import OPSETS
from worker.importing.sklearn_graph import finished, then_trees

_OTHERS = "use classifiers, regressors and pipelines that end in one"
# Plain arrays and numbers in classes that skops leaves to whoever loads them, in this process alone
TRUSTED = (
    "numpy.dtype", "sklearn.utils._bunch.Bunch", "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neighbors._ball_tree.BallTree", "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
)  # fmt: skip

_FAR = np.float32(1000)  # how far away rows are


def convert(job: Conversion) -> Converted:
    """Convert a skops file.

    Raises:
        PickleRefused, WeightsInvalid: see `load_skops`.
        ModelUnsupported: an estimator that ONNX has no form of, or several outputs of classes.
        ConversionWrong: ONNX answers something else.
    """
    model = tree_reader.load_skops(Path(job.source), TRUSTED)
    steps = getattr(model, "steps", None)
    try:
        ensemble = tree_reader.from_sklearn(steps[-1][1] if steps else model)
    except ModelUnsupported:
        return _estimator(model, job)
    if steps:
        return _estimator(model, job, ensemble)
    original = tree_reader.SklearnOriginal(model)
    return trees.converted(TreeModel("scikit-learn", ensemble, original), job)


def _estimator(model: Any, job: Conversion, trees_last: Ensemble | None = None) -> Converted:
    labels, words = _labels(model), sklearn_words.of(model)
    for part in sklearn_words.parts(model):
        coded = hasattr(part, "categories_") and not sklearn_words.has_words(part)
        if coded and getattr(part, "handle_unknown", "") == "error":
            raise ModelUnsupported(
                f"{type(part).__name__} refuses categories that it never saw; ONNX would answer",
                hint='fit OrdinalEncoder with handle_unknown="use_encoded_value", or encode before '
                "the model",
            )
    names = tuple(map(str, getattr(model, "feature_names_in_", ())))
    original, categories = model, dict[str, Categories]()
    if words is not None:
        original, model = words.original, words.places
        names, categories = words.columns, words.named()
    rows = _probes(model, len(names) or int(model.n_features_in_))
    rows = _with_edges(model, rows) if words is None else words.draw(rows)
    if (given := samples_of(job, (FEATURES,))) is not None:
        rows = np.concatenate([given[FEATURES].astype(np.float32), rows])
    said = rows.astype(np.float64) if words is None else words.spoken(rows)
    problem: Exception = ModelUnsupported(f"{_name(model)} has no form in ONNX", hint=_OTHERS)
    own = neighbours.as_onnx(model, _numbers(model))
    others = _attempts(model if trees_last is None else model[:-1], rows.shape[1])
    for data in others if own is None else itertools.chain([own], others):
        wanted = _answers(original, said)
        try:
            if data is own:
                file = bytes(data.SerializeToString())
            elif trees_last is None:
                classes = getattr(model, "classes_", None)
                width = next(iter(wanted.values())).shape[1]
                file = finished(data, _numbers(model), classes, width)
            else:
                file = then_trees(data, trees_last)
            made = Converted(
                file, f"scikit-learn {version('scikit-learn')}", labels, names,
                {FEATURES: rows.astype(_input_dtype(data))}, wanted, categories,
            )  # fmt: skip
            session = _session(made.model)
            require_same(made, session)
            _require_classes(original, said, made, session)
        except ModelUnsupported as error:
            problem = error
        else:
            return made
    raise problem


def _session(data: bytes) -> Any:
    """Open a graph in onnxruntime.

    Raises:
        ModelUnsupported: it has no such operator.
    """
    import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415 - it ships no stubs

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base class
        raise ModelUnsupported(f"onnxruntime does not load it: {error!r:.200}") from error


def _attempts(model: Any, features: int) -> Iterator[onnx.ModelProto]:
    """Yield the estimator in doubles, then in float32; what skl2onnx refuses is left out.

    Raises:
        ModelUnsupported: it refuses both; the message is its own.
    """
    from skl2onnx.common.data_types import (  # type: ignore[import-untyped]  # noqa: PLC0415
        DoubleTensorType,
        FloatTensorType,
    )

    problem: Exception | None = None
    for kind in (DoubleTensorType, FloatTensorType):
        try:
            made = _converted(model, kind([None, features]))
        except Exception as error:  # whatever a converter of somebody raises
            problem = problem or error
        else:
            yield made
    if problem is not None:
        raise ModelUnsupported(
            f"{_name(model)} has no form in ONNX: {problem!r:.200}", hint=_OTHERS
        ) from problem


def _options(model: Any) -> Iterator[dict[int, dict[str, bool]] | None]:
    """Yield what makes a classifier answer an array, and scores where it has no probabilities.

    Not every converter knows each option, and all refuse one that they do not know (`NameError`).
    """
    if not hasattr(model, "classes_"):
        yield None
        return
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    array, raw = {"zipmap": False}, {"raw_scores": not hasattr(model, "predict_proba")}
    for chosen in (array | raw, raw, array, {}):
        yield {id(last): chosen} if chosen else None


def _converted(model: Any, kind: Any) -> onnx.ModelProto:
    """Convert to one type of numbers.

    Raises:
        Exception: whatever a converter of somebody raises.
    """
    from skl2onnx import to_onnx  # type: ignore[import-untyped]  # noqa: PLC0415 - it ships no stubs

    problem: Exception = ValueError("no options")
    for options in _options(model):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made: onnx.ModelProto = to_onnx(
                    model, initial_types=[(FEATURES, kind)], options=options, target_opset=OPSETS
                )
        except NameError as error:
            problem = error
        else:
            return made
    raise problem


def _labels(model: Any) -> tuple[str, ...]:
    """Return the names of the classes; none of a regression.

    Raises:
        ModelUnsupported: neither of them, or a classifier of several outputs.
    """
    from sklearn.base import is_classifier, is_regressor  # type: ignore[import-untyped]  # noqa: PLC0415

    if is_regressor(model):
        return ()
    if not is_classifier(model) or not hasattr(model, "classes_"):
        raise ModelUnsupported(f"{_name(model)} is not converted, or not fitted", hint=_OTHERS)
    if isinstance(model.classes_, list):
        raise ModelUnsupported("a classifier of several outputs", hint="train one for each")
    return tuple(map(str, model.classes_))


def _name(model: Any) -> str:
    steps = getattr(model, "steps", None)
    return " → ".join(type(one).__name__ for _, one in steps) if steps else type(model).__name__


def _input_dtype(model: onnx.ModelProto) -> np.dtype[Any]:
    kind = model.graph.input[0].type.tensor_type.elem_type
    return np.dtype(helper.tensor_dtype_to_np_dtype(kind))


def _numbers(model: Any) -> str:
    """Return the name of the output of numbers."""
    if not hasattr(model, "classes_"):
        return "value"
    return "probabilities" if hasattr(model, "predict_proba") else "scores"


def _answers(model: Any, rows: Array) -> dict[str, Array]:
    """Return what the estimator answers; classes as places in `classes_`."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of names of columns that an array does not have
        name = _numbers(model)
        if name == "value":
            return {name: np.asarray(model.predict(rows), np.float32).reshape(len(rows), -1)}
        numbers = (model.predict_proba if name == "probabilities" else model.decision_function)(
            rows
        )
        numbers = np.asarray(numbers, np.float32).reshape(len(rows), -1)
        if name == "scores" and len(model.classes_) == 2:
            numbers = np.concatenate([-numbers, numbers], 1)
        places = np.searchsorted(model.classes_, model.predict(rows))
    return {name: numbers, "class": places.astype(np.int64)}


def _require_classes(model: Any, said: Array, made: Converted, session: Any) -> None:
    """Return if classes are the estimator's also where its probabilities are alike.

    What decides are its decisions, of which probabilities may be cut off at 0 and 1.

    Args:
        said: the rows as the estimator takes them.

    Raises:
        ConversionWrong: one is not.
    """
    if "class" not in made.answers or not hasattr(model, "decision_function"):
        return
    rows = made.rows[FEATURES]
    decisions = np.asarray(model.decision_function(said)).reshape(len(rows), -1)
    (found,) = session.run(["class"], {FEATURES: rows})
    other = (found != made.answers["class"]) & ~close_calls(decisions)
    if other.any():
        row = int(np.flatnonzero(other)[0])
        raise ConversionWrong(
            f"class is {found[row]}, the original answers {made.answers['class'][row]} to "
            f"{rows[row][:8].tolist()}: its probabilities do not tell classes apart",
            hint="train LogisticRegression, or a loss without probabilities, as SGDClassifier's "
            "hinge",
        )


def _probes(model: Any, features: int) -> Array:
    """Draw rows such as the model was trained on, as far as it tells: float32 [n, features]."""
    return _drawn(model, features, np.random.default_rng(0)).astype(np.float32)


def _with_edges(model: Any, drawn: Array) -> Array:
    """Return rows, and behind them rows far away, where functions end, and one of zeros.

    None are added of a model of counts, or of one that refuses them.
    """
    if any(hasattr(part, "feature_log_prob_") for part in sklearn_words.parts(model)):
        return drawn
    edges = np.concatenate([_FAR * drawn, np.zeros_like(drawn[:1])])
    try:
        _answers(model, edges.astype(np.float64))
    except Exception:  # whatever an estimator says of them
        return drawn
    return np.concatenate([drawn, edges])


def _drawn(model: Any, features: int, dice: np.random.Generator) -> Array:
    noise: Array = dice.standard_normal((ROWS, features))
    for _, part in getattr(model, "steps", [("", model)]):
        if hasattr(part, "transformers_"):
            for _, one, given in part.transformers_:
                if not isinstance(one, str) and np.size(given):
                    noise[:, np.atleast_1d(given)] = _drawn(one, np.size(given), dice)
            break
        if (seen := getattr(part, "_fit_X", getattr(part, "support_vectors_", None))) is not None:
            if not isinstance(seen, np.ndarray) or seen.shape[1] != features:
                continue
            picked = seen[dice.integers(0, len(seen), ROWS)]
            return np.asarray(picked + 0.1 * seen.std(0) * noise)
        if getattr(part, "n_features_in_", features) != features:
            continue  # behind what changes the number of columns
        if getattr(part, "mean_", None) is not None and hasattr(part, "scale_"):
            return np.asarray(part.mean_ + part.scale_ * noise)
        if hasattr(part, "data_min_"):
            spread = part.data_max_ - part.data_min_
            return np.asarray(part.data_min_ + spread * dice.random((ROWS, features)))
        if hasattr(part, "theta_"):
            picked = dice.integers(0, len(part.theta_), ROWS)
            return np.asarray(part.theta_[picked] + np.sqrt(part.var_[picked]) * noise)
        if hasattr(part, "feature_log_prob_"):  # counts
            return np.asarray(np.abs(4 * noise).round())
    return noise
