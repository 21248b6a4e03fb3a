"""RequestLens.freeLane: the first lane of the market that a request can use."""

import pytest

from tests.contracts.market import refuses

COMMITMENTS_SLOT = 3  # of `_commitments` in the market's storage


def test_free_lane__none_used__is_the_one_asked_for(lens, market, alice):
    assert lens.freeLane(alice, 0) == 0
    assert lens.freeLane(alice, 77) == 77


def test_free_lane__some_used__is_the_lowest_free(lens, market, alice):
    for lane in (0, 1, 3):
        market.request(lane=lane)
    assert [lens.freeLane(alice, lane) for lane in (0, 1, 3)] == [2, 2, 4]


def test_free_lane__beyond_the_last__reverts(lens, market, alice):
    market.request(lane=2**31 - 1)
    with refuses("LaneInvalid", 2**31, 2**31 - 1):
        lens.freeLane(alice, 2**31 - 1)


@pytest.mark.node  # storage written behind the contract's back
def test_free_lane__256_used__reverts(lens, market, contract, access, owner, alice, web3):
    access.grant(1, alice, 0, 0, 0, {"from": owner})
    for lane in range(256):  # written into storage: 256 requests would take a minute
        slot = web3.solidity_keccak(
            ["uint256", "uint256"], [int(alice.address, 16) | lane << 160, COMMITMENTS_SLOT]
        )
        web3.provider.make_request(
            "anvil_setStorageAt", [contract.address, web3.to_hex(slot), "0x" + "22" * 32]
        )
    with refuses("LaneBusy", alice, 255):
        lens.freeLane(alice, 0)
    assert lens.freeLane(alice, 1) == 256
