"""Real files of TensorFlow and Keras, made and read in TensorFlow's own environment.

`scripts/clients.sh` makes it in build/tensorflow. `make test-clients` runs these tests.
"""

import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from oracle import origins
from oracle.protocol.manifest import Manifest, RuntimeSpec, TensorSpec
from tests.worker.importing.originals import served, split
from worker import exporting
from worker.errors import ArchiveRefused, ModelUnsupported, PickleRefused, WeightsInvalid
from worker.importing import converting, frame
from worker.importing.converted import Conversion

pytestmark = [pytest.mark.clients, pytest.mark.real]
ROOT = Path(__file__).parents[3]
PYTHON = ROOT / "build" / "tensorflow" / "bin" / "python"
QUIET = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


@pytest.fixture(autouse=True)
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say where TensorFlow is, as owners do."""
    monkeypatch.setenv(frame.TENSORFLOW, str(PYTHON))


def python(*words: Any) -> None:
    """Run TensorFlow's Python."""
    done = subprocess.run(
        [PYTHON, *map(str, words)], env=QUIET, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the example trains and saves, with its own answers to the test set."""
    folder = tmp_path_factory.mktemp("digits")
    rows, labels, held, _ = split(load_digits)
    np.savez(folder / "digits.npz", images=rows, labels=labels)
    np.save(folder / "held.npy", held.astype(np.float32) / 16)
    python(ROOT / "examples" / "softmax_tensorflow" / "train.py", folder / "digits.npz", folder)
    python(
        "-c",
        "import keras, numpy as np, sys; place = sys.argv[1];"
        "model = keras.models.load_model(place + '/digits.keras');"
        "np.save(place + '/wanted.npy', model.predict(np.load(place + '/held.npy')))",
        folder,
    )  # fmt: skip
    return folder


@pytest.mark.parametrize(
    ("name", "kind"), [("saved_model", "saved-model"), ("digits.keras", "keras")]
)
def test_convert__softmax_regression__answers_as_tensorflow_on_the_whole_test_set(
    name: str, kind: str, digits: Path, tmp_path: Path
) -> None:
    report = converting.build(digits / name, tmp_path / "out")

    held, wanted = (np.load(digits / file) for file in ("held.npy", "wanted.npy"))
    (answer,) = served(tmp_path / "out" / "model.onnx", {"image": held}).values()
    np.testing.assert_allclose(answer, wanted, atol=1e-5)
    assert np.array_equal(answer.argmax(1), wanted.argmax(1))
    assert (answer.argmax(1) == split(load_digits)[3]).mean() > 0.9
    assert (report["origin"], report["version"]) == (kind, "tensorflow 2.21.0")


def test_export__saved_model_that_was_imported__answers_as_the_original(
    digits: Path, tmp_path: Path
) -> None:
    converting.build(digits / "saved_model", tmp_path / "out")
    path = tmp_path / "out" / "model.onnx"
    said = json.loads((tmp_path / "out" / "model.json").read_text())
    specs = [
        tuple(TensorSpec(one["name"], one["dtype"], tuple(one["shape"])) for one in said[what])
        for what in ("inputs", "outputs")
    ]
    manifest = Manifest(
        name="digits", files=(), inputs=specs[0], outputs=specs[1],
        runtime=RuntimeSpec("onnx", "model.onnx"),
    )  # fmt: skip
    found = exporting.export(manifest, {"model.onnx": path}, "saved-model", tmp_path / "saved")
    assert found["farthest"] <= exporting.CLOSE
    python(
        "-c",
        "import sys, numpy as np, tensorflow as tf; saved, place = sys.argv[1:];"
        "model = tf.saved_model.load(saved).signatures['serving_default'];"
        "(answer,) = model(image=tf.constant(np.load(place + '/held.npy'))).values();"
        "np.save(saved + '/again.npy', answer.numpy())",
        tmp_path / "saved", digits,
    )  # fmt: skip
    again, wanted = np.load(tmp_path / "saved" / "again.npy"), np.load(digits / "wanted.npy")
    np.testing.assert_allclose(again, wanted, atol=1e-5)
    assert np.array_equal(again.argmax(1), wanted.argmax(1))


SAVER = """
import sys, numpy as np, tensorflow as tf
v1, out = tf.compat.v1, sys.argv[1]
v1.disable_eager_execution()
with np.load(out + "/digits.npz") as data:
    images, labels = data["images"] / 16, data["labels"]
image = v1.placeholder(tf.float32, [None, 64], name="image")
keep = v1.placeholder_with_default(tf.constant(0.0), [], name="keep")
weights = v1.get_variable("weights", [64, 10], initializer=v1.zeros_initializer())
bias = v1.get_variable("bias", [10], initializer=v1.zeros_initializer())
logits = v1.matmul(image, weights) + bias + keep
answer = v1.nn.softmax(logits, name="probabilities")
with v1.Session() as session:
    session.run(v1.global_variables_initializer())
    v1.train.Saver().save(session, out + "/plain/digits")
    truth = v1.placeholder(tf.int64, [None], name="truth")
    loss = v1.nn.sparse_softmax_cross_entropy_with_logits(labels=truth, logits=logits)
    loss = v1.reduce_mean(loss)
    step = v1.train.GradientDescentOptimizer(0.5).minimize(loss)
    for _ in range(150):
        session.run(step, {image: images, truth: labels})
    v1.train.Saver().save(session, out + "/trained/digits", global_step=150)
    np.save(out + "/saver.npy", session.run(answer, {image: np.load(out + "/held.npy")}))
    with tf.control_dependencies([v1.write_file(out + "/pwned", "x")]):
        tf.identity(answer, name="evil")
    v1.train.Saver().save(session, out + "/evil/digits")
"""


@pytest.fixture(scope="module")
def savers(digits: Path) -> Path:
    """Checkpoints of TF1's Saver: a plain graph, one with its training, one that writes a file."""
    python("-c", SAVER, digits)
    return digits


def test_convert__checkpoint_of_a_saver__asks_for_names_and_answers_as_tensorflow(
    savers: Path, tmp_path: Path
) -> None:
    source = tmp_path / "trained"
    shutil.copytree(savers / "trained", source)
    with pytest.raises(ModelUnsupported, match="which of its nodes answer") as caught:
        converting.build(source, tmp_path / "out")
    assert "model.json" in caught.value.hint
    assert "probabilities" in caught.value.hint
    about = {
        "name": "digits", "runtime": {"format": "checkpoint", "entry": "digits-150.meta"},
        "outputs": [{"name": "probabilities"}],
    }  # fmt: skip
    (source / "model.json").write_text(json.dumps(about))

    report = converting.build(source, tmp_path / "out")

    held, wanted = np.load(savers / "held.npy"), np.load(savers / "saver.npy")
    (answer,) = served(tmp_path / "out" / "model.onnx", {"image": held}).values()
    np.testing.assert_allclose(answer, wanted, atol=1e-5)
    assert np.array_equal(answer.argmax(1), wanted.argmax(1))
    assert (answer.argmax(1) == split(load_digits)[3]).mean() > 0.9
    assert report["origin"] == "checkpoint"
    assert report["sha256"] == origins.digest(savers / "trained").hex()  # its weights, too


def test_convert__checkpoint_with_one_answer__asks_nothing(savers: Path, tmp_path: Path) -> None:
    assert converting.build(savers / "plain", tmp_path / "out")["rows"] == 64


@pytest.mark.parametrize(
    ("name", "outputs", "says"),
    [("evil", ("evil",), "WriteFile"), ("plain", ("nothing",), "which of its nodes answer")],
)
def test_convert__checkpoint_that_reaches_out_or_has_no_such_node__refused(
    name: str, outputs: tuple[str, ...], says: str, savers: Path
) -> None:
    with pytest.raises(ModelUnsupported, match=says):
        frame.convert(Conversion("checkpoint", str(savers / name), outputs=outputs))
    assert not (savers / "pwned").exists()


def test_convert__checkpoint_without_weights__is_damaged(savers: Path, tmp_path: Path) -> None:
    shutil.copy(savers / "plain" / "digits.meta", tmp_path)
    with pytest.raises(WeightsInvalid, match="does not load it"):
        frame.convert(Conversion("checkpoint", str(tmp_path / "digits.meta")))


EVIL = """
import sys, keras, tensorflow as tf
out = sys.argv[1]
class Evil(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 64], tf.float32)])
    def serve(self, x):
        tf.io.write_file(out + "/pwned", "x")
        read = tf.strings.length(tf.io.read_file("/etc/hostname"))
        return tf.reduce_sum(x) + tf.cast(read, tf.float32)
evil = Evil()
tf.saved_model.save(evil, out + "/evil", signatures=evil.serve)
model = keras.Sequential([keras.Input((64,)), keras.layers.Lambda(lambda t: t * 2)])
model.save(out + "/lambda.keras")
"""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel that writes a file, a Lambda layer, and files that are none of TensorFlow's."""
    folder = tmp_path_factory.mktemp("hostile")
    python("-c", EVIL, folder)
    with zipfile.ZipFile(folder / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b"0" * 2**28)
    (folder / "text.keras").write_text("no archive")
    for name, data in (("cut", b"\x0a\xff\xff\xff\x7f"), ("deep", b"\x12" * 4000)):
        (folder / name).mkdir()
        (folder / name / "saved_model.pb").write_bytes(data)
    (folder / "weights.index").write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("kind", "name", "error", "says"),
    [
        ("saved-model", "evil", ModelUnsupported, "ReadFile, WriteFile"),
        ("saved-model", "cut", WeightsInvalid, "is no SavedModel"),
        ("saved-model", "deep", WeightsInvalid, "is no SavedModel"),
        ("keras", "lambda.keras", PickleRefused, "Lambda"),
        ("keras", "bomb.keras", ArchiveRefused, "zip bomb"),
        ("keras", "text.keras", ArchiveRefused, "is no .keras file"),
        ("checkpoint", "weights.index", ModelUnsupported, "no graph"),
    ],
)
def test_convert__hostile_or_unfit__refused_before_anything_of_it_runs(
    kind: str, name: str, error: type[Exception], says: str, hostile: Path
) -> None:
    with pytest.raises(error, match=says):
        frame.convert(Conversion(kind, str(hostile / name)))
    assert not (hostile / "pwned").exists()
