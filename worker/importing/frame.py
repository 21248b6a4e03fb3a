"""Runs a conversion in a process of its own, and holds what comes out to the original library.

A parser that dies kills nothing here. What the child left is opened as operators open it.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import worker
from oracle import errors as general
from oracle.errors import ConfigInvalid, TallystickError
from worker import errors
from worker.errors import ModelUnsupported, WeightsInvalid
from worker.importing import child, confinement
from worker.importing.converted import (
    SAVED_MODEL,
    Array,
    Conversion,
    Converted,
    as_json,
    read_description,
)

WALL = 900.0  # seconds that a conversion may take
TENSORFLOW = "TALLYSTICK_TENSORFLOW_PYTHON"  # the setting with the Python that has it
SPARK = "TALLYSTICK_SPARK"  # the setting with the folder that holds pyspark
_ROOT = Path(worker.__file__).resolve().parents[1]
_OF_TENSORFLOW = frozenset({"saved-model", "keras", "checkpoint", "to-saved-model"})
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
_T = TypeVar("_T")
_LAST = 300  # characters of what a child said last
_END, _MOST = 4_000, 10_000  # bytes that are read of its output's end, and of its error


def convert(job: Conversion, environ: Mapping[str, str] = os.environ) -> Converted:
    """Convert a file or folder in a confined process.

    Raises:
        ModelRefused (or a subclass): its origin does not read it, or it reaches outside of itself.
        ConfigInvalid: the library that reads it is not installed.
        WeightsInvalid: the process died of it, or took too long.
    """
    return _in_child(job, environ, Converted.read)


def describe(
    job: Conversion, environ: Mapping[str, str] = os.environ
) -> tuple[str, dict[str, Any]]:
    """Return the version of a library, and what its file of trees says. Errors as `convert`."""
    return _in_child(replace(job, describe=True), environ, read_description)


def save(
    model: Path, samples: Path, target: Path, environ: Mapping[str, str] = os.environ
) -> Mapping[str, Array]:
    """Write an ONNX file as a SavedModel; return what TensorFlow answers to samples.

    Args:
        samples: see `worker.importing.saved_model.convert`.
        target: the folder to write, which is not there yet.

    Raises:
        As `convert`.
    """

    def read(folder: Path) -> Converted:
        made = Converted.read(folder)
        if any(not (one.is_dir() or one.is_file()) or one.is_symlink()
               for one in (folder / SAVED_MODEL).rglob("*")):  # fmt: skip
            raise WeightsInvalid("the SavedModel has something that is no file and no folder")
        shutil.copytree(folder / SAVED_MODEL, target)
        return made

    job = Conversion("to-saved-model", str(model.resolve()), str(samples.resolve()))
    return _in_child(job, environ, read).answers


def _in_child(job: Conversion, environ: Mapping[str, str], read: Callable[[Path], _T]) -> _T:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        packages = environ.get(SPARK, "") if job.format == "spark" else ""
        (folder / child.JOB).write_text(as_json(replace(job, packages=packages)))
        python = _python(job, environ)
        code = _run([python, str(child.__file__), str(_ROOT), str(folder)], folder, environ)
        if code != 0:
            raise _error(job, folder, code)
        return read(folder)


def _python(job: Conversion, environ: Mapping[str, str]) -> str:
    named = environ.get(TENSORFLOW, "")
    return named if named and job.format in _OF_TENSORFLOW else sys.executable


def _run(argv: list[str], folder: Path, environ: Mapping[str, str]) -> int:
    """Run it in a group of its own, which ends with it; return the exit code."""
    kept = {name: value for name, value in environ.items() if not name.startswith("TALLYSTICK_")}
    with (folder / "output").open("wb") as output:
        try:
            process = subprocess.Popen(  # noqa: S603 - our own file, under a Python the owner named
                argv, env={**kept, **_QUIET}, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise ConfigInvalid(
                f"{argv[0]} cannot be run: {error.strerror}", hint=f"{TENSORFLOW} names a Python"
            ) from error
        return _waited(process)


def _waited(process: "subprocess.Popen[bytes]") -> int:
    """Wait for a process, then end what is left of its group; return the exit code."""
    ended = threading.Thread(
        target=os.waitid, args=(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT), daemon=True
    )
    ended.start()
    try:
        ended.join(WALL)
        if ended.is_alive():
            raise WeightsInvalid(f"the conversion took more than {WALL:.0f} s")
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # not waited for: nobody else has its number yet
        ended.join()
        process.wait()
    return process.returncode


def _error(job: Conversion, folder: Path, code: int) -> TallystickError:
    """Return the child's own error, or what its end says."""
    try:
        with (folder / child.ERROR).open("rb") as file:
            said = json.loads(file.read(_MOST))
        name, message, hint = (str(said[key]) for key in ("error", "message", "hint"))
    except (OSError, ValueError, KeyError, TypeError):
        return _died(job, folder, code)
    if name == "ConfigInvalid":
        return ConfigInvalid(f"{job.format} needs its own library: {message}", hint=_install(job))
    if name == "MemoryError":
        return _died(job, folder, -signal.SIGKILL)
    kind = getattr(errors, name, getattr(general, name, None))
    if isinstance(kind, type) and issubclass(kind, TallystickError):
        found: TallystickError = kind(message, hint=hint)
        return found
    return ModelUnsupported(f"{Path(job.source).name} is not converted: {name}: {message}")


def _died(job: Conversion, folder: Path, code: int) -> TallystickError:
    with (folder / "output").open("rb") as file:  # a child may have written gigabytes
        file.seek(max(0, os.fstat(file.fileno()).st_size - _END))
        text = file.read(_END).decode(errors="replace").strip()
    last = text.splitlines()[-1][-_LAST:] if text else "no word"
    why = f"signal {-code}" if code < 0 else f"exit code {code}"
    return WeightsInvalid(
        f"the library that reads {Path(job.source).name} ended with {why}: {last}",
        hint=f"it is damaged, was made to break its reader, or needs more than "
        f"{confinement.MEMORY >> 30} GiB or {confinement.SECONDS} s",
    )


def _install(job: Conversion) -> str:
    if job.format in _OF_TENSORFLOW:
        return (
            "TensorFlow lives in an environment of its own: `python3 -m venv ~/tensorflow`, "
            "`~/tensorflow/bin/pip install tensorflow-cpu==2.21.0 keras==3.15.0 tf2onnx==1.17.0`, "
            f"then `export {TENSORFLOW}=~/tensorflow/bin/python`"
        )
    if job.format == "spark":
        return (
            "Java 17 or newer on PATH or in JAVA_HOME, and `pip install --target ~/spark "
            f"pyspark==4.3.0`, then `export {SPARK}=~/spark`"
        )
    return "pip install 'tallystick[compile]'"
