"""Pipelines of scikit-learn with columns of words: the original against what a requester gets.

Fitted on data frames, saved with skops, converted, and asked as people ask: rows with their words.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import is_classifier
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC

from oracle.errors import InputInvalid
from oracle.protocol.shapes import FeatureSpec
from oracle.services import formats
from tests.worker.importing.originals import save, served
from worker.errors import ModelUnsupported
from worker.importing import converting, scikit_learn
from worker.importing.converted import Categories, Conversion, Converted

pytestmark = pytest.mark.filterwarnings("ignore")  # of libraries about each other
CLOSE = 1e-5
WORDS = ["colour", "size"]
Make = Callable[[], Any]


def table(rows: int, seed: int, *, new: bool = False) -> tuple[Any, Any]:
    """Return a data frame and classes; `new`: with words that no training set has."""
    dice = np.random.default_rng(seed)
    colours = ["red", "green", "blue", "deep blue", *(["Red", "", "grün"] if new else [])]
    sizes = ["S", "M", "L", *(["XXL"] if new else [])]
    frame = pd.DataFrame({
        "price": dice.normal(40, 9, rows), "colour": dice.choice(colours, rows),
        "code": dice.choice(["a", "b", "c"], rows), "weight": dice.normal(0, 2, rows),
        "size": dice.choice(sizes, rows),
    })  # fmt: skip
    score = (frame["price"] - 40) / 9 + 1.5 * (frame["colour"] == "red") - (frame["size"] == "L")
    return frame, np.digitize(score + dice.normal(0, 0.5, rows), [0.0, 1.2])


def columns(encoder: Any, **options: Any) -> ColumnTransformer:
    """Return scalers of numbers beside an encoder of words; `code` is dropped."""
    return ColumnTransformer(
        [("words", encoder, WORDS), ("numbers", StandardScaler(), ["weight", "price"])], **options
    )


KEPT = {
    "one-hot": lambda: make_pipeline(
        columns(OneHotEncoder(handle_unknown="ignore")), LogisticRegression()
    ),
    "one-hot, dense, one left out": lambda: make_pipeline(
        columns(OneHotEncoder(handle_unknown="ignore", sparse_output=False, drop="first")),
        Ridge(),
    ),
    "ordinal": lambda: make_pipeline(
        columns(OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)), SVC()
    ),
    "filled": lambda: Pipeline([
        ("columns", columns(
            make_pipeline(SimpleImputer(strategy="constant", fill_value="none"),
                          OneHotEncoder(handle_unknown="ignore")),
        )),
        ("last", LogisticRegression()),
    ]),
    "forest": lambda: make_pipeline(
        columns(OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)),
        RandomForestRegressor(20, max_depth=5, random_state=0),
    ),
    "boosting": lambda: make_pipeline(
        columns(OneHotEncoder(handle_unknown="ignore", sparse_output=False)),
        HistGradientBoostingClassifier(max_iter=20),
    ),
}  # fmt: skip
STRICT = {
    "one-hot": lambda: make_pipeline(columns(OneHotEncoder()), LogisticRegression()),
    "ordinal": lambda: make_pipeline(
        columns(OrdinalEncoder(), remainder="drop"), RandomForestRegressor(20, max_depth=5)
    ),
}


def built(make: Make, folder: Path) -> tuple[Any, Path, Any]:
    """Fit, save and convert a pipeline; return it, the ONNX file, and what model.json says."""
    frame, classes = table(600, 0)
    model = make().fit(frame, classes)
    kind, path = save(model, folder)
    made = scikit_learn.convert(Conversion(kind, str(path)))
    (folder / "model.onnx").write_bytes(made.model)
    return model, folder / "model.onnx", {"labels": made.labels, **converting.words(made, {})}


def asked(frame: Any, said: Any) -> Any:
    """Return the tensor of rows that are given as objects, by the path that requests take."""
    features = [
        FeatureSpec(
            name=one["name"], categories=tuple(one.get("categories", ())),
            other=one.get("other", False),
        )
        for one in said["features"]
    ]  # fmt: skip
    names = [one["name"] for one in said["features"]]
    return np.array(formats._rows(frame[names].to_dict("records"), features), np.float64)


def same(model: Any, frame: Any, file: Path, said: Any) -> None:
    """Hold answers to the original's: the same classes, numbers within 1e-5."""
    found = served(file, {"features": asked(frame, said)})
    if not is_classifier(model):
        np.testing.assert_allclose(found["value"][:, 0], model.predict(frame), rtol=CLOSE)
        return
    assert [said["labels"][at] for at in found["class"]] == model.predict(frame).astype(
        str
    ).tolist()
    if hasattr(model, "predict_proba"):
        np.testing.assert_allclose(found["probabilities"], model.predict_proba(frame), atol=CLOSE)


@pytest.mark.parametrize("name", KEPT)
def test_build__words_and_an_answer_for_others__as_the_original_on_a_whole_set(
    name: str, tmp_path: Path
) -> None:
    model, file, said = built(KEPT[name], tmp_path)
    held, _ = table(500, 1, new=True)
    assert not set(held["colour"]) <= {"red", "green", "blue", "deep blue"}
    same(model, held, file, said)
    by_name = {one["name"]: one for one in said["features"]}
    assert list(by_name) == ["price", "colour", "weight", "size"]  # nothing reads `code`
    assert by_name["size"] == {"name": "size", "categories": ["L", "M", "S"], "other": True}
    assert by_name["price"] == {"name": "price"}


