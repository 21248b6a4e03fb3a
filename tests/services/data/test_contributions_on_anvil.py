"""Data sets brought to a round: all that is refused, and that a lost process loses nothing."""

import json
from dataclasses import replace

import pytest

from oracle.chain.anvil import dev_account
from oracle.chain.bindings.data_rounds import ContributionStatus
from oracle.chain.revert import ContractError
from oracle.chain.transactions import TransactionPending
from oracle.chain.wallet import Wallet
from oracle.errors import DigestMismatch, InputInvalid, NotFound
from oracle.ipfs import data_sets
from oracle.ipfs.memory import MemoryIpfs
from oracle.ipfs.port import MAX_BLOCK, CidUnresolved
from oracle.protocol import eip712
from oracle.protocol.canonical import sha256
from oracle.protocol.cid import raw_cid
from oracle.services import balances
from oracle.services.data import advancing, contributions, listing, rounds, row_demands
from oracle.services.data.contributions import AlreadyBrought, SignedSubmission, SubmissionPending
from oracle.services.data.rounds import RoundClosed
from oracle.services.data.secrets import SecretBook
from oracle.types import ZERO32, Amount
from oracle.valuation.errors import (
    DataEmpty,
    DataOversized,
    FormatUnknown,
    NotFinite,
    RowRepeated,
    SchemaMismatch,
)
from tests.services.conftest import DOLLAR
from tests.services.data.people import PLAN, SCHEMA, Data, data_set, rows

pytestmark = pytest.mark.real
GOOD = rows(1)


@pytest.fixture
def opened(data: Data) -> int:
    return data.open()


def prepare(
    data: Data, name: str, lines: list[tuple[object, ...]]
) -> contributions.PreparedContribution:
    path = data.file(name, lines)
    return contributions.prepare(data.network, data.world.operator.address, 1, [path])


# ── Refused before anything is spent ────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ([], DataEmpty),
        (rows(5, 1_200), DataOversized),
        ([(1, 2, "no")], SchemaMismatch),
        ([(1, 2, "x", "no")], SchemaMismatch),
        ([(1, 2, 3, "perhaps")], SchemaMismatch),
        ([(1, 2, "nan", "no")], NotFinite),
        ([(1, 2, "", "no")], NotFinite),
        ([(1, 2, 3, "no"), (4, 5, 6, "no"), (1, 2, 3, "no")], RowRepeated),
    ],
)
def test_prepare__bad_rows__says_what_is_wrong(
    data: Data, opened: int, lines: list[tuple[object, ...]], error: type[Exception]
) -> None:
    with pytest.raises(error):
        prepare(data, "bad.csv", lines)
    book = SecretBook.of(data.network.settings.home, data.network.contracts)
    assert len(list(book.folder.glob("*.json"))) == 1  # the test set's


def test_prepare__no_round_or_no_file__says_so(data: Data) -> None:
    with pytest.raises(NotFound, match="no round for data"):
        prepare(data, "a.csv", GOOD)
    data.open()
    with pytest.raises(InputInvalid, match="no file"):
        contributions.prepare(data.network, data.owner.address, 1, [])
    with pytest.raises(FormatUnknown):
        contributions.prepare(data.network, data.owner.address, 1, [data.folder / "a.xml"])


def test_prepare__a_row_in_two_files__is_found(data: Data, opened: int) -> None:
    paths = [data.file("a.csv", GOOD[:5]), data.file("b.csv", GOOD[4:9])]
    with pytest.raises(RowRepeated, match="all files together"):
        contributions.prepare(data.network, data.owner.address, 1, paths)
    found = contributions.prepare(data.network, data.owner.address, 1, paths, drop_repeats=True)
    assert found.data.rows == 9


def test_submit__after_the_close__is_refused(data: Data, opened: int) -> None:
    prepared = prepare(data, "late.csv", GOOD)
    data.pass_phase(opened)
    with pytest.raises(ContractError) as caught:
        contributions.submit(data.network, data.world.operator, prepared)
    assert caught.value.name == "PhaseOver"
    with pytest.raises(RoundClosed, match="takes no data sets"):
        prepare(data, "late.csv", GOOD)


def test_submit__more_than_the_tier_takes__is_refused(data: Data, opened: int) -> None:
    for seed in (1, 2):
        data.bring(data.world.operator, data.file("mine.csv", rows(seed)))
    with pytest.raises(ContractError) as caught:
        data.bring(data.world.operator, data.file("mine.csv", rows(3)))
    assert caught.value.name == "SubmissionsExhausted"
    assert "its tier takes no more" in str(caught.value)


