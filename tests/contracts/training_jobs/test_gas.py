"""What a conviction costs: all transactions of both sides, calldata included."""

import pytest

from tests.contracts.training_jobs.play import (
    CHALLENGER,
    CONVICTED,
    SALT,
    Histories,
    Jobs,
    Withheld,
)
from worker.exact.training.run import WrongStep

STEPS = {"regression": 220, "perceptron": 70}  # as docs/training-jobs.md shows
MOST_TRANSACTIONS, MOST_GAS = 9, 1_200_000
SERVED_TRANSACTIONS, SERVED_GAS = 3, 600_000


@pytest.mark.parametrize("network", STEPS)
def test_convict__one_wrong_element__costs_no_more_than_bounds(network: str) -> None:
    histories = Histories(network, STEPS[network])
    program, most, dearest = histories.program, (0, 0), 0
    for op, operator in enumerate(program.ops):
        step = histories.job.steps - 1 - op % 3
        row, col = operator.result.rows - 1, operator.result.cols - 1
        claimed, served = histories.tell(step, op, row, col)
        jobs = Jobs(histories)
        jobs.deliver(claimed)
        start = jobs.world.revm.snapshot()
        game = Withheld(jobs, claimed, step, served)
        game.play()
        assert jobs.state["stage"] == CONVICTED
        total = sum(gas for _, gas in game.gas)
        most = max(most, (total, len(game.gas)))
        assert len(game.gas) <= MOST_TRANSACTIONS, (op, game.gas)
        assert total <= MOST_GAS, (op, game.gas)

        jobs.world.revm.revert(start)
        fault = histories.training.prove(claimed, WrongStep(step, histories.traces[step]), served)
        spent = [jobs.gas(CHALLENGER, "announce", jobs.witness(fault))]
        jobs.wait()
        spent += [jobs.gas(CHALLENGER, "prove", 1, SALT, fault), jobs.gas(CHALLENGER, "withdraw")]
        assert len(spent) <= SERVED_TRANSACTIONS
        assert sum(spent) <= SERVED_GAS, (op, spent)
        dearest = max(dearest, sum(spent))
    print(f"{network}: withheld {most[0]:,} gas in {most[1]} transactions, served {dearest:,}")
