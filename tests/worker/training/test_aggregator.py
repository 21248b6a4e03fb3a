"""Aggregation from files by threads: the roots and bytes of the plain one, in bounded memory."""

import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from oracle.training.aggregation import (
    Aggregation,
    AggregationRule,
    RunningSums,
    aggregate,
    sums_root,
)
from oracle.training.vectors import STATE, VectorTree
from oracle.types import Bytes32
from worker.training import aggregator
from worker.training.vector_files import VectorFile, written

CLIP = 20_000


@contextmanager
def files(folder: Path, parameters: int, clients: int) -> Iterator[list[VectorFile]]:
    """The updates of some clients and, last, a base."""
    draw = np.random.default_rng(parameters)
    with ExitStack() as stack:
        opened = []
        for number in range(clients + 1):
            path = folder / f"{number}.safetensors"
            dtype, most = (np.int16, 2**15) if number < clients else (np.int32, 2**31)
            with written(path, {"w": (parameters,)}, dtype) as file:
                for at in range(0, parameters, 2**16):
                    size = min(2**16, parameters - at)
                    file.write(at, draw.integers(-most, most, size))
            opened.append(stack.enter_context(VectorFile(path)))
        yield opened


@pytest.mark.parametrize("rule", AggregationRule)
@pytest.mark.parametrize("parameters", [1, 33, 100_001])
def test_aggregate_files__any_rule_and_size__is_the_plain_aggregation(
    tmp_path: Path, rule: AggregationRule, parameters: int
) -> None:
    terms = Aggregation(parameters, CLIP, (3, 1, 4, 0, 5), rule, int(rule == 2))
    state = np.zeros(parameters, np.int32)

    with files(tmp_path, parameters, 5) as (*updates, base):
        plain = aggregate(
            terms,
            base,
            updates,
            lambda at, part: state.__setitem__(slice(at, at + len(part)), part),
        )
        roots = [VectorTree(update, STATE).root for update in updates]
        path = tmp_path / "next.safetensors"
        found = aggregator.aggregate_files(
            terms, base, updates, roots, path=path, shapes={"w": (parameters,)}, threads=2
        )
        sums = sums_root(plain, RunningSums(terms, updates))

    assert np.array_equal(load_file(path)["w"], state)
    assert found.state == VectorTree(state, STATE).root
    assert found.sums == sums
    assert (found.blocks.state, found.blocks.sums) == (plain.state, plain.sums)


def test_aggregate_files__update_that_was_not_revealed__names_the_client(tmp_path: Path) -> None:
    with files(tmp_path, 50, 3) as (*updates, base):
        roots = aggregator.update_roots(updates)
        roots[1] = Bytes32(roots[0])

        with pytest.raises(aggregator.UpdateMismatch, match="client 2 has root") as caught:
            aggregator.aggregate_files(
                Aggregation(50, CLIP, (1, 1, 1)),
                base,
                updates,
                roots,
                path=tmp_path / "next.safetensors",
                shapes={"w": (50,)},
            )

    assert caught.value.client == 1
    assert not (tmp_path / "next.safetensors").exists()


def test_aggregate_files__large_model__takes_memory_of_blocks(tmp_path: Path) -> None:
    parameters = 2**22
    with files(tmp_path, parameters, 4) as (*updates, base):
        roots = aggregator.update_roots(updates)
        tracemalloc.start()
        try:
            aggregator.aggregate_files(
                Aggregation(parameters, CLIP, (1, 2, 3, 4)),
                base,
                updates,
                roots,
                path=tmp_path / "next.safetensors",
                shapes={"w": (parameters,)},
                threads=2,
            )
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak < 3 * 4 * parameters / 2  # half of the bound, three times the state
