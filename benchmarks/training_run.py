"""Steps a second of a training job on two ranks, beside a bare DDP loop in the same processes.

The bare loop is what torch's tutorial writes: a batch by index, forward, backward, step. Ours also
reads rows from disk in a shuffled order, compares digests, and writes checkpoints. Both take turns,
and each counts by its fastest turn.
"""

import json
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

STEPS = 300  # of a turn
TURNS = 3
WIDTH = 512
LEAST = 0.95  # of the bare loop's steps a second


def run(report: Callable[[str], None], _build: Path) -> dict[str, Any]:
    """Measure both; raise RuntimeError when ours is slower than `LEAST` allows."""
    from torch.distributed.launcher.api import (  # noqa: PLC0415 - heavy
        LaunchConfig,
        elastic_launch,
    )

    from examples.training import digits  # noqa: PLC0415 - it brings torch
    from worker.training.distributed import launch  # noqa: PLC0415 - it brings torch

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        job = digits.write(folder).with_name("mlp.json")
        body = json.loads(job.read_text())
        body["model"]["options"] = {"width": WIDTH}
        body |= {"steps": 1, "checkpoint_every": 100, "compare_every": 100}
        job.write_text(json.dumps(body))
        launch.run(launch.Launch(job, folder / "run", "ddp", 2, 1, 300.0, 0, True))
        job.write_text(json.dumps({**body, "steps": STEPS + 1}))
        config = LaunchConfig(
            min_nodes=1, max_nodes=1, nproc_per_node=2, run_id=uuid.uuid4().hex,
            rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=0,
        )  # fmt: skip
        elastic_launch(config, sys.executable)("-m", "benchmarks.training_run", place)
        found: dict[str, Any] = json.loads((folder / "rates.json").read_text())
    share = found["ours"] / found["bare"]
    report(
        f"perceptron of {WIDTH}: bare DDP {found['bare']:.0f} steps/s, "
        f"train run {found['ours']:.0f} steps/s, {share:.3f}"
    )
    if share < LEAST:
        raise RuntimeError(f"{share:.3f} of a bare DDP loop, {LEAST} is the least")
    return {**found, "share": share}


def main(folder: Path) -> None:
    """Take turns, as one of two ranks; rank 0 writes steps a second."""
    import torch.distributed as dist  # noqa: PLC0415 - heavy

    from worker import device  # noqa: PLC0415 - see `run`
    from worker.training.distributed import job  # noqa: PLC0415 - it brings torch
    from worker.training.distributed.modes import RankPlace  # noqa: PLC0415 - it brings torch
    from worker.training.distributed.rank import RankTask, RankTrainer  # noqa: PLC0415

    device.configure("cpu")
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    told = job.read(folder / "mlp.json")
    start = folder / "run" / "checkpoint-00000001.safetensors"
    task = RankTask(folder / "mlp.json", folder / "run", start, "ddp", 1, 1, 300.0)
    rates: dict[str, list[float]] = {"bare": [], "ours": []}
    for turn in range(TURNS):
        rates["bare"].append(_timed(_bare(folder, rank)))
        trainer = RankTrainer(
            replace(task, run=folder / f"turn-{turn}"), told, RankPlace(rank, 2, 1, "cpu")
        )
        (folder / f"turn-{turn}").mkdir(exist_ok=True)
        rates["ours"].append(_timed(trainer.run))
    if rank == 0:
        best = {name: max(found) for name, found in rates.items()}
        (folder / "rates.json").write_text(json.dumps({**best, "turns": rates}))
    dist.destroy_process_group()


def _timed(loop: Callable[[], None]) -> float:
    """Return steps a second."""
    import torch.distributed as dist  # noqa: PLC0415 - heavy

    dist.barrier()
    begin = time.perf_counter()
    loop()
    dist.barrier()
    return STEPS / (time.perf_counter() - begin)


def _bare(folder: Path, rank: int) -> Callable[[], None]:
    """Return torch's own loop on the same module and rows."""
    import numpy as np  # noqa: PLC0415 - see `run`
    import torch  # noqa: PLC0415 - heavy
    from torch.nn.parallel import DistributedDataParallel  # noqa: PLC0415 - heavy

    from examples.training import digits  # noqa: PLC0415 - it brings torch

    torch.manual_seed(0)
    net = DistributedDataParallel(digits.mlp(WIDTH))
    optimizer = torch.optim.AdamW(net.parameters(), 0.002)
    rows = np.load(folder / "digits.npz")
    half = slice(rank * digits.TRAINED // 2, (rank + 1) * digits.TRAINED // 2)
    image, label = (torch.from_numpy(rows[name][half]) for name in ("image", "label"))

    def loop() -> None:
        for _ in range(STEPS):
            chosen = torch.randint(len(label), (32,))
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(image[chosen]), label[chosen])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    return loop


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(Path(sys.argv[1]))
