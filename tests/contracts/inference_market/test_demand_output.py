"""InferenceMarket.demandOutput, postOutput, convictWithheld: an answer is bytes, not a digest."""

import hashlib

import numpy as np
import pytest

from oracle.exact.dtypes import DType
from oracle.exact.tensors import TensorTree, tensor_leaf
from tests.contracts.chain import VirtualMachineError, at, now
from tests.contracts.market import (
    DEMAND_PERIOD,
    DOLLAR,
    EXACT,
    FEE,
    LOCK,
    MAX_DISPUTE_AGE,
    MULTIPLE,
    NO_CLAIM,
    OUTPUT,
    WINDOW,
    WITHHELD,
    WRONG_OUTPUT,
    ZERO,
    ZERO32,
    digest,
    publication,
    refuses,
)

MAX_OUTPUT = 65_536
DEMAND_GAS = 2_700_000


@pytest.fixture
def delivered(market):
    return market.delivered()


@pytest.fixture
def demanded(contract, delivered, bob):
    """A delivery whose output bob demanded, and the deadline."""
    transaction = contract.demandOutput(*delivered, {"from": bob, "value": 10**15})
    return (*delivered, transaction.timestamp + DEMAND_PERIOD)


def test_demand__not_delivered__reverts(market, contract, operator, bob):
    request = market.request()
    with refuses("RequestStateMismatch", market.id_of(request)):
        contract.demandOutput(request, (operator, now(), digest("x")), {"from": bob})


@pytest.mark.node  # base fee
def test_demand__bond_below_the_price_of_an_answer__reverts(contract, delivered, bob, base_fee):
    needed = 2 * DEMAND_GAS * 10**9
    fees = {"max_fee": 2 * 10**9, "priority_fee": 0}
    base_fee(10**9)
    with refuses("BondTooLow", needed - 1, needed):
        contract.demandOutput(*delivered, {"from": bob, "value": needed - 1, **fees})


def test_demand__twice__reverts(market, contract, demanded, alice):
    request, delivery, _ = demanded
    with refuses("OutputAlreadyDemanded", market.id_of(request)):
        contract.demandOutput(request, delivery, {"from": alice})


def test_demand__again_after_the_answer__reverts(market, contract, demanded, operator, alice):
    request, delivery, _ = demanded
    contract.postOutput(request, delivery, OUTPUT, {"from": operator})
    with refuses("OutputAlreadyDemanded", market.id_of(request)):
        contract.demandOutput(request, delivery, {"from": alice})


@pytest.fixture
def exact_delivered(market, contract, registry, programs, owner, operator, bob):
    """Deliver a tensor of an Exact version whose output bob demands."""
    programs.add(digest("program"), {"from": bob})
    exact = publication(assurance=EXACT, modelRoot=digest("program"))
    registry.publishVersion(1, registry.headOf(1), exact, {"from": owner})

    def deliver(tensor_id, array, dtype):
        tree = TensorTree.of(array, dtype)
        root = "0x" + tensor_leaf(tensor_id, tree.spec, tree.root).hex()
        request = market.request(version=2)
        transaction = contract.deliver(request, NO_CLAIM, (root, ZERO32, 0), {"from": operator})
        delivery = (operator, transaction.timestamp, root)
        contract.demandOutput(request, delivery, {"from": bob, "value": 5})
        rows, cols = array.shape
        shape = bytes([dtype]) + rows.to_bytes(4) + cols.to_bytes(4)
        return request, delivery, tensor_id.to_bytes(2) + shape + tree.stored.tobytes()

    return deliver


def seven_by_fifty():
    return np.arange(350, dtype=np.int32).reshape(7, 50) - 175


def test_deliver__exact_version__may_lie_under_any_cid(
    market, contract, registry, programs, owner, operator, bob
):
    """Its root is of a tensor, and no file's digest."""
    programs.add(digest("program"), {"from": bob})
    exact = publication(assurance=EXACT, modelRoot=digest("program"))
    registry.publishVersion(1, registry.headOf(1), exact, {"from": owner})
    request, cid = market.request(version=2), digest("file")
    sent = contract.deliver(request, NO_CLAIM, (digest("tensor"), cid, 0), {"from": operator})
    assert sent.events["Delivered"]["outputCid"] == cid


