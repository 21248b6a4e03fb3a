"""Local steps: the same bytes again, integers within the clip, and errors that name the place."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from oracle.errors import ConfigInvalid, InputInvalid, NotFound
from tests.worker.training.digits import JOB, SCALE_BITS, base, model, rows
from worker.errors import ModelUnsupported, WeightsInvalid
from worker.runtimes import architectures
from worker.training import examples, local, states
from worker.training.errors import StateUnfit, TrainingDataInvalid, TrainingDiverged
from worker.training.examples import Examples


def test_train__learning_rate_too_high__names_tensor_and_step() -> None:
    wild = dataclasses.replace(JOB, learning_rate=1e30, steps=5)

    with pytest.raises(TrainingDiverged) as caught:
        local.train(model(), base(), rows(0, 40), wild)

    assert caught.value.tensor in {name for name, _ in states.named(model())} | {"loss"}
    assert 0 < caught.value.step < 5
    assert caught.value.tensor in str(caught.value)


def test_train__scores_overflow__ends_at_the_first_step() -> None:
    data = rows(0, 20)
    huge = Examples({"image": data.inputs["image"] * 1e30}, data.labels)
    heavy = np.full_like(base(), 2**20)

    with pytest.raises(TrainingDiverged) as caught:
        local.train(model(), heavy, huge, dataclasses.replace(JOB, scale_bits=0))

    assert (caught.value.step, caught.value.tensor) == (0, "conv1.bias")


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 0},
        {"batch": 0},
        {"clip": 0},
        {"clip": 32768},
        {"scale_bits": 31},
        {"seed": -1},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
    ],
)
def test_job__impossible_value__is_refused(change: dict[str, float]) -> None:
    with pytest.raises(ConfigInvalid):
        dataclasses.replace(JOB, **change)  # type: ignore[arg-type]


def test_train__state_of_another_model__is_refused() -> None:
    with pytest.raises(StateUnfit, match="weights"):
        local.train(model(), base(width=5), rows(0, 20), JOB)
    with pytest.raises(StateUnfit, match="int64"):
        local.train(model(), base().astype(np.int64), rows(0, 20), JOB)
    with pytest.raises(StateUnfit, match="left over"):
        local.train(model(), base(), rows(0, 20), JOB, left_over=np.zeros(3, np.float32))


def test_train__label_outside_the_classes__is_refused() -> None:
    data = rows(0, 20)

    with pytest.raises(TrainingDataInvalid, match="label 10 for a model of 10 classes"):
        local.train(model(), base(), Examples(data.inputs, torch.full_like(data.labels, 10)), JOB)


def test_state__weight_too_large_for_32_bits__is_refused_by_name() -> None:
    heavy = model()
    with torch.no_grad():
        heavy.head.bias[3] = 2.0**15

    with pytest.raises(StateUnfit, match=r"head\.bias has a weight of 32768.*32768 is the limit"):
        states.of(heavy, SCALE_BITS)
    with torch.no_grad():
        heavy.head.bias[3] = torch.nan
    with pytest.raises(TrainingDiverged, match=r"head\.bias"):
        states.of(heavy, SCALE_BITS)


def test_state__tensor_of_integers__is_refused() -> None:
    with pytest.raises(ModelUnsupported, match="num_batches_tracked"):
        states.size(torch.nn.BatchNorm1d(3))


def test_state__to_a_model_and_back__is_the_same() -> None:
    state = base()
    empty = architectures.build("digits_cnn", {"width": 4})

    states.fill(empty, state, SCALE_BITS)

    assert np.array_equal(states.of(empty, SCALE_BITS), state)
    assert next(name for name, _ in states.named(empty)) == "conv1.bias"  # by name, not by layer


def test_train__twice__gives_equal_bytes_and_another_seed_others() -> None:
    first, again = (local.train(model(seed=s), base(), rows(0, 60), JOB) for s in (1, 2))
    other = local.train(model(), base(), rows(0, 60), dataclasses.replace(JOB, seed=8))

    assert first.digest == again.digest
    assert first.digest != other.digest
    assert first.losses == again.losses


def test_train__update__is_what_float_training_changed_within_half_a_step() -> None:
    trained = model()
    update = local.train(trained, base(), rows(0, 60), dataclasses.replace(JOB, batch=60))

    exact = np.concatenate([t.double().numpy().ravel() for _, t in states.named(trained)])
    moved = exact * 2.0**SCALE_BITS - base()
    assert update.values.dtype == np.int16
    assert np.abs(moved - update.values).max() <= 0.5
    assert update.clipped == 0
    assert np.abs(moved).max() > 100  # it has learned at all
    assert update.losses[-1] < update.losses[0]


def test_train__clip_and_error_feedback__carry_what_was_cut() -> None:
    tight = dataclasses.replace(JOB, clip=50)
    whole = local.train(model(), base(), rows(0, 60), JOB)
    cut = local.train(model(), base(), rows(0, 60), tight)

    assert np.abs(cut.values).max() == 50
    assert cut.clipped == np.count_nonzero(np.abs(whole.values) > 50) > 0
    assert np.allclose(
        cut.values + cut.left_over.astype(float), whole.values + whole.left_over, atol=1e-3
    )
    carried = local.train(model(), base(), rows(0, 60), tight, left_over=cut.left_over)
    assert np.all(carried.values[cut.left_over > 200] == 50)


def test_train__fewer_rows_than_a_batch__takes_all_of_them() -> None:
    told: list[tuple[int, int]] = []
    job = dataclasses.replace(JOB, batch=1000, steps=2)

    update = local.train(
        model(), base(), rows(0, 3), job, report=lambda done, steps, _: told.append((done, steps))
    )

    assert told == [(1, 2), (2, 2)]
    assert np.any(update.values)


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({}, "no array image"),
        ({"image": np.zeros((2, 1, 8, 8))}, "no array labels"),
        ({"image": np.zeros((2, 8, 8)), "labels": np.zeros(2, int)}, "shape"),
        ({"image": np.zeros((3, 1, 8, 8)), "labels": np.zeros(2, int)}, "shape"),
        ({"image": np.full((2, 1, 8, 8), np.nan), "labels": np.zeros(2, int)}, "finite"),
        ({"image": np.zeros((0, 1, 8, 8)), "labels": np.zeros(0, int)}, "no rows"),
        ({"image": np.zeros((2, 1, 8, 8)), "labels": np.zeros(2)}, "labels are float64"),
        ({"image": np.zeros((2, 1, 8, 8)), "labels": np.array([0, -1])}, "label -1"),
    ],
)
def test_examples__unfit_arrays__are_refused(arrays: dict[str, np.ndarray], match: str) -> None:
    with pytest.raises(TrainingDataInvalid, match=match):
        examples.of(arrays, model())


def test_examples__file_that_is_not_there__is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"rows\.npz"):
        examples.read(tmp_path / "rows.npz", model())


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_examples__files__are_read_and_damage_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"
    arrays = {
        "image": rows(0, 5).inputs["image"].numpy(),
        "labels": rows(0, 5).labels.numpy(),
    }
    if suffix == ".npz":
        np.savez(path, **arrays)
    else:
        save_file(arrays, path)

    found = examples.read(path, model())

    assert torch.equal(found.inputs["image"], rows(0, 5).inputs["image"])
    assert torch.equal(found.labels, rows(0, 5).labels)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises((InputInvalid, WeightsInvalid)):
        examples.read(path, model())
