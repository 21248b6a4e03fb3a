"""What a model version is: files, runtime, shapes, parameters; one raw block of canonical JSON.

The SHA-256 of these bytes is on chain, so a manifest cannot be swapped. `parse` refuses whatever is
malformed, so workers check nothing twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from oracle.errors import InputInvalid
from oracle.protocol import canonical, params
from oracle.protocol.border import STRICT, HexBytes32
from oracle.protocol.files import FileEntry, check_files, weights_root
from oracle.protocol.origin import ModelOrigin
from oracle.protocol.params import ParameterSpec
from oracle.protocol.shapes import FeatureSpec, TensorSpec, check_features, check_specs
from oracle.protocol.training import TrainingData
from oracle.protocol.training_history import (
    MadeByJob,
    TrainingHistory,
    require_written_once,
    without_absent,
)
from oracle.types import Bytes32

if TYPE_CHECKING:
    from oracle.protocol.tensor import Array

__all__ = [
    "DerivedFrom",
    "Exact",
    "FeatureSpec",
    "FileEntry",
    "Image",
    "Manifest",
    "ModelOrigin",
    "ParameterSpec",
    "RuntimeSpec",
    "TensorSpec",
    "Tokenizer",
    "TrainingData",
    "TrainingHistory",
    "Unit",
]

MAX_BYTES = 256 * 1024  # one raw block, far below IPFS's 1 MiB
MAX_OUTPUT_BYTES = 65536  # what an operator can be made to post on chain
MAX_NAME = 64
MAX_TEXT = 4096
MAX_LABELS = 1024
SPREADS = 4  # how often a tolerance covers what honest answers were measured to differ by
MAX_EXACT_INPUTS = 8  # docs/exact.md, section 3
MAX_METHOD = 64  # characters
_SUFFIX_OF_FORMAT = {
    "torch.export": ".pt2",
    "safetensors": ".safetensors",
    "onnx": ".onnx",
    "gguf": ".gguf",
    "exact": ".program",
}

Scalar: TypeAlias = bool | int | float | str


@dataclass(frozen=True, slots=True)
class RuntimeSpec:
    """How to load the weights: a format, and for bare safetensors a registered architecture."""

    format: Literal["torch.export", "safetensors", "onnx", "gguf", "exact"]
    entry: str  # path of the file that is loaded first
    architecture: str | None = None
    options: Mapping[str, Scalar] = field(default_factory=dict)

    __pydantic_config__ = STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """How an exact version's integers meet the numbers of its inputs and outputs.

    Attributes:
        constants: path of the file with weights and tables (`oracle.exact.constants`).
        inputs: per tensor of the program, how a sample becomes integers, and
        outputs: what the integers of the answers stand for, which lie one after another in
            the output tensor (`oracle.exact.quantisation`).
        output_id: the output tensor's id in the program.
    """

    constants: str
    inputs: tuple[Mapping[str, Any], ...]
    outputs: tuple[Mapping[str, Any], ...]
    output_id: int

    __pydantic_config__ = STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenizer:
    """Text becomes ids with a `tokenizers` file; whoever makes the input does this."""

    kind: Literal["tokenizer"] = "tokenizer"
    file: str
    max_length: int  # ids

    __pydantic_config__ = STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """Pixels become (pixel × scale − mean) / std per channel; whoever makes the input does this."""

    kind: Literal["image"] = "image"
    height: int
    width: int
    channels: int
    scale: float = 1.0
    mean: tuple[float, ...] = ()  # one per channel, or none
    std: tuple[float, ...] = ()  # one per channel, or none

    __pydantic_config__ = STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What a metered version is paid by: rows of an output, as `tokens` of a text.

    Attributes:
        output: name of the output whose first axis counts units.
        maximum: of one answer; the version's fee is the price of so many (`Terms.max_units`).
    """

    output: str
    maximum: int

    __pydantic_config__ = STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedFrom:
    """The version that a smaller one was made from (`tallystick model compress`).

    Attributes:
        model_root: of that version, as its record on the chain has it.
        method: how the smaller one was made.
        manifest_digest: of that version, where its owner named it.
        model_id, version: where the registry has it, where that is known.
    """

    model_root: HexBytes32
    method: str
    manifest_digest: HexBytes32 | None = None
    model_id: int | None = None
    version: int | None = None

    __pydantic_config__ = STRICT

    def check(self) -> None:
        """Raise InputInvalid unless the method has a name, and a place is a whole one."""
        if not 1 <= len(self.method) <= MAX_METHOD:
            raise InputInvalid(
                f"manifest: derived_from.method has {len(self.method)} characters, not 1 to "
                f"{MAX_METHOD}"
            )
        places = (self.model_id, self.version)
        if places == (None, None):
            return
        if self.manifest_digest is None or not all(n is not None and 0 < n < 2**53 for n in places):
            raise InputInvalid(
                "manifest: derived_from names no version",
                hint="model_id and version are from 1 on, and come with manifest_digest",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A model version. Constructing checks nothing; `to_bytes` and `parse` check every rule."""

    schema: Literal["tallystick/manifest/1"] = "tallystick/manifest/1"
    name: str
    description: str = ""
    license: str = ""
    runtime: RuntimeSpec
    files: tuple[FileEntry, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: tuple[ParameterSpec, ...] = ()
    preprocess: Tokenizer | Image | None = None
    exact: Exact | None = None  # with runtime.format "exact", and only with it
    labels: tuple[str, ...] | None = None  # of the classes, in the order of the last axis
    max_output_bytes: int = MAX_OUTPUT_BYTES  # of the canonical output file
    tolerance: int = 0  # absolute, in 1e-9, as in the version's record
    features: tuple[FeatureSpec, ...] = ()  # columns of the only input; absent where unnamed
    data: TrainingData | None = None  # what rounds for data take; absent where there are none
    derived_from: DerivedFrom | None = None  # absent where it was made from no other version
    history: TrainingHistory | None = None  # how it was trained; absent where nobody says
    origin: ModelOrigin | None = None  # what it was converted from; absent where it was not
    unit: Unit | None = None  # what an answer is paid by; absent where each costs the same

    __pydantic_config__ = STRICT

    @classmethod
    def parse(cls, data: bytes) -> "Manifest":
        """Read a manifest from its canonical bytes.

        Raises:
            InputInvalid: above 256 KiB, or not canonical JSON. An unknown or missing field, or a
                value of the wrong type. A broken rule of this module, `files`, `shapes`, `params`.
        """
        if len(data) > MAX_BYTES:
            raise InputInvalid(f"manifest of {len(data)} bytes is above the limit of {MAX_BYTES}")
        body = canonical.loads(data)
        for name in ("data", "derived_from", "history", "origin", "unit"):
            if isinstance(body, dict) and body.get(name, body) is None:
                raise InputInvalid(
                    f"manifest: {name} is null", hint="leave it out: one way to write it"
                )
        if isinstance(body, dict):
            require_written_once(body.get("history"))
        if isinstance(body, dict) and body.get("features", body) == []:
            raise InputInvalid("manifest: no features", hint="leave it out: one way to write it")
        columns = body.get("features", ()) if isinstance(body, dict) else ()
        for column in columns if isinstance(columns, list) else ():
            if isinstance(column, dict) and (
                column.get("categories", True) == [] or column.get("other", True) is False
            ):
                raise InputInvalid(
                    "manifest: a feature with no categories", hint="leave them, and `other`, out"
                )
        try:
            manifest = _adapter().validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the document"
            raise InputInvalid(f"manifest: {where}: {first['msg']}") from error
        _check(manifest)
        return manifest

    def to_bytes(self) -> bytes:
        """Return the canonical bytes, checked as `parse` would: nothing invalid gets published.

        Raises:
            InputInvalid: a rule is broken.
        """
        try:
            body = _adapter().dump_python(self, mode="json", warnings="error")
        except PydanticSerializationError as error:
            raise InputInvalid(f"manifest: a field has the wrong type: {error}") from error
        for name in ("data", "derived_from", "features", "history", "origin", "unit"):
            if not body[name]:
                del body[name]  # so older manifests keep their digest
        if self.history is not None:
            body["history"] = without_absent(body["history"])
        for feature in body.get("features", ()):
            for name in ("categories", "other"):
                if not feature[name]:
                    del feature[name]
        if self.derived_from is not None and self.derived_from.version is None:
            del body["derived_from"]["model_id"], body["derived_from"]["version"]
        data = canonical.dumps(body)
        Manifest.parse(data)
        return data

    def validate_inputs(self, tensors: Mapping[str, "Array"]) -> None:
        """Raise InputInvalid unless names, dtypes, shapes, categories fit, and values are finite.

        What NaN is to an exact version, its input codes say (`oracle.exact.quantisation`).
        """
        from oracle.protocol import tensor  # noqa: PLC0415 - NumPy takes 0.15 s

        tensor.check_tensors(self.inputs, tensors, "input", finite=self.exact is None)
        for place, feature in enumerate(self.features):
            if feature.categories:
                tensor.require_category(feature, tensors[self.inputs[0].name][..., place])

    def validate_outputs(self, tensors: Mapping[str, "Array"]) -> None:
        """Raise InputInvalid unless names, dtypes, shapes fit and every value is finite."""
        from oracle.protocol.tensor import check_tensors  # noqa: PLC0415 - NumPy takes 0.15 s

        check_tensors(self.outputs, tensors, "output")
        if self.unit is not None and self.units(tensors) > self.unit.maximum:
            raise InputInvalid(
                f"output {self.unit.output} has {self.units(tensors)} units, more than the "
                f"{self.unit.maximum} of the manifest"
            )

    def units(self, outputs: Mapping[str, "Array"]) -> int:
        """Return how many units an answer has; 0 where each costs the same."""
        return 0 if self.unit is None else len(outputs[self.unit.output])

    def output_size(self, inputs: Mapping[str, "Array"]) -> int:
        """Return how many bytes the answer to these inputs has at the least.

        How long a text is says nothing of what is written after it.
        """
        from oracle.protocol.tensor import output_size  # noqa: PLC0415 - NumPy takes 0.15 s

        given = () if self.runtime.format == "gguf" else self.inputs
        return output_size(given, self.outputs, inputs)

    def pack_params(self, values: Mapping[str, float]) -> Bytes32:
        """Return the parameter word for real values by name (see `params.pack_named`)."""
        return params.pack_named(self.parameters, values)

    def unpack_params(self, word: Bytes32) -> dict[str, float]:
        """Return every parameter's real value (see `params.unpack_named`)."""
        return params.unpack_named(self.parameters, word)

    def model_root(self) -> Bytes32:
        """Return the digest of the weights alone, as a Committee version's record names it.

        An exact version's root is its program's (`oracle.exact.program`).
        """
        return weights_root(self.files)

    def file(self, path: str) -> FileEntry:
        """Return the entry of a path.

        Raises:
            InputInvalid: the manifest lists no such file.
        """
        for entry in self.files:
            if entry.path == path:
                return entry
        raise InputInvalid(f"the manifest lists no file {path}")


def real(steps: int) -> str:
    """Return a tolerance or a spread, in 1e-9, as people write it."""
    return f"{steps / 1e9:.3g}"


@cache
def _adapter() -> TypeAdapter[Manifest]:
    return TypeAdapter(Manifest)


def _check(manifest: Manifest) -> None:
    if not 1 <= len(manifest.name) <= MAX_NAME:
        raise InputInvalid(f"manifest: name has {len(manifest.name)} characters, not 1 to 64")
    for text in (manifest.description, manifest.license, *(manifest.labels or ())):
        if len(text) > MAX_TEXT:
            raise InputInvalid(f"manifest: a text of {len(text)} characters is above {MAX_TEXT}")
    if manifest.labels is not None and not 1 <= len(manifest.labels) <= MAX_LABELS:
        raise InputInvalid(f"manifest: {len(manifest.labels)} labels, not 1 to {MAX_LABELS}")
    if not 1 <= manifest.max_output_bytes <= MAX_OUTPUT_BYTES:
        raise InputInvalid(
            f"manifest: max_output_bytes is {manifest.max_output_bytes}, not 1 to "
            f"{MAX_OUTPUT_BYTES}"
        )
    if not 0 <= manifest.tolerance < 2**53:
        raise InputInvalid(f"manifest: tolerance {manifest.tolerance} is not 0 to 2**53-1")
    check_files(manifest.files)
    check_specs(manifest.inputs, "input")
    check_specs(manifest.outputs, "output")
    params.check_specs(manifest.parameters)
    _check_runtime(manifest)
    _check_exact(manifest)
    _check_preprocess(manifest)
    if manifest.features:
        check_features(manifest.features, manifest.inputs)
    if manifest.data is not None:
        manifest.data.check()
    if manifest.derived_from is not None:
        manifest.derived_from.check()
    if manifest.history is not None:
        _check_history(manifest, manifest.history)
    if manifest.origin is not None:
        manifest.origin.check()
    if manifest.unit is not None:
        _check_unit(manifest, manifest.unit)


def _check_history(manifest: Manifest, history: TrainingHistory) -> None:
    history.check()
    if manifest.derived_from is not None:
        raise InputInvalid(
            "manifest: history beside derived_from",
            hint="a smaller version's training is in the history of what it was made from",
        )
    if isinstance(history.made, MadeByJob):
        manifest.file(history.made.state)


def _check_unit(manifest: Manifest, unit: Unit) -> None:
    spec = next((spec for spec in manifest.outputs if spec.name == unit.output), None)
    if spec is None or spec.shape[:1] != (None,):
        raise InputInvalid(
            f"manifest: unit counts the rows of {unit.output}, "
            f"which is {'no output' if spec is None else spec}",
            hint="name an output whose first axis has any size (null)",
        )
    if not 1 <= unit.maximum < 2**32:
        raise InputInvalid(f"manifest: unit.maximum {unit.maximum} is not 1 to 2**32-1")
    if manifest.exact is not None:
        raise InputInvalid(
            "manifest: an exact version has no unit",
            hint="re-executing it does not show how many units an answer has: leave unit out",
        )


def _check_runtime(manifest: Manifest) -> None:
    runtime = manifest.runtime
    manifest.file(runtime.entry)
    wanted = _SUFFIX_OF_FORMAT[runtime.format]
    if PurePosixPath(runtime.entry).suffix != wanted:
        raise InputInvalid(
            f"manifest: entry {runtime.entry} is not a {wanted} file", hint=f"as {runtime.format}"
        )
    if (runtime.architecture is not None) != (runtime.format == "safetensors"):
        raise InputInvalid(
            f"manifest: runtime.architecture is {runtime.architecture!r} with {runtime.format}",
            hint="safetensors needs an architecture; the other formats carry their own graph",
        )


def _check_exact(manifest: Manifest) -> None:
    exact = manifest.exact
    if (exact is not None) != (manifest.runtime.format == "exact"):
        raise InputInvalid(
            f"manifest: runtime.format is {manifest.runtime.format}, exact "
            f"{'missing' if exact is None else 'given'}",
            hint="an exact version has both, any other neither",
        )
    if exact is None:
        return
    manifest.file(exact.constants)
    if PurePosixPath(exact.constants).suffix != ".safetensors":
        raise InputInvalid(f"manifest: constants {exact.constants} is not a .safetensors file")
    for code in exact.inputs:
        if "file" in code:
            manifest.file(str(code["file"]))
    if not 1 <= len(exact.inputs) <= MAX_EXACT_INPUTS:
        raise InputInvalid(f"manifest: {len(exact.inputs)} exact inputs")
    if len(exact.outputs) != len(manifest.outputs):
        raise InputInvalid(
            f"manifest: {len(exact.outputs)} exact outputs, not {len(manifest.outputs)}"
        )
    if not 1 <= exact.output_id < 2**16:
        raise InputInvalid(f"manifest: output_id {exact.output_id} is no tensor of a program")


def _check_preprocess(manifest: Manifest) -> None:
    step = manifest.preprocess
    if isinstance(step, Tokenizer):
        manifest.file(step.file)
        if not 1 <= step.max_length <= 65536:
            raise InputInvalid(f"manifest: max_length {step.max_length} is not 1 to 65536")
    if isinstance(step, Image):
        if not (1 <= step.height <= 65536 and 1 <= step.width <= 65536 and step.channels in (1, 3)):
            raise InputInvalid("manifest: an image has 1 to 65536 rows, columns; 1 or 3 channels")
        for values in (step.mean, step.std):
            if len(values) not in (0, step.channels):
                raise InputInvalid("manifest: mean and std have one value per channel, or none")
        if 0 in step.std:
            raise InputInvalid("manifest: a standard deviation is zero")