def test_post__exact_version_other_bytes__reverts(contract, exact_delivered, operator):
    request, delivery, b = exact_delivered(3, seven_by_fifty(), DType.I32)
    for spoilt in (
        *(b"", b[:10], b[:11], b[:-1], b + b"\0"),
        b[:-1] + bytes([b[-1] ^ 1]),
        b"\0\4" + b[2:],  # another id
        *(b[:2] + dtype + b[3:] for dtype in (b"\0", b"\4", b"\xff")),
        b[:3] + b[7:11] + b[3:7] + b[11:],  # rows and columns the other way round
        b[:3] + bytes(4) + b[7:],
        b[:3] + b"\xff" * 8 + b[11:],
    ):
        with pytest.raises(VirtualMachineError, match="OutputMismatch"):
            contract.postOutput(request, delivery, spoilt, {"from": operator})


def test_post__exact_version_the_files_bytes__are_not_the_tensor(
    market, contract, exact_delivered, operator
):
    request, delivery, _ = exact_delivered(3, seven_by_fifty(), DType.I32)
    with refuses("OutputMismatch", market.id_of(request), ZERO32, delivery[2]):
        contract.postOutput(request, delivery, OUTPUT, {"from": operator})


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (seven_by_fifty(), DType.I32),
        (np.full((1, 1), -7, np.int8), DType.I8),
        (np.arange(384, dtype=np.int16).reshape(1, 384), DType.I16),
        (np.arange(5 * 129, dtype=np.uint16).reshape(5, 129) * 99, DType.U16),
    ],
)
def test_post__exact_version__opens_the_tensor_that_was_delivered(
    market, contract, exact_delivered, array, dtype, alice
):
    request, delivery, output = exact_delivered(9, array, dtype)
    transaction = contract.postOutput(request, delivery, output, {"from": alice})
    assert transaction.events["OutputPosted"]["output"] == "0x" + output.hex()
    assert contract.openDisputesOf(market.id_of(request)) == 0


@pytest.mark.node  # gas
def test_post__exact_version_largest_output__costs_less_gas_than_the_bond_pays(
    contract, exact_delivered, operator
):
    array = np.full((64, 1_024), 127, np.int8)
    request, delivery, output = exact_delivered(9, array, DType.I8)
    too_many = MAX_OUTPUT + 11
    assert len(output) == too_many
    with refuses("OutputTooLarge", too_many + 1, too_many):
        contract.postOutput(request, delivery, output + b"\0", {"from": operator})
    assert contract.postOutput(request, delivery, output, {"from": operator}).gas_used < DEMAND_GAS


def test_demand__after_the_window_but_unsettled__is_allowed(market, contract, delivered, bob):
    request, delivery = delivered
    at(delivery[1] + 10 * WINDOW)
    transaction = contract.demandOutput(request, delivery, {"from": bob, "value": 5})
    deadline = delivery[1] + 10 * WINDOW + DEMAND_PERIOD
    assert dict(transaction.events["OutputDemanded"]) == {
        "requestId": market.id_of(request),
        "challenger": bob,
        "deadline": deadline,
        "bond": 5,
    }
    assert contract.demandOf(market.id_of(request)) == (bob, deadline, 5)
    assert contract.openDisputesOf(market.id_of(request)) == 1


def test_post__nothing_demanded__reverts(market, contract, delivered, operator):
    with refuses("OutputNotDemanded", market.id_of(delivered[0])):
        contract.postOutput(*delivered, OUTPUT, {"from": operator})


def test_post__at_the_deadline__reverts(market, contract, demanded, operator):
    request, delivery, deadline = demanded
    at(deadline)
    with refuses("DemandExpired", market.id_of(request), deadline):
        contract.postOutput(request, delivery, OUTPUT, {"from": operator})


