"""Run the differential tests at length and print the counts.

`python -m tests.exact_evm.soak [N] [SEED]`: N (20,000) random cases of each operator, as many false
ones, and as many steps of a malicious challenger against honest traces. The exit status is 1 when
NumPy and Solidity disagree, or somebody honest is convicted.
"""

import sys
import time

from oracle.exact.program import Opcode
from tests.exact_evm.attacks import attacked
from tests.exact_evm.differential import disagreement, generator
from tests.exact_evm.evm import Verifier

CASES = 20_000  # of each operator
LARGE_EVERY = 50  # one case in so many has rows of kilobytes


def main(cases: int, seed: int = 1) -> int:
    """Run everything; return the exit status."""
    verifier, faults = Verifier(), 0
    for opcode in Opcode:
        start, rng = time.monotonic(), generator(seed, opcode)
        for number in range(cases):
            large = number % LARGE_EVERY == 0
            if said := disagreement(verifier, opcode, rng, small=not large):
                print(f"case {number}: {said}", flush=True)
                faults += 1
        took = time.monotonic() - start
        print(f"{opcode.name:10} {cases:,} honest, {cases:,} false, {took:.0f} s", flush=True)
    verdicts = attacked(verifier, generator(seed, 0), cases)
    print(f"steps of a malicious challenger against honest traces: {dict(verdicts)}", flush=True)
    return 1 if faults or verdicts["convicted"] else 0


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    sys.exit(main(*given) if given else main(CASES))
