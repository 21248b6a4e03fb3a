"""Smaller versions are files that workers serve: their figures, what is refused, going on."""

import json
import shutil

import numpy as np
import onnx
import onnx.version_converter
import pytest

from oracle.errors import DigestMismatch, InputInvalid, NotFound
from oracle.protocol import tensor
from oracle.protocol.cid import raw_cid
from oracle.protocol.manifest import Manifest
from oracle.services import folders as model_folders
from oracle.types import ZERO32
from tests.worker.builders import Published
from tests.worker.compression.conftest import write
from worker import runtimes
from worker.compression.__main__ import Options, compress, main
from worker.compression.measure import wilson
from worker.compression.methods import MethodUnknown, NotCompressible
from worker.outcomes import Answered

FORMATS = ("torch.export", "onnx", "safetensors")
UNTUNED = ("int8", "int4", "prune-50", "low-rank-50")


def placed(folder, place):
    """What the service gives the compressor: manifest.json beside files/."""
    place.mkdir(exist_ok=True)
    draft = model_folders.read(folder, lambda *_: None)
    (place / "manifest.json").write_bytes(draft.to_bytes())
    if not (place / "files").exists():
        (place / "files").symlink_to(folder)
    return place


@pytest.fixture
def run(folders, samples, tmp_path):
    """Compress the small model; return the rows by method."""

    def running(kind, *methods, given=samples, said=lambda *_: None, **options):
        place = placed(folders(kind), tmp_path / f"place-{kind}")
        told = Options(methods=methods, **options)
        table = compress(place, tmp_path / kind, given, told, said)
        return {row.method: row for row in table.rows}

    running.samples = samples
    return running


# ── Served ──────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("kind", FORMATS)
def test_compress__each_format_and_method__is_smaller_and_served(run, samples, tmp_path, kind):
    rows = run(kind, *UNTUNED, steps=0)

    original, images = rows["original"], np.load(samples)["image"][200:]
    assert original.accuracy.value > 0.9
    for method in ("int8", "int4"):
        assert rows[method].agreement.value >= 0.97, method
    for method in UNTUNED:
        folder = tmp_path / kind / method
        manifest = model_folders.read(folder, lambda *_: None)
        files = {entry.path: folder / entry.path for entry in manifest.files}
        served = runtimes.load(manifest, files, manifest.model_root(), "cpu")
        answers = served.run({"image": images}, manifest.unpack_params(ZERO32))["logits"]
        right = (answers.argmax(1) == np.load(samples)["labels"][200:]).mean()
        assert right == rows[method].accuracy.value  # what the table says is what a worker answers
        assert rows[method].bytes == sum(entry.size for entry in manifest.files)
        assert manifest.derived_from.method == method
        assert manifest.derived_from.model_root == model_root(tmp_path / f"place-{kind}")


def test_compress__weights_of_an_architecture__take_as_few_bytes_as_is_told(run):
    rows = run("safetensors", *UNTUNED, steps=0)

    share = {name: row.bytes / rows["original"].bytes for name, row in rows.items()}
    assert share["int8"] < 0.42  # a quarter of the weights, and headers, biases, scales
    assert share["int4"] < share["int8"]
    assert share["prune-50"] < 0.75
    assert share["low-rank-50"] < 0.75


def test_compress__of_two_candidates__the_better_on_other_samples_is_kept(run):
    row = run("safetensors", "prune-90", steps=60)["prune-90"]

    assert set(row.others) == {"untuned", "tuned"}
    assert row.others["tuned"] > row.others["untuned"]
    assert row.kept == "tuned"
    assert row.accuracy.value > row.others["untuned"]


def test_compress__tuning_that_does_not_help__is_not_kept(run):
    row = run("safetensors", "prune-20", steps=1)["prune-20"]

    assert row.others["untuned"] >= row.others["tuned"]
    assert row.kept == "untuned"


