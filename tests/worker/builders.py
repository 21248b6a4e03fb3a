"""Models small enough to publish into a MemoryIpfs within milliseconds, and jobs for them."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from oracle.protocol import tensor
from oracle.protocol.canonical import dumps, sha256
from oracle.protocol.cid import raw_digest
from oracle.protocol.files import FileEntry
from oracle.protocol.manifest import Manifest
from oracle.queue.messages import InferMessage
from oracle.types import ZERO32, RequestId
from worker.runtimes.architectures import DigitsCnn

IMAGE = {"name": "image", "dtype": "F32", "shape": [None, 1, 8, 8]}
LOGITS = {"name": "logits", "dtype": "F32", "shape": [None, 10]}


class Published:
    """A model folder on a MemoryIpfs, and what a chain would say of it."""

    def __init__(self, ipfs, folder, **changes):
        self.ipfs = ipfs
        described = {**json.loads((folder / "model.json").read_text()), **changes}
        entries = []
        for path in sorted(p for p in folder.iterdir() if p.name != "model.json"):
            published = ipfs.publish_file(path)
            entries.append(FileEntry(path.name, published.cid, published.sha256, published.size))
        files = [
            {"path": e.path, "cid": e.cid, "sha256": "0x" + e.sha256.hex(), "size": e.size}
            for e in entries
        ]
        data = dumps({"schema": "tallystick/manifest/1", "files": files, **described})
        self.manifest = Manifest.parse(data)
        self.digest = raw_digest(ipfs.publish_bytes(data).cid)
        self.root = self.manifest.model_root()

    def job(self, number, tensors, **changes):
        data = tensors if isinstance(tensors, bytes) else tensor.encode(tensors)
        self.ipfs.publish_bytes(data)
        fields = {
            "request_id": RequestId(sha256(number.to_bytes(8, "big"))), "model_id": 1,
            "version": 1, "manifest_digest": self.digest, "model_root": self.root,
            "input_root": sha256(data), "input_cid": ZERO32, "params": ZERO32,
        }  # fmt: skip
        return InferMessage(**{**fields, **changes})


def images(count=1, seed=0):
    return np.random.default_rng(seed).random((count, 1, 8, 8), np.float32)


def digits_module():
    torch.manual_seed(1)
    return DigitsCnn({"width": 4}).eval()


class SmallNet(torch.nn.Module):
    """4 numbers to 3, with something inside to look at."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3)
        )

    def forward(self, x):
        return self.layers(x)


def write_digits(folder: Path, **changes) -> Path:
    """An untrained digits model as safetensors: 2 ms instead of 5 s."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(digits_module().state_dict(), folder / "digits.safetensors")
    described = {
        "name": "digits", "inputs": [IMAGE], "outputs": [LOGITS],
        "tolerance": 100_000,
        "runtime": {
            "format": "safetensors", "entry": "digits.safetensors", "architecture": "digits_cnn",
            "options": {"width": 4},
        },
    }  # fmt: skip
    (folder / "model.json").write_text(json.dumps({**described, **changes}))
    return folder
