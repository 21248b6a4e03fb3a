"""Publishing and fetching a large file through our client and the embedded node.

Speed in MB/s (10**6 bytes), beside SHA-256 of the same number of bytes on one core, measured
before and after; peak memory (VmHWM) of the client's process and of the node's. The client runs
in a process of its own, so that nothing else counts as its memory. `--size 2000` is the weight
file of the goal: at least half the speed of SHA-256, in at most 300 MB.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oracle.ipfs import daemon
from oracle.ipfs.client import IpfsClient

MEGA = 10**6
SIZE = 256 * MEGA  # bytes
ROUNDS = 3
GOAL_RATIO = 0.5  # of SHA-256 on one core
GOAL_MEMORY = 300  # MB, client and node together
_BLOCK = 1 << 20  # bytes


def measure(size: int, folder: Path) -> dict[str, Any]:
    """Publish and fetch ROUNDS times; return speeds (MB/s) and memory (MB)."""
    source, target = folder / "source", folder / "target"
    write_source(source, size)
    before = hash_speed(size)
    node = daemon.start_embedded(folder / "repo", log=folder / "node.log")
    assert node.pid is not None
    publish, fetch, work = [], [], []
    try:
        client = IpfsClient(node.api_url, timeout=60)
        work.append(cpu_time(node.pid))
        for _ in range(ROUNDS):
            started = time.perf_counter()
            published = client.publish_file(source)
            publish.append(size / MEGA / (time.perf_counter() - started))
        work.append(cpu_time(node.pid))
        for _ in range(ROUNDS):
            started = time.perf_counter()
            client.fetch_file(published.cid, target, published.sha256, size)
            fetch.append(size / MEGA / (time.perf_counter() - started))
            target.unlink()
        work.append(cpu_time(node.pid))
        memory = {"client": peak_memory(os.getpid()), "node": peak_memory(node.pid)}
    finally:
        node.stop()
    sha256 = max(before, hash_speed(size))
    return {
        "size_mb": size / MEGA,
        "cores": os.cpu_count(),
        "sha256_mb_s": sha256,
        "publish_mb_s": max(publish),
        "publish_rounds": publish,
        "fetch_mb_s": max(fetch),
        "fetch_rounds": fetch,
        "publish_ratio": max(publish) / sha256,
        "fetch_ratio": max(fetch) / sha256,
        "publish_cpu_s_per_gb": (work[1] - work[0]) / ROUNDS / size * 1000 * MEGA,
        "fetch_cpu_s_per_gb": (work[2] - work[1]) / ROUNDS / size * 1000 * MEGA,
        "memory_mb": memory,
        "memory_total_mb": sum(memory.values()),
        "goals": {"ratio": GOAL_RATIO, "memory_mb": GOAL_MEMORY},
    }


def write_source(path: Path, size: int) -> None:
    """Write a file in which no two blocks are equal."""
    block = bytearray(os.urandom(_BLOCK))
    with path.open("wb") as file:
        for number in range(-(-size // _BLOCK)):
            block[:8] = number.to_bytes(8, "big")
            file.write(memoryview(block)[: min(_BLOCK, size - number * _BLOCK)])


def hash_speed(size: int) -> float:
    """Return how fast one core hashes bytes that are in memory, in MB/s."""
    block, whole = bytes(_BLOCK), hashlib.sha256()
    started = time.perf_counter()
    for _ in range(max(1, size // _BLOCK)):
        whole.update(block)
    return size / MEGA / (time.perf_counter() - started)


def cpu_time(pid: int) -> float:
    """Return the seconds that this process and another have computed, kernel work included."""
    theirs = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(theirs[11]) + int(theirs[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def peak_memory(pid: int) -> float:
    """Return the largest resident size that a process has had, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / MEGA
    raise RuntimeError(f"process {pid} does not tell its memory")


def run(report: Callable[[str], None], build: Path, size: int = SIZE) -> dict[str, Any]:
    """Measure in a process of its own, and report one line per figure."""
    build.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build) as folder:
        command = [sys.executable, "-m", "benchmarks.ipfs", "--inside", folder, "--size"]
        done = subprocess.run(
            [*command, str(size / MEGA)], stdout=subprocess.PIPE, check=True, text=True
        )
    result: dict[str, Any] = json.loads(done.stdout)
    report(f"{'file':28} {result['size_mb']:>9,.0f} MB, {result['cores']} cores")
    report(f"{'sha256, one core':28} {result['sha256_mb_s']:>9,.0f} MB/s")
    for what in ("publish", "fetch"):
        speed, ratio = result[f"{what}_mb_s"], result[f"{what}_ratio"]
        rounds = ", ".join(f"{value:,.0f}" for value in result[f"{what}_rounds"])
        report(
            f"{what:28} {speed:>9,.0f} MB/s   {ratio:.2f}× of sha256, "
            f"goal ≥ {GOAL_RATIO} (rounds {rounds})"
        )
    work = [result[f"{what}_cpu_s_per_gb"] for what in ("publish", "fetch")]
    report(
        f"{'work of client and node':28} {work[0]:>9.1f} s of a core per GB published, "
        f"{work[1]:.1f} fetched (SHA-256 alone {1000 / result['sha256_mb_s']:.1f})"
    )
    memory = result["memory_mb"]
    report(
        f"{'peak memory':28} {result['memory_total_mb']:>9,.0f} MB   goal ≤ {GOAL_MEMORY} "
        f"(client {memory['client']:.0f}, node {memory['node']:.0f})"
    )
    return result


def main() -> None:
    """Parse the arguments."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ipfs", description=__doc__)
    parser.add_argument("--size", type=float, default=SIZE / MEGA, help="MB; 2000 is the goal's")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    size = round(arguments.size * MEGA)
    if arguments.inside:
        print(json.dumps(measure(size, arguments.inside)))
    else:
        run(print, Path("build/bench"), size)


if __name__ == "__main__":
    main()
