"""Records what PyPI pydvl 0.10.0 says of a small data set, for tests/valuation/test_pydvl.py.

pydvl needs numpy < 2, we need ≥ 2, so it lives in an environment of its own and is run by hand:
    python -m venv ENV && ENV/bin/pip install pydvl==0.10.0
    ENV/bin/python tests/valuation/pydvl/record.py
Test points are taken to which no two rows are equally near: pydvl leaves ties to its trees.
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
from pydvl.valuation.dataset import Dataset
from pydvl.valuation.methods.knn_shapley import KNNShapleyValuation
from sklearn.neighbors import KNeighborsClassifier

VECTORS = Path(__file__).parents[2] / "vectors" / "valuation" / "pydvl.json"
NEIGHBOURS = (1, 3, 5, 10, 150)


def main() -> None:
    """Write the file."""
    rng = np.random.default_rng(11)
    x, y = rng.integers(-128, 128, (200, 16)), rng.integers(0, 4, 200)
    points = rng.integers(-128, 128, (400, 16))
    distances = np.square(points[:, None] - x).sum(2)
    z = np.array([p for p, d in zip(points, distances, strict=True) if len(set(d)) == len(d)][:40])
    w = rng.integers(0, 4, len(z))
    order = np.lexsort(x.T[::-1])  # the order in which a data set keeps its rows
    x, y = x[order], y[order]
    values = {}
    for k in NEIGHBOURS:
        model = KNeighborsClassifier(n_neighbors=k)
        valuation = KNNShapleyValuation(model, Dataset(z, w), progress=False)
        valuation.fit(Dataset(x, y))
        result = valuation.result
        by_row = np.empty(len(x))
        by_row[result.indices] = result.values
        values[str(k)] = by_row.tolist()
    document = {
        "pydvl": version("pydvl"),
        "features": x.tolist(),
        "labels": y.tolist(),
        "testFeatures": z.tolist(),
        "testLabels": w.tolist(),
        "values": values,
    }
    VECTORS.write_text(json.dumps(document) + "\n")


if __name__ == "__main__":
    main()
