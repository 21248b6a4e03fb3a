"""Digits as a pen draws them: strokes to images, and endless variations of a few styles.

A stroke is a list of points (x, y), y down, in any unit. An image is made as the page makes it
(oracle/web/static/draw.js): the strokes' box, pen included, is scaled to fill the frame and is
centred in it, as in scikit-learn's digits; then a triangle filter makes 8 × 8 grey values of it.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 8  # pixels
PEN = 0.14  # width of the line, in sides of the frame
_FINE = 3  # samples a pixel, each way
_PIECES = 4  # of the curve between two points
_DRAWN = Path(__file__).parent / "drawn.json"

Points = np.ndarray[Any, np.dtype[np.float64]]  # [n, 2]
Image = np.ndarray[Any, np.dtype[np.float32]]  # [8, 8], 0 (paper) to 1 (ink)
Strokes = Sequence[Sequence[Sequence[float]] | Points]

STYLES: dict[int, tuple[Strokes, ...]] = {
    0: (
        [[[5, 0], [2, 1], [0, 5], [1, 9], [4, 10], [7, 8], [8, 4], [7, 1], [5, 0]]],
        [[[3, 0], [0, 4], [1, 8], [3, 10], [6, 8], [6, 3], [4, 0], [2, 0.5]]],
        [[[3, 0], [6, 2], [6, 8], [3, 10], [0, 8], [0, 2], [3, 0]]],
    ),
    1: (
        [[[1, 0], [1, 5], [1, 10]]],
        [[[0, 2.5], [3, 0], [3, 10]]],
        [[[0, 3], [1.5, 1.5], [2.5, 0], [2.5, 5], [2.5, 10]], [[0, 10], [5, 10]]],
        [[[0, 4], [4, 0], [4, 10]]],
    ),
    2: (
        [[[0, 2], [2, 0], [5, 0], [6, 3], [4, 6], [0, 10], [3, 10], [7, 10]]],
        [[[0, 3], [1, 0.5], [4, 0], [6, 2], [5, 5], [2, 8], [0, 10]], [[0, 10], [7, 9.8]]],
        [[[0, 1], [3, 0], [6, 2], [5, 5], [1, 9], [0, 9], [1, 7.5], [3, 8.5], [5, 10], [7, 9]]],
        [[[0, 0], [5, 0], [5, 5], [0, 5], [0, 10], [5, 10]]],
    ),
    3: (
        [[[0, 1], [3, 0], [6, 2], [5, 4], [2, 5], [5, 6], [6, 8], [4, 10], [0, 9]]],
        [[[0, 0], [5, 0], [2, 4], [5, 5], [6, 8], [3, 10], [0, 9]]],
        [[[0, 2], [2, 0], [5, 1], [5, 4], [2, 5]], [[2, 5], [6, 6], [6, 9], [3, 10], [0, 8.5]]],
        [[[0, 0], [5, 0], [5, 5], [1, 5]], [[5, 5], [5, 10], [0, 10]]],
    ),
    4: (
        [[[4, 0], [0, 6], [7, 6]], [[5, 3], [5, 10]]],
        [[[1, 0], [0, 5], [6, 5]], [[5, 0], [5, 10]]],
        [[[4.5, 10], [4.5, 0], [0, 7], [7, 7]]],
        [[[0, 0], [0, 5], [5, 5]], [[5, 0], [5, 5], [5, 10]]],
        [[[2, 0], [0, 4], [1, 5.5], [5, 5]], [[6, 0], [5, 5], [4, 10]]],
    ),
    5: (
        [[[6, 0], [1, 0], [0.5, 4.5], [3, 3.7], [6, 5], [6, 8], [3, 10], [0, 9]]],
        [[[1, 0], [0, 5], [4, 4], [6, 7], [4, 10], [0, 9.5]], [[1, 0], [6, 0]]],
        [[[5, 0], [0, 0], [0, 5], [5, 5], [5, 10], [0, 10]]],
        [[[7, 0], [2, 0.5], [1, 4], [4, 4.5], [5, 7], [3, 9.5], [0, 10]]],
    ),
    6: (
        [[[5, 0], [2, 3], [0, 7], [2, 10], [5, 9.5], [6, 7], [4, 5], [1, 6]]],
        [[[3, 0], [0, 5], [0, 8], [3, 10], [6, 8], [5, 5.5], [2, 5.5], [0, 8]]],
        [[[5, 0.5], [3, 0], [1, 2], [0, 6], [1, 9], [4, 10], [6, 7.5], [4, 5], [0.5, 7]]],
    ),
    7: (
        [[[0, 0], [6, 0], [2, 10]]],
        [[[0, 1], [3, 0.5], [6, 0], [4, 5], [2.5, 10]]],
        [[[0, 0], [6, 0], [2, 10]], [[1.5, 5], [5.5, 5]]],
        [[[0, 2], [0, 0], [6, 0], [3, 4], [2.5, 10]]],
        [[[0, 0], [5, 0], [5, 5], [5, 10]]],
    ),
    8: (
        [[[5, 1], [3, 0], [1, 1.5], [2, 4], [5, 6], [6, 8], [4, 10], [1, 9.5], [0.5, 7.5],
          [3, 5], [5, 3], [5, 1]]],
        [[[3, 0], [1, 1], [1, 4], [3, 5], [5, 4], [5, 1], [3, 0]],
         [[3, 5], [0, 7], [1, 9.5], [3, 10], [6, 9], [5.5, 6.5], [3, 5]]],
        [[[0, 0], [5, 10], [0, 10], [5, 0], [0, 0]]],
        [[[3, 5], [0, 3], [2, 0], [5, 1], [4, 4], [1, 7], [2, 10], [5, 9], [5, 7], [3, 5]]],
    ),
    9: (
        [[[5, 1.5], [3, 0], [0, 1.5], [1, 4.5], [4, 4.5], [5.5, 2], [5, 6], [4, 10]]],
        [[[6, 3], [3, 5], [0, 3], [2, 0], [5, 0.5], [6, 3], [6, 10]]],
        [[[5, 1], [2, 0], [0, 3], [3, 5], [5.5, 2], [5.5, 7], [4, 10], [0, 9.5]]],
        [[[5, 0], [0, 0], [0, 4.5], [5, 4.5]], [[5, 0], [5, 10]]],
    ),
}  # fmt: skip


def render(strokes: Strokes, pen: float = PEN) -> Image:
    """Return the image of strokes, as the page's pad makes it; `pen` is in sides of the frame."""
    lines = [np.asarray(stroke, np.float64) for stroke in strokes]
    points = np.concatenate(lines)
    low, high = points.min(0), points.max(0)
    scale = (1 - pen) / max(float((high - low).max()), 1e-9)
    grid = (np.arange(SIDE * _FINE) + 0.5) / (SIDE * _FINE)
    placed = [(line - (low + high) / 2) * scale + 0.5 for line in lines]
    start = np.concatenate([line[:-1] if len(line) > 1 else line for line in placed])
    along = np.concatenate([line[1:] if len(line) > 1 else line for line in placed]) - start
    (x, y), (right, down) = start.T, along.T
    dx, dy = grid[:, None] - x, grid[:, None] - y  # [samples, pieces]
    length = np.maximum(right**2 + down**2, 1e-12)
    share = np.clip(((dy * down)[:, None] + (dx * right)[None]) / length, 0, 1)
    away = (dx[None] - share * right) ** 2 + (dy[:, None] - share * down) ** 2
    ink = np.clip((pen / 2 - np.sqrt(away.min(-1))) * len(grid) + 0.5, 0, 1)
    image: Image = (_FILTER @ ink @ _FILTER.T).astype(np.float32)
    return image


