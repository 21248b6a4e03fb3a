"""The compressor's process, from outside of it: its table, its errors, the folder to publish."""

import json
from dataclasses import replace

import numpy as np
import pytest

from oracle.cli import main, model_compress
from oracle.errors import DigestMismatch, InputInvalid, NotFound
from oracle.services import folders, models
from oracle.services.model_files import compressing
from oracle.services.model_files.compressing import (
    Compression,
    CompressOptions,
    Figure,
    Origin,
    SmallerVersion,
)
from oracle.types import Amount, Bytes32
from tests.worker.builders import images, write_digits

silent = lambda *_: None  # noqa: E731


@pytest.fixture
def model(tmp_path):
    return write_digits(tmp_path / "digits", files=["digits.safetensors"])


@pytest.fixture
def samples(tmp_path):
    np.savez(tmp_path / "samples.npz", image=images(40))
    return tmp_path / "samples.npz"


def compress(model, samples, *methods, **more):
    told = CompressOptions(methods, steps=0)
    hour = Amount(10**6)
    return compressing.compress(
        model, samples, told, silent, silent, operator_bps=7000, machine_hour=hour, **more
    )


def test_compress__command__measures_and_writes_the_chosen_folder(model, samples, capsys):
    words = ["model", "compress", model, "--samples", samples, "--steps", "0"]
    hour = ["--machine-hour", "3600", "--operator-share", "50%"]  # a dollar a second
    assert main([*map(str, words), "--choose", "int8", *hour, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)

    assert [row["method"] for row in found["rows"]] == ["original", "int8"]
    original, smaller = found["rows"]
    assert original["folder"] == str(model)
    assert smaller["folder"] == f"{model}-compressed/int8"
    assert smaller["bytes"] < original["bytes"]
    for row in found["rows"]:  # half of the fee is the operator's
        assert float(row["break_even"]) == pytest.approx(2 * 1000 * row["seconds"], abs=1e-5)
    assert smaller["accuracy"] is None  # no labels: nobody knows
    draft = folders.read(model.parent / "digits-int8", silent)
    assert draft.derived_from.model_root == folders.read(model, silent).model_root()
    assert f"{model}-int8" == found["chosen"]

    # It is there already: refused before anything is measured
    assert main([*map(str, words), "--choose", "int8"]) == InputInvalid.exit_code


def test_compress__for_people__says_what_is_unknown_worse_and_refused(tmp_path):
    def row(method, size, **more):
        figures = {"accuracy": None, "agreement": Figure(0.5, 0.25, 0.75), "seconds": 0.002}
        said = {"exact": False, "exact_why": "no integer form", "kept": "", "others": {}}
        return SmallerVersion(
            method=method, folder=tmp_path, bytes=size, **{**figures, **said, "refused": "", **more}
        )

    rows = (row("original", 1000), row("int8", 260), row("distil", 0, refused="no half"))
    found = Compression("m", "onnx", "vectors", 8, 2, 10, rows, "no GRU", tmp_path / "m-int8")
    unchosen = model_compress.notes(replace(found, chosen=None))
    assert unchosen[-2:] == [
        f"int8 is in {tmp_path}",
        "now `tallystick model publish FOLDER --fee AMOUNT --key WALLET`",
    ]
    lines = model_compress.table(found)
    said = "\n".join(model_compress.notes(found))

    cells = [list(column.cells) for column in lines.columns]
    assert [str(cell) for cell in cells[0]] == ["original", "int8"]
    assert str(cells[1][1]) == "260 (26%)"
    assert str(cells[2][1]) == "unknown"
    assert str(cells[3][1]) == "0.500 (0.250 to 0.750)"
    assert str(cells[5][1]) == "no"
    assert "the samples have no labels" in said
    assert said.count("no integer form") == 1
    assert "distil: no half" in said
    assert "not tuned: no GRU" in said
    assert f"tallystick model publish {tmp_path / 'm-int8'}" in said


def test_compress__refused_in_the_process__is_an_error_of_its_class(model, samples):
    other = Origin(1, 1, Bytes32(bytes(32)), Bytes32(bytes(32)))
    with pytest.raises(DigestMismatch, match="has the weights") as caught:
        compress(model, samples, "int8", origin=other)
    assert "--of" in caught.value.hint


def test_compress__no_such_model__not_found(samples, tmp_path):
    with pytest.raises(NotFound, match="there is no"):
        compress(tmp_path / "none", samples)


def test_compress__folder_without_description__not_found(samples, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFound, match=r"model\.json"):
        compress(tmp_path / "empty", samples)


@pytest.mark.real
def test_origin_of__published_version__is_that_of_its_record(world):
    done = world.publish()
    found = compressing.origin_of(world.network, f"{done.model_id}@1")

    assert found == Origin(done.model_id, 1, done.manifest_digest, done.model_root)
    assert found.model_root == models.records(world.network, done.model_id)[0].model_root
