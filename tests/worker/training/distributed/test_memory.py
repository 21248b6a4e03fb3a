"""Memory of ranks under real limits: sets that are larger, and batches that do not fit."""

import json
import os

import numpy as np
import pytest
from safetensors.numpy import load_file

from worker.errors import DeviceFull

pytestmark = pytest.mark.real
LIMIT = 2**29  # bytes that a rank may ask for; torch alone asks for three fifths of it
PIXELS = 2**14  # of a row: 64 KiB


def sparse_set(path, rows):
    """Write a set of zeros that takes no room on disk; its labels are 0."""
    tensors = {
        "image": ("F32", [rows, PIXELS], 4 * PIXELS * rows),
        "label": ("I64", [rows], 8 * rows),
    }
    header, begin = {}, 0
    for name, (dtype, shape, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, begin + size]}
        begin += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
    os.truncate(path, 8 + len(text) + begin)


def test_run__set_of_ten_times_the_memory_limit__trains_through_all_of_it(train, job, tmp_path):
    rows, batch = 10 * LIMIT // (4 * PIXELS), 1024
    sparse_set(tmp_path / "rows.safetensors", rows)
    options = {"pixels": PIXELS, "limit": LIMIT}
    steps = rows // batch
    done = train(
        job(builder="limited", options=options, data=["rows.safetensors"], rows=None, batch=batch,
            steps=steps, checkpoint_every=steps, compare_every=steps),
    )  # fmt: skip

    assert (tmp_path / "rows.safetensors").stat().st_size > 10 * LIMIT
    assert done.steps * batch == rows
    assert done.restarts == ()


def sgd(**fields):
    return {"optimizer": {"name": "sgd", "learning_rate": 0.1}, "batch": 32, "steps": 4, **fields}


def test_run__batch_does_not_fit__is_taken_in_halves_and_gives_the_same_weights(train, job):
    whole = train(job("free", "hungry", {"spare": 0}, **sgd()), run="free")
    split = train(job("bound", "hungry", {"spare": 150 * 2**20}, **sgd()), run="bound")

    assert (whole.microbatches, split.microbatches) == (1, 2)
    assert "out of memory" in split.restarts[0]
    expected, found = load_file(whole.weights), load_file(split.weights)
    for name, weights in expected.items():
        np.testing.assert_allclose(found[name], weights, rtol=1e-5, atol=1e-6)


def test_run__not_even_a_row_fits__says_so(train, job, tmp_path):
    with pytest.raises(DeviceFull, match="out of memory"):
        train(job("none", "hungry", {"spare": 2**20}, **sgd(batch=4)))

    assert [path.name for path in (tmp_path / "run").glob("checkpoint-*")] == [
        "checkpoint-00000000.safetensors"
    ]
