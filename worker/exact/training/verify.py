"""`python -m worker.exact.training.verify FOLDER`: do a job of exact steps again.

What `tallystick train verify` runs; prints as `python -m worker.exact.training` does.
"""

import sys
from pathlib import Path
from typing import Any

from oracle.training.exact_job import history_root
from worker.exact.training import folder
from worker.exact.training.__main__ import progress, say


def verify(path: Path) -> dict[str, Any]:
    """Return the first wrong step of a folder's history, None where all are right.

    Raises:
        NotFound, InputInvalid, DigestMismatch: see `folder.read`.
        WeightsOverflow: an honest step leaves the range of the working weights.
    """
    training, records = folder.read(path)
    wrong = training.verify(records, progress)
    return {
        "job": "0x" + training.job.digest.hex(),
        "history": "0x" + history_root(records).hex(),
        "steps": training.job.steps,
        "wrong_step": None if wrong is None else wrong.number,
    }


if __name__ == "__main__":
    sys.exit(say(lambda: verify(Path(sys.argv[1]))))