def test_compress__distilled__is_half_as_wide_and_served(run, tmp_path):
    row = run("torch.export", "distil", student="digits_cnn:width=4", steps=60)["distil"]

    manifest = model_folders.read(tmp_path / "torch.export" / "distil", lambda *_: None)
    assert manifest.runtime.options == {"width": 4}
    assert manifest.runtime.format == "safetensors"
    assert row.accuracy.value > 0.8
    assert row.exact is False
    assert "safetensors" in row.exact_why


def test_compress__exact__is_what_the_compiler_says(run):
    assert run("torch.export", "int4", steps=0)["int4"].exact
    assert not run("safetensors", "int4", steps=0)["int4"].exact


def test_compress__published__is_answered_by_a_pipeline(run, tmp_path, ipfs, pipeline, samples):
    run("torch.export", "int4", steps=0)
    folder = tmp_path / "torch.export" / "int4"
    body = json.loads((folder / "model.json").read_text())
    del body["files"]
    (folder / "model.json").write_text(json.dumps({**body, "tolerance": 100_000}))
    published = Published(ipfs, folder)

    (outcome,) = pipeline.run([published.job(1, {"image": np.load(samples)["image"][:3]})])
    assert isinstance(outcome, Answered), outcome
    data = ipfs.fetch_bytes(raw_cid(outcome.output_root), 2**16)
    answered = tensor.decode(data, 2**16)["logits"].argmax(1)
    assert (answered == np.load(samples)["labels"][:3]).all()


# ── Going on ────────────────────────────────────────────────────────────────────────────────────
def test_compress__stopped__goes_on_after_the_last_row(run, tmp_path):
    class Stopped(Exception):
        pass

    def stop(_what, done, _total):
        if done == 2:
            raise Stopped

    with pytest.raises(Stopped):
        run("safetensors", "int8", "int4", steps=0, said=stop)
    first = (tmp_path / "safetensors" / "int8" / "m.safetensors").stat().st_mtime_ns
    rows = run("safetensors", "int8", "int4", steps=0)

    assert set(rows) == {"original", "int8", "int4"}
    assert (tmp_path / "safetensors" / "int8" / "m.safetensors").stat().st_mtime_ns == first


def test_compress__folder_that_was_removed__is_made_again(run, tmp_path):
    before = run("safetensors", "int8", steps=0)["int8"]
    shutil.rmtree(tmp_path / "safetensors" / "int8")
    after = run("safetensors", "int8", steps=0)["int8"]

    assert after.agreement == before.agreement
    assert (tmp_path / "safetensors" / "int8" / "m.safetensors").stat().st_size == after.bytes


@pytest.mark.parametrize("name", ["model.json", "m.safetensors"])
@pytest.mark.parametrize("change", [b"mine", None])
def test_compress__folder_that_was_changed__is_refused_and_kept(run, tmp_path, name, change):
    run("safetensors", "int8", steps=0)
    path = tmp_path / "safetensors" / "int8" / name
    path.write_bytes(change) if change else path.unlink()

    with pytest.raises(InputInvalid, match="int8 was changed since it was measured"):
        run("safetensors", "int8", steps=0)
    assert (path.read_bytes() if path.exists() else None) == change


def test_compress__folder_of_all_that_was_moved__says_where_it_is(run, tmp_path):
    run("safetensors", "int8", steps=0)
    (tmp_path / "safetensors").rename(tmp_path / "elsewhere")
    place = tmp_path / "place-safetensors"
    given = Options(("int8",), steps=0)
    rows = compress(place, tmp_path / "elsewhere", run.samples, given, lambda *_: None).rows

    assert [row.folder for row in rows] == [
        str((place / "files").resolve()), str(tmp_path / "elsewhere" / "int8"),
    ]  # fmt: skip


def test_compress__folder_of_other_results__is_refused_and_kept(run, tmp_path):
    run("safetensors", "int8", steps=0)
    with pytest.raises(InputInvalid, match="other options"):
        run("safetensors", "int8", steps=5)
    assert (tmp_path / "safetensors" / "int8" / "model.json").is_file()