def test_post__other_bytes__reverts(market, contract, demanded, operator):
    request, delivery, _ = demanded
    wrong = "0x" + hashlib.sha256(b"another answer").hexdigest()
    with refuses("OutputMismatch", market.id_of(request), wrong, delivery[2]):
        contract.postOutput(request, delivery, b"another answer", {"from": operator})


def test_post__too_many_bytes__reverts(contract, demanded, operator):
    request, delivery, _ = demanded
    with refuses("OutputTooLarge", MAX_OUTPUT + 1, MAX_OUTPUT):
        contract.postOutput(request, delivery, bytes(MAX_OUTPUT + 1), {"from": operator})


@pytest.mark.node  # gas
def test_post__largest_output__costs_less_gas_than_the_bond_pays(market, contract, operator, bob):
    output = bytes([255]) * MAX_OUTPUT
    request = market.request()
    root = "0x" + hashlib.sha256(output).hexdigest()
    transaction = contract.deliver(request, NO_CLAIM, (root, ZERO32, 0), {"from": operator})
    delivery = (operator, transaction.timestamp, root)
    contract.demandOutput(request, delivery, {"from": bob})
    assert contract.postOutput(request, delivery, output, {"from": operator}).gas_used < DEMAND_GAS


def test_post__twice__reverts(market, contract, demanded, operator):
    request, delivery, _ = demanded
    contract.postOutput(request, delivery, OUTPUT, {"from": operator})
    with refuses("OutputNotDemanded", market.id_of(request)):
        contract.postOutput(request, delivery, OUTPUT, {"from": operator})


def test_post__by_anyone__ends_the_demand(market, contract, demanded, alice, bob):
    request, delivery, deadline = demanded
    at(deadline - 1)
    transaction = contract.postOutput(request, delivery, OUTPUT, {"from": alice})
    assert transaction.events["OutputPosted"]["output"] == "0x" + OUTPUT.hex()
    assert contract.bondOf(bob) == 10**15  # gas is free here
    assert contract.openDisputesOf(market.id_of(request)) == 0
    at(transaction.events["OutputPosted"]["challengeUntil"])
    settled = contract.finalize([request], [delivery], {"from": bob})
    assert settled.events["Finalized"]["operatorFee"] == FEE * 7 // 10


@pytest.mark.node  # base fee
def test_post__gas_costs_more_than_when_it_was_demanded__pays_the_whole_bond(
    contract, delivered, operator, bob, base_fee
):
    contract.demandOutput(*delivered, {"from": bob, "value": 5})
    base_fee(10**9)
    fees = {"from": operator, "max_fee": 2 * 10**9, "priority_fee": 0}
    contract.postOutput(*delivered, OUTPUT, fees)
    assert (contract.bondOf(operator), contract.bondOf(bob)) == (5, 0)


@pytest.fixture
def late(contract, delivered, operator, bob):
    """Bytes demanded in the last second of the window, posted in the last one of the demand."""
    at(delivered[1][1] + WINDOW - 1)
    contract.demandOutput(*delivered, {"from": bob})
    at(delivered[1][1] + WINDOW - 1 + DEMAND_PERIOD - 1)
    posted = contract.postOutput(*delivered, OUTPUT, {"from": operator})
    until = posted.timestamp + min(WINDOW, DEMAND_PERIOD)
    assert posted.events["OutputPosted"]["challengeUntil"] == until
    return (*delivered, until)


def test_post__after_the_window__can_still_be_challenged(market, contract, late, committee, bob):
    """Else a liar shows its bytes when nobody may challenge them any more, and is paid."""
    request, delivery, until = late
    at(until - 1)
    with refuses("ChallengeWindowOpen", market.id_of(request), until):
        contract.finalize([request], [delivery], {"from": bob})
    at(until - 1)
    contract.openDispute(request, delivery, {"from": committee})
    stale = until + MAX_DISPUTE_AGE
    with refuses("DisputesNotStale", market.id_of(request), stale):
        contract.annulStale(request, delivery, {"from": bob})
    convicted = contract.convict(request, delivery, WRONG_OUTPUT, bob, bob, {"from": committee})
    assert convicted.events["Convicted"]["verdict"] == WRONG_OUTPUT


