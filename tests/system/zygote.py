"""Starts watchers, submitters, responders quickly: what they import is imported once, then forked.

What is forked runs `watch_process.main`, or `worker.__main__.main` with the role `submit` or
`respond`, as `python -m` does, in its own process.
"""

import importlib
import json
import os
import signal
import sys
from collections.abc import Mapping

from oracle.operator import watch_process
from worker import __main__ as worker
from worker import app

PRELOADED = (app,)  # what the worker's main imports late


def run() -> None:
    """Fork a process for each line, an order as JSON; answer with its pid.

    An order has `role` (watcher, submit or respond), `environ` and `log`, the file that gets its
    output.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    for line in sys.stdin:
        order = json.loads(line)
        if order["role"] == "respond":
            importlib.import_module("worker.exact.kernels.executor")  # torch: seconds
        if (pid := os.fork()) == 0:
            _become(order["role"], order["environ"], order["log"])
        print(pid, flush=True)


def _become(role: str, environ: Mapping[str, str], log: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for number in (1, 2):
        os.dup2(output, number)
    os.environ.clear()
    os.environ.update(environ)
    os._exit(watch_process.main(environ) if role == "watcher" else worker.main(["--role", role]))


if __name__ == "__main__":
    run()
