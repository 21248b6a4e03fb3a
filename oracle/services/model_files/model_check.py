"""A model before it is published: what its file says, and what it does in a worker's process.

```
 weights ─describe─▶ model.json ─folders.read─▶ draft ─check─▶ what a requester would see
            (a process that may import torch, holds no key, and loads as operators do)
```
"""

import json
import math
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from pydantic import TypeAdapter

from oracle import origins, whole_file
from oracle.errors import InputInvalid, NotFound
from oracle.protocol import training_history
from oracle.protocol.manifest import MAX_NAME, Manifest
from oracle.protocol.training_history import BaseVersion, MadeByJob, TrainingHistory
from oracle.services import folders
from oracle.types import Amount

_WEIGHTS = (
    "model.pt2",
    "model.onnx",
    "model.safetensors",
)  # of a folder of training: a graph first
RunModule = Callable[..., CompletedProcess[str]]  # a module of `worker`, a path, options


@dataclass(frozen=True, slots=True)
class Run:
    """One forward pass."""

    rows: int
    seconds: float
    output_bytes: int  # of the canonical file


@dataclass(frozen=True, slots=True)
class Sample:
    """A tensor of one row, with its first numbers."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    first: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """What a model takes, gives and needs on this machine."""

    name: str
    format: str
    device: str
    load_seconds: float
    runs: tuple[Run, ...]  # at batch 1, and at 8 when the model takes several rows
    memory: int  # bytes: the most that the process held
    spread: int  # how far honest answers differ, in 1e-9; 0 of an exact model
    inputs: tuple[Sample, ...]
    outputs: tuple[Sample, ...]

    def rows_per_request(self, max_output_bytes: int) -> int:
        """Return how many rows one request may ask for."""
        first, last = self.runs[0], self.runs[-1]
        if last.rows == first.rows:
            return first.rows
        each = (last.output_bytes - first.output_bytes) / (last.rows - first.rows)
        return max(1, int((max_output_bytes - first.output_bytes) / max(each, 1)) + 1)

    def break_even(self, operator_bps: int, machine_hour: Amount) -> Amount:
        """Return the fee of one row whose operator's part pays for the machine, without gas."""
        return break_even(self.runs[0].seconds, operator_bps, machine_hour)


def break_even(seconds: float, operator_bps: int, machine_hour: Amount) -> Amount:
    """Return the fee whose operator's part pays for so long on a machine, without gas."""
    cost = seconds / 3600 * machine_hour
    return Amount(math.ceil(cost * 10_000 / max(operator_bps, 1)))


def check(run: RunModule, draft: Manifest, folder: Path) -> ModelCheck:
    """Load and run a model as operators do, in a process of its own.

    Args:
        run: `oracle.agents.worker_process.run_module` with its settings.

    Raises:
        InputInvalid: it cannot be loaded, or does not do what its manifest says; the hint says what
            to write instead.
    """
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "manifest.json").write_bytes(draft.to_bytes())
        (Path(place) / "files").symlink_to(folder.resolve())
        answer = asked(run, "worker.check", Path(place))
    return TypeAdapter(ModelCheck).validate_python(answer)


def init(
    run: RunModule, weights: Path, name: str = "", base: BaseVersion | None = None
) -> tuple[Path, dict[str, Any]]:
    """Write `model.json` beside a file of weights; return its path and what it says.

    Args:
        weights: a file, or a folder that training or another library wrote (a SavedModel).
        base: the version that it was trained from, where somebody names it.

    Raises:
        NotFound: no such file. InputInvalid: no format that is served, or there is a `model.json`.
    """
    weights = _trained(weights)
    if not weights.is_file() and origins.recognise(weights) is None:
        raise NotFound(f"there is no file {weights}", hint="give the file of the weights")
    target = weights.parent / folders.DESCRIPTION
    if target.exists() and target.samefile(weights):
        raise InputInvalid(
            f"{weights} has the name of the description",
            hint=f"rename it: `mv {weights} {weights.with_name('trees.json')}`",
        )
    if target.exists():
        entry = _entry_of(target)
        if entry == weights.name:
            raise InputInvalid(
                f"there is {target} already, which describes {entry}",
                hint="edit it, or move it away",
            )
        raise InputInvalid(
            f"there is {target} already, which describes {entry or 'another model'}",
            hint=f"each model has a folder of its own: move {weights} to one, and give it there",
        )
    history = _history_of(weights, base)
    name = (name or _name_of(weights))[:MAX_NAME]
    return target, _describe(run, weights, target, name, history)


