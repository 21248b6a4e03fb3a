"""enlist, startLeave, finishLeave, declareRuntimeClass; weightAt, poolAt."""

import pytest

from tests.contracts.chain import at, chain, now
from tests.contracts.committee.panel import DEAD, GENERAL, LEAVE_DELAY, MIN_STAKE, SEASONING
from tests.contracts.market import ZERO, ZERO32, Verbatim, digest, refuses

CLASS = digest("torch.export")


def test_enlist__nothing__reverts(empty, bob):
    with refuses("AmountZero"):
        empty.seats.enlist(GENERAL, 0, {"from": bob})


def test_enlist__less_than_a_seat__reverts(empty, bob):
    empty.fund(bob, MIN_STAKE)
    with refuses("SeatTooSmall", bob, MIN_STAKE - 1, MIN_STAKE):
        empty.seats.enlist(GENERAL, MIN_STAKE - 1, {"from": bob})


def test_enlist__while_leaving__reverts(empty, bob):
    empty.enlist(bob)
    empty.seats.startLeave(GENERAL, {"from": bob})
    release_at = empty.seats.seatOf(GENERAL, bob)[1]
    empty.fund(bob, MIN_STAKE)
    with refuses("SeatLeaving", bob, GENERAL, release_at):
        empty.seats.enlist(GENERAL, MIN_STAKE, {"from": bob})


def test_enlist__too_much_for_the_field__reverts(empty, bob):
    with refuses("SafeCastOverflowedUintDowncast", 96, 2**96):
        empty.seats.enlist(GENERAL, 2**96, {"from": bob})


def test_enlist__without_allowance__reverts(empty, bob):
    with refuses("ERC20InsufficientAllowance", empty.seats, 0, MIN_STAKE):
        empty.seats.enlist(GENERAL, MIN_STAKE, {"from": bob})


def test_enlist__twice__adds_up_and_counts_after_seasoning(empty, token, bob):
    first = empty.enlist(bob, MIN_STAKE, CLASS)
    at(first.timestamp + 5)
    empty.token.approve(empty.seats, 1, {"from": bob})
    empty.token.faucet(bob, 1, {"from": bob})
    at(first.timestamp + 7)
    second = empty.seats.enlist(CLASS, 1, {"from": bob})
    assert dict(second.events["Enlisted"]) == {
        "member": bob,
        "runtimeClass": CLASS,
        "amount": 1,
        "stake": MIN_STAKE + 1,
    }
    assert token.balanceOf(empty.seats) == MIN_STAKE + 1
    weights = [
        empty.seats.weightAt(CLASS, bob, first.timestamp + seconds) for seconds in (-1, 0, 6, 7)
    ]
    assert weights == [0, MIN_STAKE, MIN_STAKE, MIN_STAKE + 1]
    assert empty.seats.poolAt(CLASS, first.timestamp + 7) == MIN_STAKE + 1
    assert empty.seats.poolAt(GENERAL, first.timestamp + 7) == 0


def test_start_leave__no_seat__reverts(empty, bob):
    with refuses("SeatMissing", bob, GENERAL):
        empty.seats.startLeave(GENERAL, {"from": bob})


def test_start_leave__twice__reverts(empty, bob):
    empty.enlist(bob)
    empty.seats.startLeave(GENERAL, {"from": bob})
    release_at = empty.seats.seatOf(GENERAL, bob)[1]
    with refuses("SeatLeaving", bob, GENERAL, release_at):
        empty.seats.startLeave(GENERAL, {"from": bob})


def test_start_leave__a_seat__weighs_nothing_from_then_on(empty, bob, alice):
    empty.enlist(bob)
    empty.enlist(alice, 2 * MIN_STAKE)
    at(now() + 5)
    transaction = empty.seats.startLeave(GENERAL, {"from": bob})
    time = transaction.timestamp
    assert dict(transaction.events["LeaveStarted"]) == {
        "member": bob,
        "runtimeClass": GENERAL,
        "amount": MIN_STAKE,
        "releaseAt": time + LEAVE_DELAY,
    }
    assert empty.seats.poolAt(GENERAL, time - 1) == 3 * MIN_STAKE
    assert empty.seats.poolAt(GENERAL, time) == 2 * MIN_STAKE
    assert empty.seats.weightAt(GENERAL, bob, time) == 0
    assert empty.seats.config()[3] == LEAVE_DELAY


def test_finish_leave__never_started__reverts(empty, bob):
    empty.enlist(bob)
    with refuses("SeatMissing", bob, GENERAL):
        empty.seats.finishLeave(GENERAL, {"from": bob})


