"""Trains a small CNN on scanned and drawn digits and writes it as a folder ready to publish.

    python -m examples.digits.build build/digits

Three variants of the same weights: `torch.export` (default), `onnx`, `safetensors`. The scans are
scikit-learn's, the drawings are strokes varied at random (strokes.py). Takes about five seconds on
two cores; the seed is fixed, the bytes still depend on the machine's instruction set (see the
worker's notes on determinism), which is why digests are published and not assumed.
"""

import argparse
import json
import logging
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # no stubs

from examples.digits import strokes
from worker.runtimes.architectures import DigitsCnn

EPOCHS = 8
BATCH = 64
DRAWINGS = 2_000  # that are trained on
WIDTH = 16
TEST_SHARE = 5  # every fifth image is for testing
SAMPLES = 8
FORMATS = ("torch.export", "onnx", "safetensors")
_ENTRIES = {
    "torch.export": "digits.pt2",
    "onnx": "digits.onnx",
    "safetensors": "digits.safetensors",
}

Progress = Callable[[str, int, int], None]  # (what, done, total)
Images = np.ndarray[Any, np.dtype[np.float32]]


def build(
    out_dir: Path, progress: Progress | None = None, runtime_format: str = "torch.export"
) -> Path:
    """Train, export and describe the model; return `out_dir`.

    Raises:
        ValueError: an unknown format.
        RuntimeError: it reads less than 97 % of the scans, or of the drawings less than 95 %.
    """
    if runtime_format not in FORMATS:
        raise ValueError(f"{runtime_format} is not one of {FORMATS}")
    report = progress or _silent
    out_dir.mkdir(parents=True, exist_ok=True)
    model, accuracy = train(report)
    read = read_drawings(model)
    if accuracy < 0.97 or sum(read) < 0.95 * len(read):
        raise RuntimeError(f"reads {accuracy:.1%} of scans, {sum(read)} of {len(read)} drawings")
    entry = out_dir / _ENTRIES[runtime_format]
    report("export", 0, 1)
    write = {"torch.export": _export, "onnx": _export_onnx, "safetensors": _save}[runtime_format]
    with warnings.catch_warnings():  # the exporters' own deprecations
        warnings.simplefilter("ignore")
        write(model, entry)
    report("export", 1, 1)
    about = f"right on {sum(read)} of {len(read)} drawn ones and on {accuracy:.1%} of scans"
    description = _describe(entry.name, runtime_format, about)
    (out_dir / "model.json").write_text(json.dumps(description, indent=2) + "\n")
    return out_dir


def samples(count: int, first: int = 0) -> tuple[Images, list[int]]:
    """Return test images float32 [count, 1, 8, 8] in 0…1, and their labels."""
    images, labels = _data()
    test = np.arange(len(labels)) % TEST_SHARE == 0
    chosen = slice(first, first + count)
    return images[test][chosen], [int(label) for label in labels[test][chosen]]


def calibration() -> dict[str, Any]:
    """Return as many training as test images with labels, the training images first.

    `python -m worker.exact` takes ranges from the first half and measures on the second.
    """
    images, labels = _data()
    test = np.arange(len(labels)) % TEST_SHARE == 0
    known = np.flatnonzero(~test)[: test.sum()]
    chosen = np.concatenate([known, np.flatnonzero(test)])
    return {"image": images[chosen], "labels": labels[chosen]}


def read_drawings(model: DigitsCnn) -> list[bool]:
    """Return which of the 40 drawings, none of which was trained on, a model reads."""
    drawings, digits = strokes.drawn()
    images = np.stack([strokes.render(drawing) for drawing in drawings])[:, None]
    with torch.inference_mode():
        found = model.eval()(torch.from_numpy(images)).argmax(-1)
    return [one == digit for one, digit in zip(found.tolist(), digits, strict=True)]


def train(report: Progress) -> tuple[DigitsCnn, float]:
    """Return the trained model and its accuracy on the test images."""
    threads = torch.get_num_threads()
    images, labels = (torch.from_numpy(array) for array in _data())
    test = torch.arange(len(labels)) % TEST_SHARE == 0
    drawings, digits = (torch.from_numpy(array) for array in strokes.varied(DRAWINGS, seed=0))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.set_num_threads(1)  # equal bytes on every run
        try:
            model = DigitsCnn({"width": WIDTH})
            known = torch.cat([images[~test], drawings]), torch.cat([labels[~test], digits])
            _fit(model, *known, report)
        finally:
            torch.set_num_threads(threads)
    with torch.inference_mode():
        hits = model.eval()(images[test]).argmax(-1) == labels[test]
    return model, float(hits.float().mean())


