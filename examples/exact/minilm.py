"""all-MiniLM-L6-v2 as an exact program of integers, and how near it comes to the float model.

    python -m examples.exact.minilm build/minilm-exact
    tallystick model publish build/minilm-exact --key owner

Compiles the encoder for texts of up to 128 tokens, calibrated on `text/calibration.txt`, writes the
folder of a version, and answers the held-out sentences of `text/held_out.txt` with both.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from examples.minilm.build import package_dir
from oracle.exact.quantisation import quantise
from worker.exact import package
from worker.exact.compiler import Compiled
from worker.exact.graph import Sample
from worker.exact.kernels.executor import Executor
from worker.exact.lowering.transformer import Recipe, compile_encoder
from worker.runtimes.architectures import MiniLm

LENGTH = 128  # tokens of the program; shorter texts are padded
TEXT = Path(__file__).parent / "text"
ABOUT: dict[str, Any] = {
    "name": "all-MiniLM-L6-v2-exact",
    "description": "Sentence embeddings of 384 numbers, in integers; one text of up to 128 tokens",
    "license": "Apache-2.0",
    "preprocess": {"kind": "tokenizer", "file": "tokenizer.json", "max_length": LENGTH},
}
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Cosines between the exact and the float32 embeddings of held-out sentences."""

    sentences: int
    mean: float
    least: float


def load() -> MiniLm:
    """Return the float model of the installed package.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    model = MiniLm({})
    tensors = load_file(str(package_dir() / "model.safetensors"))
    named = {model.rename(name): tensor.float() for name, tensor in tensors.items()}
    model.load_state_dict({name: named[name] for name in model.state_dict()})
    return model.eval()


def tokenized(texts: Sequence[str], length: int = LENGTH) -> list[Sample]:
    """Return each text's `input_ids` and `attention_mask`, [1, length]."""
    tokenizer = Tokenizer.from_file(str(package_dir() / "tokenizer.json"))
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length)
    return [
        {
            "input_ids": np.array([encoded.ids], np.int64),
            "attention_mask": np.array([encoded.attention_mask], np.int64),
        }
        for encoded in tokenizer.encode_batch(list(texts))
    ]


def calibration() -> list[Sample]:
    """Return the texts that ranges are taken from."""
    return tokenized((TEXT / "calibration.txt").read_text().splitlines())


def held_out() -> list[Sample]:
    """Return the sentences that accuracy is measured on."""
    return tokenized((TEXT / "held_out.txt").read_text().splitlines())


def compile_minilm(recipe: Recipe | None = None) -> Compiled:
    """Return the exact program."""
    return compile_encoder(load(), calibration(), LENGTH, recipe)


def compare(compiled: Compiled, samples: Sequence[Sample], device: str = "cpu") -> Accuracy:
    """Answer samples with both models."""
    exact, real = exact_embeddings(compiled, samples, device), float_embeddings(samples)
    cosines = (exact * real).sum(1)
    return Accuracy(len(samples), float(cosines.mean()), float(cosines.min()))


def exact_embeddings(compiled: Compiled, samples: Sequence[Sample], device: str = "cpu") -> Array:
    """Return the program's answers as a reader sees them: float32 [n, 384]."""
    executor = Executor(compiled.program, compiled.constants, device)
    inputs = [quantise(compiled.inputs, sample) for sample in samples]
    outputs = executor.run([np.stack(column) for column in zip(*inputs, strict=True)])
    return np.concatenate([compiled.outputs[0].dequantise(output) for output in outputs])


def float_embeddings(samples: Sequence[Sample]) -> Array:
    """Return the float32 model's answers: [n, 384]."""
    model = load()
    with torch.inference_mode():
        found = []
        for sample in samples:
            tokens = int(sample["attention_mask"].sum())  # what is padded changes nothing but time
            names = ("input_ids", "attention_mask")
            found.append(model(*(torch.from_numpy(sample[name][:, :tokens]) for name in names)))
    embeddings: Array = torch.cat(found).numpy()
    return embeddings


def main() -> None:
    """Compile into the folder named on the command line, and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out_dir", type=Path)
    out_dir = parser.parse_args().out_dir
    compiled = compile_minilm()
    package.write(compiled, out_dir, ABOUT)
    package.copy_beside(package_dir(), out_dir, ("tokenizer.json",))
    accuracy = compare(compiled, held_out())
    size = (package_dir() / "model.safetensors").stat().st_size
    print(f"model root 0x{compiled.program.model_root.hex()}")
    stored = (out_dir / package.CONSTANTS).stat().st_size
    print(f"{len(compiled.program.ops)} operators, constants {stored:,} of {size:,} bytes")
    print(json.dumps(asdict(accuracy)))


if __name__ == "__main__":
    main()
