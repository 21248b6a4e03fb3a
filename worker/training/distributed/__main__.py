"""`python -m worker.training.distributed JOB RUN`: a training job, to its end.

What `tallystick train run` runs: a process of its own, as oracle never imports torch. Starts the
ranks by torchrun's agent. When one of them dies, all start again from the last checkpoint. Prints
`steps <done>/<total>` lines, then the result as one JSON object, or `{"error", "message", "hint",
"exit_code"}` with exit code 1.
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from oracle.errors import TallystickError
from worker.describe import failure
from worker.training.distributed.launch import Launch, run
from worker.training.distributed.modes import MODES


def main(argv: Sequence[str] | None = None) -> int:
    """Run a job; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m worker.training.distributed")
    parser.add_argument("job", type=Path)
    parser.add_argument("run", type=Path, help="folder of checkpoints and of the result")
    parser.add_argument("--mode", choices=sorted(MODES), default="ddp")
    parser.add_argument("--nproc", type=int, default=1, help="ranks on this machine")
    parser.add_argument("--groups", type=int, default=0, help="of diloco; each rank by default")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds to wait for a rank")
    parser.add_argument("--max-restarts", type=int, default=3, help="without a new checkpoint")
    parser.add_argument("--trust-builder", action="store_true", help="run the job's own code")
    told = parser.parse_args(argv)
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # `failure` says it
    groups = (told.groups or told.nproc) if told.mode == "diloco" else 1
    launch = Launch(
        told.job.resolve(), told.run.resolve(), told.mode, told.nproc, groups, told.timeout,
        told.max_restarts, told.trust_builder,
    )  # fmt: skip
    try:
        result = run(launch)
    except TallystickError as error:
        print(json.dumps({**failure(error), "exit_code": error.exit_code}), flush=True)
        return 1
    print(json.dumps(result.to_json()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
