"""The last block in which a seed can be read, in an EVM where blocks cost nothing.

EIP-2935's contract keeps 8,191 hashes: the node writes them, here the test does.
"""

import pyrevm
import pytest

from tests.contracts.committee.machine import DRAW, OWNER, CommitteeWorld
from tests.support.evm import Reverted

HISTORY = "0x0000F90827F1C53a10cb7A02335B175320002935"
# The contract's code as EIP-2935 gives it.
CODE = bytes.fromhex(
    "3373fffffffffffffffffffffffffffffffffffffffe14604657602036036042575f35600143038111604257611fff"
    "81430311604257611fff9006545f5260205ff35b5f5ffd5b5f35611fff60014303065500"
)
HASH = 0x1234567
WINDOW = 8_191  # blocks


@pytest.fixture
def world():
    world = CommitteeWorld()
    world.start(members=3)
    return world


@pytest.fixture
def challenged(world):
    job = world.deliver()
    world.challenge(job)
    seed_block = world.dispute(job)["seedBlock"]
    evm = world.evm.revm
    evm.insert_account_info(HISTORY, pyrevm.AccountInfo(code=CODE))
    evm.insert_account_storage(HISTORY, seed_block % WINDOW, HASH)
    return job, seed_block


def go_to(world, number):
    world.evm.number = number - 1
    world.evm.set_time(world.evm.time + DRAW - 1)


def test_draw__last_block_of_the_history__takes_its_hash(world, challenged):
    job, seed_block = challenged
    go_to(world, seed_block + WINDOW)
    world.call(OWNER, "draw", job.id)
    assert int.from_bytes(world.round(job, 0)["seed"]) == HASH


def test_draw__one_block_later__is_over(world, challenged):
    job, seed_block = challenged
    go_to(world, seed_block + WINDOW)
    with pytest.raises(Reverted, match=r"^DrawOpen:"):
        world.call(OWNER, "lapse", job.words, job.delivery)
    world.evm.number += 1
    world.evm.set_block()
    with pytest.raises(Reverted, match=r"^DrawOver:"):
        world.call(OWNER, "draw", job.id)
    world.call(OWNER, "lapse", job.words, job.delivery)