def test_post__after_the_window_and_nobody_challenged__is_settled(
    market, contract, late, committee, bob
):
    request, delivery, until = late
    at(until)
    with refuses("ChallengeWindowPassed", market.id_of(request), until):
        contract.openDispute(request, delivery, {"from": committee})
    assert contract.finalize([request], [delivery], {"from": bob}).events["Finalized"]


def test_convict_withheld__nothing_demanded__reverts(market, contract, delivered, bob):
    with refuses("OutputNotDemanded", market.id_of(delivered[0])):
        contract.convictWithheld(*delivered, {"from": bob})


def test_convict_withheld__second_before_the_deadline__reverts(market, contract, demanded, bob):
    request, delivery, deadline = demanded
    at(deadline - 1)
    with refuses("DemandOpen", market.id_of(request), deadline):
        contract.convictWithheld(request, delivery, {"from": bob})


def test_convict_withheld__after_the_answer__reverts(market, contract, demanded, operator, bob):
    request, delivery, deadline = demanded
    contract.postOutput(request, delivery, OUTPUT, {"from": operator})
    at(deadline)
    with refuses("OutputNotDemanded", market.id_of(request)):
        contract.convictWithheld(request, delivery, {"from": bob})


@pytest.mark.life
def test_convict_withheld__at_the_deadline__pays_everybody_from_the_stake(
    market, contract, operators, demanded, alice, bob, operator, rival
):
    request, delivery, deadline = demanded
    before = contract.balanceOf(alice)
    at(deadline)
    transaction = contract.convictWithheld(request, delivery, {"from": rival})
    insured, bounty = MULTIPLE * FEE, LOCK * 30 // 100
    burned = LOCK - insured - bounty
    assert dict(transaction.events["Convicted"]) == {
        "requestId": market.id_of(request),
        "operator": operator,
        "verdict": WITHHELD,
        "refund": FEE,
        "compensation": insured,
        "bounty": bounty,
        "burned": burned,
    }
    assert burned * 5 >= LOCK
    assert contract.balanceOf(alice) == before + FEE + insured
    assert contract.balanceOf(bob) == bounty // 2
    assert contract.balanceOf(rival) == bounty - bounty // 2
    assert operators.burned() == burned
    assert operators.stakeOf(operator) == (100 * DOLLAR - LOCK, 0, True)
    assert contract.bondOf(bob) == 10**15
    assert market.commitment() == 1
    assert contract.demandOf(market.id_of(request)) == (ZERO, deadline, 0)


def test_withdraw_bond__nothing__reverts(contract, bob):
    with refuses("AmountZero"):
        contract.withdrawBond({"from": bob})


def test_withdraw_bond__payee_refuses_ether__keeps_it(market, contract, delivered, bob, TestWallet):
    wallet = TestWallet.deploy({"from": bob})
    data = contract.demandOutput.encode_input(*delivered)
    deadline = wallet.execute(contract, data, {"from": bob, "value": 7}).timestamp + DEMAND_PERIOD
    at(deadline)
    contract.convictWithheld(*delivered, {"from": bob})
    withdraw = contract.withdrawBond.encode_input()
    with refuses("TransferFailed", wallet, 7):
        wallet.execute(contract, withdraw, {"from": bob})
    assert contract.bondOf(wallet) == 7
    wallet.acceptEther(True, {"from": bob})
    wallet.execute(contract, withdraw, {"from": bob})
    assert (wallet.balance(), contract.bondOf(wallet), contract.balance()) == (7, 0, 0)


def test_withdraw_bond__in_order__pays_once(contract, demanded, operator, bob):
    request, delivery, _ = demanded
    contract.postOutput(request, delivery, OUTPUT, {"from": operator})
    before = bob.balance()
    transaction = contract.withdrawBond({"from": bob})
    assert bob.balance() == before + 10**15
    assert dict(transaction.events["BondWithdrawn"]) == {"account": bob, "amount": 10**15}
    with refuses("AmountZero"):
        contract.withdrawBond({"from": bob})
