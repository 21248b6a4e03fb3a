"""Runs ONNX files with onnxruntime; graphs that reach outside of their own file are refused.

Inputs, parameters (0-d float32) and outputs are matched by name. "External data" is refused: it
names other files on this machine by path.
"""

import mmap
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
_CUDA = "CUDAExecutionProvider"  # of the package onnxruntime-gpu
OLDEST = 7  # opset that onnxruntime has all operators of
NEWEST = onnx.defs.onnx_opset_version()
_NEWEST_ML = 5
_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})


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
        given = {**inputs, **as_scalars(params)}
        try:
            results = self._session.run(
                self._outputs, {name: np.ascontiguousarray(given[name]) for name in self._inputs}
            )
        except Exception as error:  # onnxruntime's errors share no base class
            text = (str(error).splitlines() or [type(error).__name__])[0]
            if "allocate memory" in text or "out of memory" in text:
                raise DeviceFull(f"the ONNX graph ran out of memory: {text:.300}") from error
            raise ModelFailed(f"the ONNX graph failed: {text:.300}") from error
        return {
            name: np.asarray(result) for name, result in zip(self._outputs, results, strict=True)
        }

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
    for opset in read(path).opset_import:
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
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's errors share no base class
        text = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelUnsupported(f"onnxruntime does not load the graph: {text:.300}") from error
    return session, path.stat().st_size


def read(path: Path) -> onnx.ModelProto:
    """Return the model in a file, checked. Errors as in `load`."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ModelUnsupported(f"ONNX file of {size} bytes is above 2 GiB")
    if not size:
        raise WeightsInvalid("ONNX file without a byte")
    # Mapped, and opened by its path: each copy of the weights costs as much as half a load
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        guard.refuse_pickle(mapped[:4], path.name)
        with memoryview(mapped) as data:
            return _parse(data)


def _parse(data: memoryview) -> onnx.ModelProto:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise WeightsInvalid(f"not an ONNX file, or cut short: {error}") from error
    if not model.HasField("graph"):
        raise WeightsInvalid("ONNX file without a graph")
    domains = [item.domain for item in model.opset_import]
    for domain in [*domains, *(function.domain for function in model.functions)]:
        if domain not in _DOMAINS:
            raise ModelUnsupported(f"operators of domain {domain:.80} are not run")
    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise ModelUnsupported(
                f"tensor {tensor.name:.80} lies in another file",
                hint="save the model with its weights inside (save_as_external_data=False)",
            )
    for opset in model.opset_import:
        newest = _NEWEST_ML if opset.domain == "ai.onnx.ml" else NEWEST
        if opset.version > newest:
            raise ModelUnsupported(
                f"opset {opset.version} of {opset.domain or 'ONNX'} is newer than {newest}, the "
                "newest that is run",
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
                yield from (attribute.t, *attribute.tensors)
                for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                    yield from (sparse.values, sparse.indices)
                graphs.extend(attribute.graphs)
                if attribute.HasField("g"):
                    graphs.append(attribute.g)