def test_submit__no_money__is_refused(data: Data, opened: int) -> None:
    network, poor = data.network, data.world.operator
    everything = network.token.balance_of(poor.address)
    poor.send(network.token.transfer(data.owner.address, everything))
    with pytest.raises(ContractError, match="is needed"):
        data.bring(poor, data.file("mine.csv", GOOD))


# ── Nothing is lost, nothing is paid twice ──────────────────────────────────────────────────────
def test_submit__same_rows_under_another_name_and_order__is_taken_up(
    data: Data, opened: int
) -> None:
    first = data.bring(data.world.operator, data.file("mine.csv", GOOD))
    before = data.network.token.balance_of(data.world.operator.address)
    again = data.bring(data.world.operator, data.file("other.csv", GOOD[::-1]))

    assert (again.index, again.transaction) == (first.index, None)
    assert again.data_root == first.data_root
    assert data.network.token.balance_of(data.world.operator.address) == before


def test_submit__killed_before_it_is_mined__is_not_sent_twice(data: Data, opened: int) -> None:
    network, account = data.network, dev_account(1)
    hasty = Wallet(network.rpc, account, timeout=0.05)
    path = data.file("mine.csv", GOOD)
    balances.allow(network, hasty, network.data_rounds.address, Amount(100 * DOLLAR))
    first = contributions.prepare(network, hasty.address, 1, [path])
    network.rpc.call("evm_setAutomine", False)
    try:
        with pytest.raises(TransactionPending):
            contributions.submit(network, hasty, first)
        again = contributions.prepare(network, hasty.address, 1, [path])
        with pytest.raises(SubmissionPending):
            contributions.submit(network, hasty, again)
    finally:
        network.rpc.call("evm_setAutomine", True)
        network.rpc.call("evm_mine")
    last = contributions.prepare(network, hasty.address, 1, [path])
    assert contributions.submit(network, hasty, last).transaction is None
    assert len(listing.list_contributions(network, opened)) == 1


def test_submit__gas__is_within_its_bound(data: Data, opened: int) -> None:
    done = data.bring(data.world.operator, data.file("mine.csv", GOOD))
    assert done.transaction is not None
    assert done.transaction.gas_used <= 160_000  # the first of all: fresh slots
    second = data.bring(data.world.operator, data.file("mine.csv", rows(2)))
    assert second.transaction is not None
    assert second.transaction.gas_used <= 120_000


def test_reveal__by_another_process__needs_the_home_alone(data: Data, opened: int) -> None:
    done = data.bring(data.world.operator, data.file("mine.csv", GOOD))
    data.pass_phase(opened)
    home = data.network.settings.home
    kept = [path for path in (home / "data").rglob("*") if path.is_file()]
    assert len(kept) == 4  # a secret and rows, of the test set and of this data set
    assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}

    (found,) = contributions.reveal(data.network, data.world.stranger, opened)

    assert (found.index, found.data_root) == (done.index, done.data_root)
    info = listing.show(data.network, opened, done.index)
    assert (info.status, info.rows, info.cid) == (
        ContributionStatus.REVEALED,
        done.rows,
        found.cid,
    )
    with pytest.raises(NotFound, match="no hidden contribution"):
        contributions.reveal(data.network, data.world.stranger, opened)


def test_reveal__rows_damaged__says_so(data: Data, opened: int) -> None:
    done = data.bring(data.world.operator, data.file("mine.csv", GOOD))
    data.pass_phase(opened)
    book = SecretBook.of(data.network.settings.home, data.network.contracts)
    path = book.folder / f"{done.data_root.hex()}.rows"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DigestMismatch):
        contributions.reveal(data.network, data.world.operator, opened)
    path.unlink()
    with pytest.raises(NotFound, match="are gone"):
        contributions.reveal(data.network, data.world.operator, opened)


def test_reveal__too_early__publishes_nothing(data: Data, opened: int) -> None:
    prepared = prepare(data, "mine.csv", GOOD)
    contributions.submit(data.network, data.world.operator, prepared)
    with pytest.raises(ContractError) as caught:
        contributions.reveal(data.network, data.world.operator, opened)
    assert caught.value.name == "PhaseNotOpen"
    cid = raw_cid(sha256(data_sets.encode(prepared.data)))
    with pytest.raises(CidUnresolved):
        data.world.ipfs.fetch_bytes(cid, MAX_BLOCK)


