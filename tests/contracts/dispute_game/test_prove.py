"""DisputeGame.challenge and prove: a fault is committed to, then shown, and convicts."""

import pytest
from eth_utils import keccak

from tests.contracts.chain import at, fund, now, rpc
from tests.contracts.dispute_game.game import (
    CHALLENGER,
    CLOCK,
    NONE,
    SALT,
    TRACE,
    Answer,
    hexed,
)
from tests.contracts.exact import SINGLE_FAULT, example
from tests.contracts.market import (
    DOLLAR,
    FEE,
    LOCK,
    MULTIPLE,
    NO_CLAIM,
    WINDOW,
    WRONG_OUTPUT,
    ZERO,
    ZERO32,
    Verbatim,
    publication,
    refuses,
)

GAME_GAS = 1_200_000


@pytest.fixture
def challenged(game, lie, bob, fault):
    """Bob hid the fault in a challenge, with a bond of 10 wei."""
    game.challenge(lie, bob, *fault, bond=10)
    return lie


# ── challenge ───────────────────────────────────────────────────────────────────────────────────
@pytest.mark.node  # base fee
def test_challenge__bond_below_the_price_of_a_game__reverts(game, lie, bob, fault, base_fee):
    needed = 2 * GAME_GAS * 10**9
    fees = {"max_fee": 2 * 10**9, "priority_fee": 0}
    base_fee(10**9)
    with refuses("BondTooLow", needed - 1, needed):
        game.challenge(lie, bob, *fault, bond=needed - 1, **fees)


def test_challenge__bond_above_its_field__reverts(game, lie, bob):
    fund(bob, 2**98)
    with refuses("SafeCastOverflowedUintDowncast", 96, 2**96):
        game.challenge(lie, bob, bond=2**96)


def test_challenge__more_than_32_of_an_answer__reverts(game, lie, bob, accounts):
    for _ in range(32):
        game.challenge(lie, accounts.add())
    with refuses("ChallengesExhausted", lie.id, 32):
        game.challenge(lie, bob)


def test_challenge__twice__reverts(game, challenged, bob):
    with refuses("ChallengeExists", challenged.id, bob):
        game.challenge(challenged, bob)


def test_challenge__second_the_window_is_over__reverts(game, lie, bob, fault):
    until = lie.delivery[1] + WINDOW
    at(until)
    with refuses("ChallengeWindowPassed", lie.id, until):
        game.challenge(lie, bob, *fault)


def test_challenge__never_delivered__reverts(game, market, lie, bob):
    lie.delivery = (*lie.delivery[:2], hexed(example().honest.output_root))
    with refuses("RequestStateMismatch", lie.id):
        game.challenge(lie, bob)


def test_challenge__version_of_the_committee__reverts(game, market, registry, owner, bob):
    registry.publishVersion(1, registry.headOf(1), publication(), {"from": owner})
    answer = game.answer(example().lie_inside, version=2)
    with refuses("CallerNotModule", game.contract):
        game.challenge(answer, bob)


def test_challenge__with_a_witness__is_the_challengers_turn(game, contract, lie, bob, fault):
    at(lie.delivery[1] + WINDOW - 1)
    transaction = game.challenge(lie, bob, *fault, bond=10)
    witness = game.witness(lie, bob, *fault)
    deadline = transaction.timestamp + CLOCK
    assert dict(transaction.events["Challenged"]) == {
        "requestId": lie.id,
        "challenger": bob,
        "witness": witness,
        "bond": 10,
        "deadline": deadline,
    }
    assert game.contract.challengeOf(lie.id, bob) == (
        *(CHALLENGER, 0, deadline, CLOCK, CLOCK, transaction.block_number, 10, witness, 0),
        *(bob, ZERO),
    )
    assert contract.openDisputesOf(lie.id) == 1
    assert game.contract.firstChallengerOf(lie.id) == bob


def test_challenge__without__is_the_operators(game, lie, bob):
    game.challenge(lie, bob)
    found = game.turn(lie, bob)
    assert (found["turn"], found["witnessBlock"], found["bond"]) == (TRACE, 0, 0)


