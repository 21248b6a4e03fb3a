"""The worker's process that looks at a model before it is published, from outside of it."""

import json
from functools import partial

import pytest

from oracle.agents.worker_process import run_module
from oracle.cli import main
from oracle.config import Settings
from oracle.errors import InputInvalid, NotFound
from oracle.services import folders
from oracle.services.model_files import model_check
from oracle.services.model_files.model_check import ModelCheck, Run
from tests.worker.test_check import write_onnx


@pytest.fixture
def run(tmp_path):
    return partial(run_module, Settings(tmp_path / "home"))


def test_init__no_such_file__not_found(run, tmp_path):
    with pytest.raises(NotFound, match="there is no file"):
        model_check.init(run, tmp_path / "wine.onnx")


def test_init__onnx__is_a_folder_that_passes_its_check(run, tmp_path):
    path, said = model_check.init(run, write_onnx(tmp_path), "wine")
    assert said["inputs"] == [{"name": "measurements", "dtype": "F32", "shape": [None, 13]}]
    draft = folders.read(tmp_path, lambda *_: None)
    assert [entry.path for entry in draft.files] == ["wine.onnx"]
    found = model_check.check(run, draft, tmp_path)
    assert (found.name, found.format, found.runs[1].rows) == ("wine", "onnx", 8)
    with pytest.raises(InputInvalid, match=r"already, which describes wine\.onnx"):
        model_check.init(run, tmp_path / "wine.onnx")
    (tmp_path / "other.onnx").write_bytes(b"x")
    with pytest.raises(InputInvalid, match=r"already, which describes wine\.onnx") as caught:
        model_check.init(run, tmp_path / "other.onnx")
    assert "a folder of its own" in caught.value.hint
    # A wrong name: the message has what the file says, ready to copy
    body = json.loads(path.read_text())
    body["inputs"][0]["name"] = "grapes"
    path.write_text(json.dumps(body))
    with pytest.raises(InputInvalid, match="the graph takes an input measurements") as caught:
        model_check.check(run, folders.read(tmp_path, lambda *_: None), tmp_path)
    assert '"inputs": [{"name": "measurements", "dtype": "F32"' in caught.value.hint


def test_run_module__progress__is_told_and_not_in_the_answer(tmp_path, monkeypatch):
    (tmp_path / "telling.py").write_text(
        "import json, sys\n"
        "print('progress: text 1 of 2', flush=True)\n"
        "print('progress: text 2 of 2', flush=True)\n"
        "print(json.dumps({'path': sys.argv[1]}))\n"
        "print('why', file=sys.stderr)\n"
        "sys.exit(3)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    said: list[str] = []
    done = run_module(Settings(tmp_path / "home"), "telling", tmp_path / "x", say=said.append)
    assert said == ["text 1 of 2", "text 2 of 2"]
    assert (done.returncode, done.stderr) == (3, "why\n")
    assert json.loads(done.stdout) == {"path": str(tmp_path / "x")}


@pytest.mark.parametrize(("file", "name"), [("tumour.onnx", "tumour"), ("model.onnx", "scratch")])
def test_init__no_name__is_the_files_or_of_a_model_the_folders(run, tmp_path, file, name):
    (tmp_path / "scratch").mkdir()
    weights = write_onnx(tmp_path).rename(tmp_path / "scratch" / file)
    assert model_check.init(run, weights)[1]["name"] == name


def test_asked__refused__begins_with_what_was_asked(run, tmp_path):
    (tmp_path / "model.pt").write_bytes(b"\x80\x04.")
    with pytest.raises(InputInvalid, match=r"^the version cannot be exported: model\.pt is a"):
        model_check.asked(
            run, "worker.describe", tmp_path / "model.pt", refusal="the version cannot be exported"
        )


@pytest.mark.parametrize(
    ("file", "said"),
    [("m.joblib", "pickle under another name"), ("m.xyz", "no file that can be published")],
)
@pytest.mark.parametrize("exact", [(), ("--exact",)])
def test_check__file_of_no_format__is_refused_as_init_does(
    exact, file, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("TALLYSTICK_HOME", str(tmp_path / "home"))
    (tmp_path / file).write_bytes(b"\x80\x04." if file == "m.joblib" else b"words")
    assert main(["model", "check", str(tmp_path / file), *exact, "--json"]) == 65
    shown = json.loads(capsys.readouterr().out)
    assert said in shown["message"]
    assert "torch.export" in shown["hint"]


def test_init__pickle__is_refused_with_the_way_out(run, tmp_path):
    (tmp_path / "model.pt").write_bytes(b"\x80\x04.")
    with pytest.raises(InputInvalid, match="pickle") as caught:
        model_check.init(run, tmp_path / "model.pt")
    assert "torch.export.save" in caught.value.hint


def test_rows_per_request__grows_by_bytes_a_row():
    runs = (Run(1, 0.001, 1_000), Run(8, 0.002, 8_000))
    found = ModelCheck("wine", "onnx", "cpu", 1.0, runs, 0, 0, (), ())
    assert found.rows_per_request(65_536) == 65
    assert found.rows_per_request(1_000) == 1


def test_break_even__operators_part_pays_for_the_machine():
    found = ModelCheck("wine", "onnx", "cpu", 1.0, (Run(1, 3.6, 10),), 0, 0, (), ())
    assert found.break_even(5_000, 10**6) == 2_000  # 3.6 s of an hour at $1, twice


def test_read__fields_missing__all_are_named_with_what_to_write(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"x")
    (tmp_path / "model.json").write_text('{"description": "of nothing"}')
    with pytest.raises(InputInvalid) as caught:
        folders.read(tmp_path, lambda *_: None)
    for field in ("name", "runtime", "inputs", "outputs"):
        assert f"{field}: Field required" in str(caught.value)
        assert folders.EXAMPLES[field] in caught.value.hint
