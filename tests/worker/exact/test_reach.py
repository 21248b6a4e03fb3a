"""What people bring, trained on real data: it stays as accurate, and faults are convicted."""

import numpy as np
import pytest
import torch

from examples.exact import reach
from oracle.errors import InputInvalid
from oracle.exact import quantisation
from tests.worker.exact.agreement import require_identical, require_judged
from worker.exact.compiler import Compiled, compile_graph
from worker.exact.frontends.torch import from_module

pytestmark = pytest.mark.filterwarnings(  # of the exporter
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"
)
CALIBRATION = 256


def built(name: str) -> tuple[torch.nn.Module, Compiled, reach.Data]:
    recipe = reach.RECIPES[name]
    data = recipe.data()
    samples = data.rows(test=False).samples(CALIBRATION)
    model = reach.train(recipe, data.rows(test=False))
    return model, compile_graph(from_module(model, samples[0]), samples), data.rows(test=True)


@pytest.mark.parametrize("name", ["LSTM", "DeepFM", "DeepFM, one table"])
def test_compile__model_trained_on_real_data__keeps_its_accuracy_and_is_judged(name: str) -> None:
    model, program, test = built(name)
    samples = test.samples()
    with torch.inference_mode():
        wanted = model(torch.from_numpy(test.inputs)).numpy()

    exact = np.stack([program.run(sample).reshape(-1) for sample in samples])

    assert reach.right(wanted, test.labels) > 0.85  # it has learnt
    assert abs(reach.right(exact, test.labels) - reach.right(wanted, test.labels)) <= 0.005
    cosine = (exact * wanted).sum() / np.linalg.norm(exact) / np.linalg.norm(wanted)
    assert cosine > 0.999
    require_identical(program, samples[0])
    require_judged(program, samples[0])


def test_quantise__id_that_a_field_does_not_have__refused_with_its_place() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    counts = (3, 9, 5)
    rows = [{"ids": np.array([[rng.integers(n) for n in counts]])} for _ in range(8)]
    for make in (reach.DeepFm, reach.DeepFmOfOneTable):
        program = compile_graph(from_module(make(counts), rows[0]), rows)
        (code,) = program.inputs
        last = {"ids": np.array([[2, 8, 4]])}

        program.run(last)  # the greatest that there are

        with pytest.raises(InputInvalid, match=r"id 5 at place 2, 0 … 4 are known there"):
            program.run({"ids": np.array([[0, 0, 5]])})
        assert quantisation.input_from_json(quantisation.to_json(code)) == code


def test_compile__ids_less_a_number__refused() -> None:
    class Shifted(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Embedding(4, 2)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.table(ids - 1)  # type: ignore[no-any-return]

    row = {"ids": np.array([[1, 2]])}

    with pytest.raises(Exception, match="ids less a number"):
        compile_graph(from_module(Shifted(), row), [row, {"ids": np.array([[4, 3]])}])
