"""Chapter 4: an image of a digit and ten sentences are asked about, answered, paid and checked."""

import json
from collections.abc import Iterator
from typing import Any

from oracle.demo.asking import Explain, Ordered, order, settle
from oracle.demo.stage import DemoContext
from oracle.services.inference import CheckedAnswer

SENTENCES = (
    "A dog runs across the meadow.",
    "The puppy plays in the grass.",
    "Interest rates rose again this quarter.",
    "The central bank tightened its policy.",
    "She plays the violin in an orchestra.",
    "He is rehearsing a concerto with the strings.",
    "The recipe needs two eggs and some flour.",
    "Whisk the batter before you bake the cake.",
    "The rocket reached orbit after eight minutes.",
    "The satellite was launched into space.",
)
SHADES = " .:-=+*#%@"  # from paper to ink
LIFETIME = 600  # seconds: an answer that a loaded machine takes minutes for is still in time


def ask_both(stage: DemoContext) -> None:
    """Ask both models at once, one operator each; then settle one after the other."""
    digit, read_digit = ask_digit(stage, 0, "alpha", priority=LIFETIME, lifetime=LIFETIME)
    sentences = order(
        stage,
        "sentences",
        "ten sentences",
        json.dumps(SENTENCES),
        "beta",
        priority=LIFETIME,
        lifetime=LIFETIME,
    )
    settle(stage, digit, read_digit)
    settle(stage, sentences, lambda answer: _nearest(stage, answer))


def ask_digit(
    stage: DemoContext, number: int, operator: str, *, priority: int, lifetime: int
) -> tuple[Ordered, Explain]:
    """Ask about one of the test images; also return how to read the answer against its label."""
    image, _ = test_image(stage, number)
    ordered = order(
        stage,
        "digits",
        f"test image {number}",
        json.dumps([image]),
        operator,
        priority=priority,
        lifetime=lifetime,
    )
    return ordered, lambda answer: reading(stage, number, answer)


def test_image(stage: DemoContext, number: int) -> tuple[Any, str]:
    """Return one of the test images, 1 × 8 × 8, and its label."""
    samples: dict[str, Any] = json.loads((stage.folder / "samples.json").read_text())
    return samples["images"][number], str(samples["labels"][number])


def reading(stage: DemoContext, number: int, answer: CheckedAnswer) -> Iterator[str]:
    """Show a test image with what the model reads, which has to be its label."""
    image, label = test_image(stage, number)
    (row,) = answer.outputs[0].rows
    best = row.top[0]
    for line in image[0]:
        yield "".join(SHADES[min(int(v * len(SHADES)), len(SHADES) - 1)] * 2 for v in line)
    yield f"the model reads {best.label}, the image's label is {label}"
    stage.expect(f"the class is the image's label, {label}", best.label == label, best.label)


def _nearest(stage: DemoContext, answer: CheckedAnswer) -> Iterator[str]:
    """Name the nearest other sentence of each; they were written in pairs."""
    rows = answer.outputs[0].rows
    for row in rows:
        near = row.nearest[0]
        yield f"{row.text:<46} ≈ {near.text} ({near.cosine:.2f})"
    pairs = all(row.nearest[0].row == row.row ^ 1 for row in rows)
    stage.expect("every sentence's nearest is the other one of its pair", pairs)
