"""Architectures that bare safetensors weights can name: the code is ours, only numbers are theirs.

A new one is a class here and a line in `ARCHITECTURES`. `options` come from the manifest and are
hostile: every one is bounded.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from oracle.protocol.manifest import Scalar
from oracle.protocol.shapes import TensorSpec
from worker.errors import ModelUnsupported
from worker.runtimes.guard import TensorInfo

Options = Mapping[str, Scalar]


class Architecture(nn.Module):
    """A module whose `answer` takes and returns tensors by the manifest's names."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    mask = ""  # input whose zeros hide tokens: padding under it changes no answer

    @classmethod
    def options_of(cls, header: Mapping[str, TensorInfo]) -> dict[str, Scalar]:
        """Return the options that a file's shapes tell; those that are not the default."""
        return {}

    def rename(self, name: str) -> str | None:
        """Return our name of a tensor in the file; None leaves it out."""
        return name

    def answer(
        self, inputs: Mapping[str, Tensor], params: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Run the model."""
        raise NotImplementedError


class DigitsCnn(Architecture):
    """A small convolutional network for 8 × 8 grey digits.

    In: `image` float32 [n, 1, 8, 8], 0…1. Out: `logits` float32 [n, 10].
    """

    inputs = (TensorSpec("image", "F32", (None, 1, 8, 8)),)
    outputs = (TensorSpec("logits", "F32", (None, 10)),)

    def __init__(self, options: Options) -> None:
        super().__init__()
        width = _read(options, {"width": (32, 1, 512)})["width"]
        self.conv1 = nn.Conv2d(1, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.head = nn.Linear(2 * width * 16, 10)

    @classmethod
    def options_of(cls, header: Mapping[str, TensorInfo]) -> dict[str, Scalar]:
        """Return the width, when it is not the default."""
        first = header.get("conv1.weight")
        return {"width": first.shape[0]} if first and first.shape[:1] not in ((), (32,)) else {}

    def forward(self, image: Tensor) -> Tensor:
        """Return logits [n, 10] of images [n, 1, 8, 8]."""
        hidden = torch.relu(self.conv1(image))
        hidden = torch.max_pool2d(torch.relu(self.conv2(hidden)), 2)
        logits: Tensor = self.head(hidden.flatten(1))
        return logits

    def answer(
        self, inputs: Mapping[str, Tensor], params: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Run the model; takes no parameters."""
        return {"logits": self(inputs["image"])}


class _BertLayer(nn.Module):
    """Self-attention and feed-forward, each followed by a layer norm (BERT, post-norm)."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.attended = (
            nn.Linear(width, width) for _ in range(4)
        )
        self.attended_norm = nn.LayerNorm(width, eps=1e-12)
        self.expand, self.shrink = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, length, width = x.shape

        def split(y: Tensor) -> Tensor:
            return y.view(batch, length, self.heads, width // self.heads).transpose(1, 2)

        query, key, value = split(self.query(x)), split(self.key(x)), split(self.value(x))
        # Explicit softmax: fused attention differs between devices and versions.
        scores = query @ key.transpose(-1, -2) / (width // self.heads) ** 0.5 + mask
        mixed = (torch.softmax(scores, -1) @ value).transpose(1, 2).reshape(batch, length, width)
        x = self.attended_norm(x + self.attended(mixed))
        out: Tensor = self.norm(x + self.shrink(nn.functional.gelu(self.expand(x))))
        return out


class MiniLm(Architecture):
    """A BERT encoder with mean pooling: sentence embeddings (all-MiniLM-L6-v2 by default).

    In: `input_ids`, `attention_mask` int64 [n, t]. Out: `embedding` float32 [n, width], of
    length 1. Source: arXiv:1810.04805, arXiv:1908.10084; names as in Hugging Face's BertModel.
    """

    _PARTS: Mapping[str, str] = {
        "attention.self.query": "query",
        "attention.self.key": "key",
        "attention.self.value": "value",
        "attention.output.dense": "attended",
        "attention.output.LayerNorm": "attended_norm",
        "intermediate.dense": "expand",
        "output.dense": "shrink",
        "output.LayerNorm": "norm",
    }
    _SIZES: Mapping[str, tuple[int, int, int]] = {
        "layers": (6, 1, 96),
        "width": (384, 1, 4096),
        "heads": (12, 1, 128),
        "inner": (1536, 1, 16384),
        "vocabulary": (30522, 1, 2**20),
        "positions": (512, 1, 32768),
    }
    _OURS = frozenset(("words", "positions", "types", "norm", "layers"))
    _UNUSED = ("pooler.", "embeddings.position_ids")
    inputs = (
        TensorSpec("input_ids", "I64", (None, None)),
        TensorSpec("attention_mask", "I64", (None, None)),
    )
    mask = "attention_mask"

    def __init__(self, options: Options) -> None:
        super().__init__()
        sizes = _read(options, self._SIZES)
        width, heads, inner = sizes["width"], sizes["heads"], sizes["inner"]
        if width % heads:
            raise ModelUnsupported(f"minilm: width {width} is not a multiple of {heads} heads")
        self.outputs = (TensorSpec("embedding", "F32", (None, width)),)
        self.words = nn.Embedding(sizes["vocabulary"], width)
        self.positions = nn.Embedding(sizes["positions"], width)
        self.types = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList(_BertLayer(width, heads, inner) for _ in range(sizes["layers"]))

    def rename(self, name: str) -> str | None:
        """Map Hugging Face's BertModel names to ours; ours stay."""
        if name.partition(".")[0] in self._OURS:
            return name
        name = name.removeprefix("bert.")
        if name.startswith(self._UNUSED):
            return None
        for theirs, ours in (
            ("embeddings.word_embeddings.", "words."),
            ("embeddings.position_embeddings.", "positions."),
            ("embeddings.token_type_embeddings.", "types."),
            ("embeddings.LayerNorm.", "norm."),
        ):
            if name.startswith(theirs):
                return ours + name.removeprefix(theirs)
        number, _, rest = name.removeprefix("encoder.layer.").partition(".")
        part, _, leaf = rest.rpartition(".")
        return f"layers.{number}.{self._PARTS.get(part, part)}.{leaf}"

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return embeddings [n, width] of token ids [n, t]."""
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.norm(self.words(input_ids) + self.positions(places) + self.types.weight[0])
        keep = attention_mask.to(x.dtype)
        mask = (1.0 - keep[:, None, None, :]) * torch.finfo(x.dtype).min
        for layer in self.layers:
            x = layer(x, mask)
        weights = keep[..., None]
        mean = (x * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
        return nn.functional.normalize(mean, dim=-1)

    def answer(
        self, inputs: Mapping[str, Tensor], params: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Run the model; takes no parameters."""
        return {"embedding": self(inputs["input_ids"], inputs["attention_mask"])}


ARCHITECTURES: Mapping[str, type[Architecture]] = {
    "digits_cnn": DigitsCnn,
    "minilm": MiniLm,
}


def build(name: str, options: Options) -> Architecture:
    """Return a registered architecture without its weights (on torch's meta device).

    Raises:
        ModelUnsupported: unknown name, or an option that is unknown or out of bounds.
    """
    if name not in ARCHITECTURES:
        raise ModelUnsupported(
            f"architecture {name:.80} is not registered",
            hint=f"known: {', '.join(sorted(ARCHITECTURES))}; or publish a graph instead of bare "
            "weights: torch.export.save(…, 'model.pt2') or ONNX",
        )
    with torch.device("meta"), _Unfilled():
        return ARCHITECTURES[name](options)


class _Unfilled(TorchFunctionMode):
    """Leaves new weights as they are: the draw of random ones takes as long as a load."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def _read(options: Options, sizes: Mapping[str, tuple[int, int, int]]) -> dict[str, int]:
    """Return every size by name; `sizes` gives (default, least, most)."""
    if unknown := sorted(options.keys() - sizes.keys()):
        raise ModelUnsupported(
            f"option {unknown[0]:.80} is not known", hint="known: " + ", ".join(sizes)
        )
    result: dict[str, int] = {}
    for name, (default, low, high) in sizes.items():
        value = options.get(name, default)
        if type(value) is not int or not low <= value <= high:
            raise ModelUnsupported(f"option {name}={value!r:.40} is not an integer {low} to {high}")
        result[name] = value
    return result
