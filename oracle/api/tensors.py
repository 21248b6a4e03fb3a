"""KServe v2 bodies to arrays and back: JSON, and the binary tensor extension.

```
 ┌───────────────────────────────┬──────────────┬──────────────┐
 │ JSON, as long as the header   │ bytes of     │ bytes of     │
 │ Inference-Header-Content-     │ 1st tensor   │ 2nd tensor   │
 │ Length says (else everything) │ with binary_data_size        │
 └───────────────────────────────┴──────────────┴──────────────┘
```
Nothing in a body is believed: shapes are compared with what came, and sizes with what is left.
Source: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol and
Triton's extension_binary_data.md.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from oracle.errors import InputInvalid
from oracle.protocol import shapes, tensor
from oracle.protocol.manifest import Manifest, TensorSpec, Tokenizer
from oracle.protocol.tensor import Array
from oracle.services import formats

HEADER = "Inference-Header-Content-Length"
TEXT = "text"  # the input of sentences that models with a tokenizer take as well
NAMES: Mapping[str, str] = {
    "BOOL": "BOOL",
    "UINT8": "U8",
    "UINT16": "U16",
    "UINT32": "U32",
    "INT8": "I8",
    "INT16": "I16",
    "INT32": "I32",
    "INT64": "I64",
    "FP32": "F32",
    "FP64": "F64",
}
DATATYPES: Mapping[str, str] = {ours: theirs for theirs, ours in NAMES.items()}


@dataclass(frozen=True, slots=True)
class Wanted:
    """One output as the client wants it."""

    name: str
    binary: bool
    classes: int = 0  # so many best ones as text, instead of the numbers; 0 = the numbers


@dataclass(frozen=True, slots=True)
class Inference:
    """What a body asks; either arrays or sentences."""

    id: str
    arrays: dict[str, Array]
    texts: tuple[str, ...]
    params: dict[str, float]
    wanted: tuple[Wanted, ...]


def read(body: bytes, header_length: str | None, manifest: Manifest) -> Inference:
    """Read the body of an inference request.

    Raises:
        InputInvalid: it is not one, or not one for this model; the message says where.
    """
    length = len(body)
    if header_length is not None:
        if not header_length.isdecimal() or not 0 < int(header_length) <= len(body):
            raise InputInvalid(
                f"{HEADER} is {header_length[:20]!r} and the body has {len(body)} bytes",
                hint="it counts the bytes of the JSON in front of the tensors",
            )
        length = int(header_length)
    document = formats.parse_json(body[:length])
    if not isinstance(document, dict):
        raise InputInvalid("the body is not a JSON object", hint='{"inputs": […]}')
    given = document.get("inputs")
    if not isinstance(given, list) or not given:
        raise InputInvalid("the body has no inputs", hint=_hint(manifest))
    rest = _Rest(body, length)
    arrays: dict[str, Array] = {}
    texts: tuple[str, ...] = ()
    for entry in given:
        name, shape, datatype = _declared(entry)
        if name in arrays or (name == TEXT and texts):
            raise InputInvalid(f"input {name} is given twice")
        if name == TEXT and isinstance(manifest.preprocess, Tokenizer):
            texts = _texts(entry, shape, datatype, rest)
        else:
            arrays[name] = _array(entry, _spec(name, manifest), shape, datatype, rest)
    rest.end()
    if texts and arrays:
        raise InputInvalid("give the sentences or their token ids, not both")
    params, binary = _parameters(document, manifest)
    return Inference(
        _text(document.get("id", ""), "id"),
        arrays,
        texts,
        params,
        _wanted(document.get("outputs"), manifest, binary),
    )


def write(
    outputs: Mapping[str, Array],
    wanted: Sequence[Wanted],
    fields: Mapping[str, Any],
    labels: Sequence[str] = (),
) -> tuple[bytes, int | None]:
    """Return the body of an answer, and the length of its JSON when tensors follow it.

    Args:
        labels: of the classes, for outputs that are wanted as such.
    """
    entries, tail = [], []
    for want in wanted:
        array = np.ascontiguousarray(outputs[want.name])
        entry: dict[str, Any] = {
            "name": want.name,
            "datatype": DATATYPES[_code(array)],
            "shape": list(array.shape),
        }
        if want.classes:
            texts = _best_classes(array, want.classes, labels)
            entry |= {"datatype": "BYTES", "shape": list(texts.shape)}
            coded = [text.encode() for text in texts.ravel().tolist()]
            values, raw = texts.ravel().tolist(), b"".join(map(_with_length, coded))
        else:
            little = array.astype(array.dtype.newbyteorder("<"), copy=False)
            values, raw = [] if want.binary else array.ravel().tolist(), little.tobytes()
        if want.binary:
            entry["parameters"] = {"binary_data_size": len(raw)}
            tail.append(raw)
        else:
            entry["data"] = values
        entries.append(entry)
    head = json.dumps({**fields, "outputs": entries}, separators=(",", ":")).encode()
    return b"".join((head, *tail)), len(head) if tail else None


def _best_classes(array: Array, count: int, labels: Sequence[str]) -> Array:
    """Return the best classes of each row as `score:index:label`, the best one first.

    Source: Triton's extension_classification.md.
    """
    rows = array.reshape(len(array) if array.ndim > 1 else 1, -1)
    best = np.argsort(-rows, axis=1, kind="stable")[:, :count]
    texts = [
        [f"{row[n]:f}:{n}" + (f":{labels[n]}" if n < len(labels) else "") for n in found]
        for row, found in zip(rows, best.tolist(), strict=True)
    ]
    return np.array(texts if array.ndim > 1 else texts[0], object)


def _with_length(text: bytes) -> bytes:
    """Return a string behind its length as 4 bytes, little-endian."""
    return len(text).to_bytes(4, "little") + text


def configuration(spec: TensorSpec) -> dict[str, Any]:
    """Return a tensor as Triton's model configuration has it; -1 stands for any size."""
    said = describe(spec)
    return {
        "name": spec.name,
        "data_type": f"TYPE_{said['datatype']}",
        "dims": said["shape"],
    }