def test_compress__folder_of_somebody_else__is_refused_and_kept(run, tmp_path):
    (tmp_path / "safetensors").mkdir()
    (tmp_path / "safetensors" / "thesis.txt").write_text("mine")
    with pytest.raises(InputInvalid, match="not empty"):
        run("safetensors", "int8", steps=0)
    assert (tmp_path / "safetensors" / "thesis.txt").read_text() == "mine"


# ── Refused ─────────────────────────────────────────────────────────────────────────────────────
def test_compress__no_samples__is_refused(run, tmp_path):
    with pytest.raises(NotFound, match="no samples"):
        run("safetensors", "int8", given=tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"pixels": np.zeros((40, 1, 8, 8), np.float32)}, "no input image; it has pixels"),
        ({"image": np.zeros((40, 64), np.float32)}, "given shape"),
        ({"image": np.zeros((40, 1, 8, 8), complex)}, "complex128"),
        ({"image": np.zeros((4, 1, 8, 8), np.float32)}, "4 of image; 20 of each are needed"),
        (
            {"image": np.zeros((40, 1, 8, 8), np.float32), "labels": np.zeros(39, np.int64)},
            "39 of labels",
        ),
        (
            {"image": np.zeros((40, 1, 8, 8), np.float32), "labels": np.full(40, "cat")},
            "0 of labels",
        ),
    ],
)
def test_compress__samples_that_do_not_fit__are_refused(run, tmp_path, arrays, said):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(InputInvalid, match=said):
        run("safetensors", "int8", given=tmp_path / "bad.npz")


def test_compress__samples_that_are_no_archive__are_refused(run, tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"not an archive")
    with pytest.raises(InputInvalid, match="cannot be read"):
        run("safetensors", "int8", given=tmp_path / "bad.npz")


@pytest.mark.parametrize("label", [10, -1, 0.5])
def test_compress__label_of_no_class__is_refused(run, tmp_path, data, label):
    images, labels = data
    given = tmp_path / "other.npz"
    np.savez(given, image=images[:60], labels=[*labels[:59], label])
    with pytest.raises(InputInvalid, match=rf"label {label}, and the model has classes 0 to 9"):
        run("safetensors", "prune-50", given=given, steps=5)


def test_compress__samples_without_labels__leave_accuracy_unknown(run, tmp_path, data):
    np.savez(tmp_path / "unlabelled.npz", image=data[0][:60])
    row = run("safetensors", "int8", given=tmp_path / "unlabelled.npz")["int8"]

    assert row.accuracy is None
    assert row.agreement.value > 0.9


@pytest.mark.parametrize("name", ["int2", "prune", "prune-0", "prune-100", "trees-50", ""])
def test_compress__unknown_method__is_refused_with_those_there_are(run, name):
    with pytest.raises(MethodUnknown, match="is not one for this model") as caught:
        run("safetensors", name)
    assert "low-rank-50" in caught.value.hint


@pytest.mark.parametrize(
    ("student", "error", "said"),
    [
        ("resnet", "ModelUnsupported", "not registered"),
        ("digits_cnn:depth=3", "ModelUnsupported", "option depth"),
        ("digits_cnn:width", "InputInvalid", "no option"),
        ("digits_cnn:width=8", "NotCompressible", "the student has"),
        ("minilm", "NotCompressible", "inputs of minilm"),
    ],
)
def test_compress__student_that_does_not_fit__is_refused(run, student, error, said):
    with pytest.raises(Exception, match=said) as caught:
        run("safetensors", "distil", student=student)
    assert type(caught.value).__name__ == error


def test_compress__another_version_than_the_folder__is_refused(run):
    with pytest.raises(DigestMismatch, match="has the weights"):
        run("safetensors", "int8", origin="0x" + "11" * 32, root="0x" + "22" * 32, version="1@1")


