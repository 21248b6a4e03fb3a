"""AUC of the recommenders: as trained, as an operator serves them, as integers, beside LightGBM.

All learn from four fifths of MovieLens' people and are asked about the others, whom they never met.
"Served" is the published file, loaded as a worker does. The goal is the same AUC to 1e-6. Of the
integers 2,000 rows are asked, one at a time; their own AUC as floats stands beside.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from oracle.exact import form, version
from oracle.services import folders
from oracle.services.builders import Build

ROWS = 2_000  # that the exact version is asked
SAME = 1e-6
TREES = 100


def run(report: Callable[[str], None], build: Path) -> dict[str, Any]:
    """Train, serve and report a line for each model."""
    import torch  # noqa: PLC0415 - other benchmarks need none of it
    from lightgbm import LGBMClassifier  # noqa: PLC0415
    from sklearn.metrics import roc_auc_score  # type: ignore[import-untyped]  # noqa: PLC0415

    from examples.recommend import films  # noqa: PLC0415
    from examples.recommend.build import build as make  # noqa: PLC0415

    build.mkdir(parents=True, exist_ok=True)
    data = films.read()
    known, asked = data.part(test=False), data.part(test=True)
    found: dict[str, Any] = {"people": len(set(asked.person)), "rows": len(asked.likes)}
    with tempfile.TemporaryDirectory(dir=build) as folder:
        place = Path(folder)
        models = make(place, data, lambda *_: None)
        for name, rows in (("two-tower", 2), ("deepfm", 512)):  # that fit one answer
            with torch.inference_mode():
                scores = models[name].score(torch.from_numpy(asked.ids)).numpy()
            trained = float(roc_auc_score(asked.likes, scores))
            served = float(roc_auc_score(asked.likes, _served(place / name, asked.ids, rows)))
            found[name] = {"trained": trained, "served": served}
            same = "the same" if abs(trained - served) <= SAME else "NOT THE SAME"
            report(f"{name:22} AUC {trained:.6f} trained, {served:.6f} served: {same} to {SAME:g}")
        with Build("worker.exact", place / "exact", source=place / "deepfm-plain") as compiled:
            compiled.wait(lambda *_: None)
        likes = asked.likes[:ROWS]
        floats = float(roc_auc_score(likes, scores[:ROWS]))
        integers = float(roc_auc_score(likes, _served(place / "exact", asked.ids[:ROWS], 1)))
        found["deepfm, exact"] = {"floats": floats, "integers": integers, "rows": ROWS}
        report(
            f"{'deepfm, exact':22} AUC {floats:.6f} floats, {integers:.6f} integers; {ROWS:,} rows"
        )
    trees = LGBMClassifier(n_estimators=TREES, n_jobs=1, random_state=0, verbose=-1)
    trees.fit(known.ids, known.likes, categorical_feature=list(range(known.ids.shape[1])))
    found["LightGBM"] = float(roc_auc_score(asked.likes, trees.predict(asked.ids, raw_score=True)))
    report(f"{'LightGBM':22} AUC {found['LightGBM']:.6f}, fields as categories, {TREES} trees")
    return found


def _served(folder: Path, ids: "np.ndarray[Any, Any]", rows: int) -> "np.ndarray[Any, Any]":
    """Return the scores of people and films, from bytes to bytes as a worker answers."""
    from worker import runtimes  # noqa: PLC0415 - it brings torch

    manifest = folders.read(folder, lambda *_: None)
    files = {entry.path: folder / entry.path for entry in manifest.files}
    root = manifest.model_root()
    if manifest.exact is not None:
        root = version.read(manifest, files).program.model_root
    runtime = runtimes.load(manifest, files, root, "cpu")
    made = form.of(manifest, lambda entry: files[entry.path])
    given, back = np.unique(ids[:, : len(manifest.features)], axis=0, return_inverse=True)
    found = []
    for start in range(0, len(given), rows):
        asked = made.encode_inputs({"ids": given[start : start + rows]})
        answer = made.encode_outputs(runtime.run(made.decode_inputs(asked), {}))
        found.append(made.decode_outputs(answer)["scores"].reshape(-1, len(manifest.labels or "1")))
    scores = np.concatenate(found)[back]
    at = ids[:, -1:] - 1 if scores.shape[1] > 1 else np.zeros((len(ids), 1), np.int64)
    return np.take_along_axis(scores, at, 1)[:, 0]