def test_reveal__same_rows_by_a_later_account__the_first_committed_wins(
    data: Data, opened: int
) -> None:
    world = data.world
    first = data.bring(world.operator, data.file("mine.csv", GOOD))
    thief = data.home("thief")
    prepared = contributions.prepare(
        thief, world.requester.address, 1, [data.file("stolen.csv", GOOD)]
    )
    contributions.submit(thief, world.requester, prepared)
    data.pass_phase(opened)
    contributions.reveal(thief, world.requester, opened)  # faster: it is displaced
    contributions.reveal(data.network, world.operator, opened)

    mine, stolen = listing.list_contributions(data.network, opened)
    assert mine.status is ContributionStatus.REVEALED
    assert stolen.status is ContributionStatus.DISPLACED
    assert mine.index == first.index
    assert data.told_as_held(opened)


def test_reveal__same_rows_revealed_before__the_later_is_refused(data: Data, opened: int) -> None:
    world, thief = data.world, data.home("thief")
    data.bring(world.operator, data.file("mine.csv", GOOD))
    path = data.file("stolen.csv", GOOD)
    prepared = contributions.prepare(thief, world.requester.address, 1, [path])
    contributions.submit(thief, world.requester, prepared)
    data.pass_phase(opened)
    contributions.reveal(data.network, world.operator, opened)
    with pytest.raises(ContractError) as caught:
        contributions.reveal(thief, world.requester, opened)
    assert caught.value.name == "DataSetKnown"


def test_prepare__rows_of_an_earlier_round__are_refused(data: Data, opened: int) -> None:
    data.bring(data.world.operator, data.file("mine.csv", GOOD))
    data.seal(opened)
    data.value(opened, data.owner)
    data.pass_phase(opened)
    data.advance(opened)
    data.open(seed=7)
    with pytest.raises(AlreadyBrought, match="contribution 0 of round 1"):
        data.bring(data.world.requester, data.file("new.csv", GOOD[::-1]))


# ── Signed submissions ──────────────────────────────────────────────────────────────────────────
@pytest.fixture
def signed(data: Data, opened: int) -> SignedSubmission:
    prepared = prepare(data, "mine.csv", GOOD)
    return contributions.sign(data.network, data.world.operator, prepared)


def test_relay__a_signed_submission__is_paid_by_who_sends_it(
    data: Data, signed: SignedSubmission
) -> None:
    world = data.world
    read = SignedSubmission.from_json(signed.to_json())
    assert read == signed
    before = data.network.token.balance_of(world.operator.address)

    done = contributions.relay(data.network, world.stranger, read)

    assert (done.owner, done.payer) == (world.operator.address, world.stranger.address)
    assert data.network.token.balance_of(world.operator.address) == before
    with pytest.raises(ContractError) as caught:  # its nonce is used
        contributions.relay(data.network, world.stranger, read)
    assert caught.value.name == "SignatureInvalid"
    assert world.operator.address in str(caught.value)


def test_sign__what_is_signed__is_what_the_contract_hashes(
    data: Data, signed: SignedSubmission
) -> None:
    network, given = data.network, signed.submission
    message = eip712.submission(
        chain_id=network.contracts.chain_id,
        credits=network.data_rounds.address,
        owner=given.owner,
        round_id=given.round_id,
        commitment=given.commitment,
        endorser_bps=given.endorser_bps,
        nonce=0,
        deadline=given.deadline,
    )
    assert eip712.digest(message) == network.data_rounds.submission_hash(
        *given[:-1], 0, given.deadline
    )


def test_relay__signed_by_another_key__is_refused(data: Data, signed: SignedSubmission) -> None:
    other = replace(
        signed, submission=signed.submission._replace(owner=data.world.requester.address)
    )
    with pytest.raises(ContractError) as caught:
        contributions.relay(data.network, data.world.stranger, other)
    assert caught.value.name == "SignatureInvalid"


def test_relay__signed_for_another_chain_or_contract__is_refused(
    data: Data, signed: SignedSubmission
) -> None:
    with pytest.raises(InputInvalid, match="signed for chain 1,"):
        contributions.relay(data.network, data.world.stranger, replace(signed, chain_id=1))
    elsewhere = data.home("elsewhere")
    elsewhere = replace(elsewhere, contracts=replace(elsewhere.contracts, chain_id=1))
    prepared = prepare(data, "mine.csv", GOOD)
    foreign = contributions.sign(elsewhere, data.world.operator, prepared)
    forged = replace(foreign, chain_id=data.network.contracts.chain_id)
    with pytest.raises(ContractError) as caught:
        contributions.relay(data.network, data.world.stranger, forged)
    assert caught.value.name == "SignatureInvalid"


