"""Puts one infer process together from its settings: IPFS, cache, device, models, pipeline.

The composition root of the GPU side; runs after the fork, once per process.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import structlog

from oracle.config import Settings
from oracle.ipfs.client import IpfsClient
from worker import device, faults, inputs, progress, runtimes, spread
from worker.cache import FileCache
from worker.models import ModelPool
from worker.pipeline import Pipeline

TRANSFERS = 16  # small fetches and publications at a time
_MAX_PROCESSES = 4  # on a CPU: each holds its own copy of the models
_SHARE_OF_GPU = 0.8
_SHARE_OF_RAM = 0.5  # of all processes together


def processes() -> int:
    """Return how many processes suit this machine; imports no torch (called before the fork)."""
    if gpus := device.count():
        return gpus  # one process feeds a GPU; a second would hold the models twice
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(cores or 1, _MAX_PROCESSES))


def build_pool(settings: Settings, workers: int) -> ModelPool:
    """Return the models of this process, one of `workers` on this machine."""
    log = structlog.get_logger()
    kind = device.choose()
    device.configure(kind)
    described = device.describe()
    share = _SHARE_OF_GPU if kind.startswith("cuda") else _SHARE_OF_RAM / workers
    ipfs = IpfsClient(settings.ipfs_api, settings.ipfs_timeout)
    cache = FileCache(settings.state_dir / "cache", settings.cache_bytes, ipfs, log)
    lies = faults.OUTPUT_BYTE in faults.parse(settings.fault, log)
    engine = settings.text_engine or "llama.cpp"  # of texts; `worker.runtimes.gguf` asks it
    log.info("infer.ready", device=str(described), text_engine=engine)
    return ModelPool(
        ipfs,
        cache,
        faults.lying(runtimes.load) if lies else runtimes.load,
        device=kind,
        max_bytes=int(described.memory_bytes * share),
        log=log,
        require=spread.require,
    )


def build_pipeline(settings: Settings, workers: int) -> Pipeline:
    """Return the pipeline of this process, one of `workers` on this machine."""
    pool, log = build_pool(settings, workers), structlog.get_logger()
    ipfs = IpfsClient(settings.ipfs_api, settings.ipfs_timeout)
    quick = IpfsClient(settings.ipfs_api, inputs.QUICK)
    source = inputs.InputSource(quick, ipfs, ThreadPoolExecutor(inputs.SEARCHES))
    return Pipeline(
        ipfs, source, pool, ThreadPoolExecutor(TRANSFERS), log=log, tell=progress.teller(settings)
    )
