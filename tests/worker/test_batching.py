"""Which inputs share a pass, and that each gets its own rows back."""

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
