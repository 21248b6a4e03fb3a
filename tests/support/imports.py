"""What a command line imports, seen in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping

_RUN = """
import json, sys
from oracle.cli import main
code = main(json.loads(sys.argv[1]))
print(json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def imported(*words: str, environ: Mapping[str, str] | None = None) -> tuple[int, set[str]]:
    """Run a command line; return its exit code and the packages that it imported."""
    done = subprocess.run(
        [sys.executable, "-c", _RUN, json.dumps([str(word) for word in words])],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | (environ or {}),
    )
    code, names = json.loads(done.stdout.splitlines()[-1])
    return code, set(names)
