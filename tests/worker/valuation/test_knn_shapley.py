"""The fast values are the reference's, bit for bit, however the work is cut."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from oracle.valuation import reference
from oracle.valuation.dataset import DataSet
from oracle.valuation.rounds import Params, RoundData
from oracle.valuation.tables import build
from tests.valuation.rounds import small, tables
from worker.valuation import knn_shapley

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("budget", [1, 500, 1 << 24])
def test_scores__any_budget__the_reference_bit_for_bit(device: str, budget: int) -> None:
    data = small()
    flags = reference.flags(data)
    held = build(data, flags, knn_shapley.scores(data, flags, device=device, budget=budget))
    assert held.valuation.root == tables(data).valuation.root


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("budget", [9000, 1 << 24])
@pytest.mark.parametrize("tau", [0, 30, 400, 2**32 - 1])
def test_flags__any_threshold_and_budget__the_reference(device: str, budget: int, tau: int) -> None:
    data = small()
    for params in (Params(5, tau, 0), Params(5, 30, tau)):
        other = replace(data, params=params)
        fast, slow = knn_shapley.flags(other, device=device, budget=budget), reference.flags(other)
        assert fast.flag.tolist() == slow.flag.tolist()
        assert fast.witness.tolist() == slow.witness.tolist()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("k", [1, 4, 10_000])
def test_scores__256_extreme_features__distances_are_exact(device: str, k: int) -> None:
    rng = np.random.default_rng(3)
    extreme = rng.choice(np.array([-128, -127, 126, 127]), (90, 256))
    extreme[0] = -128
    held = DataSet.of(extreme, rng.integers(0, 2, 90))
    test = DataSet.of(-1 - extreme[:40], rng.integers(0, 2, 40))  # the farthest point of each
    data = RoundData(Params(k, 0, 0), (held,), test)
    flags = knn_shapley.flags(data, device=device)
    farthest = max(int(block.distances.max()) for block in reference.scores(data, flags))
    assert farthest == 256 * 255**2
    fast = build(data, flags, knn_shapley.scores(data, flags, device=device))
    assert fast.valuation.root == tables(data).valuation.root


@pytest.mark.parametrize("device", DEVICES)
def test_scores__many_equal_distances__lower_row_first(device: str) -> None:
    features = np.array([[x, y] for x in (-3, 3) for y in (-3, 3)] * 8)
    held = DataSet.of(features, np.arange(32))
    test = DataSet.of(np.zeros((2, 2), int), np.array([0, 17]))
    data = RoundData(Params(3, 0, 0), (held,), test)
    nothing = reference.Flags(*np.zeros((2, 32), np.int64))
    (block,) = knn_shapley.scores(data, nothing, device=device)
    assert block.rows.tolist() == [list(range(32))] * 2


def test_scores__every_row_flagged__empty_blocks() -> None:
    data = small()
    nobody = reference.Flags(np.ones(len(data.labels), np.int64), np.zeros(len(data.labels), int))
    assert build(data, nobody, knn_shapley.scores(data, nobody)).valuation.n == 0


def test_scores__matmul_set_to_less_precision__restored_and_not_used() -> None:
    data = small()
    flags = reference.flags(data)
    torch.set_float32_matmul_precision("medium")
    try:
        held = build(data, flags, knn_shapley.scores(data, flags))
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert held.valuation.root == tables(data).valuation.root
