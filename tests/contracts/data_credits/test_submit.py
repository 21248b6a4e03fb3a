"""DataRounds.submit and submitFor: a data set is committed to."""

import pytest

from oracle.merkle import keccak
from tests.contracts.data_credits.play import (
    ALICE,
    BOB,
    COMMITTED,
    DEPOSIT,
    FEE,
    ONE,
    ZERO32,
    refuses,
    sign,
    words,
)

ROOT = b"\1" * 32
FOREVER = 2**40


def signature(data, signer=ALICE, owner=ALICE, nonce=0, deadline=FOREVER, bps=0, round_id=None):
    number = round_id or data.round_id
    commitment = data.commitment(ALICE, ROOT)
    return sign(signer, data.see("submissionHash", owner, number, commitment, bps, nonce, deadline))


def submit_for(data, signed, deadline=FOREVER, bps=0, owner=ALICE):
    commitment = data.commitment(ALICE, ROOT)
    return data.do(BOB, "submitFor", owner, data.round_id, commitment, bps, deadline, signed)


# ── submit ──────────────────────────────────────────────────────────────────────────────────────
def test_submit__no_such_round__reverts(data):
    with refuses("RoundStageInvalid"):
        data.submit(ALICE, ROOT)


def test_submit__after_the_close__reverts(data):
    data.open()
    data.pass_to("submit")
    with refuses("PhaseOver"):
        data.submit(ALICE, ROOT)


def test_submit__commitment_zero__reverts(data):
    data.open()
    with refuses("CommitmentZero"):
        data.do(ALICE, "submit", 1, ZERO32, 0)


def test_submit__more_than_half_for_endorsers__reverts(data):
    data.open()
    with refuses("EndorserShareInvalid"):
        data.submit(ALICE, ROOT, bps=5_001)


def test_submit__round_full__reverts(data):
    data.open(maxContributions=1)
    data.submit(ALICE, ROOT)
    with refuses("ContributionsFull"):
        data.submit(BOB, ROOT)


def test_submit__more_than_the_tier_allows__reverts(data):
    data.open()
    data.submit(ALICE, ROOT)
    data.submit(ALICE, b"\2" * 32)
    with refuses("SubmissionsExhausted"):
        data.submit(ALICE, b"\3" * 32)


def test_submit__no_allowance__reverts(data):
    data.open()
    data.world.call(ALICE, "TestDollar", "approve", data.rounds, DEPOSIT + FEE - 1)
    with refuses("ERC20InsufficientAllowance"):
        data.submit(ALICE, ROOT)


def test_submit__a_second_before_the_close__is_kept(data):
    data.open()
    data.world.set_time(data.round()[1] - 1)
    before = data.tokens(ALICE)
    assert data.submit(ALICE, ROOT, bps=100) == 0
    assert before - data.tokens(ALICE) == DEPOSIT + FEE
    commitment, owner, *rest = data.see("contributionOf", 1, 0)
    assert (commitment, owner) == (data.commitment(ALICE, ROOT), ALICE.lower())
    assert rest == [DEPOSIT, 100, 0, COMMITTED]


def test_submit__each__extends_the_models_chain(data):
    data.open()
    head = ZERO32
    for index, owner in enumerate((ALICE, BOB)):
        data.submit(owner, ROOT)
        commitment = data.commitment(owner, ROOT)
        fields = (head, 1, index, owner, commitment, 0, DEPOSIT, data.world.time)
        head = keccak(words(*fields))
        assert data.see("headOf", 1) == head


def test_submit__next_round__starts_counting_again(data):
    data.play([ALICE, ALICE], [ONE, ONE])
    data.open()
    data.submit(ALICE, b"\4" * 32)
    assert data.see("standingOf", 1, ALICE)[4:6] == (2, 1)


# ── submitFor ───────────────────────────────────────────────────────────────────────────────────
def test_submit_for__signed_by_another_key__reverts(data):
    data.open()
    with refuses("SignatureInvalid"):
        submit_for(data, signature(data, signer=BOB))


def test_submit_for__deadline_reached__reverts(data):
    data.open()
    deadline = data.world.time
    with refuses("AuthorizationExpired"):
        submit_for(data, signature(data, deadline=deadline), deadline=deadline)


@pytest.mark.parametrize("change", [{"bps": 1}, {"nonce": 1}, {"owner": BOB}, {"round_id": 2}])
def test_submit_for__signature_for_something_else__reverts(data, change):
    data.open()
    with refuses("SignatureInvalid"):
        submit_for(data, signature(data, **change))


def test_submit_for__signed_for_another_chain__reverts(data):
    data.open()
    domain = keccak(
        words(
            keccak(
                b"EIP712Domain(string name,string version,uint256 chainId,"
                b"address verifyingContract)"
            ),
            keccak(b"Tallystick"),
            keccak(b"1"),
            5,
            data.rounds,
        )
    )
    kind = keccak(
        b"Submission(address owner,uint256 roundId,bytes32 commitment,uint256 endorserBps,"
        b"uint256 nonce,uint256 deadline)"
    )
    commitment = data.commitment(ALICE, ROOT)
    message = keccak(words(kind, ALICE, 1, commitment, 0, 0, FOREVER))
    with refuses("SignatureInvalid"):
        submit_for(data, sign(ALICE, keccak(b"\x19\x01" + domain + message)))


def test_submit_for__same_signature_again__reverts(data):
    data.open()
    signed = signature(data)
    submit_for(data, signed)
    with refuses("SignatureInvalid"):
        submit_for(data, signed)


def test_submit_for__signed_by_the_owner__is_the_owners_and_the_caller_pays(data):
    data.open()
    before = (data.tokens(ALICE), data.tokens(BOB))
    submit_for(data, signature(data))
    assert data.see("contributionOf", 1, 0)[1] == ALICE.lower()
    assert before[0] == data.tokens(ALICE)
    assert before[1] - data.tokens(BOB) == DEPOSIT + FEE
