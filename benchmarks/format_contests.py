"""The models that `benchmarks.formats` measures: how their library loads them, what a worker loads.

TensorFlow answers in its own environment (docs/importing.md); without one its rows are left out.
"""

import os
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oracle.exact import form
from oracle.protocol import tensor
from oracle.protocol.manifest import Manifest, RuntimeSpec, TensorSpec
from oracle.services import folders

TOKENS = 64
TENSORFLOW = "TALLYSTICK_TENSORFLOW_PYTHON"  # the setting with the Python that has it
Rows = dict[str, "np.ndarray[Any, Any]"]
Answer = Callable[[Rows], Any]


@dataclass(frozen=True, slots=True)
class Contest:
    """One model, saved: how its library loads it, and what a worker loads.

    `clock` counts the processor seconds of the process that the library answers in.
    """

    name: str
    original: Callable[[], Answer]
    manifest: Manifest
    files: dict[str, Path]
    rows: Rows  # of the largest batch
    clock: Callable[[], float] = time.process_time


def contests(folder: Path, report: Callable[[str], None]) -> Iterator[Contest]:
    """Save models in a folder, one after another."""
    warnings.simplefilter("ignore")  # the exporters' and LightGBM's own
    yield from _networks(folder)
    yield from _tables(folder)
    if TENSORFLOW in os.environ:
        yield from _tensorflow(folder)
    else:
        report(f"{TENSORFLOW} names no Python: Keras and TensorFlow are left out")


# ── Networks of torch ───────────────────────────────────────────────────────────────────────────
def _networks(folder: Path) -> Iterator[Contest]:
    import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415 - no stubs; heavy
    import torch  # noqa: PLC0415 - heavy
    from safetensors.torch import load_file, save_file  # noqa: PLC0415 - it brings torch

    from worker.runtimes.architectures import DigitsCnn, MiniLm  # noqa: PLC0415 - they bring torch

    draw = np.random.default_rng(0)
    torch.manual_seed(0)
    image = {"image": draw.random((32, 1, 8, 8), np.float32)}
    text = {
        "input_ids": draw.integers(0, 1000, (32, TOKENS)),
        "attention_mask": np.ones((32, TOKENS), np.int64),
    }
    logits = TensorSpec("logits", "F32", (None, 10))
    embedding = TensorSpec("embedding", "F32", (None, 384))
    for name, kind, registered, options, rows, output in (
        ("digits CNN", DigitsCnn, "digits_cnn", {}, image, logits),
        ("MiniLM", MiniLm, "minilm", {"vocabulary": 1000}, text, embedding),
    ):
        module = kind(options).eval()
        example = tuple(torch.from_numpy(array[:2]) for array in rows.values())
        specs = tuple(
            TensorSpec(n, "F32" if a.dtype == np.float32 else "I64", (None, *a.shape[1:]))
            for n, a in rows.items()
        )

        def manifest(
            runtime: RuntimeSpec, specs: Any = specs, output: TensorSpec = output
        ) -> Manifest:
            return Manifest(name="m", files=(), inputs=specs, outputs=(output,), runtime=runtime)

        def answering(model: Any) -> Answer:
            def answer(given: Rows) -> Any:
                with torch.inference_mode():
                    return model(*map(torch.from_numpy, given.values())).numpy()

            return answer

        exported = folder / f"{name}.pt2"
        shapes = tuple({0: torch.export.Dim.DYNAMIC} for _ in example)
        torch.export.save(torch.export.export(module, example, dynamic_shapes=shapes), exported)
        yield Contest(
            f"{name}, torch.export",
            lambda path=exported: answering(torch.export.load(path).module()),  # type: ignore[misc]
            manifest(RuntimeSpec("torch.export", "m")), {"m": exported}, rows,
        )  # fmt: skip

        weights = folder / f"{name}.safetensors"
        save_file(module.state_dict(), weights)

        def of_safetensors(
            path: Path = weights, kind: Any = kind, options: Any = options
        ) -> Answer:
            with torch.device("meta"):
                model = kind(options)
            model.load_state_dict(load_file(path), assign=True)
            return answering(model.eval())

        spec = RuntimeSpec("safetensors", "m", registered, options)
        yield Contest(
            f"{name}, safetensors", of_safetensors, manifest(spec), {"m": weights}, rows
        )  # fmt: skip

        graph = folder / f"{name}.onnx"
        torch.onnx.export(
            module, example, graph, dynamo=False, input_names=list(rows),
            output_names=[output.name], dynamic_axes={n: {0: "rows"} for n in rows},
        )  # fmt: skip

        def of_onnx(path: Path = graph) -> Answer:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
            return lambda given: session.run(None, given)

        yield Contest(
            f"{name}, ONNX", of_onnx, manifest(RuntimeSpec("onnx", "m")), {"m": graph}, rows
        )  # fmt: skip


