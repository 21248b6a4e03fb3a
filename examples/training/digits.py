"""Writes a training job on scanned digits: two ranks train it in seconds.

    python -m examples.training.digits build/training
    tallystick train run build/training/digits.json --nproc 2
    tallystick train run build/training/mlp.json --nproc 2 --mode pipeline --trust-builder
    tallystick train exact build/training/exact.json --trust-builder

`digits.json` names a registered architecture, the others modules that are built here.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # no stubs
from torch import nn

TRAINED = 1_400  # rows; the other 397 are held out


def mlp(width: int = 128, hidden: int = 2) -> nn.Sequential:
    """Return a perceptron with so many hidden layers: float32 [n, 1, 8, 8] to logits [n, 10]."""
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(64, width), nn.ReLU()]
    for _ in range(hidden - 1):
        layers += [nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def write(folder: Path) -> Path:
    """Write the images as NPZ and two jobs beside them; return the first job's path."""
    folder.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    image = (digits.data[order].reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    np.savez(folder / "digits.npz", image=image, label=digits.target[order].astype(np.int64))
    job = {
        "data": ["digits.npz"], "inputs": ["image"], "target": "label", "rows": [0, TRAINED],
        "held_out": [TRAINED, len(order)], "batch": 64, "steps": 300, "checkpoint_every": 60,
        "compare_every": 60,
    }  # fmt: skip
    for name, model, optimizer in (
        (
            "digits",
            {"architecture": "digits_cnn", "options": {"width": 16}},
            {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9},
        ),
        (
            "mlp",
            {"builder": "examples.training.digits:mlp"},
            {"name": "adamw", "learning_rate": 0.002},
        ),
        (
            "exact",
            {"builder": "examples.training.digits:mlp", "options": {"width": 48, "hidden": 1}},
            {"name": "sgd", "learning_rate": 0.5},
        ),
    ):
        body = json.dumps({"name": name, "model": model, "optimizer": optimizer, **job}, indent=2)
        (folder / f"{name}.json").write_text(body + "\n")
    return folder / "digits.json"


def main() -> None:
    """Write into the folder named on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    job = write(parser.parse_args().folder)
    print(f"{job}: `tallystick train run {job} --nproc 2`")


if __name__ == "__main__":
    main()
