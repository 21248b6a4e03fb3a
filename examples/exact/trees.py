"""Compiles boosted trees, forests and single trees to integers: the same class on every test row.

    python -m examples.exact.trees

XGBoost, LightGBM and scikit-learn on digits (10 classes) and breast cancer (2): about ten seconds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from lightgbm import LGBMClassifier
from sklearn.datasets import load_breast_cancer, load_digits  # type: ignore[import-untyped]
from sklearn.ensemble import (  # type: ignore[import-untyped]
    GradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.tree import DecisionTreeClassifier  # type: ignore[import-untyped]
from xgboost import XGBClassifier

from worker.exact.compiler import Compiled
from worker.exact.report import proof_bytes
from worker.exact.trees.compile import compile_trees
from worker.exact.trees.ensemble import Ensemble
from worker.exact.trees.lightgbm import from_lightgbm
from worker.exact.trees.sklearn import from_sklearn
from worker.exact.trees.xgboost import from_xgboost

TEST_SHARE = 5  # every fifth row is for testing
SETS: Mapping[str, Callable[..., Any]] = {"digits": load_digits, "cancer": load_breast_cancer}
LIBRARIES: Mapping[str, tuple[Callable[[], Any], Callable[[Any], Ensemble]]] = {
    "XGBoost": (lambda: XGBClassifier(n_estimators=60, max_depth=4, n_jobs=1), from_xgboost),
    "LightGBM": (
        lambda: LGBMClassifier(n_estimators=60, num_leaves=15, n_jobs=1, verbose=-1),
        from_lightgbm,
    ),
    "gradient boosting": (
        lambda: GradientBoostingClassifier(n_estimators=20, random_state=0),
        from_sklearn,
    ),
    "random forest": (lambda: RandomForestClassifier(50, random_state=0), from_sklearn),
    "decision tree": (lambda: DecisionTreeClassifier(random_state=0), from_sklearn),
}


@dataclass(frozen=True)
class Fitted:
    """A compiled model, and its library's own classes of the test rows."""

    compiled: Compiled
    rows: np.ndarray[Any, np.dtype[np.float64]]
    labels: np.ndarray[Any, Any]
    classes: np.ndarray[Any, Any]

    def exact(self) -> np.ndarray[Any, Any]:
        """Return the program's classes of the test rows."""
        return np.array([self.compiled.run({"features": row})[0] for row in self.rows])


def build(library: str, data: str) -> Fitted:
    """Train one of `LIBRARIES` on one of `SETS` and compile it to its class."""
    make, read = LIBRARIES[library]
    rows, labels = SETS[data](return_X_y=True)
    test = np.arange(len(labels)) % TEST_SHARE == 0
    model = make().fit(rows[~test], labels[~test])
    compiled = compile_trees(read(model), answer="class")
    return Fitted(compiled, rows[test], labels[test], model.predict(rows[test]))


def main() -> None:
    """Print one line for each model."""
    print(f"{'':26}  correct  same class  trees   nodes  largest proof")
    for data in SETS:
        for library in LIBRARIES:
            fitted = build(library, data)
            program = fitted.compiled.program
            proofs = max(proof_bytes(program, op) for op in range(len(program.ops)))
            print(
                f"{data:7} {library:18} {np.mean(fitted.classes == fitted.labels):8.2%} "
                f"{np.mean(fitted.exact() == fitted.classes):11.2%} "
                f"{program.ops[0].result.cols:6} {program.ops[0].operands[1].spec.cols:7,} "
                f"{proofs:8,} bytes"
            )


if __name__ == "__main__":
    main()
