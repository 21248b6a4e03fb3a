"""What a file of weights says about itself: the part of `model.json` that nobody has to write.

`python -m worker.describe FILE` prints `runtime`, `inputs` and `outputs` as one JSON object, or
`{"error", "message", "hint"}` with exit code 1. No code of the file is run; what another library
reads, it reads in a confined process.
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from oracle import origins
from oracle.errors import InputInvalid, TallystickError
from oracle.exact.ranks import LIBRARIES
from oracle.protocol.shapes import TensorSpec
from worker.errors import ModelUnsupported, PickleRefused
from worker.onnx_description import described_onnx
from worker.runtimes import guard

EXPORT = (
    "export the module: torch.export.save(torch.export.export(module.eval(), (example,), "
    "dynamic_shapes={'x': {0: torch.export.Dim('rows')}}), 'model.pt2'), where x is the name of "
    "its forward argument"
)


def describe(path: Path) -> dict[str, Any]:
    """Return runtime, inputs and outputs of a file, in the words of `model.json`.

    Raises:
        InputInvalid: a suffix that no format has.
        ModelRefused (or a subclass): we would not load it.
    """
    if path.suffix not in (*LIBRARIES, ".onnx") and origins.recognise(path) is not None:
        return _converted(path)
    readers: Mapping[str, Callable[[Path], dict[str, Any]]] = {
        **dict.fromkeys(LIBRARIES, _trees),
        ".onnx": described_onnx,
        ".gguf": _gguf,
        ".pt2": _torch_export,
        ".safetensors": _safetensors,
    }
    if path.suffix not in readers:
        with path.open("rb") as file:
            try:
                guard.refuse_pickle(file.read(4), path.name)
            except PickleRefused as error:
                raise PickleRefused(str(error), hint=f"pickles run code: {EXPORT}") from None
        raise InputInvalid(
            f"{path.name} is no file that can be published",
            hint=f"{', '.join(readers)} can; of a torch module {EXPORT}; other frameworks write "
            "ONNX",
        )
    return readers[path.suffix](path)


def _converted(path: Path) -> dict[str, Any]:
    from worker.importing import converting  # noqa: PLC0415 - see _converted

    return converting.describe_original(path)


def _trees(path: Path) -> dict[str, Any]:
    from worker.importing import converting  # noqa: PLC0415 - see _converted

    try:
        return converting.describe_trees(path)
    except ModelUnsupported:
        if path.suffix != ".skops":
            raise
        return _converted(path)  # no tree: scikit-learn has other models


def _gguf(path: Path) -> dict[str, Any]:
    from worker.runtimes import gguf  # noqa: PLC0415 - see _converted

    return gguf.described(path)


def _torch_export(path: Path) -> dict[str, Any]:
    from worker.runtimes import pt2  # noqa: PLC0415 - see _converted
    from worker.runtimes.graph import ExportedGraph, GraphTensor  # noqa: PLC0415

    graph = ExportedGraph(pt2.read(path), "cpu")

    def spec(value: GraphTensor, name: str) -> dict[str, Any]:
        return {"name": name, "dtype": value.dtype, "shape": list(value.shape)}

    single = len(graph.outputs) == 1
    return {
        "runtime": {"format": "torch.export", "entry": path.name},
        "inputs": [spec(value, value.name) for value in graph.inputs],
        "outputs": [
            spec(value, "output" if single else f"output_{number}")
            for number, value in enumerate(graph.outputs)
        ],
    }


def _safetensors(path: Path) -> dict[str, Any]:
    from worker.runtimes import architectures, safetensors_arch  # noqa: PLC0415 - see _converted

    header = guard.read_safetensors_header(path)
    for name, architecture in architectures.ARCHITECTURES.items():
        options = architecture.options_of(header)
        try:
            model = architectures.build(name, options)
            safetensors_arch.match(model, header)
        except TallystickError:
            continue
        runtime: dict[str, Any] = {
            "format": "safetensors",
            "entry": path.name,
            "architecture": name,
        }
        return {
            "runtime": {**runtime, "options": options} if options else runtime,
            "inputs": [_words(spec) for spec in model.inputs],
            "outputs": [_words(spec) for spec in model.outputs],
        }
    raise ModelUnsupported(
        f"{path.name} holds weights of no registered architecture",
        hint=f"known: {', '.join(architectures.ARCHITECTURES)}; else {EXPORT}",
    )


def _words(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)}


def failure(error: Exception) -> dict[str, str]:
    """Return an error as the JSON object that takes the answer's place."""
    hint = error.hint if isinstance(error, TallystickError) else ""
    return {"error": type(error).__name__, "message": f"{error}"[:500], "hint": hint}


def main(path: Path) -> int:
    """Print what a file says about itself; return the exit code."""
    try:
        print(json.dumps(describe(path)))
    except Exception as error:  # whoever asked is told why, in one place
        print(json.dumps(failure(error)))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