def test_relay__too_late__is_refused(data: Data, signed: SignedSubmission, opened: int) -> None:
    late = contributions.sign(
        data.network, data.world.operator, prepare(data, "mine.csv", GOOD), lifetime=5
    )
    data.world.pass_time(10)
    with pytest.raises(ContractError) as caught:
        contributions.relay(data.network, data.world.stranger, late)
    assert caught.value.name == "AuthorizationExpired"


@pytest.mark.parametrize(
    "damage", ["", "[]", '{"chain_id": 1}', "signature", "owner", "commitment"]
)
def test_signed__damaged_file__says_so(data: Data, signed: SignedSubmission, damage: str) -> None:
    text = damage
    if damage in ("signature", "owner"):
        text = json.dumps(json.loads(signed.to_json()) | {damage: "zz"})
    if damage == "commitment":
        text = json.dumps(json.loads(signed.to_json()) | {damage: "0x1234"})
    with pytest.raises(InputInvalid):
        SignedSubmission.from_json(text)


# ── The opener's part ───────────────────────────────────────────────────────────────────────────
def test_open__schema_of_another_width_or_not_the_manifests__is_refused(data: Data) -> None:
    narrow = replace(SCHEMA, columns=("a",), offset=(0.0,), scale=(1.0,))
    held = data_set()
    with pytest.raises(SchemaMismatch):
        rounds.open_round(data.network, data.owner, 1, test=held, data=narrow, plan=PLAN)


def test_open__not_the_holder_or_a_round_is_live__is_refused(data: Data, opened: int) -> None:
    for wallet, name in ((data.world.stranger, "CallerNotModelOwner"), (data.owner, "RoundLive")):
        with pytest.raises(ContractError) as caught:
            rounds.open_round(data.network, wallet, 1, test=data_set(), data=SCHEMA, plan=PLAN)
        assert caught.value.name == name


def test_reveal_test__another_set_than_committed__is_refused(data: Data, opened: int) -> None:
    data.pass_phase(opened)
    data.pass_phase(opened)
    network, test = data.network, data_set(5)
    secret = rounds.test_secret(network, opened)
    assert secret is not None
    with pytest.raises(ContractError) as caught:
        data.owner.send(network.data_rounds.reveal_test(opened, test.root, secret.salt, ZERO32))
    assert caught.value.name == "TestSetMismatch"
    with pytest.raises(NotFound, match="not committed to on this machine"):
        rounds.reveal_test(data.home("elsewhere"), data.owner, opened)


def test_exclude__data_that_nobody_serves__gives_the_deposit_back(data: Data, opened: int) -> None:
    operator = data.world.operator
    data.bring(operator, data.file("mine.csv", GOOD))
    data.pass_phase(opened)
    data.advance(opened)
    data.pass_phase(opened)
    rounds.exclude(data.network, data.owner, opened, 0)
    with pytest.raises(ContractError) as caught:
        rounds.exclude(data.network, operator, opened, 0)
    assert caught.value.name == "CallerNotOpener"
    data.advance(opened, data.owner)
    data.pass_phase(opened)
    done = data.advance(opened)

    assert done.round.phase is rounds.RoundPhase.SETTLED  # without a row
    assert data.told_as_held(opened)
    assert data.network.data_rounds.balance_of(operator.address) == Amount(10 * DOLLAR)


def test_advance__rows_demanded__are_shown_by_their_owner_or_left_out(
    data: Data, opened: int
) -> None:
    world, network = data.world, data.network
    data.bring(world.operator, data.file("mine.csv", GOOD))
    hidden = data.bring(world.requester, data.file("gone.csv", rows(5)))
    data.pass_phase(opened)
    data.advance(opened)
    data.pass_phase(opened)
    listed = listing.list_contributions(network, opened)
    for one in listed:
        row_demands.demand(network, world.stranger, one, len(SCHEMA.columns))
    book = SecretBook.of(network.settings.home, network.contracts)
    (book.folder / f"{hidden.commitment.hex()}.json").unlink()
    elsewhere = replace(network, ipfs=MemoryIpfs())  # which serves nothing

    assert not advancing.advance(elsewhere, world.stranger, opened).refused
    paid = network.row_demands.bond_of(world.stranger.address)
    assert paid > 0
    assert [one.index for one in row_demands.open_demands(network, opened)] == [hidden.index]
    data.pass_phase(opened)
    assert rounds.show(network, opened).phase is rounds.RoundPhase.ANSWER
    data.pass_phase(opened)
    done = data.advance(opened)
    assert done.round.phase is rounds.RoundPhase.VALUE
    assert done.round.numbered == 1
    assert listing.show(network, opened, hidden.index).lost
    assert data.told_as_held(opened)
    assert row_demands.open_demands(network, opened) == ()
    assert network.row_demands.bond_of(world.stranger.address) > paid
