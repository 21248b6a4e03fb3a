"""Jobs over NCCL: as on processors they go on with the same bytes after a kill."""

import pytest
import torch

from tests.worker.training.distributed.test_runs import digests, trouble

pytestmark = [pytest.mark.gpu, pytest.mark.real]


@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_run__on_every_gpu__rank_killed__ends_with_the_bytes_of_an_undisturbed_one(
    train, job, tmp_path, mode
):
    ranks = torch.cuda.device_count()
    written = job(builder="troubled", options=trouble(tmp_path, "kill", first=7), batch=4 * ranks)
    killed = train(written, mode, nproc=ranks)

    assert killed.restarts
    assert digests(killed) == digests(train(written, mode, nproc=ranks, run="calm"))