def _fit(model: DigitsCnn, images: torch.Tensor, labels: torch.Tensor, report: Progress) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3)
    steps = (len(labels) + BATCH - 1) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 8e-3, total_steps=EPOCHS * steps)
    for epoch in range(EPOCHS):
        for index in torch.randperm(len(labels)).split(BATCH):  # type: ignore[no-untyped-call]
            loss = torch.nn.functional.cross_entropy(model(images[index]), labels[index])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        report("train", epoch + 1, EPOCHS)


def _data() -> tuple[Images, np.ndarray[Any, np.dtype[np.int64]]]:
    digits = load_digits()
    return (digits.data.reshape(-1, 1, 8, 8) / 16).astype(np.float32), digits.target.astype(
        np.int64
    )


def _export(model: DigitsCnn, entry: Path) -> None:
    example = (torch.zeros(2, 1, 8, 8),)
    batch = {0: torch.export.Dim("n", min=1, max=4096)}
    program = torch.export.export(model, example, dynamic_shapes=(batch,)).run_decompositions()
    raw = entry.with_suffix(".raw.pt2")
    torch.export.save(program, raw)
    strip(raw, entry)
    raw.unlink()


def strip(archive: Path, target: Path) -> None:
    """Copy a torch.export archive without its pickled sample inputs, with fixed time stamps."""
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            if "/data/sample_inputs/" not in name and not name.endswith("serialization_id"):
                body = source.read(name)
                inside = name.split("/", 1)[1]
                copy.writestr(zipfile.ZipInfo(f"{target.stem}/{inside}"), body)


def _export_onnx(model: DigitsCnn, entry: Path) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, we do not
    program = torch.onnx.export(
        model, (torch.zeros(2, 1, 8, 8),), dynamo=True, verbose=False,
        input_names=["image"], output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("n", min=1, max=4096)},),
    )  # fmt: skip
    assert program is not None
    program.save(str(entry), external_data=False)


def _save(model: DigitsCnn, entry: Path) -> None:
    save_file(model.state_dict(), entry)


def _describe(entry: str, runtime_format: str, about: str) -> dict[str, Any]:
    runtime: dict[str, Any] = {"format": runtime_format, "entry": entry}
    if runtime_format == "safetensors":
        runtime |= {"architecture": "digits_cnn", "options": {"width": WIDTH}}
    return {
        "name": "digits-cnn",
        "description": f"Reads a handwritten digit of 8 × 8 pixels; {about}",
        "license": "MIT",
        "runtime": runtime,
        "inputs": [
            {
                "name": "image", "dtype": "F32", "shape": [None, 1, 8, 8],
                "description": "grey value 0 (paper) to 1 (ink)",
            }
        ],
        "outputs": [
            {
                "name": "logits", "dtype": "F32", "shape": [None, 10],
                "description": "one score per digit; the largest is the answer",
            }
        ],
        "preprocess": {  # dark ink on light paper: 1 − pixel ÷ 255
            "kind": "image", "height": 8, "width": 8, "channels": 1,
            "scale": 1 / 255, "mean": [1.0], "std": [-1.0],
        },
        "labels": [str(digit) for digit in range(10)],
        "max_output_bytes": 16384,
        "tolerance": 100_000,
    }  # fmt: skip


def _silent(_what: str, _done: int, _total: int) -> None:
    """Report nothing."""


def main() -> None:
    """Build into the folder named on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0])
    parser.add_argument("--samples", type=Path, help="also write test images and labels as JSON")
    parser.add_argument(
        "--calibration", type=Path, help="also write images and labels as NPZ, to compile with"
    )
    arguments = parser.parse_args()
    shutil.rmtree(arguments.out_dir, ignore_errors=True)
    build(
        arguments.out_dir,
        lambda what, done, total: print(f"{what} {done}/{total}", flush=True),
        arguments.format,
    )
    if arguments.samples:
        images, labels = samples(SAMPLES)
        body = {"images": images.tolist(), "labels": labels}
        arguments.samples.write_text(json.dumps(body) + "\n")
    if arguments.calibration:
        np.savez(arguments.calibration, **calibration())


if __name__ == "__main__":
    main()