def _trained(weights: Path) -> Path:
    """Return the weights of a folder that training wrote; all else as it is."""
    if not (weights / training_history.FILE).is_file():
        return weights
    return next(
        (weights / name for name in _WEIGHTS if (weights / name).is_file()), weights / _WEIGHTS[0]
    )


def _history_of(weights: Path, base: BaseVersion | None) -> TrainingHistory | None:
    """Return what training wrote beside its weights, with the base that somebody names.

    Raises:
        InputInvalid: the file is damaged, or names another base.
    """
    try:
        with weights.with_name(training_history.FILE).open("rb") as file:
            found = TrainingHistory.parse(file.read(training_history.MAX_FILE + 1))
    except OSError:  # most weights have none
        return None if base is None else TrainingHistory(base=base)
    if base is not None and found.base not in (None, base):
        raise InputInvalid(
            f"{weights.with_name(training_history.FILE)} names another base",
            hint="leave --base out: what wrote the weights knew it",
        )
    return found if base is None else replace(found, base=base)


def _name_of(weights: Path) -> str:
    """Return a name: the file's, or the folder's where the file is just called `model`."""
    weights = weights.resolve()
    if weights.is_dir() or weights.stem == "model":
        return weights.parent.name
    return weights.stem


def _entry_of(description: Path) -> str:
    """Return the file that a model.json describes; "" where it names none."""
    try:
        return str(json.loads(description.read_text())["runtime"]["entry"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def folder_of(run: RunModule, weights: Path) -> Path:
    """Make a folder `<name without suffix>-gguf` beside a text model's file, which is linked there.

    One that is there is taken as it is, so that what its model.json says can be edited.

    Raises:
        NotFound, InputInvalid: there is no such file, or it is no text model.
    """
    if not weights.is_file():
        raise NotFound(f"there is no file {weights}", hint="give the file of the weights")
    folder = weights.with_name(f"{weights.stem}-gguf")
    folder.mkdir(exist_ok=True)
    linked = folder / weights.name
    if not linked.exists() or not linked.samefile(weights):
        linked.unlink(missing_ok=True)
        try:
            linked.hardlink_to(weights)
        except OSError:  # another disk
            shutil.copyfile(weights, linked)
    target = folder / folders.DESCRIPTION
    if not target.exists():
        _describe(run, linked, target, weights.stem[:MAX_NAME])
    return folder


def _describe(
    run: RunModule,
    weights: Path,
    target: Path,
    name: str,
    history: TrainingHistory | None = None,
) -> dict[str, Any]:
    """Write `model.json`; return what it says."""
    said = asked(run, "worker.describe", weights)
    description = {
        "name": name, "description": "", "license": "", **said, "files": [weights.name],
    }  # fmt: skip
    if history is not None:
        description["history"] = history.to_json()
        if isinstance(history.made, MadeByJob):
            description["files"].append(history.made.state)
    whole_file.write(target, json.dumps(description, indent=2) + "\n")
    return description


def asked(
    run: RunModule,
    module: str,
    path: Path,
    *options: str,
    refusal: str = "the model cannot be served",
) -> dict[str, Any]:
    """Return what a module of `worker` answers.

    Args:
        refusal: what stands before its words when it refuses.

    Raises:
        InputInvalid: it refuses, with its own words and hint, or its process died.
    """
    done = run(module, path, *options)
    lines = done.stdout.splitlines()
    if done.returncode and not lines:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputInvalid(
            f"the process that loads the model ended with {done.returncode}: {last:.300}",
            hint="-9 is what a lack of memory does" if done.returncode < 0 else "",
        )
    answer: dict[str, Any] = json.loads(lines[-1])
    if done.returncode:
        hints = [answer["hint"], _proposal(answer)]
        raise InputInvalid(
            f"{refusal}: {answer['message']}",
            hint="; ".join(hint for hint in hints if hint),
        )
    return answer


def _proposal(answer: Mapping[str, Any]) -> str:
    """Return what the file itself says, as it stands in `model.json`."""
    if "inputs" not in answer:
        return ""
    parts = (f'"{name}": {json.dumps(answer[name])}' for name in ("inputs", "outputs"))
    return "the file says " + ", ".join(parts)
