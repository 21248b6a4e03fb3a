"""`python -m worker --role infer|submit|respond|value|vote|endpoint`: one process group of an
operator, voter or valuator.

A short way to start the Celery application (`worker.app`) on the queues of a role, as
`celery -A worker.app worker -Q` does; a voter and an endpoint have no queue. Settings come from the
environment and network.json (see `oracle.config`). SIGTERM finishes what is under way and exits
with 0.
"""

import argparse
import os
import socket
import sys

from oracle import logs
from oracle.config import Settings
from oracle.errors import TallystickError

QUEUES = {  # that a role's process takes from, in turn
    "infer": ("infer",),
    "submit": ("submit",),
    "respond": ("respond", "audit"),  # no demand waits behind many audits
    "value": ("value",),
}


def main(argv: list[str] | None = None) -> int:
    """Parse, configure, serve; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__)
    parser.add_argument("--role", choices=(*QUEUES, "vote", "endpoint"), required=True)
    parser.add_argument("--processes", type=int, default=0, help="infer only; 0 = what fits")
    parser.add_argument("--model", action="append", default=[], help="endpoint only; repeatable")
    parser.add_argument("--host", action="append", default=[], help="endpoint only; repeatable")
    parser.add_argument("--locks", type=int, default=0, help="endpoint only; of a new offer")
    arguments = parser.parse_args(argv)
    try:
        settings = Settings.load(os.environ)
        logs.configure(settings, role=arguments.role)
        if arguments.role == "vote":
            return _vote(settings)
        if arguments.role == "endpoint":
            return _endpoint(settings, arguments.model, arguments.host, arguments.locks)
        return _serve(settings, arguments.role, arguments.processes)
    except TallystickError as error:
        hint = f"\n  {error.hint}" if error.hint else ""
        print(f"{type(error).__name__}: {error}{hint}", file=sys.stderr)
        return error.exit_code


def _serve(settings: Settings, role: str, processes: int) -> int:
    from worker.app import app  # noqa: PLC0415 - a voter needs none of it

    worker = app.Worker(
        hostname=f"{role}@{socket.gethostname()}",
        queues=[settings.queue(queue) for queue in QUEUES[role]],
        concurrency=processes or None,  # None = what fits, by the application's configuration
        quiet=True, without_mingle=True, without_gossip=True,
    )  # fmt: skip
    worker.start()
    return int(worker.exitcode or 0)


def _vote(settings: Settings) -> int:
    from worker import vote_process  # noqa: PLC0415 - only this role votes

    return vote_process.run(settings)


def _endpoint(settings: Settings, models: list[str], hosts: list[str], locks: int) -> int:
    from worker.endpoint import process  # noqa: PLC0415 - only this role answers over HTTP

    return process.run(settings, models, hosts, locks)


if __name__ == "__main__":
    sys.exit(main())