@pytest.mark.parametrize("name", STRICT)
def test_build__words_without_an_answer_for_others__the_same_and_none_for_unseen_ones(
    name: str, tmp_path: Path
) -> None:
    model, file, said = built(STRICT[name], tmp_path)
    held, _ = table(500, 1)
    same(model, held, file, said)
    held.loc[3, "size"] = "XXL"
    with pytest.raises(ValueError, match="unknown categories"):
        model.predict(held)
    with pytest.raises(InputInvalid, match="feature size: the model never saw the category 'XXL'"):
        asked(held, said)


def test_build__words_in_an_array_of_objects__columns_have_numbers(tmp_path: Path) -> None:
    rows = np.array([["a", "x"], ["b", "y"], ["b", "x"], ["a", "y"]] * 9, object)
    model = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(rows, rows[:, 0] == "a")
    _, path = save(model, tmp_path)
    converting.build(path, tmp_path / "out")
    said = json.loads((tmp_path / "out" / "model.json").read_text())
    assert said["features"] == [
        {"name": "x0", "categories": ["a", "b"]}, {"name": "x1", "categories": ["x", "y"]},
    ]  # fmt: skip
    found = served(tmp_path / "out" / "model.onnx", {"features": np.array([[1.0, 0.0], [0, 1]])})
    wanted = model.predict_proba(np.array([["b", "x"], ["a", "y"]], object))
    np.testing.assert_allclose(found["probabilities"], wanted, atol=CLOSE)


def test_convert__samples_of_places__are_compared_and_others_refused(tmp_path: Path) -> None:
    frame, classes = table(600, 0)
    kind, path = save(STRICT["one-hot"]().fit(frame, classes), tmp_path)
    job = Conversion(kind, str(path), str(tmp_path / "samples.npz"))
    given = np.array([[40.0, 3, 0.5, 2], [30.0, 0, 1.5, 0]])
    np.savez(tmp_path / "samples.npz", features=given)
    np.testing.assert_array_equal(scikit_learn.convert(job).rows["features"][:2], given)
    np.savez(tmp_path / "samples.npz", features=given + np.array([0, 1, 0, 0]))
    with pytest.raises(ModelUnsupported, match=r"4 in column colour, .* 0 to 3"):
        scikit_learn.convert(job)


COLOURS = Converted(
    b"", "", columns=("price", "colour"), categories={"colour": Categories(("blue", "red"))}
)


@pytest.mark.parametrize(
    ("features", "refusal"),
    [
        ([{"name": "colour"}, {"name": "price"}], "columns in another order"),
        ([{"name": "price"}, {"name": "colour", "categories": ["red", "blue"]}],
         "other categories of colour"),
        ([{"name": "price"}, {"name": "colour", "categories": ["blue"]}],
         "other categories of colour"),
        ([{"name": "price"}, {"name": "colour", "categories": ["blue", "red"], "other": True}],
         "other categories of colour"),
    ],
)  # fmt: skip
def test_words__model_json_in_another_order__refused(features: Any, refusal: str) -> None:
    with pytest.raises(InputInvalid, match=refusal) as caught:
        converting.words(COLOURS, {"features": features})
    assert caught.value.hint.startswith("in th")


def test_words__model_json_without_words_or_with_its_own__keeps_places() -> None:
    told = converting.words(COLOURS, {"features": [{"name": "price"}, {"name": "colour"}]})
    assert told["features"][1] == {"name": "colour", "categories": ["blue", "red"]}
    own = [{"name": "price", "unit": "€"}, {"name": "colour", "categories": ["bleu", "rouge"]}]
    assert converting.words(COLOURS, {"features": own}) == {"features": own}


def refused(model: Any, frame: Any, folder: Path) -> str:
    _, path = save(model.fit(frame, np.arange(len(frame)) % 2), folder)
    with pytest.raises(ModelUnsupported) as caught:
        scikit_learn.convert(Conversion("scikit-learn", str(path)))
    assert caught.value.hint
    return str(caught.value)


def test_convert__words_that_have_no_place__are_refused_by_name(tmp_path: Path) -> None:
    frame, _ = table(60, 0)
    frame.loc[5, "size"] = None
    missing = make_pipeline(columns(OneHotEncoder(handle_unknown="ignore")), LogisticRegression())
    assert "column size has categories that are no words: nan" in refused(missing, frame, tmp_path)
    frame, _ = table(60, 0)
    marked = make_pipeline(SimpleImputer(missing_values="M", strategy="most_frequent"),
                           OneHotEncoder())  # fmt: skip
    told = refused(make_pipeline(columns(marked), LogisticRegression()), frame, tmp_path)
    assert "SimpleImputer of words with missing_values" in told
    twice = make_column_transformer(
        (OneHotEncoder(), WORDS), (OneHotEncoder(categories=[["L", "M", "S", "XL"]]), ["size"])
    )
    told = refused(make_pipeline(twice, LogisticRegression()), frame, tmp_path)
    assert "two encoders know other words of column size" in told


def test_convert__missing_words_that_are_filled__are_words(tmp_path: Path) -> None:
    frame, classes = table(300, 0)
    frame.loc[::7, "size"] = None
    _, path = save(KEPT["filled"]().fit(frame, classes), tmp_path)
    made = scikit_learn.convert(Conversion("scikit-learn", str(path)))
    assert made.categories["size"].words == ("L", "M", "S", "none")
