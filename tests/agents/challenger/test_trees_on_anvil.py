"""A forest of 500 trees on a real chain: published from its file, lied about, and convicted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier

from oracle.exact import form, quantisation, version
from oracle.exact.commitments import Committed
from oracle.exact.reference import evaluate, execute
from oracle.services import folders
from oracle.services.request_timeline import RequestState
from tests.agents.challenger.conftest import Arena
from tests.agents.challenger.test_challenger_on_anvil import game_gas, state, what
from tests.contracts.exact import Example
from tests.services.conftest import DOLLAR, World
from worker.exact import __main__ as compiler

pytestmark = pytest.mark.real
TREES = 500
MOST_GAS = 2_500_000


@pytest.fixture
def forest(world: World, tmp_path: Path) -> Arena:
    """The forest, published, with an operator that may lie in one tree or in one sum."""
    rows, labels = load_digits(return_X_y=True)
    model = RandomForestClassifier(TREES, random_state=0, n_jobs=2).fit(rows[400:], labels[400:])
    path = tmp_path / "forest.skops"
    skops.io.dump(model, path)
    folder = tmp_path / "forest-exact"
    compiler.build(path, folder, None, lambda *_: None)
    draft = folders.read(folder, lambda *_: None)
    loaded = version.read(draft, {entry.path: folder / entry.path for entry in draft.files})
    made = form.of(draft, lambda entry: folder / entry.path)
    encoded = made.encode_inputs({"features": rows[:1].astype(np.float32)})
    (given,) = made.decode_inputs(encoded).values()
    true = execute(loaded.program, loaded.constants, (given[0],)).tensors
    shares = quantisation.output_from_json(draft.exact.outputs[0]).dequantise(true[-1])
    np.testing.assert_allclose(shares, model.predict_proba(rows[:1]), atol=1e-5)

    def changed(tensor: int, col: int) -> Committed:
        tensors = [array.copy() for array in true]
        tensors[tensor][0, col] += 1
        for op in range(tensor, len(loaded.program.ops)):
            tensors[op + 1] = evaluate(loaded.program.ops[op], loaded.constants, tensors)
        return Committed(loaded.program, tensors)

    example = Example(
        loaded.program, loaded.constants, honest=Committed(loaded.program, true),
        lie_inside=changed(1, TREES * 7 + 3), lie_at_the_end=changed(len(true) - 1, 4),
        lie_in_the_trace=changed(1, 0),
    )  # fmt: skip
    model_id = replace(world, folder=folder).publish(insured_multiple=10).model_id
    world.serve(model_id, stake=1000)
    world.prepay(20 * DOLLAR)
    return Arena(world, model_id, tmp_path / "challengers", example)


def test_once__forest_of_500_trees__honest_answer_stands_and_lies_are_convicted(
    forest: Arena,
) -> None:
    honest = forest.deliver(forest.example.honest)
    forest.serve(honest)
    lies = []
    for lie in (forest.example.lie_inside, forest.example.lie_at_the_end):
        lies.append(forest.deliver(lie))
        forest.serve(lies[-1])

    with forest.challenger() as challenger:
        report = challenger.once()

    assert (report.looked_at, report.right) == (3, 1)
    assert what(report).count("prove a fault") == len(lies)
    assert state(forest, honest) is RequestState.DELIVERED
    for request_id in lies:
        assert state(forest, request_id) is RequestState.CONVICTED
        transactions, gas = game_gas(forest, request_id)
        print(f"\nforest of {TREES} trees: {transactions} transactions, {gas:,} gas")
        assert transactions == 2
        assert gas < MOST_GAS