# ── Models of tables ────────────────────────────────────────────────────────────────────────────
def _tables(folder: Path) -> Iterator[Contest]:
    import lightgbm  # noqa: PLC0415 - optional
    import skops.io  # type: ignore[import-untyped]  # noqa: PLC0415 - no stubs; optional
    import xgboost  # noqa: PLC0415 - optional
    from sklearn import (  # type: ignore[import-untyped]  # noqa: PLC0415 - no stubs; heavy
        datasets,
        ensemble,
        linear_model,
        neighbors,
        pipeline,
        preprocessing,
        svm,
    )

    table, labels = datasets.load_digits(return_X_y=True)

    def of_sklearn(path: Path) -> Answer:
        model = skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
        return lambda rows: model.predict_proba(_first(table, rows))

    def of_xgboost(path: Path) -> Answer:
        model = xgboost.XGBClassifier(n_jobs=1)
        model.load_model(path)
        return lambda rows: model.predict_proba(_first(table, rows))

    def of_lightgbm(path: Path) -> Answer:
        model = lightgbm.Booster(model_file=path)
        return lambda rows: model.predict(_first(table, rows), num_threads=1)

    for name, model in (
        ("SVM", svm.SVC(probability=True, random_state=0)),
        ("logistic regression", pipeline.make_pipeline(
            preprocessing.StandardScaler(), linear_model.LogisticRegression(max_iter=200)
        )),
        ("neighbours", neighbors.KNeighborsClassifier(5, n_jobs=1)),
        ("forest of 100", ensemble.RandomForestClassifier(100, random_state=0, n_jobs=1)),
    ):  # fmt: skip
        path = folder / f"{name}.skops"
        skops.io.dump(model.fit(table, labels), path)
        yield _imported(f"{name}, ONNX", path, of_sklearn, table)
    yield _exact("forest of 100, exact", path, of_sklearn, table)  # the last one
    boosted = xgboost.XGBClassifier(n_estimators=30, max_depth=5, n_jobs=1).fit(table, labels)
    boosted.save_model(folder / "m.ubj")
    light = lightgbm.LGBMClassifier(n_estimators=30, n_jobs=1, verbose=-1).fit(table, labels)
    light.booster_.save_model(folder / "m.txt")
    for name, file, read in (
        ("XGBoost", "m.ubj", of_xgboost), ("LightGBM", "m.txt", of_lightgbm),
    ):  # fmt: skip
        yield _imported(f"{name}, ONNX", folder / file, read, table)
        yield _exact(f"{name}, exact", folder / file, read, table)


def _first(table: Any, rows: Rows) -> Any:
    """Return as many rows of the table as are asked; those of trees are numbered by thresholds."""
    return table[: len(next(iter(rows.values())))]