def test_compress__onnx__is_tuned_and_served_as_the_table_says(run, tmp_path, samples):
    row = run("onnx", "prune-90", steps=60)["prune-90"]

    assert row.kept == "tuned"
    assert row.others["tuned"] > row.others["untuned"]
    folder = tmp_path / "onnx" / "prune-90"
    manifest = model_folders.read(folder, lambda *_: None)
    files = {entry.path: folder / entry.path for entry in manifest.files}
    served = runtimes.load(manifest, files, manifest.model_root(), "cpu")
    images, labels = (np.load(samples)[name][200:] for name in ("image", "labels"))
    answers = served.run({"image": images}, manifest.unpack_params(ZERO32))["logits"]
    assert (answers.argmax(1) == labels).mean() == row.accuracy.value


def test_compress__onnx_that_torch_does_not_run__is_not_tuned_and_says_what_to_do(
    folders, samples, tmp_path
):
    folder = tmp_path / "model"
    shutil.copytree(folders("onnx"), folder)
    model = onnx.load(folder / "m.onnx")
    last = model.graph.node[-1]
    model.graph.node.append(onnx.helper.make_node("Mish", ["before"], [last.output[0]]))
    last.output[0] = "before"
    onnx.save(onnx.version_converter.convert_version(model, 18), folder / "m.onnx")
    place = placed(folder, tmp_path / "place")
    told = Options(("prune-50",), steps=20)
    table = compress(place, tmp_path / "out", samples, told, lambda *_: None)

    assert set(table.rows[1].others) == {"untuned"}
    assert "torch does not run Mish" in table.untuned_why
    assert "torch.export" in table.untuned_why


def test_compress__model_without_matrices__cannot_be_pruned(tmp_path, samples):
    import torch

    class Brightness(torch.nn.Module):
        def forward(self, image):
            return torch.stack([image.mean((1, 2, 3))] * 10, 1)

    folder = write(Brightness(), tmp_path / "model", "torch.export")
    place = placed(folder, tmp_path / "place")
    with pytest.raises(NotCompressible, match="finds no weight"):
        compress(place, tmp_path / "out", samples, Options(("prune-90",)), lambda *_: None)


def test_compress__archive_with_bfloat16_beside_its_weights__keeps_them(tmp_path, samples):
    import torch

    class Mixed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(64, 10))
            self.register_buffer("bias", torch.arange(10.0).to(torch.bfloat16))
            self.register_buffer("scale", torch.tensor(0.5, dtype=torch.bfloat16))

        def forward(self, image):
            return image.flatten(1) @ self.weight + self.bias.float() * self.scale.float()

    place = placed(write(Mixed(), tmp_path / "model", "torch.export"), tmp_path / "place")
    told = Options(("int8",), steps=0)
    table = compress(place, tmp_path / "out", samples, told, lambda *_: None)
    assert table.rows[1].agreement.value > 0.9
    assert all(row.exact for row in table.rows), table.rows[0].exact_why


def test_main__refusal__is_one_json_object_with_what_to_do(folders, tmp_path, capsys):
    place = placed(folders("safetensors"), tmp_path / "place")
    code = main([str(place), str(tmp_path / "out"), "--samples", str(tmp_path / "none.npz")])

    said = json.loads(capsys.readouterr().out)
    assert code == 1
    assert said["error"] == "NotFound"
    assert "numpy.savez" in said["hint"]


# ── Figures ─────────────────────────────────────────────────────────────────────────────────────
def test_wilson__known_shares__are_those_of_the_formula():
    """Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E."""
    for right, of, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605),
                                 (0, 20, 0.0, 0.1611), (29, 29, 0.8830, 1.0)):  # fmt: skip
        found = wilson(np.arange(of) < right)
        assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def model_root(place):
    return Manifest.parse((place / "manifest.json").read_bytes()).model_root()
