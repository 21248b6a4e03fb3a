"""Vectors and their trees: against the definition, whole and block by block."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.merkle import climb, tree_path, tree_root
from oracle.training.errors import VectorInvalid
from oracle.training.vectors import STATE, SUMS, Joined, VectorForm, VectorTree, leaf_hash
from oracle.types import ZERO32


def random_vector(length: int, form: VectorForm) -> np.ndarray:
    bounds = np.iinfo(f"i{form.size}")
    return np.random.default_rng(length).integers(bounds.min, bounds.max, length, endpoint=True)


def leaves(vector: np.ndarray, form: VectorForm) -> list[bytes]:
    """Return every leaf's hash as the definition says it."""
    bias = 1 << 8 * form.size - 1
    data = b"".join((int(value) + bias).to_bytes(form.size) for value in vector)
    return [leaf_hash(data[at : at + 128]) for at in range(0, len(data), 128)]


@pytest.mark.parametrize("form", [STATE, SUMS])
@pytest.mark.parametrize("length", [1, 31, 32, 33, 64, 500, 1000])
@pytest.mark.parametrize("levels", [0, 2, 10])
def test_tree__of_any_length__is_that_of_the_definition(
    form: VectorForm, length: int, levels: int
) -> None:
    vector = random_vector(length, form)
    hashes = leaves(vector, form)
    tree = VectorTree(vector, form, levels=levels)

    assert tree.depth == form.depth(length) == max(0, len(hashes) - 1).bit_length()
    assert tree.root == tree_root(hashes, tree.depth)
    for index in range(1 << tree.depth):
        path = tree.path(tree.depth, index)
        assert path == tree_path(hashes, tree.depth, index)
        node = hashes[index] if index < len(hashes) else ZERO32
        assert tree.node(tree.depth, index) == node
        assert climb(node, index, path) == tree.root


@given(
    length=st.integers(1, 700),
    levels=st.integers(0, 4),
    coordinate=st.integers(0, 699),
    form=st.sampled_from([STATE, SUMS]),
)
def test_open__a_coordinate__shows_it_under_the_root(
    length: int, levels: int, coordinate: int, form: VectorForm
) -> None:
    coordinate %= length
    vector = random_vector(length, form)
    tree = VectorTree(vector, form, levels=levels)
    opening = tree.open(coordinate)

    assert opening.root(coordinate // form.per_leaf) == tree.root
    assert form.decode(opening.data)[coordinate % form.per_leaf] == vector[coordinate]


@pytest.mark.parametrize("coordinate", [-1, 40])
def test_open__coordinate_that_is_not_there__is_refused(coordinate: int) -> None:
    with pytest.raises(VectorInvalid, match="of 40"):
        VectorTree(np.zeros(40, np.int32), STATE).open(coordinate)


@pytest.mark.parametrize(
    ("values", "form", "match"),
    [
        (np.array([0.5]), STATE, "dtype float64"),
        (np.array([2**31]), STATE, "does not fit 32 bits"),
        (np.array([-(2**31) - 1, 0]), STATE, "does not fit 32 bits"),
        (np.array([2**63], np.uint64), SUMS, "does not fit 64 bits"),
    ],
)
def test_encode__what_is_no_coordinate__is_refused(
    values: np.ndarray, form: VectorForm, match: str
) -> None:
    with pytest.raises(VectorInvalid, match=match):
        form.encode(values)


def test_encode__extreme_values__come_back() -> None:
    for form, bits in ((STATE, 31), (SUMS, 63)):
        values = [-(2**bits), -1, 0, 1, 2**bits - 1]
        data = form.encode(np.array(values))

        assert data[: form.size] == bytes(form.size)
        assert form.decode(data).tolist() == values


def test_tree__of_known_roots__must_have_as_many_as_blocks() -> None:
    vector = random_vector(300, STATE)
    with pytest.raises(VectorInvalid, match="1 roots of blocks for a vector of 5"):
        VectorTree(vector, STATE, [ZERO32], levels=1)
    with pytest.raises(VectorInvalid, match="without coordinates"):
        VectorTree(vector[:0], STATE)


@given(
    sizes=st.lists(st.integers(0, 9), max_size=5),
    bounds=st.tuples(st.integers(0, 50), st.integers(0, 50)),
)
def test_joined__tensors__are_one_vector_by_name(sizes: list[int], bounds: tuple[int, int]) -> None:
    names = ["b.weight", "a", "b.bias", "c", "B"]
    tensors = {
        name: np.arange(2 * size, dtype=np.int16).reshape(2, size) + 100 * at
        for at, (name, size) in enumerate(zip(names, sizes, strict=False))
    }
    flat = [value for name in sorted(tensors) for value in tensors[name].reshape(-1).tolist()]
    start, stop = sorted(bounds)

    assert len(Joined(tensors)) == len(flat)
    assert Joined(tensors)[start:stop].tolist() == flat[start:stop]
