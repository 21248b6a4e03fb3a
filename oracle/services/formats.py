"""Arrays out of the formats people have them in: JSON, NPZ, NPY, safetensors, pictures.

Files are hostile: nothing is unpickled, nothing is unpacked beyond `MAX_RAW`, NaN in JSON is
refused. Whether an array fits the model is asked by `inputs.py`, not here.
"""

import io
import json
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from oracle.errors import ConfigInvalid, InputInvalid
from oracle.protocol import npz, tensor
from oracle.protocol.manifest import Image, Manifest, TensorSpec
from oracle.protocol.shapes import FeatureSpec
from oracle.protocol.tensor import Array

MAX_RAW = 64 * 2**20  # bytes of a file as given, and of what an archive in it unpacks to


def parse_json(data: bytes) -> Any:
    """Parse JSON that holds finite numbers only.

    Raises:
        InputInvalid: it is not that.
    """
    try:
        return json.loads(data, parse_constant=_not_a_number)
    except (ValueError, RecursionError) as error:
        raise InputInvalid(f"the input is not JSON: {error}") from error


def _not_a_number(text: str) -> NoReturn:
    raise InputInvalid(f"the input holds {text}", hint="replace NaN and infinity before asking")


def from_json(value: Any, manifest: Manifest) -> dict[str, Array]:
    """Make arrays of an object by input name, or of nested lists for a model with one input.

    Numbers take the dtype that the manifest wants, if it holds them. Where the manifest names the
    columns, rows may be objects: their order does not matter then.

    Raises:
        InputInvalid: an unknown name, ragged lists, or values that the dtype cannot hold.
    """
    if not isinstance(value, dict):
        value = {only_input(manifest).name: value}
    if manifest.features:
        value = {name: _rows(rows, manifest.features) for name, rows in value.items()}
    specs = {spec.name: spec for spec in manifest.inputs}
    unknown = sorted(set(value) - set(specs))
    if unknown:
        raise InputInvalid(
            f"input {unknown[0]} is not one of this model's", hint="wanted: " + ", ".join(specs)
        )
    return {name: to_array(nested, specs[name]) for name, nested in value.items()}


def _rows(rows: Any, features: Sequence[FeatureSpec]) -> Any:
    """Return rows in the order of the columns, with the places of words."""
    if not isinstance(rows, list):
        return rows
    if any(isinstance(row, dict) for row in rows):
        rows = [_row_by_name(row, [feature.name for feature in features]) for row in rows]
    return [_places(row, features) if isinstance(row, list) else row for row in rows]


def _places(row: list[Any], features: Sequence[FeatureSpec]) -> list[Any]:
    """Return a row with the places of its words.

    Raises:
        InputInvalid: a word that the model never saw, and has no answer to.
    """
    if len(row) != len(features):
        return row  # whoever looks at the shape says what is wanted
    return [
        _place(value, feature) if isinstance(value, str) and feature.categories else value
        for value, feature in zip(row, features, strict=True)
    ]


def _place(word: str, feature: FeatureSpec) -> int:
    words = feature.categories
    if word in words:
        return words.index(word)
    if feature.other:
        return len(words)
    raise InputInvalid(
        f"feature {feature.name}: the model never saw the category {word!r:.80}",
        hint=f"one of: {', '.join(words)[:300]}",
    )


def _row_by_name(row: Any, columns: list[str]) -> list[Any]:
    """Return a row in the order of the columns.

    Raises:
        InputInvalid: a name is missing or unknown, or rows are written in both ways.
    """
    if not isinstance(row, dict):
        raise InputInvalid("some rows name their columns, others do not", hint="write all alike")
    unknown = sorted(set(row) - set(columns))
    lacking = [name for name in columns if name not in row]
    if unknown or lacking:
        what = f"has no column {unknown[0]}" if unknown else f"needs a column {lacking[0]}"
        raise InputInvalid(f"this model {what}", hint=f"wanted: {', '.join(columns)[:300]}")
    return [row[name] for name in columns]


