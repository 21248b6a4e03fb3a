"""From what a person has (JSON, NPZ, an image, sentences) to the canonical input of a model.

Everything is checked against the manifest here, before any money is spent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from oracle.errors import ConfigInvalid, InputInvalid, NotFound
from oracle.exact import form
from oracle.exact.form import Fetch, Form
from oracle.exact.quantisation import Outside
from oracle.ipfs.port import MAX_BLOCK
from oracle.protocol import tensor, text
from oracle.protocol.manifest import Manifest, Tokenizer
from oracle.protocol.tensor import Array
from oracle.protocol.text import TextQuestion
from oracle.services import formats
from oracle.services.formats import MAX_RAW
from oracle.types import ZERO32, Bytes32

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
TEXTS = (".txt", ".md")


@dataclass(frozen=True, slots=True)
class PreparedInput:
    """An input that fits the model: its bytes, and the root by which the chain will name them."""

    data: bytes
    root: Bytes32
    shapes: dict[str, tuple[int, ...]]
    texts: tuple[str, ...] = ()  # the sentences it was made of, when it was
    tokens: tuple[int, ...] = ()  # in each row, of a model of sentences
    outside: tuple[Outside, ...] = ()  # what is clamped, of an exact version

    @property
    def locator(self) -> Bytes32:
        """What a request says of where the bytes are: nothing when the root is their SHA-256."""
        digest = tensor.digest(self.data)
        return ZERO32 if digest == self.root else digest


def prepare(
    source: Any, manifest: Manifest, fetch: Fetch, stdin: Callable[[], bytes]
) -> PreparedInput:
    """Read a source and make the canonical input.

    Args:
        source: a file's path, `-` for stdin, or inline JSON (begins with [ { or "), all as str;
            anything else is a value as JSON has them, in which arrays may stand for lists.
        manifest: says what the model takes.
        fetch: brings the file of a tokenizer or of thresholds here, when one is needed.
        stdin: reads all of stdin.

    Raises:
        NotFound: no such file.
        InputInvalid: it does not fit: format, names, shape, dtype, NaN, or too large.
    """
    version = form.of(manifest, fetch)
    if not isinstance(source, str):
        return seal(*_values(source, manifest, fetch), manifest, version)
    data, suffix = _read(source, stdin)
    return seal(*_tensors(data, suffix, manifest, fetch), manifest, version)


def seal(
    tensors: dict[str, Array], texts: tuple[str, ...], manifest: Manifest, version: Form
) -> PreparedInput:
    """Make the canonical input of arrays, in the manifest's form.

    Raises:
        InputInvalid: they do not fit the manifest, or are too large.
    """
    encoded = version.encode_inputs(tensors)
    if len(encoded) > MAX_BLOCK:
        raise InputInvalid(
            f"the input has {len(encoded)} bytes, above the limit of {MAX_BLOCK}",
            hint="ask with fewer rows at a time",
        )
    most = manifest.max_output_bytes
    if manifest.exact is None and (size := manifest.output_size(tensors)) > most:
        raise InputInvalid(
            f"the answer would have {size} bytes, above the model's limit of {most}",
            hint="nobody could deliver it: ask with fewer rows at a time",
        )
    shapes = {name: tuple(array.shape) for name, array in tensors.items()}
    tokens: tuple[int, ...] = ()
    if (
        isinstance(manifest.preprocess, Tokenizer)
        and (mask := tensors.get("attention_mask")) is not None
    ):
        tokens = tuple(int(row.sum()) for row in mask)
    return PreparedInput(
        encoded, version.input_root(encoded), shapes, texts, tokens, version.outside(tensors)
    )


def _read(source: str, stdin: Callable[[], bytes]) -> tuple[bytes, str]:
    """Return the bytes and the suffix that says what they are."""
    text = source.strip()
    if text[:1] in ("[", "{", '"'):
        return text.encode(), ".json"
    if source == "-":
        data = stdin()
        if len(data) > MAX_RAW:
            raise InputInvalid(f"stdin has {len(data)} bytes, above the limit of {MAX_RAW}")
        return data, _sniff(data)
    path = Path(source).expanduser()
    try:
        if (size := path.stat().st_size) > MAX_RAW:
            raise InputInvalid(f"{path} has {size} bytes, above the limit of {MAX_RAW}")
        data = path.read_bytes()
    except OSError as error:
        raise NotFound(
            f"cannot read the input {path}: {error.strerror}",
            hint="give a file, - for stdin, or JSON like '[[0.5, 1.0]]'",
        ) from error
    return data, path.suffix.lower() or _sniff(data)


def _sniff(data: bytes) -> str:
    for magic, suffix in ((b"PK\x03\x04", ".npz"), (b"\x93NUMPY", ".npy"), (b"\x89PNG", ".png")):
        if data.startswith(magic):
            return suffix
    if data.lstrip()[:1] in (b"[", b"{", b'"'):
        return ".json"
    return ".safetensors" if data[8:9] == b"{" else ".txt"


def _tensors(
    data: bytes, suffix: str, manifest: Manifest, fetch: Fetch
) -> tuple[dict[str, Array], tuple[str, ...]]:
    if suffix in TEXTS and manifest.runtime.format == text.FORMAT:
        return _question(_decoded(data)), ()
    if suffix in TEXTS:
        texts = _lines(data)
        return tokenize(texts, manifest, encoder(manifest, fetch)), texts
    if suffix == ".json":
        return _values(formats.parse_json(data), manifest, fetch)
    if suffix in IMAGES:
        return formats.from_image(data, manifest), ()
    return _arrays(data, suffix, manifest), ()


def _values(
    value: Any, manifest: Manifest, fetch: Fetch
) -> tuple[dict[str, Array], tuple[str, ...]]:
    if manifest.runtime.format == text.FORMAT:
        return _question(value), ()
    texts = _texts(value)
    if texts and isinstance(manifest.preprocess, Tokenizer):
        return tokenize(texts, manifest, encoder(manifest, fetch)), texts
    return formats.from_json(value, manifest), ()


def _question(value: Any) -> dict[str, Array]:
    """Make the input of a text model: a text is a prompt, a list of messages a chat.

    Raises:
        QuestionInvalid: it is no question.
    """
    if len(texts := _texts(value)) == 1:
        value = {"prompt": texts[0]}
    elif isinstance(value, list):
        value = {"messages": value}
    return text.encode_question(TextQuestion.parse(value))


def _arrays(data: bytes, suffix: str, manifest: Manifest) -> dict[str, Array]:
    if suffix == ".npz":
        return formats.from_npz(data)
    if suffix == ".npy":
        return {formats.only_input(manifest).name: formats.from_npy(data)}
    if suffix == ".safetensors":
        return formats.from_safetensors(data)
    raise InputInvalid(
        f"inputs of kind {suffix!r} are not understood",
        hint="use .json .npz .npy .safetensors .txt or an image",
    )


def _texts(value: Any) -> tuple[str, ...]:
    """Return a string or a list of strings as sentences; () when it is something else."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return tuple(value)
    return ()


