"""A round of training on a real chain: three participants, a lying aggregator, an honest one."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from oracle.chain.bindings.training_rounds import UpdateStatus
from oracle.chain.wallet import Wallet
from oracle.errors import ConfigInvalid, NotFound
from oracle.ipfs.client import IpfsClient
from oracle.services import balances, model_history, publishing
from oracle.services.lineage.findings import HistoryFinding
from oracle.services.publishing import SaleTerms
from oracle.services.receipts import send
from oracle.services.training import aggregating, bases, challenging, joining, results, rounds
from oracle.services.training.aggregating import (
    TrainingEarly,
    TrainingTaken,
)
from oracle.services.training.bases import BaseMismatch
from oracle.services.training.challenging import AggregateStand, VectorFault
from oracle.services.training.joining import TrainingClosed
from oracle.services.training.rounds import TrainingPhase
from oracle.training.vectors import STATE, SUMS, VectorTree
from oracle.types import Amount, Bytes32
from tests.services.conftest import DOLLAR
from tests.services.training.people import LOCAL, MONEY, PLAN, TrainingPlay
from worker.training.vector_files import VectorFile, written

pytestmark = pytest.mark.real
BOND, STAKE = PLAN.participant_bond, PLAN.aggregator_bond
SHARE = 10 * DOLLAR  # of 30.000002, of three
LIAR, HONEST, CHALLENGER = 5, 6, 7  # numbers of people


def quiet(_done: int, _total: int) -> None:
    """Say nothing."""


def lie(play: TrainingPlay, round_id: int, part: str, *, served: bool = True) -> Wallet:
    """Publish an aggregate with coordinate 40 of the state, or sum 2 of it, off by one."""
    network, wallet = play.person(LIAR)
    play.pass_to(round_id, TrainingPhase.CLAIM)
    info = rounds.show(network, round_id)
    base = bases.of_round(network, info.terms, quiet)
    assert aggregating.fetch_updates(network, info, base, wallet.address) == ()
    made = aggregating.compute(network, info, base, quiet)
    if part == "state":
        with VectorFile(made.state) as vector:
            shapes, state = vector.shapes, vector[: len(vector)]
        state[40] += 1
        with written(made.state, shapes, np.int32) as file:
            file.write(0, state)
        made = replace(made, state_root=VectorTree(state, STATE).root)
    else:
        assert made.sums is not None
        sums = np.memmap(made.sums, "<i8", "r+")
        sums[40 * len(info.updates) + 1] += 1
        sums.flush()
        made = replace(made, sums_root=VectorTree(sums, SUMS).root)
    balances.allow(network, wallet, network.training.address, STAKE)
    send(wallet, network.training.claim(round_id))
    if served:
        aggregating.publish(network, wallet, round_id, made)
    else:
        nowhere = Bytes32(b"\x11" * 32)
        told = (round_id, made.sums_root, made.state_root, nowhere, nowhere)
        send(wallet, network.training.publish(*told))
    return wallet


def balance(play: TrainingPlay, wallet: Wallet) -> int:
    return play.network.token.balance_of(wallet.address)


@pytest.mark.parametrize(
    ("part", "fault"),
    [("state", VectorFault("state", 0, 40)), ("sums", VectorFault("sums", 2, 40))],
)
def test_round__liar_convicted_and_replaced__pays_everybody_to_the_unit(
    play: TrainingPlay, part: str, fault: VectorFault
) -> None:
    round_id = play.open()
    play.collect(round_id)
    liar = lie(play, round_id, part)
    network, challenger = play.person(CHALLENGER)

    report = challenging.challenge(network, challenger, round_id)

    assert (report.stand, report.fault) == (AggregateStand.CONVICTED, fault)
    assert balance(play, liar) == MONEY - STAKE
    assert play.phase(round_id) is TrainingPhase.CLAIM
    mine, honest = play.person(HONEST)
    done = aggregating.aggregate(mine, honest, round_id)
    assert done.round.phase is TrainingPhase.CHALLENGE
    assert done.round.attempt == 2
    assert challenging.challenge(network, challenger, round_id).stand is AggregateStand.RIGHT
    assert challenging.challenge(mine, honest, round_id).stand is AggregateStand.OURS
    play.pass_phase(round_id)
    settled = aggregating.settle(network, challenger, round_id)
    assert (settled.round.phase, settled.round.share) == (TrainingPhase.SETTLED, SHARE)
    for number in range(3):
        found = play.join(round_id, number)  # the same command collects
        assert (found.paid, found.next) == (BOND + SHARE, "")
        assert balance(play, play.person(number)[1]) == MONEY + SHARE
    assert joining.claim(mine, honest, round_id)[0] == STAKE + PLAN.fee
    assert joining.claim(network, challenger, round_id)[0] == STAKE // 2
    owner = play.world.owner
    assert joining.claim(play.network, owner, round_id)[0] == 2  # what three cannot share
    held = play.network.token.balance_of(play.network.training.address)
    assert (
        held
        == STAKE - STAKE // 2
        == play.network.training.balance_of(play.network.training.burn_address())
    )


def test_next_state__of_a_settled_round__is_the_mean_as_weights(separate: TrainingPlay) -> None:
    play = separate
    round_id = play.open()
    play.collect(round_id)
    network, wallet = play.person(HONEST)
    play.pass_to(round_id, TrainingPhase.CLAIM)
    with pytest.raises(NotFound, match="no state to go on from"):
        aggregating.next_state(network, round_id)
    aggregating.aggregate(network, wallet, round_id)
    play.pass_phase(round_id)
    aggregating.settle(network, wallet, round_id)

    found = load_file(aggregating.next_state(network, round_id))

    info = rounds.show(network, round_id)
    base = bases.of_round(network, info.terms, quiet)
    with VectorFile(base.path) as vector:
        start = vector[: len(vector)].astype(np.int64)
    total = np.zeros(len(start), np.int64)
    for one in info.updates:
        with VectorFile(aggregating.update_path(network, info, one)) as vector:
            total += one.weight * vector[: len(vector)].astype(np.int64)
    weight = sum(one.weight for one in info.updates)
    state = start + (2 * total + weight) // (2 * weight)
    flat = np.concatenate([found[name].reshape(-1) for name in sorted(found)])
    assert np.array_equal(flat, np.ldexp(state, -PLAN.scale_bits).astype(np.float32))
    assert weight == 40 + 50 + 60  # rows of each

    folder = play.folder / "next"
    assert results.write(network, round_id, folder).participants == 3
    with pytest.raises(ConfigInvalid, match="is not empty"):
        results.write(network, round_id, folder)
    terms = SaleTerms(fee=Amount(PLAN.fee), challenge_window=60)
    done = publishing.publish(play.network, play.world.owner, folder, terms)
    assert (done.model_id, done.version) == (info.model_id, info.version + 1)
    checked = model_history.verify(play.network, info.model_id).versions[-1].history
    open_ = [one.key for one in checked if one.finding is not HistoryFinding.FITS]
    assert open_ == ["lineage.training.rounds"], checked  # whether participants were honest


# ── Participants ────────────────────────────────────────────────────────────────────────────────


def test_join__base_is_not_that_of_the_version__nothing_is_sent(play: TrainingPlay) -> None:
    network, wallet = play.person(0)
    model_id, version = play.publish()
    good = rounds.open_round(play.network, play.world.owner, model_id, version, plan=PLAN)
    terms = replace(network.training.terms_of(good.round_id), state_root=Bytes32(b"\x01" * 32))
    owner = play.world.owner
    balances.allow(play.network, owner, network.training.address, Amount(terms.reward + terms.fee))
    send(owner, network.training.open(terms))

    with pytest.raises(BaseMismatch, match="the round says 0x0101"):
        joining.join(network, wallet, good.round_id + 1, data=play.data(0), plan=LOCAL)
    assert balance(play, wallet) == MONEY


def test_join__crash_between_disk_and_chain__commits_to_the_same_update(
    play: TrainingPlay, monkeypatch: pytest.MonkeyPatch
) -> None:
    round_id = play.open()
    network, wallet = play.person(0)

    def down(*_: object) -> None:
        raise ConnectionError("the process ends here")

    monkeypatch.setattr(joining, "_commit", down)
    with pytest.raises(ConnectionError):
        joining.join(network, wallet, round_id, data=play.data(0), plan=LOCAL)
    monkeypatch.undo()
    kept = joining.update_file(network, wallet.address, round_id).read_bytes()

    done = joining.join(network, wallet, round_id, data=None, plan=LOCAL)  # needs no rows again
    again = joining.join(network, wallet, round_id, data=None, plan=LOCAL)

    assert [sent.what for sent in done.transactions][-1:] == ["commit to an update"]
    assert again.transactions == ()
    assert joining.update_file(network, wallet.address, round_id).read_bytes() == kept
    play.pass_phase(round_id)
    assert joining.join(network, wallet, round_id, data=None, plan=LOCAL).number == 1


def test_join__too_late__is_refused(play: TrainingPlay) -> None:
    round_id = play.open()
    play.join(round_id, 0)
    play.pass_phase(round_id)
    with pytest.raises(TrainingClosed, match="takes no more updates"):
        play.join(round_id, 1)
    play.pass_phase(round_id)
    with pytest.raises(TrainingClosed, match="not revealed in time"):
        play.join(round_id, 0)


def test_join__no_rows__says_how(play: TrainingPlay) -> None:
    round_id = play.open()
    network, wallet = play.person(0)
    with pytest.raises(NotFound, match="no rows were named") as caught:
        joining.join(network, wallet, round_id, data=None, plan=LOCAL)
    assert "--data" in (caught.value.hint or "")


# ── Aggregators ─────────────────────────────────────────────────────────────────────────────────


def test_aggregate__too_early_or_taken__is_refused(play: TrainingPlay) -> None:
    round_id = play.open()
    network, wallet = play.person(HONEST)
    with pytest.raises(TrainingEarly):
        aggregating.aggregate(network, wallet, round_id)
    play.collect(round_id)
    play.pass_to(round_id, TrainingPhase.CLAIM)
    rival, other = play.person(LIAR)
    balances.allow(rival, other, network.training.address, STAKE)
    send(other, network.training.claim(round_id))
    with pytest.raises(TrainingTaken, match="an aggregator is at work"):
        aggregating.aggregate(network, wallet, round_id)

    play.pass_phase(round_id)  # it is late: the next one takes its place
    done = aggregating.aggregate(network, wallet, round_id)

    assert done.round.aggregator == wallet.address
    assert balance(play, other) == MONEY - STAKE


def test_aggregate__crash_after_the_claim__goes_on(play: TrainingPlay) -> None:
    round_id = play.open()
    play.collect(round_id)
    play.pass_to(round_id, TrainingPhase.CLAIM)
    network, wallet = play.person(HONEST)
    balances.allow(network, wallet, network.training.address, STAKE)
    send(wallet, network.training.claim(round_id))

    done = aggregating.aggregate(network, wallet, round_id)

    assert [sent.what for sent in done.transactions] == ["publish an aggregate"]
    assert done.round.phase is TrainingPhase.CHALLENGE


def test_aggregate__update_that_nobody_serves__is_demanded_and_excluded(
    play: TrainingPlay, monkeypatch: pytest.MonkeyPatch
) -> None:
    round_id = play.open()
    for number in range(3):
        play.join(round_id, number)
    play.pass_phase(round_id)
    play.join(round_id, 0)
    nowhere = Bytes32(b"\x11" * 32)
    served = joining.served_vectors.publish_update
    monkeypatch.setattr(joining.served_vectors, "publish_update", lambda *_: (nowhere, nowhere))
    play.join(round_id, 1)
    monkeypatch.setattr(joining.served_vectors, "publish_update", served)
    play.join(round_id, 2)
    play.pass_phase(round_id)
    network, wallet = play.person(HONEST)
    object.__setattr__(network, "ipfs", IpfsClient(network.ipfs._endpoint.shown, timeout=1))

    first = aggregating.aggregate(network, wallet, round_id)
    assert first.missing == (2,)
    assert [sent.what for sent in first.transactions] == ["demand node 0 at level 0"]
    assert aggregating.aggregate(network, wallet, round_id).transactions == ()
    play.pass_phase(round_id)
    done = aggregating.aggregate(network, wallet, round_id)

    assert [one.status for one in done.round.updates][1] is UpdateStatus.UNSERVED
    assert done.round.phase is TrainingPhase.CHALLENGE
    other, challenger = play.person(CHALLENGER)
    assert challenging.challenge(other, challenger, round_id).stand is AggregateStand.RIGHT
    assert joining.claim(network, wallet, round_id)[0] == BOND // 2


# ── Challengers ─────────────────────────────────────────────────────────────────────────────────


def test_challenge__wrong_and_not_served__convicted_for_silence(play: TrainingPlay) -> None:
    round_id = play.open()
    play.collect(round_id)
    liar = lie(play, round_id, "state", served=False)
    network, wallet = play.person(CHALLENGER)
    object.__setattr__(network, "ipfs", IpfsClient(network.ipfs._endpoint.shown, timeout=1))

    first = challenging.challenge(network, wallet, round_id)
    assert first.stand is AggregateStand.UNSERVED
    assert [sent.what for sent in first.transactions] == ["demand node 0 at level 0"]
    assert challenging.challenge(network, wallet, round_id).transactions == ()
    play.world.pass_time(60)
    last = challenging.challenge(network, wallet, round_id)

    assert (last.stand, last.note) == (AggregateStand.CONVICTED, "silent")
    assert joining.claim(network, wallet, round_id)[0] == STAKE // 2
    assert network.training_game.bond_of(wallet.address) == 0
    assert balance(play, liar) == MONEY - STAKE


def test_list__rounds_of_a_model__tell_where_they_stand(play: TrainingPlay) -> None:
    round_id = play.open()
    found = rounds.list_rounds(play.network, rounds.show(play.network, round_id).model_id)
    assert [(one.round_id, one.phase) for one in found] == [(round_id, TrainingPhase.COMMIT)]
    assert rounds.list_rounds(play.network, 999) == ()
    with pytest.raises(NotFound):
        rounds.show(play.network, round_id + 1)
