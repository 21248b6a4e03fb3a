"""How long the suite tries: the one place that reads `SOAK` (`make soak`, docs/operations.md).

Without it, what a change can wait for; with it, what a night is for.
"""

import os
from typing import Any

import hypothesis

SOAK = bool(os.environ.get("SOAK"))

KILLS = 1_000 if SOAK else 8  # of a process under load
CASES = 20_000 if SOAK else 300  # random cases of each operator, NumPy against Solidity
ATTACKS = 20_000 if SOAK else 2_000  # steps of a malicious challenger
READINGS = 200 if SOAK else 6  # lives of a follower over faulty nodes, 50 steps each
# Runs of a state machine: the suite plays the same ones each time, a soak others
MACHINES = 2_000 if SOAK else 40
LONG_MACHINES = 2_000 if SOAK else 25  # of its long runs
SENDER_RUNS = (200, 50) if SOAK else (6, 50)  # lives of a sender, steps of each


def machine(examples: int, steps: int) -> Any:
    """Return the settings of a state machine; a soak plays other runs each time."""
    return hypothesis.settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=not SOAK,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