def test_challenge__without_but_the_trace_is_there__is_the_challengers(game, lie, bob, carol):
    game.challenge(lie, bob)
    game.commit(lie)
    game.challenge(lie, carol)
    assert game.turn(lie, carol)["turn"] == CHALLENGER


# ── prove ───────────────────────────────────────────────────────────────────────────────────────
def test_prove__no_challenge__reverts(game, lie, bob, fault):
    with refuses("ChallengeMissing", lie.id, bob):
        game.prove(lie, bob, lie.step(*fault), game.receipt(lie))


def test_prove__the_trace_is_awaited__reverts(game, lie, bob, fault):
    game.challenge(lie, bob)
    with refuses("TurnInvalid", lie.id, bob, TRACE):
        game.prove(lie, bob, lie.step(*fault), game.receipt(lie))


def test_prove__second_the_turn_is_over__reverts(game, challenged, bob, fault):
    deadline = game.turn(challenged, bob)["deadline"]
    at(deadline)
    with refuses("TurnOver", challenged.id, deadline):
        game.prove(challenged, bob, challenged.step(*fault), game.receipt(challenged))


def test_prove__no_witness__reverts(game, lie, bob, fault):
    game.challenge(lie, bob)
    game.commit(lie)
    with refuses("WitnessMissing", lie.id, bob):
        game.prove(lie, bob, lie.step(*fault))


def test_prove__other_than_the_witness__reverts(game, challenged, bob, fault):
    op, row, col = fault
    for place in ((op + 1, row, col), (op, row + 1, col), (op, row, col - 1)):
        with refuses("WitnessMismatch", challenged.id, bob):
            game.prove(challenged, bob, challenged.step(*place))
    with refuses("WitnessMismatch", challenged.id, bob):
        game.prove(challenged, bob, challenged.step(*fault), salt=ZERO32)


def test_prove__witness_copied_from_the_pool__reverts(game, challenged, bob, carol, fault):
    witness = game.witness(challenged, bob, *fault)
    game.contract.challenge(*challenged.of, witness, {"from": carol})
    with refuses("WitnessMismatch", challenged.id, carol):
        game.prove(challenged, carol, challenged.step(*fault), game.receipt(challenged))


@pytest.mark.node  # two transactions in one block
def test_prove__in_the_block_of_the_witness__reverts(game, lie, bob, fault):
    """Challenge and proof in one block: what a copier of a pending proof would have to do."""
    contract, receipt, step = game.contract, game.receipt(lie), lie.step(*fault)
    witness = game.witness(lie, bob, *fault)
    calls = (
        contract.challenge.encode_input(*lie.of, witness),
        contract.prove.encode_input(*lie.of, game.record, receipt, SALT, step),
    )

    rpc("evm_setAutomine", False)
    try:
        sender = {"from": bob.address, "to": contract.address, "gas": hex(3_000_000)}
        hashes = [rpc("eth_sendTransaction", {**sender, "data": data}) for data in calls]
        rpc("evm_mine")
    finally:
        rpc("evm_setAutomine", True)
    mined = [rpc("eth_getTransactionReceipt", hash_) for hash_ in hashes]
    assert mined[0]["blockNumber"] == mined[1]["blockNumber"]
    trace = rpc("debug_traceTransaction", hashes[1], {"tracer": "callTracer"})
    block = int(mined[0]["blockNumber"], 16)
    error = keccak(b"WitnessTooYoung(bytes32,uint256)")[:4]
    assert trace["output"] == hexed(error + bytes.fromhex(lie.id[2:]) + (block + 1).to_bytes(32))
    assert "Convicted" in game.prove(lie, bob, step, receipt).events


def test_prove__right_element__reverts(game, truth, bob, fault):
    game.challenge(truth, bob, *fault)
    with refuses("StepConsistent", *fault):
        game.prove(truth, bob, truth.step(*fault), game.receipt(truth))