def texts_of(data: bytes, manifest: Manifest, fetch: Fetch) -> tuple[str, ...]:
    """Return the sentences that a canonical input was made of, as far as its tokens tell.

    Raises:
        InputInvalid: the bytes do not fit the manifest, or the model's tokenizer cannot be read.
    """
    if not isinstance(manifest.preprocess, Tokenizer):
        return ()
    arrays = form.of(manifest).decode_inputs(data)
    if "input_ids" not in arrays:
        return ()
    rows = arrays["input_ids"].reshape(-1, arrays["input_ids"].shape[-1]).astype(int)
    return tuple(encoder(manifest, fetch).decode_batch(rows.tolist()))


class Encoder(Protocol):
    """What makes token ids of sentences and back; `tokenizers.Tokenizer` is one."""

    def encode_batch(self, input: list[str]) -> list[Any]:
        """Return an encoding (`ids`, `attention_mask`, `type_ids`) for each sentence."""

    def decode_batch(self, rows: list[list[int]], /) -> list[str]:
        """Return the text of each row of token ids."""


def encoder(manifest: Manifest, fetch: Fetch) -> Encoder:
    """Load the tokenizer of a model; takes a tenth of a second.

    Raises:
        InputInvalid: the model takes no text. ConfigInvalid: the library is missing.
    """
    step = manifest.preprocess
    if not isinstance(step, Tokenizer):
        raise InputInvalid(
            "this model does not take text",
            hint="wanted: " + ", ".join(f"{s.name} {s}" for s in manifest.inputs),
        )
    try:
        from tokenizers import Tokenizer as Library  # noqa: PLC0415 - only for text
    except ImportError as error:
        raise ConfigInvalid(
            "text needs the tokenizers library", hint="pip install tokenizers"
        ) from error
    try:
        library = Library.from_file(str(fetch(manifest.file(step.file))))
    except Exception as error:  # the library raises bare Exception
        raise InputInvalid(f"{step.file} of the model is not a tokenizer: {error}") from error
    library.no_truncation()  # what is too long is refused, not cut in silence
    library.enable_padding(length=manifest.inputs[0].shape[-1])  # None: as long as the longest
    made: Encoder = library
    return made


def tokenize(texts: tuple[str, ...], manifest: Manifest, library: Encoder) -> dict[str, Array]:
    """Make the inputs of a model of sentences.

    Raises:
        InputInvalid: there are none, one is too long, or the model takes what a tokenizer does not
            make.
    """
    if not texts:
        raise InputInvalid("the input holds no sentences")
    encodings = library.encode_batch(list(texts))
    step = manifest.preprocess
    for place, encoding in enumerate(encodings):
        length = sum(encoding.attention_mask)
        if isinstance(step, Tokenizer) and length > step.max_length:
            raise InputInvalid(
                f"sentence {place} has {length} tokens, the model takes {step.max_length}",
                hint="ask for it in parts: nothing is cut here",
            )
    columns = {
        "input_ids": [e.ids for e in encodings],
        "attention_mask": [e.attention_mask for e in encodings],
        "token_type_ids": [e.type_ids for e in encodings],
    }
    unknown = [spec.name for spec in manifest.inputs if spec.name not in columns]
    if unknown:
        raise InputInvalid(f"a tokenizer does not make the input {unknown[0]}")
    return {s.name: np.array(columns[s.name], tensor.DTYPES[s.dtype]) for s in manifest.inputs}


def _lines(data: bytes) -> tuple[str, ...]:
    return tuple(line for line in _decoded(data).splitlines() if line.strip())


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InputInvalid(f"the input is not UTF-8 text: {error}") from error
