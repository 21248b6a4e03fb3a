"""A round from file to file: three participants, an aggregator, the next state."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from examples.digits import federated
from oracle.errors import PermanentError
from oracle.training.aggregation import Aggregation
from tests.worker.training.digits import JOB, SCALE_BITS, base, model, rows
from worker.runtimes import architectures
from worker.training import aggregator, evaluation, states
from worker.training.errors import StateUnfit
from worker.training.participating import Participation, take_part
from worker.training.vector_files import VectorFile, written


def write_base(path: Path, width: int = 4) -> Path:
    shapes = {name: tuple(tensor.shape) for name, tensor in states.named(model(width))}
    with written(path, shapes, np.int32) as file:
        file.write(0, base(width))
    return path


def write_rows(path: Path, first: int, count: int) -> Path:
    part = rows(first, count)
    np.savez(path, image=part.inputs["image"].numpy(), labels=part.labels.numpy())
    return path


def part(folder: Path, client: int = 0, **changed: Path) -> Participation:
    files = {
        "base": folder / "base.safetensors",
        "data": write_rows(folder / f"{client}.npz", 200 * client, 200),
        "into": folder / f"{client}.safetensors",
    }
    job = dataclasses.replace(JOB, seed=client, steps=80, learning_rate=0.3)
    empty = architectures.build("digits_cnn", {"width": 4})
    return take_part(empty, job, **(files | changed))  # type: ignore[arg-type]


def test_take_part__base_of_another_model__names_the_tensor(tmp_path: Path) -> None:
    write_base(tmp_path / "base.safetensors", width=5)

    with pytest.raises(StateUnfit, match=r"tensor conv1\.bias has shape \(5,\)"):
        part(tmp_path)
    assert not (tmp_path / "0.safetensors").exists()


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", b"not an array at all"])
def test_take_part__damaged_left_over__is_refused(tmp_path: Path, content: bytes) -> None:
    write_base(tmp_path / "base.safetensors")
    (tmp_path / "left.npy").write_bytes(content)

    with pytest.raises(StateUnfit, match=r"left\.npy"):
        part(tmp_path, left_over=tmp_path / "left.npy")


def test_take_part__floats_as_base__are_refused(tmp_path: Path) -> None:
    save_file({"a": np.zeros(3, np.float32)}, tmp_path / "base.safetensors")

    with pytest.raises(PermanentError):
        part(tmp_path)


def test_take_part__left_over__is_carried_to_the_next_update(tmp_path: Path) -> None:
    write_base(tmp_path / "base.safetensors")
    left = tmp_path / "left.npy"

    first = part(tmp_path, left_over=left)
    assert np.array_equal(np.load(left), first.update.left_over)
    second = part(tmp_path, left_over=left)

    whole = first.update.left_over.astype(float) * 2  # the same training: it adds up
    found = second.update.values - first.update.values + second.update.left_over
    assert np.allclose(found, whole, atol=1e-3)


def test_round__three_participants__gives_a_better_state(tmp_path: Path) -> None:
    write_base(tmp_path / "base.safetensors")

    taken = [part(tmp_path, client) for client in range(3)]

    updates = [VectorFile(tmp_path / f"{client}.safetensors") for client in range(3)]
    weights = tuple(one.rows for one in taken)
    assert weights == (200, 200, 200)
    with VectorFile(tmp_path / "base.safetensors") as start:
        aggregator.aggregate_files(
            Aggregation(len(start), JOB.clip, weights),
            start,
            updates,
            [one.root for one in taken],
            path=tmp_path / "next.safetensors",
            shapes=start.shapes,
        )
    with VectorFile(tmp_path / "next.safetensors") as following:
        after = following[: len(following)]
    before, later = (
        evaluation.evaluate(model(), state, rows(1400, 390), SCALE_BITS)
        for state in (base(), after)
    )
    assert later.loss < before.loss
    assert later.accuracy > before.accuracy + 0.2
    assert load_file(tmp_path / "0.safetensors")["head.bias"].dtype == np.int16


def test_example__three_rounds__learns_from_owners_of_either_kind(tmp_path: Path) -> None:
    found = federated.federate(tmp_path, rounds=3)

    assert min(found.values()) > 0.6
    assert (tmp_path / "digits.safetensors").exists()
