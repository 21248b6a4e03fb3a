"""Runs ONNX files with onnxruntime; graphs that reach outside of their own file are refused.

Inputs, parameters (0-d float32) and outputs are matched by name. "External data" is refused: it
names other files on this machine by path.
"""

import mmap
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]  # it ships no stubs
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # nor this

from oracle.protocol.manifest import Manifest
from worker.errors import DeviceFull, ModelFailed, ModelUnsupported, WeightsInvalid
from worker.runtimes import guard
from worker.runtimes.base import Array, Files, Params, as_scalars

MAX_BYTES = 2**31 - 1  # of a protobuf message
_SMALL = 2**20  # bytes: to read such a file twice takes longer than to copy it
_CUDA = "CUDAExecutionProvider"  # of the package onnxruntime-gpu
OLDEST = 7  # opset that onnxruntime has all operators of
NEWEST = onnx.defs.onnx_opset_version()
_NEWEST_ML = 5
_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
_PLAIN = frozenset(  # kinds of attributes of which onnxruntime reads no tensor, whatever they hold
    getattr(onnx.AttributeProto, kind)
    for kind in ("FLOAT", "INT", "STRING", "FLOATS", "INTS", "STRINGS")
)


class OnnxModel:
    """A loaded graph."""

    def __init__(
        self, manifest: Manifest, session: onnxruntime.InferenceSession, nbytes: int
    ) -> None:
        self._session = session
        self._inputs = [given.name for given in session.get_inputs()]
        self._outputs = [spec.name for spec in manifest.outputs]
        self.nbytes = nbytes
        self._check(manifest)

    def run(self, inputs: Mapping[str, Array], params: Params) -> dict[str, Array]:
        """Answer one batch (see `base.Runtime`)."""
        given = {**inputs, **as_scalars(params)} if params else inputs
        feed = {name: np.ascontiguousarray(given[name]) for name in self._inputs}
        try:
            results = self._session.run(self._outputs, feed)
        except Exception as error:  # onnxruntime's errors share no base class
            text = (str(error).splitlines() or [type(error).__name__])[0]
            if "allocate memory" in text or "out of memory" in text:
                raise DeviceFull(f"the ONNX graph ran out of memory: {text:.300}") from error
            raise ModelFailed(f"the ONNX graph failed: {text:.300}") from error
        return dict(zip(self._outputs, map(np.asarray, results), strict=True))

    def _check(self, manifest: Manifest) -> None:
        known = {spec.name for spec in manifest.inputs}
        known.update(spec.name for spec in manifest.parameters)
        has = [given.name for given in self._session.get_outputs()]
        for name in self._inputs:
            if name not in known:
                raise ModelUnsupported(
                    f"the graph takes an input {name} that model.json does not name"
                )
        for spec in manifest.inputs:
            if spec.name not in self._inputs:
                raise ModelUnsupported(
                    f"the graph takes no input {spec.name}",
                    hint=f"it takes {', '.join(self._inputs)}",
                )
        for name in self._outputs:
            if name not in has:
                raise ModelUnsupported(
                    f"the graph has no output {name}", hint=f"it has {', '.join(has)}"
                )


def load(manifest: Manifest, files: Files, device: str) -> OnnxModel:
    """Load the entry file; on CUDA when onnxruntime has that provider.

    Raises:
        WeightsInvalid: not an ONNX file, or cut short.
        PickleRefused: a pickle under another name.
        ModelUnsupported: external data, operators of a foreign domain, or ones that are unknown.
    """
    session, nbytes = open_session(files[manifest.runtime.entry], device)
    return OnnxModel(manifest, session, nbytes)


def open_session(path: Path, device: str) -> tuple[onnxruntime.InferenceSession, int]:
    """Open a file that was checked first; return it with its size. Errors as in `load`."""
    model, source, size = _checked(path)
    for opset in model.opset_import:
        if opset.domain in ("", "ai.onnx") and opset.version < OLDEST:
            raise ModelUnsupported(
                f"opset {opset.version} is older than {OLDEST}, the oldest that is run",
                hint=f"`tallystick model check {path.name}` upgrades the file itself",
            )
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.startswith("cuda") and _CUDA in onnxruntime.get_available_providers():
        number = device.partition(":")[2] or "0"
        # TF32 rounds products to 10 bits: other operators' answers would differ beyond a tolerance
        providers.insert(0, (_CUDA, {"device_id": number, "use_tf32": "0"}))
    options = onnxruntime.SessionOptions()
    options.use_deterministic_compute = True
    options.intra_op_num_threads = 1  # like torch's: the processes are the parallelism
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(source, options, providers=providers)
    except Exception as error:  # onnxruntime's errors share no base class
        text = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelUnsupported(f"onnxruntime does not load the graph: {text:.300}") from error
    return session, size


def read(path: Path) -> onnx.ModelProto:
    """Return the model in a file, checked. Errors as in `load`."""
    return _checked(path)[0]


def _checked(path: Path) -> tuple[onnx.ModelProto, bytes | str, int]:
    """Return a model, what onnxruntime opens (bytes; a path where they are many), and the size."""
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_BYTES:
            raise ModelUnsupported(f"ONNX file of {size} bytes is above 2 GiB")
        if not size:
            raise WeightsInvalid("ONNX file without a byte")
        if size <= _SMALL:
            data = file.readall()
            return _parse(data, path.name), data, size
        # Mapped, and opened by its path: each copy of the weights costs as much as half a load
        with (
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
            memoryview(mapped) as view,
        ):
            return _parse(view, path.name), str(path), size


def _parse(data: bytes | memoryview, name: str) -> onnx.ModelProto:
    guard.refuse_pickle(bytes(data[:4]), name)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise WeightsInvalid(f"not an ONNX file, or cut short: {error}") from error
    if not model.HasField("graph"):
        raise WeightsInvalid("ONNX file without a graph")
    opsets = [(item.domain, item.version) for item in model.opset_import]
    domains = [domain for domain, _ in opsets]
    for domain in [*domains, *(function.domain for function in model.functions)]:
        if domain not in _DOMAINS:
            raise ModelUnsupported(f"operators of domain {domain:.80} are not run")
    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise ModelUnsupported(
                f"tensor {tensor.name:.80} lies in another file",
                hint="save the model with its weights inside (save_as_external_data=False)",
            )
    for domain, opset in opsets:
        newest = _NEWEST_ML if domain == "ai.onnx.ml" else NEWEST
        if opset > newest:
            raise ModelUnsupported(
                f"opset {opset} of {domain or 'ONNX'} is newer than {newest}, the newest that is "
                "run",
                hint=f"export it with opset {newest} or older",
            )
    return model


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    graphs = [model.graph]
    nodes = [node for function in model.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes.extend(graph.node)
        while nodes:
            for attribute in nodes.pop().attribute:
                if attribute.type in _PLAIN:
                    continue
                yield from (attribute.t, *attribute.tensors)
                for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                    yield from (sparse.values, sparse.indices)
                graphs.extend(attribute.graphs)
                if attribute.HasField("g"):
                    graphs.append(attribute.g)
