"""Which inputs share a pass, and that each gets its own rows back."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.protocol.manifest import Manifest, RuntimeSpec, TensorSpec
from worker import batching
from worker.errors import OutputInvalid


def manifest(*shapes, output=(None, 2)):
    return Manifest(
        name="m", runtime=RuntimeSpec("onnx", "m.onnx"), files=(),
        inputs=tuple(TensorSpec(f"x{n}", "F32", shape) for n, shape in enumerate(shapes)),
        outputs=(TensorSpec("y", "F32", output),),
    )  # fmt: skip


def rows(count, *rest, value=0.0):
    return {"x0": np.full((count, *rest), value, np.float32)}


@pytest.mark.parametrize(
    ("shapes", "output"),
    [([(1, 3)], (None, 2)), ([(None, 3), (4,)], (None, 2)), ([(None, 3)], (2,)), ([()], (None, 2))],
)
def test_plan__a_first_dimension_is_fixed__one_by_one(shapes, output):
    fixed = manifest(*shapes, output=output)
    assert list(batching.plan(fixed, [rows(1, 3), rows(1, 3)], 9)) == [[0], [1]]


def test_plan__inputs_that_disagree_about_their_rows__alone():
    odd = {"x0": np.zeros((1, 3)), "x1": np.zeros((2, 3))}
    even = {"x0": np.zeros((2, 3)), "x1": np.zeros((2, 3))}
    groups = list(batching.plan(manifest((None, 3), (None, 3)), [even, odd, even], 9))
    assert sorted(groups) == [[0, 2], [1]]


def test_split__wrong_number_of_rows__output_invalid():
    inputs = [rows(1, 3), rows(2, 3)]
    for shape in ((2, 2), (), (4, 2)):
        with pytest.raises(OutputInvalid):
            batching.split({"y": np.zeros(shape)}, inputs)


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3)), min_size=1, max_size=20),
    st.integers(1, 8),
)
def test_plan__any_sizes__every_input_once_and_its_own_rows(sizes, max_rows):
    inputs = [rows(count, width, value=n) for n, (count, width) in enumerate(sizes)]
    open_manifest = manifest((None, None))
    seen = []
    for group in batching.plan(open_manifest, inputs, max_rows):
        members = [inputs[index] for index in group]
        joined = batching.join(members)
        assert len(group) == 1 or len(joined["x0"]) <= max_rows
        outputs = {"y": joined["x0"][:, :1] * 2}
        for index, part in zip(group, batching.split(outputs, members), strict=True):
            seen.append(index)
            np.testing.assert_array_equal(part["y"], inputs[index]["x0"][:, :1] * 2)
    assert sorted(seen) == list(range(len(inputs)))


# ── Padding under a mask ────────────────────────────────────────────────────────────────────────
MASK = "attention_mask"


def tokens(count, length, hidden=0):
    mask = np.ones((count, length), np.int64)
    mask[:, length - hidden :] = 0
    return {"input_ids": np.full((count, length), 7, np.int64), MASK: mask}


def sentences(*output):
    specs = (TensorSpec(name, "I64", (None, None)) for name in tokens(1, 1))
    return replace(manifest((None, None), output=output or (None, 2)), inputs=tuple(specs))


@pytest.mark.parametrize(
    "odd",
    [
        {**tokens(1, 5), MASK: np.array([[1, 1, 2, 1, 1]])},  # neither shown nor hidden
        {**tokens(1, 5), MASK: np.array([[-1, -1, -1, -1, -1]])},
        tokens(1, 5, hidden=5),  # nothing is shown: padding would show as much
        {**tokens(1, 5), MASK: np.ones((1, 4), np.int64)},
    ],
)
def test_plan__mask_that_hides_nothing_for_sure__is_not_padded(odd):
    inputs = [tokens(1, 30), odd, tokens(1, 29), tokens(1, 5)]
    groups = sorted(map(sorted, batching.plan(sentences(), inputs, 99, MASK)))
    assert [0, 2] in groups
    assert all({0, 2}.isdisjoint(group) for group in groups if 1 in group)


@pytest.mark.parametrize(
    ("described", "mask"), [(sentences(), ""), (sentences(None, None, 2), MASK)]
)
def test_plan__no_mask_or_an_answer_for_each_token__only_equal_lengths(described, mask):
    inputs = [tokens(1, 30), tokens(1, 29), tokens(1, 30)]
    assert sorted(batching.plan(described, inputs, 99, mask)) == [[0, 2], [1]]


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 60)), min_size=1, max_size=40),
    st.integers(1, 16),
)
def test_plan__lengths_of_all_kinds__little_padding_and_every_input_once(sizes, max_rows):
    inputs = [tokens(count, length) for count, length in sizes]
    seen = []
    for group in batching.plan(sentences(), inputs, max_rows, MASK):
        members = [inputs[index] for index in group]
        joined = batching.join(members)
        assert joined["input_ids"].shape == joined[MASK].shape
        assert len(group) == 1 or len(joined[MASK]) <= max_rows
        assert (joined[MASK] == 0).mean() <= 1 / 8
        parts = batching.split({"y": joined["input_ids"]}, members)
        for index, part in zip(group, parts, strict=True):
            seen.append(index)
            assert part["y"].sum() == 7 * inputs[index][MASK].size
    assert sorted(seen) == list(range(len(inputs)))


def test_plan__many_of_near_lengths__few_passes():
    inputs = [tokens(1, 24 + n % 16) for n in range(64)]
    assert len(list(batching.plan(sentences(), inputs, 256, MASK))) <= 3