def describe(spec: TensorSpec) -> dict[str, Any]:
    """Return a tensor's metadata; -1 stands for any size."""
    shape = [-1 if size is None else size for size in spec.shape]
    return {"name": spec.name, "datatype": DATATYPES[spec.dtype], "shape": shape}


class _Rest:
    """The bytes behind the JSON, handed out in order."""

    def __init__(self, body: bytes, start: int) -> None:
        self._body = body
        self._at = start

    def take(self, name: str, size: int) -> memoryview:
        left = len(self._body) - self._at
        if size > left:
            raise InputInvalid(f"input {name} should have {size} bytes, the body has {left} left")
        self._at += size
        return memoryview(self._body)[self._at - size : self._at]

    def end(self) -> None:
        if left := len(self._body) - self._at:
            raise InputInvalid(f"{left} bytes of the body belong to no input")


def _declared(entry: Any) -> tuple[str, tuple[int, ...], str]:
    if not isinstance(entry, dict):
        raise InputInvalid("an input is not a JSON object", hint='{"name", "shape", "datatype", …}')
    name, shape = _text(entry.get("name"), "the name of an input"), entry.get("shape")
    if (
        not isinstance(shape, list)
        or len(shape) > shapes.MAX_RANK
        or not all(type(size) is int and size >= 0 for size in shape)
    ):
        raise InputInvalid(f"input {name}: shape {shape!s:.60} is no list of sizes")
    if 0 in shape:
        raise InputInvalid(f"input {name} is empty: its shape is {shape}")
    return name, tuple(shape), _text(entry.get("datatype"), "the datatype of an input")


def _array(
    entry: Mapping[str, Any], spec: TensorSpec, shape: tuple[int, ...], datatype: str, rest: _Rest
) -> Array:
    if NAMES.get(datatype) != spec.dtype:
        raise InputInvalid(
            f"input {spec.name} is {datatype:.20}", hint=f"wanted: {DATATYPES[spec.dtype]}"
        )
    dtype, count = tensor.DTYPES[spec.dtype], math.prod(shape)
    if (size := _binary_size(entry)) is not None:
        if size != count * dtype.itemsize:
            raise InputInvalid(
                f"input {spec.name}: {size} bytes are no {datatype} of shape {list(shape)}",
                hint=f"that takes {count * dtype.itemsize} bytes",
            )
        raw = rest.take(spec.name, size)
        if dtype.kind == "b" and any(byte > 1 for byte in raw):
            raise InputInvalid(f"input {spec.name}: a BOOL byte is neither 0 nor 1")
        return np.frombuffer(raw, dtype).reshape(shape)
    if "data" not in entry:
        raise InputInvalid(f"input {spec.name} has no data")
    try:
        array = formats.to_array(entry["data"], spec)
    except RecursionError as error:
        raise InputInvalid(f"input {spec.name} is nested too deeply") from error
    if array.size != count:
        raise InputInvalid(
            f"input {spec.name} has {array.size} values, its shape {list(shape)} holds {count}"
        )
    return array.reshape(shape)


