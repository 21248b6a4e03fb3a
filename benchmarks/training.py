"""Training in rounds: accuracy beside float64, attackers, bytes, time and memory of aggregation.

Accuracy: ten trainers of digits, twenty rounds, i16 updates; FedAvg in float64 takes the same rows
in the same order. Attackers: three of the ten (`trainers.py`), with half of the steps; a robust
rule knows how many may be bad, not who. Bytes: what a trainer sends and receives in a round (its
update, and the next state) beside a ring all-reduce of float32 gradients in each step, which is
computed and not measured. Aggregation: 16 updates of 10⁷ coordinates in files, in a process of its
own: roots of the updates against their reveals, running sums, next state, all trees.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from oracle.training.aggregation import Aggregation
from worker.training import aggregator, hashing
from worker.training.vector_files import VectorFile, written

CLIENTS, PARAMETERS = 16, 10**7
MODEL_BYTES = 4 * PARAMETERS
WORDS = 10**7
MASKED = 100_000  # coordinates of the masked round
GOALS = {
    "accuracy": 0.01,  # from float64
    "robust": 0.03,  # from clean
    "traffic": 25,  # times fewer bytes
    "seconds": 10,
    "memory": 3,  # times the model
    "words": 30e6,  # a second
}
Report = Callable[[str], None]


def run(report: Report, build: Path) -> dict[str, Any]:
    """Measure everything and report a line or a table for each."""
    import torch  # noqa: PLC0415 - aggregation is measured without it

    build.mkdir(parents=True, exist_ok=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {
            "accuracy": accuracy(report),
            "robust": {split: robust(report, split) for split in ("iid", "dirichlet")},
            "values": values(report),
            "traffic": traffic(report),
            "aggregation": aggregation(report, build),
            "masks": masked_words(report),
        }
    finally:
        torch.set_num_threads(threads)


def accuracy(report: Report) -> dict[str, Any]:
    """Compare integer rounds with FedAvg in float64."""
    from benchmarks import trainers  # noqa: PLC0415 - it brings torch

    found = {}
    for split in ("iid", "dirichlet"):
        people = trainers.federation(split)
        integers = trainers.accuracy_in_rounds(people, "mean")
        floats = trainers.accuracy_in_floats(people)
        found[split] = {"integers": integers, "float64": floats}
        report(
            f"{split:10} {integers:.3f} with i16 updates, {floats:.3f} in float64: "
            f"{_held(abs(integers - floats) <= GOALS['accuracy'])} (goal 1 point)"
        )
    return found


def robust(report: Report, split: Any) -> dict[str, Any]:
    """Show the accuracy under each attack and rule."""
    from benchmarks import trainers  # noqa: PLC0415 - it brings torch
    from worker.training.rules import NAMES  # noqa: PLC0415 - beside it

    found: dict[str, Any] = {}
    report(f"{f'{split}, 3 of 10 attack':24}" + "".join(f"{name:>11}" for name in NAMES))
    for attack in ("none", *trainers.ATTACKS):
        people = trainers.federation(split, attack, steps=trainers.ATTACKED_STEPS)
        found[attack] = {name: trainers.accuracy_in_rounds(people, name) for name in NAMES}
        report(f"  {attack:22}" + "".join(f"{found[attack][name]:11.3f}" for name in NAMES))
    clean = found["none"]["mean"]
    for name in NAMES[1:]:
        worst = min(found[attack][name] for attack in ("sign flip", "scaling", "label flip"))
        found[f"{name}, points lost"] = 100 * (clean - worst)
        goal = f": {_held(clean - worst <= GOALS['robust'])} (goal 3)" if split == "iid" else ""
        report(f"  {name}: at worst {100 * (clean - worst):.1f} points below clean{goal}")
    return found


def values(report: Report) -> dict[str, Any]:
    """Value the updates of one round with three label flippers, exactly."""
    from benchmarks import trainers  # noqa: PLC0415 - it brings torch
    from worker.training import evaluation, states  # noqa: PLC0415 - beside it

    people = trainers.federation("iid", "label flip")
    model, bits = trainers.start(), people.job.scale_bits
    state = states.of(model, bits)
    for number in range(2):
        updates = trainers.updates_of(people, state, number)
        before, state = state, trainers.aggregated(people, "median", state, updates)

    def loss(tried: Any) -> int:
        return evaluation.evaluate(model, tried, people.test, bits).loss

    def joined(members: Any) -> Any:
        return trainers.mean_of(people, members, before, updates)

    value = evaluation.value_of(loss, before, joined)
    begun = time.process_time()
    exact = evaluation.shapley(value, len(updates))
    seconds = time.process_time() - begun
    drawn = evaluation.sampled_shapley(value, len(updates), 20, b"benchmark")
    alone = evaluation.leave_one_out(value, len(updates))
    shares = [n / exact.denominator / 2**evaluation.LOSS_BITS for n in exact.numerators]
    bad, good = shares[: people.bad], shares[people.bad :]
    report(
        f"Shapley in the second round, nats: bad {min(bad):+.4f} … {max(bad):+.4f}, "
        f"honest {min(good):+.4f} … {max(good):+.4f}; {exact.evaluations} states in {seconds:.1f} s"
    )
    return {
        "shapley": shares,
        "sampled": [n / drawn.denominator / 2**evaluation.LOSS_BITS for n in drawn.numerators],
        "leave one out": [n / 2**evaluation.LOSS_BITS for n in alone.numerators],
        "seconds": seconds,
    }


def traffic(report: Report) -> dict[str, Any]:
    """Compare the bytes of a trainer with those of gradients exchanged in each step."""
    from benchmarks import trainers  # noqa: PLC0415 - it brings torch
    from worker.training import states  # noqa: PLC0415 - beside it

    parameters, steps = states.size(trainers.start()), trainers.JOB.steps
    people = trainers.TRAINERS
    ours = (2 + 4) * parameters  # sends i16, receives i32
    ring = 2 * 2 * (people - 1) * 4 * parameters * steps // people  # sent and received
    report(
        f"a trainer moves {ours:,} bytes a round of {steps} steps, DDP's ring {ring:,}: "
        f"{ring / ours:.0f} × fewer: {_held(ring / ours >= GOALS['traffic'])} (goal 25)"
    )
    return {"bytes": ours, "ring_bytes": ring, "times": ring / ours, "steps": steps}


def aggregation(report: Report, build: Path) -> dict[str, Any]:
    """Measure the aggregation of 16 × 10⁷ coordinates in a process of its own."""
    with tempfile.TemporaryDirectory(dir=build) as folder:
        argv = [sys.executable, "-m", "benchmarks.training", folder]
        done = subprocess.run(argv, capture_output=True, check=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    report(
        f"{CLIENTS} × {PARAMETERS:,}: {found['seconds']:.1f} s ({found['processor']:.1f} s of "
        f"processors, {found['cores']} cores, load {found['load']:.1f}): "
        f"{_held(found['seconds'] <= GOALS['seconds'])} (goal 10 s); keccak in {found['keccak']}"
    )
    report(
        f"peak memory {found['peak'] / 1e6:.0f} MB, the interpreter's {found['before'] / 1e6:.0f} "
        f"included: {found['peak'] / MODEL_BYTES:.1f} × the state's {MODEL_BYTES / 1e6:.0f} MB: "
        f"{_held(found['peak'] <= GOALS['memory'] * MODEL_BYTES)} (goal 3)"
    )
    return found


def masked_words(report: Report) -> dict[str, Any]:
    """Measure the words of masks, and a masked round in which one of five vanishes."""
    from oracle.training import masks, shares  # noqa: PLC0415 - it brings X25519

    fast = hashing.fastest()
    begun = time.process_time()
    masks.words(b"\x01" * 32, 0, WORDS, fast)
    speed = WORDS / (time.process_time() - begun)
    draw = np.random.default_rng(0)
    terms = masks.MaskTerms(
        clip=2**15 - 1, most_weight=2**16, clients=5, needed=3, context=b"benchmark"
    )
    clients, vanished = range(terms.clients), 4
    updates = draw.integers(-terms.clip, terms.clip + 1, (terms.clients, MASKED)).astype(np.int16)
    secrets, owns = ([draw.bytes(32) for _ in clients] for _ in range(2))
    announced = [masks.Announced.of(*pair) for pair in zip(secrets, owns, strict=True)]
    begun = time.process_time()
    sent = [
        masks.masked(
            updates[c],
            1000,
            masks.seeds_of(c, secrets[c], owns[c], announced, terms),
            terms,
            hashing=fast,
        )
        for c in clients
    ]
    told = {
        c: dict(enumerate(shares.split(secrets[c] if c == vanished else owns[c], 3, 5, bytes([c]))))
        for c in clients
    }
    corrections = masks.recover([0, 1, 2, 3], told, announced, terms)
    total: Any = np.sum(sent[:vanished], axis=0, dtype=np.uint32)
    same = np.array_equal(
        masks.unmasked(total, corrections, hashing=fast),
        1000 * updates[:vanished].astype(np.int64).sum(axis=0),
    )
    seconds = time.process_time() - begun
    report(
        f"masks: {speed / 1e6:.0f} million words/s of one core: {_held(speed >= GOALS['words'])} "
        f"(goal 30); 5 clients × {MASKED:,}, one vanishes: {'equal' if same else 'NOT EQUAL'} to "
        f"the plain sum, {seconds:.1f} s"
    )
    return {"words_per_second": speed, "round_seconds": seconds, "equal": same}


def measure(folder: Path) -> dict[str, Any]:
    """Aggregate random updates that lie in files; seconds, and bytes of memory."""
    draw = np.random.default_rng(0)
    shapes = {"a": (PARAMETERS // 2,), "b": (PARAMETERS // 2,)}
    paths = [folder / f"{number}.safetensors" for number in range(CLIENTS + 1)]
    for number, path in enumerate(paths):
        with written(path, shapes, np.int16 if number < CLIENTS else np.int32) as file:
            for at in range(0, PARAMETERS, 10**6):
                file.write(at, draw.integers(-30_000, 30_000, 10**6))
    *updates, base = (VectorFile(path) for path in paths)
    compiled = hashing.compiled() is not None
    roots = aggregator.update_roots(updates)
    before = _peak()
    terms = Aggregation(PARAMETERS, 2**15 - 1, tuple(range(1, CLIENTS + 1)))
    begun, processor = time.perf_counter(), time.process_time()
    aggregator.aggregate_files(
        terms, base, updates, roots, path=folder / "next.safetensors", shapes=shapes
    )
    return {
        "seconds": time.perf_counter() - begun,
        "processor": time.process_time() - processor,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "keccak": "C" if compiled else "Python",
        "before": before,
        "peak": _peak(),
    }


def _peak() -> int:
    """Return the most bytes that this program held; `ru_maxrss` counts its parent's too."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def _held(holds: bool) -> str:
    return "reached" if holds else "NOT REACHED"


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]))))
