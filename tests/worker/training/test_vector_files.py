"""Vectors in files are the tensors that safetensors reads, in the order of their names."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from oracle.training.errors import VectorInvalid
from oracle.training.vectors import STATE, Joined, VectorTree
from worker.errors import PickleRefused, WeightsInvalid
from worker.training.vector_files import VectorFile, written

SHAPES = {"b": (3, 5), "a.weight": (7,), "c": (0,), "d": (2, 2, 2), "e": ()}


def tensors(dtype: type = np.int16) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    return {name: draw.integers(-99, 99, shape).astype(dtype) for name, shape in SHAPES.items()}


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"a": np.zeros(3, np.float32)}, VectorInvalid),
        ({"a": np.zeros(3, np.int16), "b": np.zeros(3, np.int32)}, VectorInvalid),
        (b"\x80\x04pickle....", PickleRefused),
        (b"", WeightsInvalid),
    ],
)
def test_vector_file__not_integers_of_one_size__is_refused(
    tmp_path: Path, content: bytes | dict[str, np.ndarray], error: type[Exception]
) -> None:
    path = tmp_path / "update.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        save_file(content, path)

    with pytest.raises(error):
        VectorFile(path)


def test_vector_file__cut_short__is_refused(tmp_path: Path) -> None:
    path = tmp_path / "update.safetensors"
    save_file(tensors(), path)
    path.write_bytes(path.read_bytes()[:-2])

    with pytest.raises(WeightsInvalid):
        VectorFile(path)


def test_vector_file__any_part__is_that_of_the_joined_tensors(tmp_path: Path) -> None:
    path = tmp_path / "update.safetensors"
    save_file(tensors(), path)
    joined = Joined(tensors())

    with VectorFile(path) as found:
        assert len(found) == len(joined) == 31
        for start in range(31):
            for stop in range(start, 32):
                assert np.array_equal(found[start:stop], joined[start:stop])
        assert VectorTree(found, STATE).root == VectorTree(joined, STATE).root


@pytest.mark.parametrize("dtype", [np.int16, np.int32])
def test_written__parts_in_any_order__is_a_file_that_safetensors_reads(
    tmp_path: Path, dtype: type[np.signedinteger]
) -> None:
    path, joined = tmp_path / "state.safetensors", Joined(tensors(dtype))

    with written(path, SHAPES, dtype) as file:
        file.write(20, joined[20:31])
        assert not path.exists()
        file.write(0, joined[0:20])

    found = load_file(path)
    for name, tensor in tensors(dtype).items():
        assert np.array_equal(found[name], tensor)
        assert found[name].dtype == dtype


def test_written__part_outside_or_failure__leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"

    with pytest.raises(VectorInvalid), written(path, SHAPES, np.int32) as file:
        file.write(30, np.zeros(2, np.int32))

    assert list(tmp_path.iterdir()) == []