def to_array(nested: Any, spec: TensorSpec) -> Array:
    """Make an array of the spec's dtype from nested lists; its shape is not looked at.

    Raises:
        InputInvalid: ragged lists, or values that the dtype cannot hold.
    """
    try:
        raw = np.array(nested)
        if raw.dtype == object and spec.dtype.startswith("F"):  # null: whether one may be missing,
            raw = _with_nan(raw)  # the manifest's form says
    except (ValueError, OverflowError) as error:
        raise InputInvalid(f"input {spec.name} is ragged", hint=f"wanted: {spec}") from error
    wanted = tensor.DTYPES[spec.dtype]
    if raw.dtype.kind not in ("biuf" if wanted.kind == "f" else "bui"):
        raise InputInvalid(f"input {spec.name} holds {raw.dtype} values", hint=f"wanted: {spec}")
    if (raw.dtype.kind == "b") != (wanted.kind == "b"):
        raise InputInvalid(f"input {spec.name} holds {raw.dtype} values", hint=f"wanted: {spec}")
    if wanted.kind in "iu" and raw.size:
        limits = np.iinfo(wanted)
        if int(raw.min()) < limits.min or int(raw.max()) > limits.max:
            raise InputInvalid(f"input {spec.name} holds values that {spec.dtype} cannot")
    with np.errstate(over="ignore"):  # what overflows is infinite and refused as such
        return raw.astype(wanted)


def _with_nan(raw: Array) -> Array:
    """Return numbers with NaN for None; what holds anything else as it is."""
    kinds = {type(value) for value in raw.ravel()}
    return raw.astype(np.float64) if kinds <= {int, float, type(None)} else raw


def from_npz(data: bytes) -> dict[str, Array]:
    """Read plain arrays by name.

    Raises:
        InputInvalid: not an archive of plain arrays, or one that unpacks beyond `MAX_RAW`.
    """
    return npz.read(io.BytesIO(data), most=MAX_RAW)


def from_npy(data: bytes) -> Array:
    """Read one plain array.

    Raises:
        InputInvalid: it is not that.
    """
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputInvalid(f"the input is not an NPY of a plain array: {error}") from error
    return np.asarray(array)


def from_safetensors(data: bytes) -> dict[str, Array]:
    """Read any safetensors file; it is encoded again canonically, whatever its order was."""
    try:
        return tensor.decode(data, MAX_RAW)
    except InputInvalid:
        try:
            from safetensors.numpy import load  # noqa: PLC0415 - not needed for canonical files
        except ImportError:
            raise
        try:
            return dict(load(data))
        except Exception as error:  # the library raises its own, undocumented, Rust exception
            raise InputInvalid(f"the input is not a safetensors file: {error}") from error


def from_image(data: bytes, manifest: Manifest) -> dict[str, Array]:
    """Decode, resize and normalise one picture as the manifest says; layout (N) C H W."""
    step, spec = manifest.preprocess, only_input(manifest)
    if not isinstance(step, Image):
        raise InputInvalid("this model does not take images", hint=f"wanted: {spec.name} {spec}")
    try:
        import PIL.Image as pillow  # noqa: PLC0415 - only for images
    except ImportError as error:
        raise ConfigInvalid("images need Pillow", hint="pip install pillow") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pillow.DecompressionBombWarning)
            picture = pillow.open(io.BytesIO(data)).convert("L" if step.channels == 1 else "RGB")
    except (OSError, ValueError, pillow.DecompressionBombError, Warning) as error:
        raise InputInvalid(f"the input is not an image: {error}") from error
    if picture.size != (step.width, step.height):
        picture = picture.resize((step.width, step.height), pillow.Resampling.BILINEAR)
    pixels = np.asarray(picture, dtype=np.float64).reshape(step.height, step.width, step.channels)
    mean = np.array(step.mean or (0.0,) * step.channels)
    std = np.array(step.std or (1.0,) * step.channels)
    values = ((pixels * step.scale - mean) / std).transpose(2, 0, 1)
    if len(spec.shape) == 2:
        values = values[0]
    elif len(spec.shape) == 4:
        values = values[np.newaxis]
    return {spec.name: values.astype(tensor.DTYPES[spec.dtype])}


def only_input(manifest: Manifest) -> TensorSpec:
    """Return the one input of a model, for arrays that come without a name.

    Raises:
        InputInvalid: the model takes several.
    """
    if len(manifest.inputs) != 1:
        names = ", ".join(f"{spec.name} {spec}" for spec in manifest.inputs)
        raise InputInvalid(
            f"this model takes {len(manifest.inputs)} inputs, and one without a name was given",
            hint=f"give an object with {names}",
        )
    return manifest.inputs[0]
