"""Real pipelines of Spark ML, made, saved and read by Spark itself in a Java machine.

`scripts/clients.sh` puts pyspark into build/spark. `make test-clients` runs these tests.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from oracle.errors import ConfigInvalid, InputInvalid
from oracle.services import folders, formats
from tests.worker.importing.originals import served, split
from worker.errors import ModelUnsupported, PickleRefused, WeightsInvalid
from worker.importing import converting, frame
from worker.importing.converted import Conversion

pytestmark = [pytest.mark.clients, pytest.mark.real]
ROOT = Path(__file__).parents[3]
PACKAGES = ROOT / "build" / "spark"
CLASSES = ("logistic", "forest", "tree")
# What an owner's script does: fit, save, and predict a test set that was not trained on
TRAIN = """
import json, sys
sys.path.append(sys.argv[1])
from pyspark.ml import Pipeline
from pyspark.ml.classification import *
from pyspark.ml.feature import *
from pyspark.ml.regression import *
from pyspark.sql import SparkSession

out = sys.argv[2]
quick = {"spark.ui.enabled": "false", "spark.sql.codegen.wholeStage": "false",
         "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
         "spark.sql.shuffle.partitions": "1"}
spark = SparkSession.builder.master("local[1]").config(map=quick).getOrCreate()

def fit(name, table, stages, *columns):
    rows = spark.read.json(f"file://{out}/{table}.json")
    model = Pipeline(stages=stages).fit(rows.where("held = false"))
    model.write().overwrite().save(f"file://{out}/{name}")
    found = model.transform(rows.where("held").orderBy("id")).select(*columns).collect()
    answers = [[one.toArray().tolist() if hasattr(one, "toArray") else one for one in row]
               for row in found]
    open(f"{out}/{name}.answers", "w").write(json.dumps(answers))

pixels = VectorAssembler(inputCols=[f"p{n}" for n in range(64)], outputCol="pixels")
scaled = StandardScaler(inputCol="pixels", outputCol="features", withMean=True)
both = ("probability", "prediction")
fit("logistic", "digits", [pixels, scaled, LogisticRegression(maxIter=12)], *both)
plain = {"featuresCol": "pixels", "seed": 1}
fit("forest", "digits", [pixels, RandomForestClassifier(numTrees=6, **plain)], *both)
fit("tree", "digits", [pixels, DecisionTreeClassifier(**plain)], *both)

