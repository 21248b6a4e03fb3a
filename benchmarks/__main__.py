"""Run the benchmarks one after another, print one table and write `build/bench/report.json`.

`python -m benchmarks [NAME …]`; without names all of them. One that fails is reported and does not
keep the others from running; the exit status is then 1.
"""

import importlib
import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

BUILD = Path("build/bench")
BENCHMARKS = (
    "gas",
    "channels",
    "committee",
    "data_credits",
    "proofs",
    "disputes",
    "events",
    "reads",
    "cli",
    "ipfs",
    "latency",
    "throughput",
    "rest",
    "endpoint",
    "formats",
    "exact_speed",
    "exact_reach",
    "exact_delivery",
    "exact_training",
    "valuation",
    "training",
    "training_run",
    "recommend",
    "answers",
    "search",
    "text",
)


def main(names: list[str]) -> int:
    """Run what is named; return the exit status."""
    if unknown := set(names) - set(BENCHMARKS):
        print(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(BENCHMARKS)}")
        return 64
    report: dict[str, Any] = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"processor": platform.machine(), "cores": os.cpu_count()},
    }
    failed = 0
    for name in names or BENCHMARKS:
        print(f"── {name} " + "─" * (72 - len(name)), flush=True)
        try:
            module = importlib.import_module(f"benchmarks.{name}")
            report[name] = module.run(lambda line: print(line, flush=True), BUILD)
        except Exception as error:  # any fault of one benchmark must not lose the others' figures
            print(f"failed: {type(error).__name__}: {error}")
            report[name] = {"failed": f"{type(error).__name__}: {error}"}
            failed = 1
    BUILD.mkdir(parents=True, exist_ok=True)
    (BUILD / "report.json").write_text(json.dumps(report, indent=2, default=str) + "\n")
    print(f"written: {BUILD / 'report.json'}")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
