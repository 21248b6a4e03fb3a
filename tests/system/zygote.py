"""Starts watchers quickly: everything is imported once, and each line on stdin forks one.

What is forked runs `oracle.watcher.main`, as `python -m oracle.watcher` does, in its own process.
"""

import json
import os
import signal
import sys

from oracle import watcher


def run() -> None:
    """Fork a watcher for each line, a JSON object that is its environment; answer with its pid."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    for line in sys.stdin:
        environ = json.loads(line)
        if (pid := os.fork()) == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os._exit(watcher.main(environ))
        print(pid, flush=True)


if __name__ == "__main__":
    run()
