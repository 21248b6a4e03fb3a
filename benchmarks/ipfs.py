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
import socket
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
_SENDER = f"""
import socket, sys
buffer = memoryview(bytearray({_BLOCK}))
with open(sys.argv[1], "rb", 0) as file:
    with socket.create_connection(("127.0.0.1", int(sys.argv[2]))) as connection:
        while count := file.readinto(buffer):
            connection.sendall(buffer[:count])
"""


def measure(size: int, folder: Path) -> dict[str, Any]:
    """Publish and fetch ROUNDS times; return speeds (MB/s) and memory (MB)."""
    source, target = folder / "source", folder / "target"
    before = hash_speed(size)
    node = daemon.start_embedded(folder / "repo", log=folder / "node.log")
    assert node.pid is not None
    rounds: list[dict[str, float]] = []
    try:
        client = IpfsClient(node.api_url, timeout=60)
        for _ in range(ROUNDS):
            speeds: dict[str, float] = {}
            write_source(source, size)  # new bytes, so that every round publishes something new
            os.sync()  # so that no round pays for the writes of the one before
            speeds["copy"] = size / MEGA / plain_copy(source, target)
            target.unlink()
            work = [cpu_time(node.pid)]
            started = time.perf_counter()
            published = client.publish_file(source)
            speeds["publish"] = size / MEGA / (time.perf_counter() - started)
            work.append(cpu_time(node.pid))
            os.sync()
            plain_copy(source, target)  # as before: the memory that the copy had is there for us
            target.unlink()
            work.append(cpu_time(node.pid))
            started = time.perf_counter()
            client.fetch_file(published.cid, target, published.sha256, size)
            speeds["fetch"] = size / MEGA / (time.perf_counter() - started)
            work.append(cpu_time(node.pid))
            speeds["publish_cpu_s_per_gb"] = (work[1] - work[0]) / size * 1000 * MEGA
            speeds["fetch_cpu_s_per_gb"] = (work[3] - work[2]) / size * 1000 * MEGA
            target.unlink()
            rounds.append(speeds)
        memory = {"client": peak_memory(os.getpid()), "node": peak_memory(node.pid)}
    finally:
        node.stop()
    sha256 = max(before, hash_speed(size))
    best = {name: max(speeds[name] for speeds in rounds) for name in ("copy", "publish", "fetch")}
    work_of = {
        name: min(speeds[name] for speeds in rounds)
        for name in ("publish_cpu_s_per_gb", "fetch_cpu_s_per_gb")
    }
    return {
        "size_mb": size / MEGA,
        "cores": os.cpu_count(),
        "sha256_mb_s": sha256,
        **{f"{name}_mb_s": speed for name, speed in best.items()},
        **{f"{name}_rounds": [speeds[name] for speeds in rounds] for name in best},
        **{f"{name}_ratio": speed / sha256 for name, speed in best.items()},
        **work_of,
        "memory_mb": memory,
        "memory_total_mb": sum(memory.values()),
        "goals": {"ratio": GOAL_RATIO, "memory_mb": GOAL_MEMORY},
    }


def plain_copy(source: Path, target: Path) -> float:
    """Return the seconds that a process takes to send a file to this one, which writes it.

    Nothing is hashed: what the disk, the loopback and the memory of this machine allow.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        child = subprocess.Popen(
            [sys.executable, "-c", _SENDER, str(source), str(listener.getsockname()[1])]
        )
        connection, _ = listener.accept()
        buffer = memoryview(bytearray(_BLOCK))
        started = time.perf_counter()
        with connection, target.open("wb", buffering=0) as file:
            while count := connection.recv_into(buffer):
                file.write(buffer[:count])
        seconds = time.perf_counter() - started
        if child.wait() or target.stat().st_size != source.stat().st_size:
            raise RuntimeError("the plain copy failed")
    return seconds


def write_source(path: Path, size: int) -> None:
    """Write a file in which no two blocks are equal, nor any to one of another file."""
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
    for what in ("copy", "publish", "fetch"):
        speed, ratio = result[f"{what}_mb_s"], result[f"{what}_ratio"]
        rounds = ", ".join(f"{value:,.0f}" for value in result[f"{what}_rounds"])
        name = "plain copy, nothing hashed" if what == "copy" else what
        goal = "" if what == "copy" else f", goal ≥ {GOAL_RATIO}"
        report(f"{name:28} {speed:>9,.0f} MB/s   {ratio:.2f}× of sha256{goal} (rounds {rounds})")
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
