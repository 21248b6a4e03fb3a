"""Vectors of an index: in any batch the same to a step, and nothing is cut in silence."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from examples.minilm import build as minilm
from oracle.protocol import search_index
from oracle.protocol.search_index import Passage, SearchIndex
from oracle.services import folders
from tests.protocol.test_search_index import INDEX

TEXTS = [
    "A cat sleeps on the sofa.", "The kitten naps on the couch, and nobody minds.",
    "Interest rates rose again.",
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    model = minilm.build(folder / "files")
    manifest = folders.read(model, lambda *_: None)
    (folder / "manifest.json").write_bytes(manifest.to_bytes())
    return folder


def run(place, texts):
    passages = search_index.write_passages([Passage("a", text) for text in texts])
    (place / search_index.PASSAGES).write_bytes(passages)
    done = subprocess.run(
        [sys.executable, "-m", "worker.embedding", place],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def test_make__sentences__are_near_where_they_mean_alike(place):
    code, said = run(place, TEXTS)
    assert (code, said["numbers"], said["more"]) == (0, 3 * 384, 0)
    document: SearchIndex = replace(INDEX, count=3, width=384)
    data = (place / search_index.VECTORS).read_bytes()
    vectors = search_index.read_vectors(data, document).astype(np.float32)
    near = search_index.nearest(vectors, vectors[0].astype(np.int16), 3)
    assert [number for number, _ in near] == [0, 1, 2]
    assert near[1][1] == pytest.approx(0.6, abs=0.2)


def test_make__passage_that_is_too_long__is_refused_and_named(place):
    code, said = run(place, [*TEXTS, "word " * 300])
    assert code == 1
    assert said["error"] == "InputInvalid"
    assert "302 tokens, the model takes 256: 'word word" in said["message"]
