"""Jobs on a few rows of digits, and runs of them."""

import json
import subprocess
import sys

import numpy as np
import pytest

from worker.training.distributed import launch as launching
from worker.training.distributed.launch import Launch

MODULES = "tests.worker.training.distributed.troubled"


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """Return an NPZ of 240 digits."""
    from sklearn.datasets import load_digits

    image, label = load_digits(n_class=10, return_X_y=True)
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    np.savez(path, image=(image[:240] / 16).astype(np.float32), label=label[:240])
    return path


@pytest.fixture
def job(tmp_path, digits):
    """Return a function that writes a job of some fields, and gives back its path."""

    def write(name="job", builder="mlp", options=None, **fields):
        model = {"builder": f"{MODULES}:{builder}", "options": options or {}}
        body = {
            "model": model, "data": [str(digits)], "inputs": ["image"], "target": "label",
            "rows": [0, 200], "optimizer": {"name": "adamw", "learning_rate": 0.01}, "batch": 16,
            "steps": 12, "checkpoint_every": 4, "compare_every": 4, "diloco": {"local_steps": 2},
        }  # fmt: skip
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({**body, **fields}))
        return path

    return write


@pytest.fixture
def train(tmp_path):
    """Return a function that runs a job to its end, with the launcher in this process."""

    def run(job, mode="ddp", *, nproc=2, groups=1, timeout=300, max_restarts=3, run="run"):
        launch = Launch(job, tmp_path / run, mode, nproc, groups, timeout, max_restarts, True)
        return launching.run(launch)

    return run


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a launcher of two ranks in a process of its own."""
    started = []

    def begin(job, *words, run="run"):
        argv = [sys.executable, "-m", "worker.training.distributed", job, tmp_path / run]
        process = subprocess.Popen(
            [*map(str, argv), "--nproc=2", "--trust-builder", *words], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
