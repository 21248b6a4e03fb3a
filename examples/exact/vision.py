"""Networks for images that people bring, after their papers, on handwritten digits made larger.

Plain torch modules, as one writes or takes them from a zoo. `size` and `width` scale them: the same
operators at sizes from what a contract judges in seconds to what is used.
"""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import torch
from sklearn.datasets import load_digits  # type: ignore[import-untyped]
from torch import Tensor, nn

from examples.exact.reach import Array, Data, Recipe

CLASSES = 10
NOISE = 0.3  # of the images that a UNet segments
INK = 0.4  # from which a pixel belongs to its digit


class Residual(nn.Module):
    """Two convolutions beside a skip (arXiv:1512.03385, figure 2)."""

    def __init__(self, given: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(given, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width),
            nn.ReLU(inplace=True), nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
        )  # fmt: skip
        self.skip = nn.Sequential()
        if stride > 1 or given != width:
            self.skip = nn.Sequential(
                nn.Conv2d(given, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return [n, width, h / stride, w / stride]."""
        skipped: Tensor = self.skip(x)
        return torch.relu(self.body(x) + skipped)


def resnet_18(width: int = 64, channels: int = 1) -> nn.Module:
    """Return ResNet-18 (arXiv:1512.03385, table 1) of `width` channels in its first stage."""
    widths = [width, width, 2 * width, 4 * width, 8 * width]
    blocks = [
        block
        for given, wide in pairwise(widths)
        for block in (Residual(given, wide, 1 if given == wide else 2), Residual(wide, wide, 1))
    ]
    return nn.Sequential(
        nn.Conv2d(channels, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width),
        nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1), *blocks, nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(8 * width, CLASSES),
    )  # fmt: skip


def _convolution(
    given: int, width: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(given, width, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(width), nn.ReLU6(inplace=True),
    )  # fmt: skip


class Inverted(nn.Module):
    """Expansion, depthwise convolution, linear bottleneck (arXiv:1801.04381, figure 3)."""

    def __init__(self, given: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = given * expansion
        parts = [_convolution(given, inner, 1)] if expansion > 1 else []
        self.body = nn.Sequential(
            *parts, _convolution(inner, inner, 3, stride, inner),
            nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip
        self.skips = stride == 1 and given == width

    def forward(self, x: Tensor) -> Tensor:
        """Return [n, width, h / stride, w / stride]."""
        made: Tensor = self.body(x)
        return x + made if self.skips else made


# Expansion, channels, how many, stride of the first: arXiv:1801.04381, table 2
_STAGES = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # fmt: skip


def mobilenet_v2(share: float = 1.0, channels: int = 1, most: int = 4) -> nn.Module:
    """Return MobileNetV2 (arXiv:1801.04381).

    Args:
        share: of its channels, which stay multiples of four.
        channels: of an image.
        most: blocks of a stage; four are all.
    """

    def scaled(count: int) -> int:
        return max(4, int(count * share) // 4 * 4)

    given, blocks = scaled(32), []
    for expansion, width, count, stride in _STAGES:
        for number in range(min(count, most)):
            blocks.append(Inverted(given, scaled(width), 1 if number else stride, expansion))
            given = scaled(width)
    last = scaled(1280)
    return nn.Sequential(
        _convolution(channels, scaled(32), 3, 2), *blocks, _convolution(given, last, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(last, CLASSES),
    )  # fmt: skip


class VisionLayer(nn.Module):
    """Attention and a network, each behind a norm and beside a skip."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.joined, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.network = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return [n, tokens, width]."""
        count, tokens, width = x.shape
        rows = self.joined(self.before(x)).view(count, tokens, 3, self.heads, -1)
        query, key, value = rows.permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        x = x + self.out(mixed.transpose(1, 2).reshape(count, tokens, width))
        return x + self.network(self.between(x))  # type: ignore[no-any-return]


class Vit(nn.Module):
    """Vision transformer with a class token (arXiv:2010.11929)."""

    def __init__(
        self, size: int = 32, patch: int = 8, width: int = 64, heads: int = 4, depth: int = 4
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, width) * 0.02)
        self.layers = nn.Sequential(*(VisionLayer(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width, 1e-6), nn.Linear(width, CLASSES)

    def forward(self, input: Tensor) -> Tensor:
        """Return logits [n, 10] of images [n, 1, size, size]."""
        x = self.patches(input).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.places
        return self.head(self.norm(self.layers(x))[:, 0])  # type: ignore[no-any-return]


def _double(given: int, width: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(given, width, 3, padding=1, bias=False), nn.BatchNorm2d(width),
        nn.ReLU(inplace=True), nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width), nn.ReLU(inplace=True),
    )  # fmt: skip


class UNet(nn.Module):
    """Contracting and expanding convolutions with skips, padded (arXiv:1505.04597)."""

    def __init__(self, width: int = 16, levels: int = 3) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(levels)]
        self.down = nn.ModuleList(_double(a, b) for a, b in pairwise([1, *widths]))
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, 2) for w in widths[-2::-1])
        self.joined = nn.ModuleList(_double(2 * w, w) for w in widths[-2::-1])
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, input: Tensor) -> Tensor:
        """Return logits [n, 2, h, w] of images [n, 1, h, w]: the background, and what is drawn."""
        x, kept = input, list[Tensor]()
        for level, block in enumerate(self.down):
            x = block(self.pool(x) if level else x)
            kept.append(x)
        for enlarge, block, skipped in zip(self.up, self.joined, kept[-2::-1], strict=True):
            x = block(torch.cat([skipped, enlarge(x)], 1))
        return self.head(x)  # type: ignore[no-any-return]


def images(size: int) -> Data:
    """Return digits of `size` × `size` pixels, float32 [n, 1, size, size] around 0."""
    digits = load_digits()
    return Data("input", _enlarged(digits.images, size) * 2 - 1, digits.target)


def segments(size: int) -> Data:
    """Return digits with noise, and for each pixel whether it has ink, [n, size, size]."""
    clean = _enlarged(load_digits().images, size)
    noise = np.random.default_rng(0).normal(0, NOISE, clean.shape).astype(np.float32)
    return Data("input", clean + noise, (clean[:, 0] > INK).astype(np.int64))


def _enlarged(images: Array, size: int) -> Array:
    given = torch.from_numpy((images / 16).astype(np.float32))[:, None]
    made: Array = nn.functional.interpolate(given, (size, size), mode="bilinear").numpy()
    return made


RECIPES: Mapping[str, Recipe] = {
    "ResNet-18, 64 px": Recipe(resnet_18, lambda: images(64), 2, 1e-3),
    "MobileNetV2, half, 32 px": Recipe(lambda: mobilenet_v2(0.5), lambda: images(32), 12, 3e-3),
    "ViT, 32 px": Recipe(Vit, lambda: images(32), 15, 1e-3),
    "UNet, 32 px": Recipe(UNet, lambda: segments(32), 2, 3e-3),
}
# The same operators in the same order, at sizes at which a test trains and a contract judges
SMALL: Mapping[str, Recipe] = {
    "ResNet-18": Recipe(lambda: resnet_18(8), lambda: images(16), 3, 3e-3),
    "MobileNetV2": Recipe(lambda: mobilenet_v2(0.25, most=2), lambda: images(16), 6, 5e-3),
    "ViT": Recipe(lambda: Vit(16, 4, 32, 2, 2), lambda: images(16), 8, 3e-3),
    "UNet": Recipe(lambda: UNet(8, 2), lambda: segments(16), 2, 5e-3),
}
