"""A version's form: a person's numbers to integers and back, and what does not fit."""

import numpy as np
import pytest

from oracle.errors import DigestMismatch, InputInvalid
from oracle.exact import form, version
from oracle.exact.errors import ConstantMismatch, ProgramInvalid
from oracle.exact.reference import execute
from oracle.types import ZERO32
from tests.exact import models


@pytest.fixture
def folder(tmp_path):
    models.write(tmp_path / "model")
    return tmp_path / "model"


def test_encode_inputs__wrong_shape__refused(folder):
    with pytest.raises(InputInvalid, match="shape"):
        form.of(models.manifest(folder)).encode_inputs({"image": np.zeros((1, 7, 8), np.float32)})


def test_encode_inputs__nan__refused(folder):
    with pytest.raises(InputInvalid):
        form.of(models.manifest(folder)).encode_inputs(
            {"image": np.full((1, 8, 8), np.nan, np.float32)}
        )


def test_decode_inputs__of_another_model__refused(folder):
    made = form.of(models.manifest(folder))
    data = made.encode_inputs({"image": models.image()})
    wider = data[:3] + (2).to_bytes(4, "big") + (32).to_bytes(4, "big") + data[11:]
    with pytest.raises(InputInvalid, match="inputs are"):
        made.decode_inputs(wider)


def test_decode_outputs__another_tensor__refused(folder):
    made = form.of(models.manifest(folder))
    data = made.encode_outputs({"scores": np.zeros((1, 1, 10), np.int16)})
    with pytest.raises(InputInvalid, match="tensor"):
        made.decode_outputs(b"\0\7" + data[2:])


def test_form__there_and_back__is_the_program_between_rounded_numbers(folder):
    manifest = models.manifest(folder)
    made, loaded = form.of(manifest), version.read(manifest, models.files(folder))
    image = models.image()
    (given,) = made.decode_inputs(made.encode_inputs({"image": image})).values()
    np.testing.assert_allclose(given[0].reshape(8, 8) / 127, image[0], atol=0.5 / 127 + 1e-6)
    output = execute(loaded.program, loaded.constants, [given[0]]).output
    data = made.encode_outputs({"scores": output[None]})
    np.testing.assert_array_equal(made.decode_outputs(data)["scores"], output / np.float32(256))


def test_read__other_root_than_on_chain__refused(folder):
    with pytest.raises(DigestMismatch, match="root"):
        version.read(models.manifest(folder), models.files(folder), ZERO32)


def test_read__constants_of_another_program__refused(folder, tmp_path):
    models.write(tmp_path / "other", seed=1)
    other = (tmp_path / "other" / "constants.safetensors").read_bytes()
    (folder / "constants.safetensors").write_bytes(other)
    with pytest.raises(ConstantMismatch):
        version.read(models.manifest(folder), models.files(folder))


def test_read__damaged_program__refused(folder):
    path = folder / "model.program"
    path.write_bytes(path.read_bytes()[:-32])
    with pytest.raises(ProgramInvalid, match="length"):
        version.read(models.manifest(folder), models.files(folder))


def test_read__manifest_that_names_another_output__refused(tmp_path):
    program, _ = models.linear()
    exact = {**models.description(program)["exact"], "output_id": 1}
    models.write(tmp_path / "m", exact=exact)
    with pytest.raises(InputInvalid, match="another output"):
        version.read(models.manifest(tmp_path / "m"), models.files(tmp_path / "m"))
