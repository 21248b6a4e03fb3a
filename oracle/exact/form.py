"""How a version's inputs and outputs become bytes, and which digest stands for the bytes.

```
 a person's arrays ─encode_inputs─▶ bytes ─decode_inputs─▶ what the runtime takes
                                      │ input_root                  │ run
 a person's arrays ◀decode_outputs─ bytes ◀encode_outputs─ what the runtime gives
                                      │ output_root
 float: canonical tensor files, SHA-256        exact: integers, records, keccak roots
```
The float form is in `oracle.protocol.tensor`; the exact one in docs/exact.md, section 5.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from oracle.errors import InputInvalid
from oracle.exact import files, quantisation
from oracle.exact.dtypes import Array
from oracle.exact.quantisation import InputCode, Outside
from oracle.exact.ranks import Ranks, Thresholds
from oracle.exact.tensors import TensorTree
from oracle.protocol import tensor
from oracle.protocol.manifest import Exact, FileEntry, Manifest
from oracle.types import Bytes32

Arrays = Mapping[str, Array]
Fetch = Callable[[FileEntry], Path]  # brings a file of the manifest here, verified


class Form(Protocol):
    """The form of one version. All raise InputInvalid for what does not fit the manifest."""

    def encode_inputs(self, arrays: Arrays) -> bytes:
        """Return the bytes of an input, given as the manifest's `inputs` say."""

    def decode_inputs(self, data: bytes) -> dict[str, Array]:
        """Return what the runtime takes; the first axis counts samples."""

    def encode_outputs(self, arrays: Arrays) -> bytes:
        """Return the bytes of what the runtime gave."""

    def decode_outputs(self, data: bytes) -> dict[str, Array]:
        """Return an answer as the manifest's `outputs` say."""

    def outside(self, arrays: Arrays) -> tuple[Outside, ...]:
        """Return which inputs, given as for `encode_inputs`, are clamped to a calibrated range."""

    def input_root(self, data: bytes) -> Bytes32:
        """Return what a request names for these bytes."""

    def output_root(self, data: bytes) -> Bytes32:
        """Return what a delivery names for these bytes."""


def of(manifest: Manifest, fetch: Fetch | None = None) -> Form:
    """Return the form of a version.

    Args:
        fetch: for whoever encodes inputs: a model of trees has its thresholds in a file.

    Raises:
        InputInvalid: `manifest.exact` is malformed.
    """
    return _Float(manifest) if manifest.exact is None else _Exact(manifest, manifest.exact, fetch)


class _Float(Form):
    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest

    def encode_inputs(self, arrays: Arrays) -> bytes:
        self._manifest.validate_inputs(arrays)
        return tensor.encode(arrays)

    def decode_inputs(self, data: bytes) -> dict[str, Array]:
        arrays = tensor.decode(data, len(data))
        self._manifest.validate_inputs(arrays)
        return arrays

    def encode_outputs(self, arrays: Arrays) -> bytes:
        self._manifest.validate_outputs(arrays)
        return tensor.encode(arrays)

    def decode_outputs(self, data: bytes) -> dict[str, Array]:
        arrays = tensor.decode(data, self._manifest.max_output_bytes)
        self._manifest.validate_outputs(arrays)
        return arrays

    def outside(self, arrays: Arrays) -> tuple[Outside, ...]:
        del arrays
        return ()

    def input_root(self, data: bytes) -> Bytes32:
        return tensor.digest(data)

    def output_root(self, data: bytes) -> Bytes32:
        return tensor.digest(data)


class _Exact(Form):
    def __init__(self, manifest: Manifest, exact: Exact, fetch: Fetch | None) -> None:
        self._manifest, self._fetch = manifest, fetch
        self._inputs = [quantisation.input_from_json(code) for code in exact.inputs]
        self._outputs = [quantisation.output_from_json(code) for code in exact.outputs]
        self._output_id = exact.output_id

    def encode_inputs(self, arrays: Arrays) -> bytes:
        self._manifest.validate_inputs(arrays)
        integers = quantisation.quantise(self._encoders, arrays)
        return files.write_inputs([code.spec for code in self._inputs], integers)

    @cached_property
    def _encoders(self) -> list[InputCode]:
        return [self._with_file(code) for code in self._inputs]

    def _with_file(self, code: InputCode) -> InputCode:
        if not isinstance(code, Ranks):
            return code
        assert self._fetch is not None, "who encodes says where files are"
        data = self._fetch(self._manifest.file(code.file)).read_bytes()
        return replace(code, thresholds=Thresholds.parse(data))

    def decode_inputs(self, data: bytes) -> dict[str, Array]:
        trees = files.read_inputs(data)
        if [tree.spec for tree in trees] != [code.spec for code in self._inputs]:
            raise InputInvalid(
                f"inputs are {', '.join(str(tree.spec) for tree in trees)}",
                hint="wanted: " + ", ".join(f"{code.name} {code.spec}" for code in self._inputs),
            )
        return {
            code.name: tree.array[np.newaxis]
            for code, tree in zip(self._inputs, trees, strict=True)
        }

    def encode_outputs(self, arrays: Arrays) -> bytes:
        first = self._outputs[0]  # the tensor of all goes by its name
        return files.record(self._output_id, TensorTree.of(arrays[first.name][0], first.dtype))

    def decode_outputs(self, data: bytes) -> dict[str, Array]:
        tensor_id, tree = files.read_output(data)
        if tensor_id != self._output_id or tree.spec.dtype != self._outputs[0].dtype:
            raise InputInvalid(
                f"the answer is tensor {tensor_id} of {tree.spec.dtype.name}",
                hint=f"wanted: tensor {self._output_id} of {self._outputs[0].dtype.name}",
            )
        arrays = quantisation.dequantise(self._outputs, tree.array)
        self._manifest.validate_outputs(arrays)
        return arrays

    def outside(self, arrays: Arrays) -> tuple[Outside, ...]:
        return quantisation.outside(self._inputs, arrays)

    def input_root(self, data: bytes) -> Bytes32:
        return files.input_root(data)

    def output_root(self, data: bytes) -> Bytes32:
        return files.output_root(data)
