"""The process that opens a stranger's file: `python child.py ROOT FOLDER`, confined first.

ROOT is where `worker` can be imported, after all packages of this Python. FOLDER holds `job.json`;
`model.onnx` and what belongs to it are left there, or `error.json`.
"""

import importlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

JOB, ERROR = "job.json", "error.json"
_MODULES: Mapping[str, str] = {
    "scikit-learn": "scikit_learn", "xgboost": "trees", "lightgbm": "trees",
    "saved-model": "tensorflow", "keras": "tensorflow", "checkpoint": "tensorflow",
    "onnx": "onnx_opsets", "spark": "spark", "to-saved-model": "saved_model",
}  # fmt: skip
_JAVA = ("spark",)  # read by a Java machine


def main(root: str, folder: Path) -> int:
    """Convert; return the exit code."""
    sys.path.append(root)
    from worker.importing.confinement import confine  # noqa: PLC0415 - from ROOT

    said = json.loads((folder / JOB).read_text())
    for name in ("TMPDIR", "HOME", "MPLCONFIGDIR", "KERAS_HOME"):
        os.environ[name] = str(folder)
    os.chdir(folder)
    if said["packages"]:
        sys.path.append(said["packages"])
    confine(folder, readable(said), programs=said["format"] in _JAVA)
    # NumPy starts threads, so it comes after
    from worker.importing.converted import Conversion  # noqa: PLC0415

    job = Conversion(**said)
    try:
        if job.describe:
            importlib.import_module("worker.importing.trees").describe(job, folder)
            return 0
        module = importlib.import_module(f"worker.importing.{_MODULES[job.format]}")
        module.convert(job).write(folder)
    except Exception as error:  # whoever asked is told why, in one place
        (folder / ERROR).write_text(json.dumps(failure(error)))
        return 1
    return 0


def readable(job: Mapping[str, Any]) -> list[Path]:
    """Return what a conversion may read: a file's folder, too, where its parts lie beside it."""
    given = [Path(path) for path in (job["source"], job["samples"]) if path]
    source = given[0]
    parts = [source.parent] if job["format"] == "checkpoint" and source.is_file() else []
    java = [Path(os.environ["JAVA_HOME"])] if os.environ.get("JAVA_HOME") else []
    return [*given, *parts, *(java if job["format"] in _JAVA else ())]


def failure(error: Exception) -> dict[str, str]:
    """Return an error as the JSON object that the frame makes an error of again."""
    name, hint = type(error).__name__, str(getattr(error, "hint", ""))
    if isinstance(error, ImportError):
        name, hint = "ConfigInvalid", ""
    return {"error": name, "message": f"{error}"[:500], "hint": hint}


if __name__ == "__main__":
    del sys.path[0]  # this folder: its modules have the names of libraries
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