def _imported(name: str, path: Path, read: Callable[[Path], Answer], table: Any) -> Contest:
    """Return a model that is served as ONNX."""
    from worker.importing import converting  # noqa: PLC0415 - optional

    made = path.with_name(f"{path.name}.onnx-folder")
    converting.build(path, made)
    manifest, files = _read(made)
    (spec,) = manifest.inputs
    asked = {spec.name: table[:32].astype(tensor.DTYPES[spec.dtype])}
    return Contest(name, lambda: read(path), manifest, files, asked)


def _exact(name: str, path: Path, read: Callable[[Path], Answer], table: Any) -> Contest:
    """Return trees that are served as integers; their input is numbers of thresholds."""
    from worker.exact import __main__ as compiler  # noqa: PLC0415 - optional

    made = path.with_name(f"{path.name}.exact-folder")
    compiler.build(path, made, None, lambda *_: None)
    manifest, files = _read(made)
    coded = form.of(manifest, lambda entry: files[entry.path])
    (spec,) = manifest.inputs
    asked = [
        coded.decode_inputs(coded.encode_inputs({spec.name: row[None]}))[spec.name][0]
        for row in table[:32].astype(tensor.DTYPES[spec.dtype])
    ]
    return Contest(name, lambda: read(path), manifest, files, {spec.name: np.stack(asked)})


def _read(made: Path) -> tuple[Manifest, dict[str, Path]]:
    manifest = folders.read(made, lambda *_: None)
    return manifest, {entry.path: made / entry.path for entry in manifest.files}


# ── TensorFlow ──────────────────────────────────────────────────────────────────────────────────
_SAVE = """
import sys, keras, numpy as np
place = sys.argv[1]
keras.utils.set_random_seed(0)
layers = [keras.Input((64,), name="image")]
layers += [keras.layers.Dense(128, activation="relu") for _ in range(2)]
model = keras.Sequential([*layers, keras.layers.Dense(10, activation="softmax")])
model.save(place + "/m.keras")
model.export(place + "/saved", verbose=False)
"""
_ANSWER = """
import sys, time, numpy as np, keras, tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
path, rows, said = sys.argv[1], np.load(sys.argv[2]), sys.stdout
for line in sys.stdin:
    word = line.strip()
    if word == "load" and path.endswith(".keras"):
        model = keras.models.load_model(path)
        answer = lambda x: model(x, training=False).numpy()
    elif word == "load":
        loaded = tf.saved_model.load(path)
        serve = loaded.signatures["serving_default"]
        (name,) = serve.structured_input_signature[1]
        answer = lambda x: {k: v.numpy() for k, v in serve(**{name: tf.constant(x)}).items()}
    elif word != "clock":
        answer(rows[: int(word)])
    print(time.process_time(), file=said, flush=True)
"""


def _tensorflow(folder: Path) -> Iterator[Contest]:
    """Yield a perceptron of Keras, as it saves it and as a SavedModel."""
    python = os.environ[TENSORFLOW]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    subprocess.run([python, "-c", _SAVE, str(folder)], env=quiet, check=True, capture_output=True)
    table = np.random.default_rng(0).random((32, 64), np.float32)
    np.save(folder / "rows.npy", table)
    for name, file in (("Keras", "m.keras"), ("SavedModel", "saved")):
        with subprocess.Popen(
            [python, "-c", _ANSWER, str(folder / file), str(folder / "rows.npy")],
            env=quiet, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            stderr=subprocess.DEVNULL,
        ) as child:  # fmt: skip
            assert child.stdin is not None

            def ask(word: str, child: Any = child) -> float:
                print(word, file=child.stdin, flush=True)
                return float(child.stdout.readline())

            def original(ask: Callable[[str], float] = ask) -> Answer:
                ask("load")
                return lambda rows: ask(str(len(next(iter(rows.values())))))

            contest = _imported(f"{name}, ONNX", folder / file, lambda _path: original(), table)
            yield Contest(
                contest.name, contest.original, contest.manifest, contest.files, contest.rows,
                lambda ask=ask: ask("clock"),  # type: ignore[misc]
            )  # fmt: skip
            child.stdin.close()
