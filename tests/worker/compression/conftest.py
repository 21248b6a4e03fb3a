"""A small network that has learnt something, in the three formats that operators run."""

import json
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from worker.runtimes.architectures import DigitsCnn

COUNT = 400
SHAPE = {"name": "image", "dtype": "F32", "shape": [None, 1, 8, 8]}
LOGITS = {"name": "logits", "dtype": "F32", "shape": [None, 10]}


@pytest.fixture(scope="session")
def data():
    """Pictures of four kinds: which quarter is bright. Noise makes some of them hard."""
    dice = np.random.default_rng(0)
    labels = dice.integers(0, 4, COUNT)
    images = dice.normal(0, 0.5, (COUNT, 1, 8, 8)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 0.5
    return images, labels


@pytest.fixture(scope="session")
def taught(data):
    """DigitsCnn of width 8 after a second of training."""
    images, labels = (torch.from_numpy(array) for array in data)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = DigitsCnn({"width": 8})
        optimizer = torch.optim.Adam(model.parameters(), 5e-3)
        for _ in range(60):
            rows = torch.randint(200, (32,))
            loss = torch.nn.functional.cross_entropy(model(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


@pytest.fixture(scope="session")
def samples(data, tmp_path_factory):
    """An NPZ of the pictures and what they are."""
    path = tmp_path_factory.mktemp("samples") / "samples.npz"
    np.savez(path, image=data[0], labels=data[1])
    return path


def write(model, folder, kind):
    """Write a model as a folder to publish."""
    entries = {"torch.export": "m.pt2", "onnx": "m.onnx", "safetensors": "m.safetensors"}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / entries[kind]
    runtime = {"format": kind, "entry": path.name}
    example, batch = (torch.zeros(2, 1, 8, 8),), {0: torch.export.Dim("n")}
    if kind == "safetensors":
        save_file(model.state_dict(), path)
        runtime |= {"architecture": "digits_cnn", "options": {"width": 8}}
    elif kind == "torch.export":
        torch.export.save(torch.export.export(model, example, dynamic_shapes=(batch,)), path)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                model, example, path, dynamo=False, input_names=["image"],
                output_names=["logits"], dynamic_axes={"image": {0: "n"}, "logits": {0: "n"}},
            )  # fmt: skip
    about = {
        "name": "quarters", "runtime": runtime, "inputs": [SHAPE], "outputs": [LOGITS],
        "labels": [str(n) for n in range(10)], "files": [path.name],
    }  # fmt: skip
    (folder / "model.json").write_text(json.dumps(about))
    return folder


@pytest.fixture(scope="session")
def folders(taught, tmp_path_factory):
    """The model in each format, written when it is asked for."""
    place = tmp_path_factory.mktemp("models")
    made = {}

    def folder(kind):
        if kind not in made:
            made[kind] = write(taught, place / kind, kind)
        return made[kind]

    return folder
