"""`python -m worker.valuation FOLDER`: do one job, here and now; nothing is published.

For challengers, who compare: they need neither queue nor a worker that runs.
"""

import os
import sys
from pathlib import Path

from oracle import logs
from oracle.config import Settings
from oracle.errors import TallystickError
from oracle.ipfs.client import IpfsClient
from oracle.valuation.jobs import RESULT
from worker.valuation import valuing


def main(folder: Path) -> int:
    """Value what folder/job.json names; return the exit code."""
    try:
        settings = Settings.load(os.environ)
        logs.configure(settings, role="value")
        ipfs = IpfsClient(settings.ipfs_api, settings.ipfs_timeout)
        valuing.value(folder, ipfs, publish=False, opinions=False)
    except (TallystickError, valuing.JobLocked) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0 if (folder / RESULT).exists() else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
