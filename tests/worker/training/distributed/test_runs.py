"""Whole runs of two ranks over torchrun's agent: killed, stopped, tampered with, gone on with."""

import json
import random

import psutil
import pytest

from tests.support.waiting import assert_gone
from worker.errors import ModelFailed
from worker.training.distributed.errors import RanksDiffer, RankVanished, RunDiverged

pytestmark = pytest.mark.real
STEPS = 12
CALLS = {"pipeline": 4}  # of a layer in a step: each micro-batch


def digests(result):
    return result.digest, result.optimizer_digest, result.order_digest


def steps_of(folder):
    return [int(path.stem[-8:]) for path in sorted(folder.glob("checkpoint-*"))]


def trouble(tmp_path, what, **at):
    return {"what": what, "folder": str(tmp_path), **at}


@pytest.mark.parametrize(
    ("mode", "calm_mode", "ranks"),
    [("ddp", "ddp", (0, 1)), ("fsdp", "ddp", (1,)), ("pipeline",) * 2 + ((1,),),
     ("diloco",) * 2 + ((0,),)],
)  # fmt: skip
def test_run__ranks_killed_at_any_step__ends_with_the_bytes_of_an_undisturbed_one(
    train, job, tmp_path, mode, calm_mode, ranks
):
    at = {rank: random.randint(2, STEPS) for rank in ranks}
    calls = {("first", "second")[rank]: step * CALLS.get(mode, 1) for rank, step in at.items()}
    written = job(builder="troubled", options=trouble(tmp_path, "kill", **calls))
    groups = 2 if mode == "diloco" else 1
    killed = train(written, mode, groups=groups)
    # Ranks that start again count calls anew: the second kill may fall with the first, or never.
    # What has come does not come again
    for rank in ranks:
        (tmp_path / f"kill-{rank}").touch()
    calm = train(written, calm_mode, groups=groups, run="calm")

    assert 1 <= len(killed.restarts) <= len(ranks), f"killed at {at}"
    assert calm.restarts == ()
    assert digests(killed) == digests(calm), f"killed at {at}"
    assert killed.losses == calm.losses
    assert [step for step, _ in calm.losses] == [4, 8, 12]
    assert steps_of(tmp_path / "run") == [8, 12]


def test_run__launcher_killed__ranks_end_and_the_same_command_goes_on(start, train, job, tmp_path):
    written = job(steps=2000, checkpoint_every=100, compare_every=100)
    process = start(written)
    while not steps_of(tmp_path / "run")[1:]:  # reads what the ranks say until there are two
        assert process.stdout.readline(), "the run ended"
    ranks = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()  # its lock goes with its last thread, ranks with the one that started them
    assert_gone(ranks)
    done = steps_of(tmp_path / "run")[-1]
    body = json.loads(written.read_text())
    written.write_text(json.dumps({**body, "steps": done + 100}))
    gone_on = train(written)

    assert ranks
    assert digests(gone_on) == digests(train(written, run="calm"))


def test_run__parameter_changed_in_a_rank__is_named_and_the_checkpoint_kept(train, job, tmp_path):
    written = job(builder="troubled", options=trouble(tmp_path, "tamper", second=7))
    with pytest.raises(
        RanksDiffer, match=r"step 8: rank 1 has another model/6\.weight than rank 0"
    ):
        train(written)

    assert steps_of(tmp_path / "run") == [0, 4]
    assert train(written).steps == STEPS  # tampered with once


def test_run__no_number__ends_with_the_last_good_checkpoint(train, job, tmp_path):
    written = job(builder="troubled", options=trouble(tmp_path, "nan", first=7, second=7))
    with pytest.raises(RunDiverged, match="step 8"):
        train(written)

    assert steps_of(tmp_path / "run") == [0, 4]


def test_run__module_raises_in_one_rank__its_error_is_told_at_once(train, job, tmp_path):
    written = job(builder="troubled", options=trouble(tmp_path, "raise", second=7))
    with pytest.raises(ModelFailed, match="rank 1: RuntimeError: this layer is broken"):
        train(written)


def test_run__rank_that_is_silent__is_named(train, job, tmp_path):
    written = job(builder="troubled", options=trouble(tmp_path, "stop", second=7))
    with pytest.raises(RankVanished, match="rank 1 did not answer in 20 s"):
        train(written, timeout=20, max_restarts=0)

    assert train(written).steps == STEPS
