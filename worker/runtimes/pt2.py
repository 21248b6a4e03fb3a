"""Reads a `torch.export` archive without torch.export.load: JSON and raw bytes, never a pickle.

`torch.export.load` must not see a stranger's file: it unpickles sample inputs and "opaque" objects,
evaluates shape expressions with sympy, and calls any function of `torch.*` that the graph names.
An archive that `torch.export.save` wrote keeps what is needed in plain form:
```
 <root>/models/model.json                       graph and signature
 <root>/data/weights/model_weights_config.json  name → file, dtype, shape, strides
 <root>/data/weights/weight_0 …                 raw little-endian bytes
 <root>/data/constants/…                        the same for constants
 <root>/data/sample_inputs/model.pt             a pickle: never opened
```
Source: torch/export/pt2_archive/_package.py of torch 2.13, schema version 8.
"""

import json
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from worker.errors import ArchiveRefused, ModelUnsupported, PickleRefused, WeightsInvalid
from worker.runtimes import guard

SCHEMA_MAJOR = 8
MAX_GRAPH_BYTES = 64 * 2**20
DTYPES = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64,
    6: torch.float16, 7: torch.float32, 8: torch.float64, 12: torch.bool, 13: torch.bfloat16,
}  # fmt: skip
MEMORY_FORMATS = {
    1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d,
    4: torch.preserve_format,
}  # fmt: skip
CANONICAL = {
    torch.uint8: "U8", torch.int8: "I8", torch.int16: "I16", torch.int32: "I32",
    torch.int64: "I64", torch.float32: "F32", torch.float64: "F64", torch.bool: "BOOL",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ExportedProgram:
    """An exported program: its graph as JSON values, its tensors by name."""

    graph: dict[str, Any]
    signature: dict[str, Any]
    state: dict[str, torch.Tensor]  # parameters and buffers
    constants: dict[str, torch.Tensor]


def read(path: Path) -> ExportedProgram:
    """Read an archive.

    Raises:
        ArchiveRefused, PickleRefused: see `guard.open_archive`; a file that is missing or damaged.
        PickleRefused: weights or constants are pickled.
        ModelUnsupported: another schema than this module knows.
        WeightsInvalid: bytes and shapes of a tensor do not fit.
    """
    with guard.open_archive(path) as archive:
        reader = _ArchiveReader(archive)
        model = reader.json("models/model.json")
        version = model.get("schema_version", {}).get("major")
        if version != SCHEMA_MAJOR:
            raise ModelUnsupported(
                f"exported with schema {version}, this worker reads {SCHEMA_MAJOR}",
                hint=f"export the model again with torch {torch.__version__}",
            )
        try:
            graph_module = model["graph_module"]
            return ExportedProgram(
                graph=graph_module["graph"],
                signature=graph_module["signature"],
                state=reader.tensors("weights"),
                constants=reader.tensors("constants"),
            )
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ArchiveRefused(f"malformed torch.export archive: {error!r}") from error


class _ArchiveReader:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        roots = {name.split("/", 1)[0] for name in archive.namelist()}
        if len(roots) != 1:
            raise ArchiveRefused("not a torch.export archive: it has no single top folder")
        self._root = roots.pop()
        self._names = set(archive.namelist())
        if f"{self._root}/data.pkl" in self._names:
            raise PickleRefused(
                "a torch.save archive with a pickle in it, not a torch.export one",
                hint="use torch.export.save, or publish safetensors with an architecture",
            )

    def json(self, name: str) -> dict[str, Any]:
        data = self._read(name, MAX_GRAPH_BYTES)
        try:
            value = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ArchiveRefused(f"{name} is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise ArchiveRefused(f"{name} is not a JSON object")
        return value

    def tensors(self, kind: str) -> dict[str, torch.Tensor]:
        if f"{self._root}/data/{kind}/model.pt" in self._names:
            raise PickleRefused(f"{kind} are pickled (an archive of an older torch)")
        config = self.json(f"data/{kind}/model_{kind}_config.json")["config"]
        storages: dict[str, bytearray] = {}  # tensors may share one file
        result: dict[str, torch.Tensor] = {}
        for name, entry in config.items():
            file = str(entry["path_name"])
            if entry["use_pickle"] or not file.startswith(("weight_", "tensor_")):
                raise PickleRefused(f"{kind}: {name} is pickled", hint="use plain tensors only")
            if file not in storages:
                storages[file] = bytearray(self._read(f"data/{kind}/{file}"))
            result[name] = _tensor(name, storages[file], entry["tensor_meta"])
        return result

    def _read(self, name: str, limit: int | None = None) -> bytes:
        full = f"{self._root}/{name}"
        if full not in self._names:
            raise ArchiveRefused(f"the archive has no {name}")
        if limit is not None and self._archive.getinfo(full).file_size > limit:
            raise ArchiveRefused(f"{name} is above {limit} bytes")
        try:
            return self._archive.read(full)
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
            raise ArchiveRefused(f"{name} is damaged: {error}") from error


def _tensor(name: str, storage: bytearray, meta: dict[str, Any]) -> torch.Tensor:
    dtype = DTYPES.get(meta["dtype"])
    if dtype is None or meta["layout"] != 7:
        raise ModelUnsupported(f"tensor {name}: dtype or layout is not supported")
    sizes, strides = ([int(d["as_int"]) for d in meta[key]] for key in ("sizes", "strides"))
    offset = int(meta["storage_offset"]["as_int"])
    if len(sizes) != len(strides) or min([offset, *sizes, *strides]) < 0:
        raise WeightsInvalid(f"tensor {name}: negative or unequal sizes, strides or offset")
    if math.prod(sizes) == 0:
        return torch.empty(sizes, dtype=dtype)
    last = offset + sum((n - 1) * s for n, s in zip(sizes, strides, strict=True))
    if (last + 1) * dtype.itemsize > len(storage) or len(storage) % dtype.itemsize:
        raise WeightsInvalid(
            f"tensor {name}: {sizes} of {dtype} needs {(last + 1) * dtype.itemsize} bytes, "
            f"the file has {len(storage)}"
        )
    if math.prod(sizes) * dtype.itemsize > len(storage):  # stride 0 would expand without bound
        raise WeightsInvalid(f"tensor {name}: {sizes} is larger than its file")
    return torch.frombuffer(storage, dtype=dtype).as_strided(sizes, strides, offset)
