"""`python -m worker.training JOB FOLDER`: one computation of a round, from files to files.

What `tallystick train join|aggregate|challenge` run: a process of its own, as oracle never imports
torch. JOB is a file of JSON that says what is done (`do`: a name of `TASKS`) and with which files.
Prints `steps <done>/<total>` lines, then the result as one JSON object, or `{"error", "message",
"hint", "exit_code"}` with exit code 1.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oracle.errors import TallystickError
from oracle.private_files import make_folder
from worker.describe import failure

# By name: the module below worker.training; torch is imported only where it is needed
TASKS: Mapping[str, str] = {
    **dict.fromkeys(("base", "weights", "update"), "round_models"),
    "aggregate": "round_files",
    **dict.fromkeys(("fault", "nodes"), "round_checks"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Do a job; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m worker.training")
    parser.add_argument("job", type=Path)
    parser.add_argument("folder", type=Path, help="where files are written")
    told = parser.parse_args(argv)
    job = json.loads(told.job.read_text())
    try:
        result = done(job, make_folder(told.folder))
    except TallystickError as error:
        print(json.dumps({**failure(error), "exit_code": error.exit_code}), flush=True)
        return 1
    print(json.dumps(result), flush=True)
    return 0


def done(job: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Do a job and return its result; raises what its module says."""
    module = importlib.import_module(f"worker.training.{TASKS[job['do']]}")
    result: dict[str, Any] = getattr(module, job["do"])(job, folder)
    return result


if __name__ == "__main__":
    sys.exit(main())
