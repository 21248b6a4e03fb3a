"""Trees that onnxruntime walks give what the reference gives; nodes that are no trees stay out."""

import numpy as np
import pytest

from oracle.exact.builder import ProgramBuilder
from oracle.exact.constants import Constants
from oracle.exact.dtypes import NODE, Array, DType, Spec
from oracle.exact.operators import LEAF, MISSING, MISSING_LEFT
from oracle.exact.program import Program
from oracle.exact.reference import execute
from worker.exact.kernels import forest
from worker.exact.kernels.executor import Executor

COLUMNS, TREES, OUTPUTS = 5, 12, 3
AT_ONCE = {"trees at once": 1}


def grown(dice: np.random.Generator, most: int) -> Array:
    """Draw trees, roots first: some are a leaf alone."""
    nodes = np.zeros(TREES, NODE)
    level = np.arange(TREES)
    for share in (0.9, 0.7, 0.5, 0.0):
        nodes["feature"][level] = LEAF
        nodes["value"][level] = dice.integers(-most, most, len(level))
        level = level[dice.random(len(level)) < share]
        free = len(nodes) + 2 * np.arange(len(level))
        nodes["feature"][level] = dice.integers(0, COLUMNS, len(level))
        nodes["feature"][level] |= dice.choice([0, MISSING_LEFT], len(level)).astype(np.uint16)
        nodes["threshold"][level] = dice.integers(1, 9, len(level))
        nodes["left"][level], nodes["right"][level] = free, free + 1
        nodes = np.concatenate([nodes, np.zeros(2 * len(level), NODE)])
        level = np.concatenate([free, free + 1])
    return nodes


def program(nodes: Array, *, depth: int = 4, chosen: bool = False) -> tuple[Program, Constants]:
    builder = ProgramBuilder()
    features = builder.input(Spec(DType.U16, 1, COLUMNS))
    held = builder.constant(nodes.reshape(1, -1), DType.NODE)
    values = builder.tree(features, held, trees=TREES, depth=depth)
    each = TREES // OUTPUTS
    rows = builder.view(values, OUTPUTS, each, sizes=[TREES], strides=[1])
    sums = builder.sum(rows, cols=OUTPUTS)
    if chosen:
        builder.argmax(sums)
    return builder.build()


def ranks(dice: np.random.Generator, rows: int) -> Array:
    drawn = dice.integers(0, 10, (rows, 1, COLUMNS)).astype(np.uint16)
    drawn[dice.random(drawn.shape) < 0.2] = MISSING
    return drawn


@pytest.mark.parametrize("chosen", [False, True], ids=["sums", "class"])
@pytest.mark.parametrize("seed", range(8))
def test_run__trees__are_the_reference_before_and_after_they_are_opened(
    seed: int, chosen: bool
) -> None:
    dice = np.random.default_rng(seed)
    made, constants = program(grown(dice, 2**31 // TREES), chosen=chosen)
    executor = Executor(made, constants)
    given = ranks(dice, 100)
    wanted = [execute(made, constants, [row]).output for row in given]

    first = executor.run([given[:1]])
    answers = executor.run([given])

    assert executor.ways == AT_ONCE
    np.testing.assert_array_equal(first, wanted[:1])
    np.testing.assert_array_equal(answers, wanted)
    assert answers.dtype == first.dtype == np.int32


def _shared(nodes: Array) -> None:
    inner = np.flatnonzero(nodes["feature"] != LEAF)
    nodes["right"][inner[0]] = nodes["left"][inner[0]]


def _in_a_circle(nodes: Array) -> None:
    nodes["left"][np.flatnonzero(nodes["feature"] != LEAF)[0]] = 0


def _beyond_the_end(nodes: Array) -> None:
    nodes["left"][np.flatnonzero(nodes["feature"] != LEAF)[0]] = 2**32 - 1


def _clamped(nodes: Array) -> None:
    nodes["value"] = 2**31 - 1


@pytest.mark.parametrize("spoil", [_shared, _in_a_circle, _beyond_the_end, _clamped, None])
def test_run__nodes_that_do_not_suit__are_walked_step_by_step(spoil) -> None:
    dice = np.random.default_rng(3)
    nodes = grown(dice, 1000)
    if spoil is not None:
        spoil(nodes)
    made, constants = program(nodes, depth=4 if spoil else 1)  # None: deeper than TREE walks
    executor = Executor(made, constants)
    given = ranks(dice, 100)

    answers = executor.run([given])

    assert not executor.ways
    assert not executor.note
    np.testing.assert_array_equal(
        answers, [execute(made, constants, [row]).output for row in given]
    )


def test_run__view_that_moves_values__is_left_to_the_kernels() -> None:
    builder = ProgramBuilder()
    features = builder.input(Spec(DType.U16, 1, COLUMNS))
    held = builder.constant(grown(np.random.default_rng(0), 9).reshape(1, -1), DType.NODE)
    values = builder.tree(features, held, trees=TREES, depth=4)
    each = TREES // OUTPUTS
    turned = builder.view(values, OUTPUTS, each, sizes=[OUTPUTS, each], strides=[1, OUTPUTS])
    builder.sum(turned, cols=OUTPUTS)
    made, constants = builder.build()
    found = forest.of(made, constants)
    executor, given = Executor(made, constants), ranks(np.random.default_rng(1), 64)

    answers = executor.run([given])

    assert found is not None
    assert found.last == 0  # the trees alone: what follows is left to the kernels
    np.testing.assert_array_equal(
        answers, [execute(made, constants, [row]).output for row in given]
    )
