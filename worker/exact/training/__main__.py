"""`python -m worker.exact.training JOB FOLDER`: a training job in exact steps, to its end.

What `tallystick train exact` runs: a process of its own, as oracle never imports torch. Prints
`steps <done>/<total>` lines, then the result as one JSON object, or `{"error", "message", "hint",
"exit_code"}` with exit code 1.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from oracle.errors import TallystickError
from oracle.exact.dtypes import Array
from oracle.exact.reference import ExecutionTrace
from oracle.private_files import make_folder
from oracle.training.exact_job import history_root
from worker.describe import failure
from worker.exact.training import folder, from_job, run


def main(argv: Sequence[str] | None = None) -> int:
    """Do a job; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m worker.exact.training")
    parser.add_argument("job", type=Path)
    parser.add_argument("folder", type=Path, help="what whoever verifies it needs")
    parser.add_argument("--trust-builder", action="store_true", help="run the job's own code")
    told = parser.parse_args(argv)
    return say(lambda: _train(told.job, told.folder, trusted=told.trust_builder))


def say(program: Callable[[], dict[str, Any]]) -> int:
    """Print what a program returns or raises as JSON; return the exit code."""
    try:
        result = program()
    except TallystickError as error:
        print(json.dumps({**failure(error), "exit_code": error.exit_code}), flush=True)
        return 1
    print(json.dumps(result), flush=True)
    return 0


def progress(done: int, total: int) -> None:
    """Print how many steps are done."""
    print(f"steps {done}/{total}", flush=True)


def _train(path: Path, out: Path, *, trusted: bool) -> dict[str, Any]:
    prepared = from_job.prepare(path, trusted=trusted)
    training = prepared.training
    states: list[Array] = []

    def kept() -> Iterator[ExecutionTrace]:
        for trace in training.run(progress):
            states[:] = [trace.output]
            yield trace

    records = run.records(kept())
    folder.write(make_folder(out), training, records, states[0])
    net = prepared.twin
    of_twin = prepared.held_out.accuracy(net)
    net.load_state_dict(training.step.decode(states[0]))
    folder.write_graph(out, net, prepared.held_out.samples.shape[1:])
    return {
        "folder": str(out), "weights": str(out / folder.WEIGHTS), "steps": training.job.steps,
        "parameters": training.state.size, "operators": len(training.job.program.ops),
        "job": "0x" + training.job.digest.hex(), "history": "0x" + history_root(records).hex(),
        "accuracy": prepared.held_out.accuracy(net), "accuracy_float": of_twin,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
