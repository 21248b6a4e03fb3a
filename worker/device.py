"""Which device models run on, and what `tallystick doctor` says about it."""

import os
from dataclasses import dataclass
from pathlib import Path

from billiard.process import current_process  # type: ignore[import-untyped]  # it ships no types

CPU_THREADS = 1  # per process: more processes beat more threads (and threads hang after a fork)


@dataclass(frozen=True, slots=True)
class Device:
    """What this machine computes with."""

    kind: str  # "cuda:0", "cuda:1", … or "cpu"
    name: str
    memory_bytes: int  # of the device
    cores: int  # of the host, as this process may use them
    torch: str  # version
    onnxruntime: str  # version, "" when it is not installed

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}, {self.memory_bytes / 2**30:.1f} GiB, torch {self.torch}"


def count() -> int:
    """Return how many GPUs this process may use, without starting CUDA or importing torch."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return len([name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name.strip()])
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def choose() -> str:
    """Return this process's device: "cuda:N" when torch sees one, else "cpu".

    Processes of one Celery worker take GPUs in turn. Starts CUDA: call after the fork.
    """
    import torch  # noqa: PLC0415 - two seconds that a caller of `describe` alone should not pay twice

    if not torch.cuda.is_available():
        return "cpu"
    place = getattr(current_process(), "index", 0)  # among the children of Celery's pool
    return f"cuda:{place % torch.cuda.device_count()}"


def configure(device: str, threads: int = CPU_THREADS) -> None:
    """Set threads and the determinism that we promise; once per process, after the fork.

    On one machine, with one thread count, float32 gives equal bytes for equal batches; another
    batch, padding or instruction set moves results by about 1e-7 (the manifest's tolerance).
    """
    import torch  # noqa: PLC0415 - see `choose`

    if device.startswith("cuda"):
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False


def describe() -> Device:
    """Return what models would run on here."""
    import torch  # noqa: PLC0415 - see `choose`

    try:
        import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415 - no stubs; optional

        onnx_version = str(onnxruntime.__version__)
    except ImportError:
        onnx_version = ""
    kind = choose()
    if kind.startswith("cuda"):
        properties = torch.cuda.get_device_properties(kind)
        name, memory = str(properties.name), int(properties.total_memory)
    else:
        name = f"{torch.backends.cpu.get_cpu_capability()} CPU"
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Device(kind, name, memory, cores or 1, torch.__version__, onnx_version)
