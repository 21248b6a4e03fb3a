"""Print the branch coverage of our own contracts, after `brownie test tests/contracts --coverage`.

Brownie's report mixes in OpenZeppelin's branches and statements; this counts ours alone: each `if`
has two branches. Exits 1 below 95 %.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPORT = ROOT / "build" / "brownie" / "reports" / "coverage.json"
GOAL = 95.0


def main() -> int:
    """Sum up the report."""
    ours = {path.stem for path in ROOT.glob("contracts/**/*.sol") if "mocks" not in path.parts}
    ours |= {"TestDollar", "TermsLib"}
    reached = total = 0
    for contract, kinds in sorted(json.loads(REPORT.read_text())["coverage"].items()):
        for function, (when_true, when_false, branches) in sorted(kinds["branches"].items()):
            if contract not in ours or function.split(".")[0] not in ours:
                continue
            reached += when_true + when_false
            total += 2 * branches
            if when_true + when_false < 2 * branches:
                print(f"  {contract}: {function} {when_true + when_false} of {2 * branches}")
    print(f"{reached} of {total} branches: {100 * reached / total:.1f} %")
    return int(100 * reached / total < GOAL)


if __name__ == "__main__":
    sys.exit(main())
