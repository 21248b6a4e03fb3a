"""What a conviction costs at 10⁸ parameters: a leaf and a random path stand for the tree."""

from typing import Any

import numpy as np
import pytest

from oracle.chain.codec import interface, plain
from oracle.training.aggregation import rounded
from oracle.training.faults import StateFault, SumFault, SumOpening
from oracle.training.vectors import STATE, SUMS, Opening, VectorForm
from oracle.types import Bytes32
from tests.contracts.data_credits.play import CHALLENGER, CID, DOLLAR, words
from tests.contracts.training_rounds.play import AGGREGATOR, COLLECTING, SALT, Training, keccak

LARGE = 10**8
MOST = {"proveSum": 150_000, "proveState": 170_000}  # gas
COORDINATE = LARGE // 3


def opening(form: VectorForm, values: Any, length: int) -> Opening:
    """Return a leaf of a tree as high as a vector of this length has."""
    rng = np.random.default_rng(length)
    path = tuple(Bytes32(rng.bytes(32)) for _ in range(form.depth(length)))
    return Opening(form.encode(np.array(values)), path)


def transaction_gas(training: Training, name: str, fault: Any) -> int:
    """Return what a transaction costs, as EIP-7623 reckons: the floor of calldata included."""
    data = interface("TrainingGame")[name].encode((1, *plain(fault)))
    training.do(CHALLENGER, name, 1, *plain(fault))
    zeros = data.count(0)
    tokens = zeros + 4 * (len(data) - zeros)
    return 21_000 + max(4 * tokens + training.world.gas, 10 * tokens)


@pytest.mark.parametrize("clients", [4, 16, 40])
def test_prove__at_10_8_parameters__is_cheap_for_any_number_of_clients(clients: int) -> None:
    training = Training()
    sums = LARGE * clients
    number = clients // 2
    entry = COORDINATE * clients + number - 1
    update = opening(STATE, range(32), LARGE)
    base, moved = opening(STATE, range(32), LARGE), opening(STATE, [5] * 32, LARGE)
    wrong = opening(SUMS, [2**40 + at for at in range(16)], sums)
    training.open(
        parameters=LARGE, mostClients=clients, stateRoot=base.root(COORDINATE // 32), maxWeight=9
    )
    people = [f"0x{0xF000 + client:040x}" for client in range(clients)]
    roots = [keccak(bytes([client])) for client in range(clients)]
    roots[number - 1] = update.root(COORDINATE // 32)
    for account, root in zip(people, roots, strict=True):
        training.world.call(account, "TestDollar", "faucet", account, 100 * DOLLAR)
        training.world.call(account, "TestDollar", "approve", training.rounds, 2**256 - 1)
        training.do(account, "commit", 1, keccak(words(root, 9, SALT, account, 1)))
    training.until("commitUntil")
    for account, root in zip(people, roots, strict=True):
        training.do(account, "reveal", 1, root, 9, SALT, CID, CID)
    training.until("serveUntil")
    last = COORDINATE * clients + clients - 1
    shown = SumOpening(wrong.data, wrong.path)
    faults = {
        "proveSum": (entry, SumFault(number, COORDINATE, update, shown)),
        "proveState": (last, StateFault(COORDINATE, base, wrong, moved)),
    }
    assert entry % 16, "the sum before lies in the same leaf"
    assert rounded(2**40, 9 * clients) != 5
    # Steady state: the second pass finds balances that are not zero, as those of benchmarks/gas.py
    for steady in (False, True):
        for name, (at, fault) in faults.items():
            training.do(AGGREGATOR, "claim", 1)
            published = (wrong.root(at // 16), moved.root(COORDINATE // 32))
            training.do(AGGREGATOR, "publish", 1, *published, CID, CID)
            used = transaction_gas(training, name, fault)
            print(f"{name}, {clients} clients, {steady=}: {used:,} gas")
            assert training.round["stage"] == COLLECTING
            assert used <= MOST[name] or not steady
