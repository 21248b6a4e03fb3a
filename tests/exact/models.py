"""A small exact version as a folder: a linear layer over 8 × 8 pixels, ten scores. No torch."""

import json

import numpy as np

from oracle.exact import constants, quantisation
from oracle.exact.builder import ProgramBuilder
from oracle.exact.dtypes import DType, Spec, channels
from oracle.exact.quantisation import Linear, OutputCode
from oracle.protocol.canonical import dumps, sha256
from oracle.protocol.cid import raw_cid
from oracle.protocol.manifest import Manifest

IMAGE = Linear("image", DType.I8, (1, 8, 8), (0, 1, 2), 1, 1 / 127)
SCORES = OutputCode("scores", DType.I16, (1, 10), 1 / 256, meaning="logits")


def linear(seed=0):
    """Return (program, constants): RESCALE, DOT, ADD, so that the trace has two tensors."""
    rng = np.random.default_rng(seed)
    b = ProgramBuilder()
    x = b.input(Spec(DType.I8, 1, 64))
    same = b.constant(channels(0, 1 << 20, 20), DType.CHANNEL)
    weights = b.constant(rng.integers(-128, 128, (10, 64), np.int8), DType.I8)
    scaled = b.constant(channels(rng.integers(-999, 999, 10), 1 << 20, 26), DType.CHANNEL)
    twice = b.constant(channels([0, 0], [1 << 20, 1 << 20], 21), DType.CHANNEL)
    y = b.dot(b.rescale(x, same, dtype=DType.I8), weights, scaled, dtype=DType.I16)
    b.add(y, y, twice, dtype=DType.I16)
    return b.build()


def description(program, **changes):
    """Return the body of a model.json."""
    return {
        "name": "linear-exact",
        "runtime": {"format": "exact", "entry": "model.program"},
        "inputs": [{"name": "image", "dtype": "F32", "shape": [1, 8, 8]}],
        "outputs": [{"name": "scores", "dtype": "F32", "shape": [1, 10]}],
        "exact": {
            "constants": "constants.safetensors",
            "inputs": [quantisation.to_json(IMAGE)],
            "outputs": [quantisation.to_json(SCORES)],
            "output_id": program.id_of(len(program.ops) - 1),
        },
        **changes,
    }


def write(folder, seed=0, **changes):
    """Write the folder; return (program, constants)."""
    folder.mkdir(parents=True, exist_ok=True)
    program, held = linear(seed)
    (folder / "model.program").write_bytes(program.encode())
    (folder / "constants.safetensors").write_bytes(constants.save(program, held))
    (folder / "model.json").write_text(json.dumps(description(program, **changes)))
    return program, held


def manifest(folder):
    """Return the manifest of a written folder."""
    body = json.loads((folder / "model.json").read_text())
    files = []
    for path in sorted(p for p in folder.iterdir() if p.name != "model.json"):
        digest = sha256(path.read_bytes())
        files.append({
            "path": path.name, "cid": raw_cid(digest), "sha256": "0x" + digest.hex(),
            "size": path.stat().st_size,
        })  # fmt: skip
    return Manifest.parse(dumps({"schema": "tallystick/manifest/1", "files": files, **body}))


def files(folder):
    """Return path in the manifest → file."""
    return {path.name: path for path in folder.iterdir()}


def image(seed=0):
    """Return one input."""
    return np.random.default_rng(seed).random((1, 8, 8), np.float32)
