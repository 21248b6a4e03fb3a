"""Trains a forest of 100 trees on scanned digits, and writes rows to compress it with.

    python -m examples.digits.forest build/forest
    tallystick model compress build/forest/forest.skops --samples build/forest/rows.npz

Rows are 64 grey values, 0 to 16. The first half of `rows.npz` was trained on, the second was not.
"""

import argparse
from pathlib import Path

import numpy as np
import skops.io
from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # no stubs
from sklearn.ensemble import RandomForestClassifier  # type: ignore[import-untyped]  # no stubs

from examples.digits.build import TEST_SHARE

TREES = 100


def build(out_dir: Path) -> Path:
    """Train and write `forest.skops` and `rows.npz`; return `out_dir`."""
    out_dir.mkdir(parents=True, exist_ok=True)
    rows, labels = load_digits(return_X_y=True)
    rows = rows.astype(np.float32)
    test = np.arange(len(labels)) % TEST_SHARE == 0
    model = RandomForestClassifier(TREES, random_state=0).fit(rows[~test], labels[~test])
    skops.io.dump(model, out_dir / "forest.skops")
    known = np.flatnonzero(~test)[: test.sum()]
    order = np.concatenate([known, np.flatnonzero(test)])
    np.savez(out_dir / "rows.npz", features=rows[order], labels=labels[order])
    return out_dir


def main() -> None:
    """Build into the folder named on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out_dir", type=Path)
    build(parser.parse_args().out_dir)


if __name__ == "__main__":
    main()
