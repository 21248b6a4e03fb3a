"""Four owners of digits train one model in rounds; no row leaves its owner.

    python -m examples.digits.federated build/federated

Two have scans, two have drawings: none of them has both. In every round each owner trains some
steps and writes an update of 16-bit integers; an aggregator checks their roots, adds them in
integers, and writes the next state. The last state is a model in safetensors.
"""

import argparse
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # no stubs

from examples.digits import strokes
from oracle.training.aggregation import Aggregation
from worker.runtimes.architectures import DigitsCnn
from worker.training import aggregator, evaluation, examples, states
from worker.training.examples import Examples
from worker.training.local import LocalJob
from worker.training.participating import take_part
from worker.training.vector_files import VectorFile, written

ROUNDS = 15
TEST = 397  # rows of each kind
SCALE_BITS = 16
WIDTH = 8


def federate(folder: Path, rounds: int = ROUNDS) -> dict[str, float]:
    """Train in rounds; return the accuracy on scans and on drawings that nobody trained on."""
    folder.mkdir(parents=True, exist_ok=True)
    tests = _share(folder)
    model = _start()
    base = folder / "state-0.safetensors"
    shapes = {name: tuple(tensor.shape) for name, tensor in states.named(model)}
    with written(base, shapes, np.int32) as file:
        file.write(0, states.of(model, SCALE_BITS))
    found: dict[str, float] = {}
    for number in range(1, rounds + 1):
        base = _round(folder, number, model, base)
        with VectorFile(base) as vector:
            state = vector[: len(vector)]
        found = {
            kind: evaluation.evaluate(model, state, rows, SCALE_BITS).accuracy
            for kind, rows in tests.items()
        }
        shown = ", ".join(f"{accuracy:.3f} of {kind}" for kind, accuracy in found.items())
        print(f"round {number:2}: {shown} right", flush=True)
    save_file(model.state_dict(), folder / "digits.safetensors")
    return found


def _round(folder: Path, number: int, model: DigitsCnn, base: Path) -> Path:
    """Let all owners train from a state, and add their updates; return the next state's file."""
    job = LocalJob(
        steps=20, learning_rate=0.2, batch=32, seed=number, scale_bits=SCALE_BITS, clip=2**15 - 1
    )
    owners = sorted(folder.glob("owner-*.npz"))
    taken = [
        take_part(
            model,
            job,
            base=base,
            data=owner,
            into=owner.with_suffix(".safetensors"),
            left_over=owner.with_suffix(".npy"),
        )
        for owner in owners
    ]
    following = folder / f"state-{number}.safetensors"
    updates = [VectorFile(owner.with_suffix(".safetensors")) for owner in owners]
    with VectorFile(base) as vector:
        aggregator.aggregate_files(
            Aggregation(len(vector), job.clip, tuple(one.rows for one in taken)),
            vector,
            updates,
            [one.root for one in taken],
            path=following,
            shapes=vector.shapes,
        )
    for update in updates:
        update.close()
    return following


def _share(folder: Path) -> Mapping[str, Examples]:
    """Write each owner's rows; return test rows of both kinds."""
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    scans = (pixels[order] / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    kinds = {"scans": (scans, labels[order]), "drawings": strokes.varied(len(labels), seed=0)}
    tests = {}
    for kind, (images, digits) in kinds.items():
        tests[kind] = examples.of({"image": images[:TEST], "labels": digits[:TEST]}, _start())
        for half in range(2):
            rows = slice(TEST + half, None, 2)
            np.savez(folder / f"owner-{kind}-{half}.npz", image=images[rows], labels=digits[rows])
    return tests


def _start() -> DigitsCnn:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DigitsCnn({"width": WIDTH})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of the states and updates; replaced")
    target = parser.parse_args().folder
    shutil.rmtree(target, ignore_errors=True)
    torch.set_num_threads(1)
    federate(target)
