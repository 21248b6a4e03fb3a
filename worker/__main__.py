"""`python -m worker --role infer|submit|respond|vote|value`: one process group of an
operator, voter or valuator.

Settings come from the environment and network.json (see `oracle.config`). SIGTERM finishes what is
under way and exits with 0.
"""

import argparse
import os
import sys

from oracle import logs
from oracle.config import Settings
from oracle.errors import TallystickError


def main(argv: list[str] | None = None) -> int:
    """Parse, configure, serve; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__)
    roles = ("infer", "submit", "respond", "vote", "value")
    parser.add_argument("--role", choices=roles, required=True)
    parser.add_argument("--processes", type=int, default=0, help="infer only; 0 = what fits")
    arguments = parser.parse_args(argv)
    try:
        settings = Settings.load(os.environ)
        logs.configure(settings, role=arguments.role)
        if arguments.role == "infer":
            return _infer(settings, arguments.processes)
        if arguments.role == "vote":
            return _vote(settings)
        if arguments.role == "value":
            return _value(settings)
        return _respond(settings) if arguments.role == "respond" else _submit(settings)
    except TallystickError as error:
        hint = f"\n  {error.hint}" if error.hint else ""
        print(f"{type(error).__name__}: {error}{hint}", file=sys.stderr)
        return error.exit_code


def _infer(settings: Settings, processes: int) -> int:
    from oracle.queue import celery_app  # noqa: PLC0415 - a submitter needs none of it
    from worker import infer_process  # noqa: PLC0415 - a submitter needs none of it
    from worker.tasks import infer  # noqa: PLC0415 - a submitter needs none of it

    processes = processes or infer_process.processes()
    application = celery_app.create(settings, "infer")
    infer.register(application, settings, lambda: infer_process.build_pipeline(settings, processes))
    return celery_app.serve(
        application, pool="prefork", processes=processes, prefetch=infer.MAX_BATCH
    )


def _submit(settings: Settings) -> int:
    from oracle.operator import submit_process  # noqa: PLC0415 - an infer worker needs no chain
    from oracle.queue import celery_app  # noqa: PLC0415 - an infer worker needs no chain

    application = celery_app.create(settings, "submit")
    submit_process.register(application, settings)
    return celery_app.serve(
        application, pool="solo", processes=1, prefetch=submit_process.MAX_BATCH
    )


def _respond(settings: Settings) -> int:
    from worker import respond_process  # noqa: PLC0415 - only this role serves traces

    return respond_process.run(settings)


def _vote(settings: Settings) -> int:
    from worker import vote_process  # noqa: PLC0415 - only this role votes

    return vote_process.run(settings)


def _value(settings: Settings) -> int:
    from worker.tasks import value  # noqa: PLC0415 - only this role values data

    return value.run(settings)


if __name__ == "__main__":
    sys.exit(main())