def test_finish_leave__second_too_early__reverts(empty, bob):
    empty.enlist(bob)
    release_at = empty.seats.startLeave(GENERAL, {"from": bob}).timestamp + LEAVE_DELAY
    at(release_at - 1)
    with refuses("SeatBound", bob, GENERAL, release_at):
        empty.seats.finishLeave(GENERAL, {"from": bob})


def test_finish_leave__in_time__pays_the_stake_once(empty, token, bob):
    empty.enlist(bob)
    release_at = empty.seats.startLeave(GENERAL, {"from": bob}).timestamp + LEAVE_DELAY
    before = token.balanceOf(bob)
    at(release_at)
    event = empty.seats.finishLeave(GENERAL, {"from": bob}).events["LeaveFinished"]
    assert dict(event) == {"member": bob, "runtimeClass": GENERAL, "amount": MIN_STAKE}
    assert token.balanceOf(bob) == before + MIN_STAKE
    with refuses("SeatMissing", bob, GENERAL):
        empty.seats.finishLeave(GENERAL, {"from": bob})
    assert empty.enlist(bob).events["Enlisted"]["stake"] == MIN_STAKE


def test_declare_runtime_class__by_somebody_else__reverts(empty, bob):
    with refuses("CallerNotModelOwner", 1, bob):
        empty.seats.declareRuntimeClass(1, 1, CLASS, {"from": bob})


@pytest.mark.parametrize("version", [0, 2])
def test_declare_runtime_class__no_such_version__reverts(empty, owner, version):
    with refuses("VersionUnknown", 1, version):
        empty.seats.declareRuntimeClass(1, version, CLASS, {"from": owner})


def test_declare_runtime_class__the_general_one__reverts(empty, owner):
    with refuses("RuntimeClassInvalid", 1, 1, ZERO32):
        empty.seats.declareRuntimeClass(1, 1, ZERO32, {"from": owner})


def test_declare_runtime_class__twice__reverts(empty, owner):
    transaction = empty.seats.declareRuntimeClass(1, 1, CLASS, {"from": owner})
    assert dict(transaction.events["RuntimeClassDeclared"]) == {
        "modelId": 1,
        "version": 1,
        "runtimeClass": CLASS,
    }
    assert empty.seats.runtimeClassOf(1, 1) == (CLASS, transaction.timestamp)
    with refuses("RuntimeClassInvalid", 1, 1, digest("other")):
        empty.seats.declareRuntimeClass(1, 1, digest("other"), {"from": owner})


def test_history__of_many_changes__is_found_at_every_second(empty, bob):
    empty.fund(bob, MIN_STAKE + 20)
    empty.seats.enlist(GENERAL, MIN_STAKE, {"from": bob})
    changes = []
    for _ in range(20):
        at(now() + 2)
        transaction = empty.seats.enlist(GENERAL, 1, {"from": bob})
        changes.append(transaction.timestamp)
    for number, time in enumerate(changes):
        assert empty.seats.weightAt(GENERAL, bob, time) == MIN_STAKE + number + 1
        assert empty.seats.poolAt(GENERAL, time - 1) == MIN_STAKE + number
    assert chain.height > SEASONING  # the look-ups above were of the past


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("bind", (GENERAL, ZERO, 1)),
        ("release", (GENERAL, ZERO, 0, 0)),
        ("slash", (GENERAL, ZERO, 1)),
        ("credit", (ZERO, 1)),
    ],
)
def test_committee_functions__by_somebody_else__revert(empty, bob, function, arguments):
    with refuses("CallerNotCommittee", bob):
        getattr(empty.seats, function)(*arguments, {"from": bob})


def test_config__says_what_is_fixed(empty, market, token):
    expected = (market.contract, MIN_STAKE, SEASONING, LEAVE_DELAY)
    assert empty.seats.config() == expected
    assert empty.seats.committee() == empty.contract
    assert empty.seats.token() == token
    assert empty.seats.burnAddress() == DEAD


@pytest.mark.parametrize(("at_", "field"), [(1, "minStake"), (2, "seasoning")])
def test_constructor__zero__reverts(CommitteeSeats, empty, market, deployer, at_, field):
    rules = [market.contract, MIN_STAKE, SEASONING, LEAVE_DELAY]
    rules[at_] = 0
    with refuses("ConfigInvalid", Verbatim(field)):
        CommitteeSeats.deploy(tuple(rules), {"from": deployer})
