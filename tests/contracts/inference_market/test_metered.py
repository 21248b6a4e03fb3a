"""Versions that are paid by units: the fee is escrowed, what the units leave of it comes back."""

import pytest
from eth_abi.abi import encode
from eth_utils import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.types import Amount, Assurance, Terms
from tests.contracts.chain import at, now
from tests.contracts.market import (
    DEMAND_PERIOD,
    FEE,
    LOCK,
    MULTIPLE,
    NO_CLAIM,
    OUTPUT,
    OUTPUT_ROOT,
    WINDOW,
    WRONG_OUTPUT,
    ZERO32,
    publication,
    refuses,
)
from tests.support.effort import CASES

MOST = 7  # units of an answer; 250,000 is no multiple of it


@pytest.fixture
def metered(market, registry, owner):
    """Version 2 of the model, by units."""
    registry.publishVersion(1, registry.headOf(1), publication(maxUnits=MOST), {"from": owner})
    return market


def price(units: int) -> int:
    return -(-FEE * units // MOST)


@pytest.mark.parametrize("units", [0, MOST + 1, 2**32, 2**256 - 1])
def test_deliver__units_that_a_metered_version_cannot_have__reverts(metered, units):
    request = metered.request(version=2)
    with refuses("UnitsInvalid", metered.id_of(request), units, MOST):
        metered.deliver(request, units=units)


@pytest.mark.parametrize("units", [1, 2**224])
def test_deliver__units_under_a_flat_fee__reverts(market, units):
    request = market.request()
    with refuses("UnitsInvalid", market.id_of(request), units, 0):
        market.deliver(request, units=units)


def test_deliver_batch__one_of_too_many_units__reverts_all(metered, contract, operator):
    requests = [metered.request(version=2, lane=lane) for lane in range(2)]
    answers = [(OUTPUT_ROOT, ZERO32, units) for units in (1, MOST + 1)]
    with refuses("UnitsInvalid", metered.id_of(requests[1]), MOST + 1, MOST):
        contract.deliverBatch(requests, [NO_CLAIM] * 2, answers, {"from": operator})


def test_deliver__metered__logs_the_units_and_locks_for_the_whole_fee(
    metered, contract, operators, operator
):
    request = metered.request(version=2)
    answer = (OUTPUT_ROOT, ZERO32, 3)
    made = contract.deliver(request, NO_CLAIM, answer, {"from": operator})
    assert made.events["Delivered"]["stamp"] == made.timestamp | 3 << 40
    assert operators.stakeOf(operator)[1] == LOCK


def test_deliver__metered__commitment_is_of_id_operator_stamp_and_root(metered, contract, operator):
    request = metered.request(version=2)
    metered.deliver(request, units=3)
    types = ["bytes32", "address", "uint256", "bytes32"]
    words = (metered.id_of(request), operator.address, now() | 3 << 40, OUTPUT_ROOT)
    raw = [bytes.fromhex(w[2:]) if t == "bytes32" else w for t, w in zip(types, words, strict=True)]
    assert metered.commitment() == int.from_bytes(keccak(encode(types, raw)), "big")


@pytest.mark.parametrize("changed", [0, 2, 4, 2**32 + 3, 2**215 + 3])
def test_finalize__other_units_than_delivered__reverts(metered, contract, bob, changed):
    request = metered.request(version=2)
    delivery = metered.deliver(request, units=3)
    stamp = now() | changed << 40
    at(now() + WINDOW)
    with refuses("RequestStateMismatch", metered.id_of(request)):
        contract.finalize([request], [(delivery[0], stamp, delivery[2])], {"from": bob})


@pytest.mark.parametrize("units", [1, 3, MOST])
def test_finalize__metered__pays_the_units_and_returns_the_rest(
    metered, contract, operator, treasury, alice, units
):
    before = contract.balanceOf(alice)
    request = metered.request(version=2)
    assert contract.balanceOf(alice) == before - FEE
    event = metered.finalize(request, metered.deliver(request, units=units)).events["Finalized"]

    paid = price(units)
    assert event["refund"] == FEE - paid
    assert event["operatorFee"] == paid * 7_000 // 10_000
    shares = ("operatorFee", "ownerFee", "dataFee", "protocolFee")
    assert sum(event[share] for share in shares) == paid
    assert contract.balanceOf(alice) == before - paid
    assert contract.balanceOf(operator) == event["operatorFee"]
    assert contract.balanceOf(treasury) == event["protocolFee"]
    assert contract.modelEarnings(1) == (event["ownerFee"], event["dataFee"])


@pytest.mark.parametrize(
    ("fee", "most", "units"),
    [(0, 5, 1), (1, 2**32 - 1, 1), (1, 3, 2), (10**7, 2**32 - 1, 2**32 - 2), (999_999, 10**3, 1)],
)
def test_finalize__metered__rounds_up_as_python_does(
    market, contract, registry, owner, alice, fee, most, units
):
    fields = publication(fee=fee, maxUnits=most)
    registry.publishVersion(1, registry.headOf(1), fields, {"from": owner})
    before = contract.balanceOf(alice)
    request = market.request(version=2, maxFee=fee)
    event = market.finalize(request, market.deliver(request, units=units)).events["Finalized"]
    paid = Terms.unpack(registry.termsOf(1, 2)).price(units)
    assert (event["refund"], contract.balanceOf(alice)) == (fee - paid, before - paid)
    shares = ("operatorFee", "ownerFee", "dataFee", "protocolFee")
    assert sum(event[share] for share in shares) == paid


def test_finalize__batch_of_both_kinds__returns_to_each_requester_its_own(
    metered, contract, operator, alice
):
    before = contract.balanceOf(alice)
    flat = metered.delivered(lane=0)
    request = metered.request(version=2, lane=1)
    delivery = metered.deliver(request, units=2)
    at(now() + WINDOW)
    made = contract.finalize([flat[0], request], [flat[1], delivery], {"from": operator})
    assert [event["refund"] for event in made.events["Finalized"]] == [0, FEE - price(2)]
    assert contract.balanceOf(alice) == before - FEE - price(2)


def test_convict__metered__refunds_and_insures_the_whole_fee(
    metered, contract, committee, alice, bob, rival
):
    before = contract.balanceOf(alice)
    request = metered.request(version=2)
    delivery = metered.deliver(request, units=1)
    contract.openDispute(request, delivery, {"from": committee})
    verdict = (WRONG_OUTPUT, bob, rival)
    made = contract.convict(request, delivery, *verdict, {"from": committee})
    assert made.events["Convicted"]["refund"] == FEE
    assert contract.balanceOf(alice) == before + FEE * MULTIPLE


def test_annul__metered__refunds_the_whole_fee(metered, contract, committee, alice):
    before = contract.balanceOf(alice)
    request = metered.request(version=2)
    delivery = metered.deliver(request, units=1)
    contract.openDispute(request, delivery, {"from": committee})
    contract.annul(request, delivery, {"from": committee})
    assert contract.balanceOf(alice) == before


def test_post_output__metered__is_settled_by_its_units(metered, contract, operator, alice, bob):
    before = contract.balanceOf(alice)
    request = metered.request(version=2)
    delivery = metered.deliver(request, units=4)
    contract.demandOutput(request, delivery, {"from": bob})
    contract.postOutput(request, delivery, OUTPUT, {"from": operator})
    at(now() + max(WINDOW, DEMAND_PERIOD))
    contract.finalize([request], [delivery], {"from": bob})
    assert contract.balanceOf(alice) == before - price(4)


def test_set_terms__request_under_way__is_paid_as_it_was_asked(
    metered, contract, registry, owner, alice
):
    before = contract.balanceOf(alice)
    request = metered.request(version=2)
    registry.setTerms(1, 2, FEE // 2, 7_000, 1_000, MULTIPLE, WINDOW, {"from": owner})
    metered.finalize(request, metered.deliver(request, units=5))
    assert contract.balanceOf(alice) == before - price(5)


@settings(max_examples=CASES, deadline=None, derandomize=True, database=None)
@given(
    fee=st.integers(0, 2**64 - 1),
    most=st.integers(1, 2**32 - 1),
    data=st.data(),
)
def test_price__any_fee_and_units__is_a_part_of_the_fee_never_below_its_share(fee, most, data):
    """Of the twin of `Fees.price`; the cases above and the state machine hold the two together."""
    terms = Terms(Amount(fee), 7_000, 0, 1, 60, 1, Assurance.COMMITTEE, max_units=most)
    units = data.draw(st.integers(1, most))
    paid = terms.price(units)
    assert 0 <= paid * most - fee * units < most  # rounded up, by less than a token unit
    assert terms.price(most) == fee
    assert terms.price(units - 1) <= paid <= fee
    assert Terms.unpack(terms.pack()) == terms