def _texts(
    entry: Mapping[str, Any], shape: tuple[int, ...], datatype: str, rest: _Rest
) -> tuple[str, ...]:
    if datatype != "BYTES":
        raise InputInvalid(f"input {TEXT} is {datatype:.20}", hint="wanted: BYTES")
    if (size := _binary_size(entry)) is not None:
        found = _strings(rest.take(TEXT, size))
    else:
        data = entry.get("data")
        if not isinstance(data, list) or not all(isinstance(item, str) for item in data):
            raise InputInvalid(f"input {TEXT} is no list of strings")
        found = tuple(data)
    if len(found) != math.prod(shape):
        raise InputInvalid(f"input {TEXT} has {len(found)} strings, its shape is {list(shape)}")
    return found


def _strings(raw: memoryview) -> tuple[str, ...]:
    """Read strings, each behind its length as 4 bytes, little-endian."""
    found, at = [], 0
    while at < len(raw):
        end = at + 4 + int.from_bytes(raw[at : at + 4], "little")
        if end > len(raw):
            raise InputInvalid(f"input {TEXT}: a string ends behind the input's last byte")
        try:
            found.append(bytes(raw[at + 4 : end]).decode())
        except UnicodeDecodeError as error:
            raise InputInvalid(f"input {TEXT} is not UTF-8") from error
        at = end
    return tuple(found)


def _binary_size(entry: Mapping[str, Any]) -> int | None:
    parameters = entry.get("parameters", {})
    if not isinstance(parameters, dict):
        raise InputInvalid("the parameters of an input are no object")
    size = parameters.get("binary_data_size")
    if size is not None and (type(size) is not int or size < 0):
        raise InputInvalid(f"binary_data_size is {size!s:.40}, no number of bytes")
    return size


def _parameters(document: Mapping[str, Any], manifest: Manifest) -> tuple[dict[str, float], bool]:
    """Return the model's parameters, and whether outputs are wanted as bytes."""
    given = document.get("parameters", {})
    if not isinstance(given, dict):
        raise InputInvalid("parameters is no object")
    known = {spec.name for spec in manifest.parameters}
    params = {}
    for name, value in given.items():
        if name in ("binary_data_output", "binary_data") or name.startswith("triton_"):
            continue
        if name not in known:
            raise InputInvalid(
                f"the model has no parameter {name:.40}",
                hint="known: " + (", ".join(sorted(known)) or "none, it takes no parameters"),
            )
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputInvalid(f"parameter {name} is no number")
        params[name] = value
    return params, given.get("binary_data_output") is True


def _wanted(given: Any, manifest: Manifest, binary: bool) -> tuple[Wanted, ...]:
    specs = {spec.name: spec for spec in manifest.outputs}
    if given is None or given == []:
        return tuple(Wanted(name, binary) for name in specs)
    if not isinstance(given, list):
        raise InputInvalid("outputs is no list")
    wanted = []
    for entry in given:
        if not isinstance(entry, dict):
            raise InputInvalid("an output is not a JSON object")
        name = _text(entry.get("name"), "the name of an output")
        if name not in specs:
            raise InputInvalid(
                f"the model has no output {name:.40}", hint="known: " + ", ".join(specs)
            )
        parameters = entry.get("parameters", {})
        if not isinstance(parameters, dict):
            raise InputInvalid("the parameters of an output are no object")
        classes = parameters.get("classification", 0)
        if type(classes) is not int or classes < 0:
            raise InputInvalid(f"classification is {classes!s:.40}, no number of classes")
        wanted.append(Wanted(name, parameters.get("binary_data", binary) is True, classes))
    return tuple(wanted)


def _spec(name: str, manifest: Manifest) -> TensorSpec:
    for spec in manifest.inputs:
        if spec.name == name:
            return spec
    raise InputInvalid(f"the model has no input {name:.40}", hint=_hint(manifest))


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise InputInvalid(f"{what} is no text")
    return value


def _code(array: Array) -> str:
    return next(name for name, dtype in tensor.DTYPES.items() if dtype == array.dtype)


def _hint(manifest: Manifest) -> str:
    return "wanted: " + ", ".join(f"{s.name} {DATATYPES[s.dtype]}" for s in manifest.inputs)
