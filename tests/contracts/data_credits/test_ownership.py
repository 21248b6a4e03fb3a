"""DataRounds: who commits to a data set first owns it for ever, whatever an opener excludes."""

import pytest

from oracle.merkle import keccak
from tests.contracts.data_credits.play import (
    ALICE,
    BOB,
    CAROL,
    CLOSED,
    DAVE,
    DEPOSIT,
    ONE,
    OWNER,
    REVEALED,
    ZERO32,
    commitment_to_test_set,
    refuses,
)

HERS, HIS, COPY = (keccak(name) for name in (b"alice's", b"bob's", b"a near-copy of alice's"))


@pytest.fixture
def excluded(data):
    """The opener left out Alice's rows, which everybody knows now; Bob's are valued."""
    data.open()
    data.submit(ALICE, HERS)
    data.submit(BOB, HIS)
    data.pass_to("submit")
    data.reveal(0, HERS)
    data.reveal(1, HIS)
    data.pass_to("reveal")
    data.do(OWNER, "exclude", 1, 0)
    data.reveal_test()
    data.pass_to("test")
    data.do(BOB, "number", 1, 9)
    data.settle([ONE // 4])
    return data


def bring(data, *brought):
    """Open a round, commit for these in this order, and reveal what is not refused."""
    data.open()
    indices = [data.submit(owner, root) for owner, root in brought]
    data.pass_to("submit")
    return indices


def order(data):
    """Return the indices of contributions in the order of their numbers."""
    data.seal()
    return [data.see("placeOf", data.round_id, c)[0] for c in range(data.round()[16])]


@pytest.mark.parametrize("refunded", [False, True])
def test_reveal__excluded_rows_committed_by_another__stay_their_owners(excluded, refunded):
    if refunded:
        excluded.do(CAROL, "refund", 1, 0)
        assert excluded.see("balanceOf", ALICE) == DEPOSIT
        assert excluded.see("contributionOf", 1, 0)[5] == CLOSED
    thief, hers = bring(excluded, (DAVE, HERS), (ALICE, HERS))
    with refuses("DataSetKnown"):
        excluded.reveal(thief, HERS)
    excluded.reveal(hers, HERS)
    assert excluded.see("contributionOf", 2, hers)[5] == REVEALED
    excluded.seal()
    excluded.settle([ONE // 2])
    excluded.give([ONE // 2], 0)
    assert excluded.see("creditsOf", 1, ALICE) > 0
    assert excluded.see("creditsOf", 1, DAVE) == 0


def test_number__near_copy_committed_before_the_return__stands_behind_it(excluded):
    copy, hers = bring(excluded, (DAVE, COPY), (ALICE, HERS))
    excluded.reveal(copy, COPY)
    excluded.reveal(hers, HERS)
    assert order(excluded) == [hers, copy]


def test_number__near_copy_that_was_excluded_too__stands_behind_the_older(excluded):
    """A copy cannot get in front by being left out itself, however the two are brought again."""
    copy, _ = bring(excluded, (DAVE, COPY), (CAROL, keccak(b"carol's")))
    excluded.reveal(copy, COPY)
    excluded.pass_to("reveal")
    excluded.do(OWNER, "exclude", 2, copy)
    excluded.reveal_test()
    excluded.pass_to("test")
    excluded.do(BOB, "number", 2, 9)
    for turn in (1, -1):
        fresh = keccak(bytes([turn % 3]))
        brought = [(BOB, fresh), (DAVE, COPY), (ALICE, HERS)]
        new, copy, hers = bring(excluded, *brought)
        for index, (_, root) in [*enumerate(brought)][::turn]:
            excluded.reveal(index, root)
        assert order(excluded) == [hers, copy, new]
        excluded.do(excluded.game, "voidRound", excluded.round_id)


def test_reveal__valued_already__is_refused_to_its_owner_too(excluded):
    (index,) = bring(excluded, (BOB, HIS))
    with refuses("DataSetKnown"):
        excluded.reveal(index, HIS)


def test_reveal__void_round__leaves_the_rows_to_their_owner(data):
    data.open()
    data.submit(ALICE, HERS)
    data.pass_to("submit")
    data.reveal(0, HERS)
    data.pass_to("test")
    data.do(BOB, "voidRound", 1)
    thief, hers = bring(data, (DAVE, HERS), (ALICE, HERS))
    with refuses("DataSetKnown"):
        data.reveal(thief, HERS)
    data.reveal(hers, HERS)
    assert order(data) == [hers]


def test_reveal__twice_in_a_round_by_its_owner__counts_once(excluded):
    one, other = bring(excluded, (ALICE, HERS), (ALICE, HERS))
    excluded.reveal(other, HERS)
    with refuses("DataSetKnown"):
        excluded.reveal(one, HERS)


def test_reveal__at_another_model__is_refused_to_others_and_open_to_its_owner(excluded):
    call = excluded.world.call
    call(OWNER, "ModelRegistry", "registerModel", "another", 0)
    test = commitment_to_test_set(model=2)
    excluded.round_id = excluded.do(OWNER, "openRound", 2, excluded.terms(testCommitment=test))
    thief = excluded.submit(DAVE, HIS)
    his = excluded.submit(BOB, HIS)
    excluded.pass_to("submit")
    with refuses("DataSetKnown"):
        excluded.reveal(thief, HIS)
    excluded.reveal(his, HIS)
    assert excluded.see("contributionOf", excluded.round_id, his)[5] == REVEALED


@pytest.mark.parametrize("limit", [1, 2, 9])
def test_number__returned_ones_in_parts__first(excluded, limit):
    new, hers, other = bring(excluded, (DAVE, COPY), (ALICE, HERS), (CAROL, ZERO32[1:] + b"\1"))
    for index, root in ((new, COPY), (hers, HERS), (other, ZERO32[1:] + b"\1")):
        excluded.reveal(index, root)
    excluded.pass_to("reveal")
    excluded.reveal_test()
    excluded.pass_to("test")
    while excluded.stage() == 1:
        excluded.do(BOB, "number", 2, limit)
    assert [excluded.see("placeOf", 2, c)[0] for c in range(3)] == [hers, new, other]
