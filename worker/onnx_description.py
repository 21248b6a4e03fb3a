"""What an ONNX file says about itself, in the words of `model.json`."""

from pathlib import Path
from typing import Any

from worker.errors import ModelUnsupported

_DTYPES = {
    "float": "F32", "double": "F64", "bool": "BOOL", "uint8": "U8", "uint16": "U16",
    "uint32": "U32", "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64",
}  # fmt: skip


def described_onnx(path: Path) -> dict[str, Any]:
    """Return runtime, inputs and outputs of an ONNX file.

    Raises:
        ModelRefused (or a subclass): we would not load it.
    """
    from worker.runtimes import onnx  # noqa: PLC0415 - only what the file needs

    session, _ = onnx.open_session(path, "cpu")

    def spec(value: Any) -> dict[str, Any]:
        element = value.type.removeprefix("tensor(").removesuffix(")")
        if element not in _DTYPES:
            raise ModelUnsupported(
                f"{value.name} is a {value.type}, and canonical tensors have no such type",
                hint="cast it inside of the graph: " + ", ".join(_DTYPES),
            )
        shape = [size if isinstance(size, int) else None for size in value.shape]
        return {"name": value.name, "dtype": _DTYPES[element], "shape": shape}

    return {
        "runtime": {"format": "onnx", "entry": path.name},
        "inputs": [spec(value) for value in session.get_inputs()],
        "outputs": [spec(value) for value in session.get_outputs()],
    }
