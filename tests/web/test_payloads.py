"""What the page's modules send and are sent. No sockets."""

import numpy as np
import pytest

from oracle.errors import InputInvalid
from oracle.web.payloads import MAX_VALUES, as_given, numbers, read_params


def test_as_given__pixels_by_colours__become_planes() -> None:
    pixels = np.arange(12).reshape(1, 4, 3)  # four pixels of three colours
    found = as_given(pixels, (1, 3, 2, 2))
    assert found.shape == (1, 3, 2, 2)
    assert found[0, 0].tolist() == [[0, 3], [6, 9]]


def test_as_given__one_colour__keeps_its_order() -> None:
    found = as_given(np.arange(64).reshape(1, 64, 1), (1, 1, 8, 8))
    assert found[0, 0, 1].tolist() == list(range(8, 16))


@pytest.mark.parametrize("shape", [(None, 1, 8, 8), (1, 1, 9, 9), (1, 64, 1)])
def test_as_given__other_sizes_or_open_shapes__are_left_alone(
    shape: tuple[int | None, ...],
) -> None:
    array = np.arange(64).reshape(1, 64, 1)
    assert as_given(array, shape) is array


def test_numbers__a_large_tensor__is_cut_and_says_so() -> None:
    found = numbers("x", np.zeros((2, MAX_VALUES), np.float32))
    assert (len(found["values"]), found["complete"], found["shape"]) == (
        MAX_VALUES,
        False,
        [2, MAX_VALUES],
    )


@pytest.mark.parametrize("text", ["", "1", "[1]", '{"a": null}', '{"a": [1]}', '{"a": false}'])
def test_read_params__no_object_of_numbers__is_refused(text: str) -> None:
    with pytest.raises(InputInvalid):
        read_params(text)


def test_read_params__numbers_by_name__are_read() -> None:
    assert read_params('{"temperature": 0.5, "top_k": 3}') == {"temperature": 0.5, "top_k": 3}
