"""Trains a two-tower model and a DeepFM on MovieLens and writes them as folders to publish.

    python -m examples.recommend.build build/recommend

`two-tower` scores every film for a person, `deepfm` one film; both say why. `deepfm-plain` is the
latter without reasons, to compile to integers: `tallystick model publish … --exact`. Takes half a
minute on one core; seeds are fixed.
"""

import argparse
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from examples.digits.build import strip
from examples.recommend import films, models
from examples.recommend.films import Field, Ratings
from examples.recommend.models import Ranker, TwoTower, WithReasons

EPOCHS = 5
CALIBRATION = 400  # rows that the compiler looks at
LICENSE = "Learned from MovieLens 100K: for research; revenue needs GroupLens' permission"
Progress = Callable[[str, int, int], None]


def build(
    out_dir: Path, data: Ratings, report: Progress, epochs: int = EPOCHS
) -> Mapping[str, TwoTower | Ranker]:
    """Train and write three folders; return the models without their reasons."""
    known, fields = data.part(test=False), data.fields
    tower = models.train(TwoTower, known, epochs, report)
    ranker = models.train(Ranker, known, epochs, report)
    made = {
        "two-tower": WithReasons(tower, len(fields) - 1),
        "deepfm": WithReasons(ranker, len(fields)),
        "deepfm-plain": ranker,
    }
    for done, (name, model) in enumerate(made.items()):
        given = fields[:-1] if name == "two-tower" else fields
        _write(out_dir / name, model.eval(), given, _describe(name, given, data))
        report("export", done + 1, len(made))
    np.savez(
        out_dir / "deepfm-plain" / "samples.npz",
        ids=known.ids[:CALIBRATION],
        labels=known.likes[:CALIBRATION],
    )
    return {"two-tower": tower, "deepfm": ranker}


def _write(
    folder: Path, model: torch.nn.Module, fields: Sequence[Field], about: dict[str, Any]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    batch = {0: torch.export.Dim("n", min=1, max=4096)}
    example = (torch.zeros(2, len(fields), dtype=torch.int64),)
    with warnings.catch_warnings():  # the exporter's own deprecations
        warnings.simplefilter("ignore")
        program = torch.export.export(model, example, dynamic_shapes=(batch,)).run_decompositions()
    raw, entry = folder / "model.raw.pt2", folder / about["runtime"]["entry"]
    torch.export.save(program, raw)
    strip(raw, entry)
    raw.unlink()
    (folder / "model.json").write_text(json.dumps(about, indent=2) + "\n")


def _describe(name: str, fields: Sequence[Field], data: Ratings) -> dict[str, Any]:
    wide = len(data.films) if name == "two-tower" else 1
    outputs = [
        {
            "name": "scores", "dtype": "F32", "shape": [None, wide],
            "description": "log-odds that the person gives four stars or five",
        },
        {
            "name": "reasons", "dtype": "F32", "shape": [None, len(fields), wide],
            "description": "how much less each score would be if the field were not known",
        },
    ]  # fmt: skip
    return {
        "name": f"films-{name}",
        "description": "Which films a person likes, by age, occupation and films they liked"
        if name == "two-tower"
        else "Whether a person likes a film, by age, occupation and films they liked",
        "license": LICENSE,
        "runtime": {"format": "torch.export", "entry": "model.pt2"},
        "inputs": [
            {
                "name": "ids", "dtype": "I64", "shape": [None, len(fields)],
                "description": "one row for a person; 0 is unknown",
            }
        ],
        "outputs": outputs[: 1 if name == "deepfm-plain" else 2],
        "features": [{"name": field.name, "categories": field.values} for field in fields],
        **({"labels": data.films} if name == "two-tower" else {}),
        **({"files": ["model.pt2"]} if name == "deepfm-plain" else {}),  # not the samples
        "max_output_bytes": 65536,
    }  # fmt: skip


def main() -> None:
    """Build into the folder named on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    given = parser.parse_args()
    build(
        given.out_dir,
        films.read(),
        lambda what, done, total: print(f"{what} {done}/{total}", flush=True),
        given.epochs,
    )


if __name__ == "__main__":
    main()
