"""Writes a compiled version as a folder that `tallystick model publish` takes.

```
 model.json        the float model's description with runtime, exact, files replaced
 model.program     the program's words        constants.safetensors   weights and tables
 thresholds.safetensors   of a model of trees: what its inputs are compared with
 report.json       what compilation kept: accuracy against float, sizes, proofs
```
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oracle.exact import constants, quantisation
from oracle.exact.ranks import Ranks
from oracle.protocol.manifest import MAX_TEXT
from worker.exact.compiler import Compiled
from worker.exact.report import CompilationReport

PROGRAM, CONSTANTS, REPORT = "model.program", "constants.safetensors", "report.json"


def write(
    compiled: Compiled,
    folder: Path,
    about: Mapping[str, Any],
    report: CompilationReport | None = None,
) -> None:
    """Write the folder.

    Args:
        compiled: program, constants and what their integers stand for.
        folder: made when it is missing; files of these names are replaced.
        about: of model.json: name, description, license, labels, preprocess, descriptions of
            inputs; what depends on the program is written here.
        report: shown to whoever considers the model.

    Raises:
        ConstantMismatch, ProgramInvalid: the constants do not belong to the program.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PROGRAM).write_bytes(compiled.program.encode())
    (folder / CONSTANTS).write_bytes(constants.save(compiled.program, compiled.constants))
    if report is not None:
        (folder / REPORT).write_text(json.dumps(report.to_json(), indent=1, sort_keys=True) + "\n")
    for code in compiled.inputs:
        if isinstance(code, Ranks) and code.thresholds is not None:
            (folder / code.file).write_bytes(code.thresholds.to_bytes())
    program = compiled.program
    known = {spec["name"]: spec for spec in about.get("inputs", ())}
    body = {
        **{key: value for key, value in about.items() if key not in ("tolerance", "files")},
        "description": _description(about.get("description", ""), report),
        "runtime": {"format": "exact", "entry": PROGRAM},
        "inputs": [
            {
                "name": code.name,
                "dtype": _dtype(code),
                "shape": list(_shape(code)),
                "description": known.get(code.name, {}).get("description", ""),
            }
            for code in compiled.inputs
        ],
        "outputs": [
            {
                "name": output.name,
                "dtype": "I64" if output.meaning == "class" else "F32",
                "shape": list(output.answer_shape),
                "description": output.meaning,
            }
            for output in compiled.outputs
        ],
        "exact": {
            "constants": CONSTANTS,
            "inputs": [quantisation.to_json(code) for code in compiled.inputs],
            "outputs": [quantisation.to_json(output) for output in compiled.outputs],
            "output_id": program.id_of(len(program.ops) - 1),
        },
    }
    if (labels := compiled.outputs[0].labels) and "labels" not in body:
        body["labels"] = list(labels)
    (folder / "model.json").write_text(json.dumps(body, indent=1) + "\n")


def _description(said: str, report: CompilationReport | None) -> str:
    """Return what was measured of the integers before what is said of the float model."""
    if report is None:
        return said
    measured = report.accuracy
    kept = f"a mean cosine of {measured.mean_cosine:.4f} to the float model"
    if measured.correct_exact is not None:
        kept = f"{measured.correct_exact:.1%} right, the float model {measured.correct_float:.1%},"
    on = f"on {measured.samples} held-out samples"
    if measured.drawn:
        on = f"on {measured.samples} rows that were drawn"
    elif not measured.held_out:
        on = f"on the owner's {measured.samples} samples"
    kept = f"As integers: {kept} {on}."
    return f"{kept} The float model: {said}"[:MAX_TEXT] if said else kept


def copy_beside(source: Path, folder: Path, paths: tuple[str, ...]) -> None:
    """Copy files that the version lists beside its own (a tokenizer)."""
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / path, folder / path)


def _dtype(code: quantisation.InputCode) -> str:
    """Return what a tokenizer gives, or real numbers, of which LightGBM tells doubles apart."""
    if isinstance(code, Ranks):
        return "F64" if code.precision == "float64" else "F32"
    return "F32" if isinstance(code, quantisation.Linear) else "I64"


def _shape(code: quantisation.InputCode) -> tuple[int, ...]:
    return code.shape if isinstance(code, quantisation.Linear) else (1, code.spec.cols)
