"""Parts of a run without ranks: jobs, rows on disk, their order, checkpoints."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from oracle.errors import ConfigInvalid, InputInvalid, NotFound
from tests.worker.training.distributed.troubled import mlp
from worker.errors import ArchiveRefused, PickleRefused, WeightsInvalid
from worker.training.distributed import checkpoint, data, model
from worker.training.distributed import job as jobs
from worker.training.distributed.checkpoint import CheckpointMeta
from worker.training.distributed.errors import CheckpointDamaged, CheckpointForeign
from worker.training.distributed.modes import stages
from worker.training.distributed.order import RowOrder, permuted, share

NAMES = ["image", "label"]


# ── Jobs ────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"batch": 0}, "batch"),
        ({"stepz": 3}, "stepz"),
        ({"optimizer": {"name": "sgd", "learning_rate": float("nan")}}, "optimizer.learning_rate"),
        ({"optimizer": {"name": "lion", "learning_rate": 1}}, "optimizer.name"),
        ({"model": {}}, "architecture or a builder"),
        ({"loss": "hinge"}, "loss"),
    ],
)
def test_read__field_that_does_not_fit__is_named(job, fields, said):
    with pytest.raises(InputInvalid, match=said):
        jobs.read(job(**fields))


def test_read__no_file_and_no_json__are_told_apart(tmp_path):
    with pytest.raises(NotFound):
        jobs.read(tmp_path / "job.json")
    (tmp_path / "job.json").write_text("{")
    with pytest.raises(InputInvalid, match="JSON"):
        jobs.read(tmp_path / "job.json")


def test_trust__builder_that_nobody_allowed__is_not_run(job):
    with pytest.raises(ConfigInvalid, match="runs code"):
        model.trust(jobs.read(job()).model, False)


@pytest.mark.parametrize(
    ("fields", "mode", "said"),
    [
        ({"rows": [0, 241]}, "ddp", "rows 0 to 241 are not there: the files hold 240"),
        ({"held_out": [9, 9]}, "ddp", "held_out 9 to 9 are not there"),
        ({"batch": 15}, "ddp", "15 rows cannot be divided by 2 ranks"),
        ({"rows": [3, 4]}, "ddp", "1 rows are too few"),
        ({"batch": 10}, "pipeline", "cannot be divided by 4 micro-batches"),
        ({"checkpoint_every": 3}, "diloco", "checkpoint_every 3 is no multiple"),
        ({"target": "image"}, "ddp", "does not take rows"),
    ],
)
def test_run__job_that_cannot_be_divided__is_refused_before_ranks_start(
    train, job, tmp_path, fields, mode, said
):
    with pytest.raises(InputInvalid, match=said):
        train(job(**fields), mode)

    assert not (tmp_path / "run").exists()


# ── Rows on disk ────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def arrays():
    draw = np.random.default_rng(0)
    return {"image": draw.random((20, 3), np.float32), "label": np.arange(20)}


def test_open_rows__two_files_of_two_kinds__read_as_one_set(tmp_path, arrays):
    np.savez(tmp_path / "a.npz", **{n: a[:7] for n, a in arrays.items()})
    save_file({n: a[7:].copy() for n, a in arrays.items()}, tmp_path / "b.safetensors")
    rows = data.open_rows([tmp_path / "a.npz", tmp_path / "b.safetensors"], NAMES)
    numbers = np.array([19, 0, 6, 7, 7, 3])

    assert len(rows) == 20
    for name, array in rows.read(numbers).items():
        np.testing.assert_array_equal(array, arrays[name][numbers])


def test_open_rows__files_that_do_not_fit__are_refused_by_name(tmp_path, arrays):
    path, other = tmp_path / "a.npz", tmp_path / "b.npz"
    np.savez(path, **arrays)
    for wrong, error, said in (
        ({"image": arrays["image"]}, InputInvalid, "b.npz has no tensor label"),
        ({**arrays, "label": np.arange(19)}, InputInvalid, "other numbers of rows"),
        (
            {**arrays, "image": arrays["image"][:, :2]},
            InputInvalid,
            r"rows of image are float32 \[2\]",
        ),
        ({**arrays, "label": np.array([None] * 20)}, PickleRefused, "label.npy"),
    ):
        np.savez(other, **wrong)
        with pytest.raises(error, match=said):
            data.open_rows([path, other], NAMES)
    np.savez_compressed(other, **arrays)
    with pytest.raises(ArchiveRefused):
        data.open_rows([path, other], NAMES)
    save_file(arrays, tmp_path / "c.safetensors")
    os.truncate(tmp_path / "c.safetensors", (tmp_path / "c.safetensors").stat().st_size - 1)
    with pytest.raises(WeightsInvalid):
        data.open_rows([tmp_path / "c.safetensors"], NAMES)
    with pytest.raises(NotFound):
        data.open_rows([tmp_path / "d.npz"], NAMES)


# ── Their order ─────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("count", [1, 2, 3, 64, 65, 1000, 4097])
def test_permuted__any_count__is_a_permutation_of_its_own_in_each_epoch(count):
    first, second = (permuted(7, epoch, np.arange(count), count) for epoch in (0, 1))

    assert sorted(first) == sorted(second) == list(range(count))
    assert count < 64 or (first != second).mean() > 0.9


def test_rows__of_two_parts__each_row_once_in_an_epoch_in_its_own_range():
    for index in range(2):
        begin, end = share(1001, index, 2)
        order = RowOrder(3, begin, end, 10)
        taken = np.concatenate([order.rows(step) for step in range(60)])
        assert sorted(taken[: end - begin]) == list(range(begin, end))
        again = RowOrder(3, begin, end, 10)  # a run that goes on begins anywhere
        np.testing.assert_array_equal(again.rows(41), taken[410:420])


# ── Checkpoints ─────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def saved(tmp_path, job):
    """Return a folder with checkpoints of steps 2, 4 and 6, and the job that they are of."""
    told = jobs.read(job())
    meta = CheckpointMeta(told.identity(), "ddp", 2, 1, 0, ("00" * 32,) * 2, (), "data")
    for step in (2, 4, 6):
        tensors = {"model/weight": torch.full((3, 2), float(step))}
        checkpoint.write(tmp_path, tensors, replace(meta, step=step))
    return tmp_path, told


def test_write__third_one__first_is_removed(saved):
    folder, _ = saved
    assert [p.stem[-1] for p in sorted(folder.glob("checkpoint-*"))] == ["4", "6"]
    assert checkpoint.latest(folder).meta.step == 6


def test_latest__cut_short_or_changed__is_refused_and_the_one_before_is_named(saved):
    folder, _ = saved
    path = folder / "checkpoint-00000006.safetensors"
    whole = path.read_bytes()
    for damaged in (
        whole[:-1],
        whole[:9],
        b"",
        whole[:-1] + b"\x01",
        whole.replace(b"ddp", b"xyz"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointDamaged) as caught:
            checkpoint.latest(folder)
        assert "goes on from checkpoint-00000004" in caught.value.hint
    path.unlink()
    assert checkpoint.latest(folder).meta.step == 4


@pytest.mark.parametrize(
    ("changed", "how", "said"),
    [
        ({"seed": 1}, ("ddp", 2, 1), "seed was 0, and is 1"),
        ({"batch": 32}, ("ddp", 2, 1), "batch was 16, and is 32"),
        ({"steps": 5}, ("ddp", 2, 1), "has done 6 steps, the job asks for 5"),
        ({}, ("ddp", 4, 1), "2 ranks in 1 groups of mode ddp, not 4"),
        ({}, ("pipeline", 2, 1), "of pipeline"),
    ],
)
def test_require_same__another_job_or_division__is_refused(saved, changed, how, said):
    folder, told = saved
    found = checkpoint.latest(folder)
    with pytest.raises(CheckpointForeign, match=said):
        checkpoint.require_same(found, told.model_copy(update=changed), *how)


def test_require_same__longer_job_in_the_twin_mode__goes_on(saved):
    folder, told = saved
    longer = told.model_copy(update={"steps": 99, "compare_every": 1})
    checkpoint.require_same(checkpoint.latest(folder), longer, "fsdp", 2, 1)


# ── Modules ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_stages__of_a_sequential__hold_all_layers_in_order_by_their_names(count):
    net = mlp()
    found = stages(net, count)

    assert len(found) == count
    assert all(len(stage) for stage in found)
    assert [n for s in found for n, _ in s.named_children()] == [n for n, _ in net.named_children()]


def test_stages__more_ranks_than_layers__are_refused():
    with pytest.raises(InputInvalid, match="of 6 ranks needs"):
        stages(mlp(), 6)


@pytest.mark.real
def test_compare__one_of_three_ranks_differs__is_the_one_that_is_named(tmp_path):
    import torch.multiprocessing as mp

    mp.spawn(_compares, (str(tmp_path / "store"), str(tmp_path)), nprocs=3)
    said = {(tmp_path / f"said-{rank}").read_text() for rank in range(3)}
    assert said == {"step 5: rank 1 has another b than rank 0"}


def _compares(rank, store, folder):
    import torch.distributed as dist

    from worker.training.distributed import digests

    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=3)
    own = {
        "a": digests.of_tensor(torch.ones(2)),
        "b": digests.of_tensor(torch.ones(2, 1 + rank % 2)),
    }
    try:
        digests.compare(own, 5)
    except digests.RanksDiffer as error:
        with open(f"{folder}/said-{rank}", "w") as file:
            file.write(str(error).partition(" (")[0])
    dist.destroy_process_group()