def test_prove__other_record__reverts(game, challenged, bob, fault):
    for field in range(6):
        record = list(game.record)
        record[field] = {3: 7, 4: bob.address, 5: 7}.get(field, "0x" + "99" * 32)
        arguments = (tuple(record), game.receipt(challenged), SALT, challenged.step(*fault))
        with refuses("RecordMismatch", 1, 1):
            game.contract.prove(*challenged.of, *arguments, {"from": bob})


def test_prove__without_any_trace__reverts(game, challenged, bob, fault):
    with refuses("ProofInvalid", Verbatim("result")):
        game.prove(challenged, bob, challenged.step(*fault))


def test_prove__receipt_of_somebody_else__reverts(game, challenged, operator, bob, rival, fault):
    receipt = game.receipt(challenged, signer=rival)
    with refuses("ReceiptInvalid", challenged.id, operator):
        game.prove(challenged, bob, challenged.step(*fault), receipt)


def test_prove__receipt_for_another_request_chain_or_game__reverts(
    game, challenged, operator, bob, fault
):
    for elsewhere in (
        {"chainId": 1},
        {"verifyingContract": "0x" + "11" * 20},
        {"request_id": "0x" + "12" * 32},
        {"version": "2"},
    ):
        receipt = game.receipt(challenged, **elsewhere)
        with refuses("ReceiptInvalid", challenged.id, operator):
            game.prove(challenged, bob, challenged.step(*fault), receipt)


def test_prove__receipt_for_another_output__reverts(game, challenged, operator, bob, fault):
    receipt = game.receipt(challenged, output_root=hexed(example().honest.output_root))
    with refuses("ReceiptInvalid", challenged.id, operator):
        game.prove(challenged, bob, challenged.step(*fault), receipt)


def test_prove__receipt_but_a_trace_is_there__is_not_looked_at(game, challenged, bob, fault):
    game.commit(challenged)
    events = game.prove(challenged, bob, challenged.step(*fault), (ZERO32, ZERO32, b"x")).events
    assert "Convicted" in events
    assert "ReceiptAccepted" not in events


def test_prove__answer_of_another_request__reverts(game, challenged, bob, fault):
    other = game.answer(example().lie_inside, lane=1)
    with refuses("ChallengeMissing", other.id, bob):
        game.prove(other, bob, challenged.step(*fault), game.receipt(other))


def test_prove__data_was_served__convicts_in_two_transactions(
    game, contract, operators, challenged, alice, bob, operator, fault
):
    before = contract.balanceOf(alice)
    transaction = game.prove(challenged, bob, challenged.step(*fault), game.receipt(challenged))
    events = transaction.events
    assert events["ReceiptAccepted"]["traceRoot"] == hexed(challenged.committed.trace_root)
    assert dict(events["FaultProven"]) == {
        "requestId": challenged.id,
        "challenger": bob,
        **dict(zip(("op", "row", "col"), fault, strict=True)),
    }
    assert events["Convicted"]["verdict"] == WRONG_OUTPUT
    assert contract.balanceOf(alice) == before + FEE + MULTIPLE * FEE
    assert contract.balanceOf(bob) == LOCK * 30 // 100
    assert operators.stakeOf(operator) == (100 * DOLLAR - LOCK, 0, True)
    assert game.contract.bondOf(bob) == 10
    assert game.turn(challenged, bob)["turn"] == NONE


def test_prove__only_the_output_is_wrong__convicts(game, bob):
    lie = game.answer(example().lie_at_the_end)
    game.challenge(lie, bob, 2, 4, 5)
    assert "Convicted" in game.prove(lie, bob, lie.step(2, 4, 5), game.receipt(lie)).events


def test_prove__program_of_one_operator__needs_no_trace(lone, bob, carol):
    game, lie = lone
    game.challenge(lie, bob, *SINGLE_FAULT)
    game.challenge(lie, carol)
    assert dict(game.commit(lie).events["TraceCommitted"]) == {
        "requestId": lie.id,
        "traceRoot": ZERO32,
        "leaves": (),
    }
    assert game.turn(lie, carol)["turn"] == CHALLENGER
    assert "Convicted" in game.prove(lie, bob, lie.step(*SINGLE_FAULT)).events


