"""The process that computes votes: jobs as lines of JSON on stdin, what it found on stdout.

It has models and IPFS, but no key, no RPC and no queue: a vote must not wait behind requests, and
its one reader is the voter that started it (`oracle.agents.committee.vote_worker`).
"""

import json
import os
import sys
from collections.abc import Iterable
from typing import IO

import structlog

from oracle.config import Settings
from oracle.errors import TallystickError
from oracle.ipfs.client import IpfsClient
from worker import device, runtimes
from worker.cache import FileCache
from worker.models import ModelPool
from worker.vote import VoteJob, find

_SHARE_OF_MEMORY = 0.25


def run(settings: Settings) -> int:
    """Serve until stdin ends; return the exit code."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    sys.stdout = sys.stderr  # whatever a library prints is no answer
    log = structlog.get_logger("tallystick.vote")
    kind = device.choose()
    device.configure(kind)
    described = device.describe()
    ipfs = IpfsClient(settings.ipfs_api, settings.ipfs_timeout)
    cache = FileCache(settings.state_dir / "cache", settings.cache_bytes, ipfs, log)
    most = int(described.memory_bytes * _SHARE_OF_MEMORY)
    pool = ModelPool(ipfs, cache, runtimes.load, device=kind, max_bytes=most, log=log)
    log.info("vote.ready", device=str(described))
    with answers:
        serve(sys.stdin, answers, pool, ipfs)
    pool.close()
    return 0


def serve(jobs: Iterable[str], answers: IO[str], pool: ModelPool, ipfs: IpfsClient) -> None:
    """Answer every line with a line: what was found, or an error and whether to try again."""
    for line in jobs:
        try:
            body = find(VoteJob.parse(json.loads(line)), pool, ipfs).payload()
        except (TallystickError, ValueError) as error:
            body = {"error": type(error).__name__, "message": str(error)}
        answers.write(json.dumps(body) + "\n")
        answers.flush()
