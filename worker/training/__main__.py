"""`python -m worker.training JOB FOLDER`: one computation of a round, from files to files.

What `tallystick train join|aggregate|challenge` run: a process of its own, as oracle never imports
torch. JOB is a file of JSON that says what is done (`do`: a name of `TASKS`) and with which files.
Prints `steps <done>/<total>` lines, then the result as one JSON object, or `{"error", "message",
"hint", "exit_code"}` with exit code 1.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from oracle.errors import TallystickError
from oracle.private_files import make_folder
from worker.describe import failure
from worker.training import round_checks, round_files

TASKS: Mapping[str, Callable[[Mapping[str, Any], Path], dict[str, Any]]] = {
    "base": round_files.base,
    "weights": round_files.weights,
    "update": round_files.update,
    "aggregate": round_files.aggregate,
    "fault": round_checks.fault,
    "nodes": round_checks.nodes,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Do a job; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m worker.training")
    parser.add_argument("job", type=Path)
    parser.add_argument("folder", type=Path, help="where files are written")
    told = parser.parse_args(argv)
    job = json.loads(told.job.read_text())
    try:
        result = TASKS[job["do"]](job, make_folder(told.folder))
    except TallystickError as error:
        print(json.dumps({**failure(error), "exit_code": error.exit_code}), flush=True)
        return 1
    print(json.dumps(result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
