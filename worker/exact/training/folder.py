"""A job of exact steps on disk: what whoever does it again needs, and what its trainer stands for.

```
 job.json               roots, seed, counts, the parameters' names, the history's root
 step.program           one step's words       constants.safetensors    its tables
 data.safetensors       samples and labels     first.safetensors        the first state
 history.bin            64 bytes a record      model.safetensors        the weights at the end
 state.safetensors      the last state         history.json             for a version's manifest
 model.pt2              what can be published
```
Nothing is believed: every root is computed again when a folder is read.
"""

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import nn

from oracle import whole_file
from oracle.errors import DigestMismatch, InputInvalid, NotFound
from oracle.exact import constants
from oracle.exact.dtypes import Array, DType
from oracle.exact.program import Program
from oracle.exact.tensors import TensorTree
from oracle.merkle import log, tree_path
from oracle.protocol import tensor, training_history
from oracle.protocol.training_history import MadeByJob, TrainingHistory
from oracle.training.exact_job import ExactJob, StepRecord, history_root
from oracle.types import Bytes32
from worker.exact.training.layers import Parameter
from worker.exact.training.run import BatchedData, ExactTraining
from worker.exact.training.step import TrainingStep

GRAPH = "model.pt2"
JOB, HISTORY, WEIGHTS = "job.json", "history.bin", "model.safetensors"
_PROGRAM, _CONSTANTS = "step.program", "constants.safetensors"
_DATA, _STATE, LAST = "data.safetensors", "first.safetensors", "state.safetensors"
_RECORD = 64  # bytes
_LONGEST = 1 << 32  # bytes of a file


def write(
    folder: Path, training: ExactTraining, records: Sequence[StepRecord], last: Array
) -> None:
    """Write a finished job.

    Args:
        folder: exists; files of these names are replaced.
        training: the job with what it reads.
        records: its history.
        last: the last state, int32, 1 × parameters.
    """
    job, step, data = training.job, training.step, training.data
    whole_file.write(folder / _PROGRAM, job.program.encode())
    whole_file.write(folder / _CONSTANTS, constants.save(job.program, step.constants))
    integers = {"samples": data.samples.array, "labels": data.labels.array.astype(np.int32)}
    whole_file.write(folder / _DATA, tensor.encode(integers))
    whole_file.write(folder / _STATE, tensor.encode({"state": training.state}))
    whole_file.write(folder / LAST, tensor.encode({"state": last}))
    whole_file.write(folder / WEIGHTS, safetensors.torch.save(step.decode(last)))
    whole_file.write(folder / HISTORY, b"".join(one.state + one.trace for one in records))
    history = json.dumps(made(job, records).to_json(), indent=1)
    whole_file.write(folder / training_history.FILE, history + "\n")
    told = {
        "program": job.program.model_root, "samples": job.samples, "labels": job.labels,
        "state": job.state, "seed": job.seed, "history": history_root(records),
    }  # fmt: skip
    body = {name: "0x" + root.hex() for name, root in told.items()} | {
        "batches": job.batches, "steps": job.steps,
        "parameters": {held.name: list(held.shape) for held in step.parameters},
    }  # fmt: skip
    whole_file.write(folder / JOB, json.dumps(body, indent=1) + "\n")  # last: it says all are there


def write_graph(folder: Path, net: nn.Module, shape: tuple[int, ...]) -> None:
    """Write the trained module as a file that operators run, in float32.

    Args:
        net: with the weights at the end.
        shape: of one sample.
    """
    graph = copy.deepcopy(net).float().eval()
    rows = {0: torch.export.Dim("rows")}
    program = torch.export.export(graph, (torch.zeros(2, *shape),), dynamic_shapes=(rows,))
    torch.export.save(program, folder / GRAPH)


def made(job: ExactJob, records: Sequence[StepRecord]) -> TrainingHistory:
    """Return what a manifest says of weights that came out of a job."""
    leaves, depth = [record.leaf for record in records], log(len(records))
    by = MadeByJob(
        program=job.program.model_root, samples=job.samples, labels=job.labels,
        first_state=job.state, seed=job.seed, batches=job.batches, steps=job.steps,
        history=history_root(records), last_path=tree_path(leaves, depth, len(leaves) - 1),
        state=LAST,
    )  # fmt: skip
    return TrainingHistory(made=by)


def read(folder: Path) -> tuple[ExactTraining, tuple[StepRecord, ...]]:
    """Return a job, and the history that its trainer stands for.

    Raises:
        NotFound: a file is missing.
        InputInvalid (or a subclass): a file is damaged.
        DigestMismatch: a file has not the root that the job names.
    """
    told = _job(folder)
    program = Program.parse(_bytes(folder / _PROGRAM))
    held = constants.load(_bytes(folder / _CONSTANTS), program)
    integers = _tensors(folder / _DATA, "samples", "labels")
    (state,) = _tensors(folder / _STATE, "state")
    data = BatchedData(TensorTree.of(integers[0], DType.U8), TensorTree.of(integers[1], DType.U16))
    step = TrainingStep(program, held, _parameters(told["parameters"]))
    body = _bytes(folder / HISTORY)
    records = tuple(
        StepRecord(Bytes32(body[at : at + 32]), Bytes32(body[at + 32 : at + _RECORD]))
        for at in range(0, len(body), _RECORD)
    )
    found = {
        "program": program.model_root, "samples": data.samples.root, "labels": data.labels.root,
        "state": TensorTree.of(state, DType.I32).root,
    }  # fmt: skip
    if not body or len(body) % _RECORD:
        raise InputInvalid(f"{HISTORY} has {len(body)} bytes, no whole records")
    for name, root in (*found.items(), ("history", history_root(records))):
        if told[name] != root:
            raise DigestMismatch(
                f"{name} has root 0x{root.hex()}, {JOB} names 0x{told[name].hex()}",
                hint="the folder was changed, or is of two jobs: get it again",
            )
    job = ExactJob(
        program, found["samples"], found["labels"], found["state"], told["seed"],
        told["batches"], told["steps"],
    )  # fmt: skip
    return ExactTraining(job, step, data, state), records


def _job(folder: Path) -> dict[str, Any]:
    try:
        told = json.loads(_bytes(folder / JOB))
        roots = ("program", "samples", "labels", "state", "seed", "history")
        read_ = {name: Bytes32(bytes.fromhex(told[name].removeprefix("0x"))) for name in roots}
        return {**read_, **{name: told[name] for name in ("batches", "steps", "parameters")}}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputInvalid(f"{folder / JOB} is no job of exact steps: {error!r:.200}") from error


def _parameters(told: Any) -> tuple[Parameter, ...]:
    try:
        found, start = [], 0
        for name, shape in told.items():
            found.append(Parameter(str(name), tuple(int(side) for side in shape), start))
            start += found[-1].count
    except (ValueError, TypeError, AttributeError) as error:
        raise InputInvalid(f"{JOB}: `parameters` are no names with shapes") from error
    return tuple(found)


def _tensors(path: Path, *names: str) -> list[Array]:
    found = tensor.decode(_bytes(path), max_bytes=_LONGEST)
    if set(found) != set(names):
        raise InputInvalid(f"{path.name} holds {', '.join(found)}, not {', '.join(names)}")
    return [found[name] for name in names]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise NotFound(
            f"there is no {path}", hint="`tallystick train exact JOB --out FOLDER` writes a folder"
        ) from None
