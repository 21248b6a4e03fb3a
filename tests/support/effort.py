"""How long the suite tries: the one place that reads `SOAK` (`make soak`) and `CHAOS_SEED`.

Without it, what a change can wait for; with it, what a night is for.
"""

import os
import secrets
from typing import Any

import hypothesis

SOAK = bool(os.environ.get("SOAK"))

KILLS = 1_000 if SOAK else 8  # of a process under load
CHAOS = (500, 200) if SOAK else (20, 8)  # requests, faults of all processes
# The suite plays the same run each time, a soak another; the run says which
CHAOS_SEED = int(os.environ.get("CHAOS_SEED") or (secrets.randbelow(10**6) if SOAK else 10))
CASES = 20_000 if SOAK else 300  # random cases of each operator, NumPy against Solidity
ATTACKS = 20_000 if SOAK else 2_000  # steps of a malicious challenger
PAYMENT_KILLS = 1 if SOAK else 7  # of the steps at which a gateway is killed, every so many
READINGS = 200 if SOAK else 6  # lives of a follower over faulty nodes, 50 steps each
# Runs of a state machine: the suite plays the same ones each time, a soak others
MACHINES = 2_000 if SOAK else 40
LONG_MACHINES = 2_000 if SOAK else 25  # of its long runs
FLEETS = 1_000 if SOAK else 10  # lives of two endpoints on one database
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
