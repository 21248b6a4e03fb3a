"""`python -m worker.importing SOURCE OUT`: what another library wrote, as a model's folder.

What `tallystick model check|publish` run on files that operators do not run as they are. Prints a
report as one JSON object, or `{"error", "message", "hint"}` with exit code 1.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from worker import describe
from worker.importing.converting import build


def main(argv: Sequence[str] | None = None) -> int:
    """Convert; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m worker.importing", description=__doc__)
    parser.add_argument("source", type=Path, help="file or folder of another library")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--samples", type=Path, help="NPZ: inputs by name, to hold the model to")
    parser.add_argument("--missing", type=float, help="XGBoost's missing=, besides NaN")
    given = parser.parse_args(argv)
    try:
        print(json.dumps(build(given.source, given.out, given.samples, given.missing)))
    except Exception as error:  # whoever asked is told why, in one place
        print(json.dumps(describe.failure(error)))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