def _triangles() -> Points:
    """Return the rows of a filter from fine samples to pixels; Pillow's BILINEAR reduces so."""
    samples = (np.arange(SIDE * _FINE) + 0.5) / _FINE
    middles = np.arange(SIDE) + 0.5
    weights = np.maximum(0, 1 - np.abs(samples - middles[:, None]))
    scaled: Points = weights / weights.sum(1, keepdims=True)
    return scaled


_FILTER = _triangles()


def varied(count: int, seed: int) -> tuple[Image, np.ndarray[Any, np.dtype[np.int64]]]:
    """Return images [count, 1, 8, 8] of styles bent, slanted and stretched, and their labels."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % len(STYLES)
    images = [render(*_bent(int(label), random)) for label in labels]
    return np.stack(images)[:, None], labels.astype(np.int64)


def _bent(label: int, random: np.random.Generator) -> tuple[list[Points], float]:
    styles = STYLES[label]
    strokes = styles[random.integers(len(styles))]
    turn, slant = random.normal(0, 0.09), random.normal(0.1, 0.2)
    wide = np.exp(random.normal(0, 0.25))
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = matrix @ np.array([[1, -slant], [0, 1]]) @ np.diag([wide, 1])
    smooth, loose = random.random() < 0.75, random.uniform(0.1, 0.55)
    lines = []
    for stroke in strokes:
        points = np.asarray(stroke, np.float64)
        points = points + random.normal(0, loose, points.shape)
        lines.append((_curve(points) if smooth else points) @ matrix.T)
    return lines, PEN * random.uniform(0.8, 1.25)


def _curve(points: Points) -> Points:
    """Return a Catmull-Rom curve through points."""
    if len(points) < 3:
        return points
    padded = np.concatenate([points[:1], points, points[-1:]])
    before, start, end, after = (padded[i : len(padded) - 3 + i, None] for i in range(4))
    t = (np.arange(_PIECES) / _PIECES)[None, :, None]
    cubic = 0.5 * (
        2 * start
        + (end - before) * t
        + (2 * before - 5 * start + 4 * end - after) * t**2
        + (3 * start - before - 3 * end + after) * t**3
    )
    return np.concatenate([cubic.reshape(-1, 2), points[-1:]])


def drawn() -> tuple[list[Strokes], list[int]]:
    """Return the 40 drawings that the model is tested on and never sees, and their digits."""
    known = json.loads(_DRAWN.read_text())
    return [one["strokes"] for one in known], [one["digit"] for one in known]