colours = StringIndexer(inputCols=["colour", "shape"], outputCols=["c", "s"])
kept = StringIndexer(inputCols=["colour", "shape"], outputCols=["c", "s"], handleInvalid="keep")
hot = OneHotEncoder(inputCols=["c"], outputCols=["hot"])
whole = VectorAssembler(inputCols=["size", "hot", "s"], outputCol="features")
words = VectorAssembler(inputCols=["size", "c", "s"], outputCol="features")
named = StringIndexer(inputCol="kind", outputCol="label")
fit("words", "table", [named, colours, hot, whole, LogisticRegression(maxIter=9)], *both)
fit("kept", "table", [named, kept, hot, whole, LinearSVC(maxIter=9)], "rawPrediction", "prediction")
fit("boosted", "table", [named, colours, words, GBTClassifier(maxIter=4)], *both)
target = {"labelCol": "price"}
values = MinMaxScaler(inputCol="features", outputCol="between")
fit("price", "table", [colours, words, GBTRegressor(maxIter=3, **target)], "prediction")
line = LinearRegression(featuresCol="between", **target)
fit("line", "table", [colours, hot, whole, values, line], "prediction")
"""


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("\n".join(map(json.dumps, rows)))


@pytest.fixture(autouse=True)
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say where pyspark is, as owners do."""
    monkeypatch.setenv(frame.SPARK, str(PACKAGES))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pipelines on the handwritten digits and on a table with words, with Spark's own answers."""
    folder = tmp_path_factory.mktemp("spark")
    images, labels = load_digits(return_X_y=True)
    write(folder / "digits.json", [
        {"id": n, "held": n % 4 == 0, "label": float(label),
         **{f"p{k}": float(value) for k, value in enumerate(row)}}
        for n, (row, label) in enumerate(zip(images, labels, strict=True))
    ])  # fmt: skip
    dice, rows = np.random.default_rng(3), []
    for n in range(400):
        size, colour, shape = dice.normal(), *(int(dice.integers(0, k)) for k in (4, 6))
        score = size + (colour == 2) - (shape in (1, 4)) + 0.3 * dice.normal()
        rows.append({
            "id": n, "held": n % 4 == 0, "size": size, "kind": "yes" if score > 0 else "no",
            "colour": ("red", "green", "blue", "grey")[colour], "shape": "abcdef"[shape],
            "price": 3 * score,
        })  # fmt: skip
    write(folder / "table.json", rows)
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, PACKAGES, folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def built(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return how a pipeline is converted, once: the folder that can be published."""
    whole = tmp_path_factory.mktemp("built")

    def build(name: str) -> Path:
        if not (whole / name).exists():
            converting.build(saved / name, whole / name)
        return whole / name

    return build


def asked(folder: Path, saved: Path) -> np.ndarray[Any, Any]:
    """Return the test set as a requester gives it: rows as objects, with their words."""
    draft = folders.read(folder, lambda *_: None)
    columns = [feature.name for feature in draft.features]
    held = [row for row in map(json.loads, (saved / "table.json").open()) if row["held"]]
    rows = [{name: row[name] for name in columns} for row in held]
    return formats.from_json(rows, draft)["features"]


@pytest.mark.parametrize("name", CLASSES)
def test_convert__digits__answers_as_spark_on_the_whole_test_set(
    name: str, saved: Path, built: Callable[[str], Path]
) -> None:
    _, _, held, labels = split(load_digits)
    answers = served(built(name) / "model.onnx", {"features": held})
    wanted, classes = zip(*json.loads((saved / f"{name}.answers").read_text()), strict=True)
    assert np.array_equal(answers["class"], classes)
    np.testing.assert_allclose(answers["probabilities"], wanted, atol=1e-5, rtol=0)
    assert (answers["class"] == labels).mean() > 0.6
    origin = folders.read(built(name), lambda *_: None).origin
    assert origin is not None
    assert (origin.format, origin.version) == ("spark", "spark 4.3.0")


@pytest.mark.parametrize(
    ("name", "numbers"),
    [("words", "probabilities"), ("kept", "scores"), ("boosted", "probabilities"),
     ("price", "value"), ("line", "value")],
)  # fmt: skip
def test_convert__table_with_words__answers_as_spark_on_the_whole_test_set(
    name: str, numbers: str, saved: Path, built: Callable[[str], Path]
) -> None:
    answers = served(built(name) / "model.onnx", {"features": asked(built(name), saved)})
    wanted, *classes = zip(*json.loads((saved / f"{name}.answers").read_text()), strict=True)
    np.testing.assert_allclose(
        answers[numbers], np.reshape(wanted, (len(wanted), -1)), atol=1e-5, rtol=1e-5
    )
    if classes:
        assert np.array_equal(answers["class"], classes[0])
        labels = folders.read(built(name), lambda *_: None).labels
        assert sorted(labels or ()) == ["no", "yes"]


def test_convert__word_that_was_never_seen__refused_or_as_spark_keeps_it(
    built: Callable[[str], Path],
) -> None:
    row = {"size": 0.5, "colour": "purple", "shape": "a"}
    strict, kept = (folders.read(built(name), lambda *_: None) for name in ("words", "kept"))

    with pytest.raises(InputInvalid, match="never saw the category 'purple'") as caught:
        formats.from_json([row], strict)
    assert "red" in caught.value.hint

    taken = formats.from_json([row], kept)["features"]
    assert taken[0, [feature.name for feature in kept.features].index("colour")] == 4
    assert np.isfinite(served(built("kept") / "model.onnx", {"features": taken})["scores"]).all()
    # Whoever writes places past all checks gets no number from the graph itself
    columns = [feature.name for feature in strict.features]
    past = np.array([[{"size": 0.5, "colour": place, "shape": 0}[name] for name in columns]
                     for place in (4, -1, 0.5, 1)])  # fmt: skip
    numbers = served(built("words") / "model.onnx", {"features": past})["probabilities"]
    assert np.isfinite(numbers).all(1).tolist() == [False, False, False, True]


def changed(saved: Path, tmp_path: Path, old: str, new: str) -> Path:
    """Return a copy of a pipeline with other words in the metadata of its stages."""
    folder = tmp_path / "changed"
    shutil.copytree(saved / "tree", folder)
    for part in folder.glob("stages/*/metadata/*part-*"):
        if part.name.startswith("."):
            part.unlink()  # its checksum
        else:
            part.write_text(part.read_text().replace(old, new))
    return folder


@pytest.mark.parametrize(
    ("old", "new", "error", "says"),
    [
        ("org.apache.spark.ml.feature.VectorAssembler", "evil.Code", PickleRefused, "evil.Code"),
        ("VectorAssembler", "PCAModel", ModelUnsupported, "PCAModel has no form"),
        ("feature.VectorAssembler", "param.VectorAssembler", ModelUnsupported, "no form"),
        ('"paramMap"', '"paramMap":{"language":"Python"},"was"', WeightsInvalid, "no metadata"),
        ("{", "[" * 100_000, WeightsInvalid, "no metadata"),
    ],
)
def test_convert__class_that_is_not_known__refused_before_spark_starts(
    old: str, new: str, error: type[Exception], says: str, saved: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=says):
        frame.convert(
            Conversion("spark", str(changed(saved, tmp_path, old, new))),
            {**os.environ, frame.SPARK: str(tmp_path)},  # where no Spark is
        )


def test_convert__damaged_parquet__is_refused(saved: Path, tmp_path: Path) -> None:
    folder = changed(saved, tmp_path, "", "")
    for part in folder.glob("stages/*/data/*.parquet"):
        part.write_bytes(part.read_bytes()[:200])
    for checksum in folder.glob("stages/*/data/.*.crc"):
        checksum.unlink()
    with pytest.raises(WeightsInvalid, match="is damaged"):
        frame.convert(Conversion("spark", str(folder)))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"JAVA_HOME": "/nowhere"}, "there is no Java in /nowhere"),
        ({frame.SPARK: "/nowhere"}, "No module named 'pyspark'"),
    ],
)
def test_convert__java_or_pyspark_is_missing__says_what_to_install(
    changes: dict[str, str], says: str, saved: Path
) -> None:
    with pytest.raises(ConfigInvalid, match=says) as caught:
        frame.convert(Conversion("spark", str(saved / "tree")), {**os.environ, **changes})
    assert "Java 17" in caught.value.hint
    assert frame.SPARK in caught.value.hint