def test_prove__by_a_second_challenger__half_of_the_bounty_is_the_firsts(
    game, contract, challenged, bob, carol, fault
):
    game.challenge(challenged, carol, *fault, bond=4)
    game.prove(challenged, carol, challenged.step(*fault), game.receipt(challenged))
    assert game.contract.bondOf(carol) == 4
    game.contract.releaseBond(challenged.id, bob, {"from": carol})
    assert contract.balanceOf(bob) == contract.balanceOf(carol) == LOCK * 30 // 100 // 2
    assert game.contract.bondOf(bob) == 10


def test_prove__the_first_failed__the_next_is_the_oldest(
    game, contract, lie, bob, carol, rival, fault
):
    game.challenge(lie, bob, *fault)
    at(now() + 30)
    game.challenge(lie, carol, *fault)
    game.challenge(lie, rival, *fault)
    game.lapse(lie, bob, rival)
    assert game.contract.firstChallengerOf(lie.id) == carol
    game.prove(lie, rival, lie.step(*fault), game.receipt(lie))
    game.contract.releaseBond(lie.id, carol, {"from": rival})
    assert contract.balanceOf(carol) == contract.balanceOf(rival) == LOCK * 30 // 100 // 2


@pytest.fixture
def wallet(market, operators, token, owner, bob, TestWallet):
    """A contract wallet (ERC-1271) that is an operator of model 1."""
    wallet = TestWallet.deploy({"from": bob})
    token.faucet(wallet, 100 * DOLLAR, {"from": bob})
    for target, data in [
        (operators, operators.register.encode_input(ZERO32, "")),
        (token, token.approve.encode_input(operators, 100 * DOLLAR)),
        (operators, operators.stake.encode_input(wallet, 100 * DOLLAR)),
    ]:
        wallet.execute(target, data, {"from": bob})
    operators.authorize(1, wallet, True, {"from": owner})
    return wallet


def test_prove__operator_is_a_contract_wallet__receipt_by_erc_1271(
    game, contract, wallet, bob, fault
):
    committed = example().lie_inside
    request = game.market.request(operator=wallet, inputRoot=hexed(committed.input_root))
    root, trace = hexed(committed.output_root), hexed(committed.trace_root)
    data = contract.deliver.encode_input(request, NO_CLAIM, (root, ZERO32, 0))
    delivery = (wallet.address, wallet.execute(contract, data, {"from": bob}).timestamp, root)
    request_id = game.market.id_of(request)
    lie = Answer(request, delivery, committed, example().constants, request_id)
    game.challenge(lie, bob, *fault)
    receipt, step = (root, trace, b"by contract"), lie.step(*fault)
    with refuses("ReceiptInvalid", lie.id, wallet):
        game.prove(lie, bob, step, receipt)
    wallet.approve(game.contract.receiptHash(request_id, root, trace), {"from": bob})
    assert "Convicted" in game.prove(lie, bob, step, receipt).events


@pytest.mark.node  # code at an account with a key
def test_prove__operator_takes_on_code__cannot_deny_its_receipt(
    game, challenged, bob, operator, fault
):
    receipt = game.receipt(challenged)
    # EIP-7702: an account with a key delegates to code, here to one that denies all signatures.
    rpc("anvil_setCode", operator.address, "0xef0100" + game.contract.address[2:])
    try:
        proof = game.prove(challenged, bob, challenged.step(*fault), receipt)
        assert "Convicted" in proof.events
    finally:
        rpc("anvil_setCode", operator.address, "0x")


def test_prove__last_second__counts(game, challenged, bob, fault):
    at(game.turn(challenged, bob)["deadline"] - 1)
    receipt = game.receipt(challenged)
    assert "Convicted" in game.prove(challenged, bob, challenged.step(*fault), receipt).events
