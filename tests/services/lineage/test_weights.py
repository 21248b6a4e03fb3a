"""Weights of exact jobs, held to the history that they are said to come from. No sockets."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from oracle.exact.dtypes import DType
from oracle.exact.tensors import TensorTree
from oracle.merkle import tree_path
from oracle.protocol import tensor
from oracle.protocol.manifest import Manifest, RuntimeSpec
from oracle.protocol.training_history import MadeByJob, TrainingHistory
from oracle.services.lineage import weights
from oracle.training.exact_job import StepRecord, history_root
from oracle.types import Bytes32
from tests.protocol.test_manifest import GOOD

A = Bytes32(b"a" * 32)
STATE = np.array([[3 << 23, -(1 << 22), 5]], np.int32)
RECORDS = (
    StepRecord(A, A), StepRecord(A, A), StepRecord(TensorTree.of(STATE, DType.I32).root),
)  # fmt: skip
JOB = MadeByJob(
    program=A, samples=A, labels=A, first_state=A, seed=A, batches=1, steps=2,
    history=history_root(RECORDS), last_path=tree_path([r.leaf for r in RECORDS], 2, 2),
    state="state.safetensors",
)  # fmt: skip
TRAINED = replace(GOOD, history=TrainingHistory(made=JOB))


def found(folder: Path, manifest: Manifest = TRAINED, state: object = STATE, extra: float = 0.0):
    """Return the checks of a job's weights, by subject."""
    paths = {"state.safetensors": folder / "s", manifest.runtime.entry: folder / "w"}
    paths["state.safetensors"].write_bytes(tensor.encode({"state": state}))
    floats = (STATE[0] / 2**24).astype(np.float32) + np.float32(extra)
    save_file({"a": floats[:1], "b": floats[1:].reshape(2, 1)}, paths[manifest.runtime.entry])
    return {one.subject: str(one.finding) for one in weights.check(manifest, paths)}


def test_check__job_that_ended_with_these_weights__fits(tmp_path):
    assert found(tmp_path) == {"state": "ok", "weights": "ok", "training": "not checkable"}


def test_check__other_weights_or_another_state__are_wrong(tmp_path):
    assert found(tmp_path, extra=0.25)["weights"] == "wrong"
    assert found(tmp_path, state=STATE + 1)["state"] == "wrong"
    longer = replace(JOB, last_path=(A, *JOB.last_path[1:]))
    assert found(tmp_path, replace(GOOD, history=TrainingHistory(made=longer)))["state"] == "wrong"


@pytest.mark.parametrize("state", [STATE.astype(np.int64), STATE[0]])
def test_check__file_that_is_no_state__is_wrong(tmp_path, state):
    assert found(tmp_path, state=state)["weights"] == "wrong"


def test_check__weights_without_names__are_not_checkable(tmp_path):
    graph = replace(TRAINED, runtime=RuntimeSpec("torch.export", "m.pt2"))
    assert found(tmp_path, graph) == {
        "state": "ok", "weights": "not checkable", "training": "not checkable",
    }  # fmt: skip
