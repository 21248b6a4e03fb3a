"""An aggregator's way through a round, resumable; and the steps that anyone may take at its end.

```
 SERVE   fetch every update ─▶ demand what nobody serves
 CLAIM   end what is overdue ─▶ compute ─▶ claim ─▶ publish       (again after a crash: the same)
 SETTLE  settle        EXPIRED  void        LATE  claim takes the place of who is late
```
Computed is before it is claimed: a claim without publication costs the bond.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oracle import whole_file
from oracle.chain.bindings.training_game import TrainingMover, TrainingPart
from oracle.chain.bindings.training_rounds import UpdateStatus
from oracle.chain.revert import ContractError
from oracle.chain.wallet import Wallet
from oracle.errors import DigestMismatch, NotFound, PermanentError, TransientError
from oracle.ipfs.port import CidUnresolved
from oracle.services import balances
from oracle.services.builders import Update
from oracle.services.network import Network
from oracle.services.receipts import Sent, send
from oracle.services.training import bases, joining, rounds, served_vectors, vector_demands
from oracle.services.training.bases import TrainingBase
from oracle.services.training.rounds import RevealedUpdate, TrainingPhase, TrainingRoundInfo
from oracle.types import Address, Bytes32


class TrainingEarly(TransientError):
    """A round has not come to what was asked of it; it will."""

    exit_code = 75  # EX_TEMPFAIL


class TrainingTaken(PermanentError):
    """Another aggregates the round, or has."""


class UpdatesMissing(PermanentError):
    """Updates that count are served by nobody, so nobody can aggregate the round."""


@dataclass(frozen=True, slots=True)
class AggregateFiles:
    """An aggregate that was computed.

    Attributes:
        sums: None where the rule has none, or where they are too many to be published.
    """

    sums_root: Bytes32
    state_root: Bytes32
    state: Path
    sums: Path | None


@dataclass(frozen=True, slots=True)
class AggregationReport:
    """What an aggregator has done in a round, and where the round stands now.

    Attributes:
        missing: numbers of updates that nobody serves.
        next: what is to be done next, in words.
    """

    round: TrainingRoundInfo
    missing: tuple[int, ...]
    next: str
    transactions: tuple[Sent, ...]


def aggregate(
    network: Network,
    wallet: Wallet,
    round_id: int,
    update: Update = lambda _done, _total: None,
) -> AggregationReport:
    """Do what is due of an aggregator now: demand what is not served, or aggregate and publish.

    Raises:
        NotFound: no such round. TrainingEarly: updates are not all revealed.
        TrainingTaken: another aggregates, or the round has an aggregate or an end.
        UpdatesMissing: too late to demand what nobody serves.
        BaseMismatch: the round begins with another state than its version has.
        ContractError: the contract refused.
    """
    info = rounds.show(network, round_id)
    if info.phase in (TrainingPhase.COMMIT, TrainingPhase.REVEAL):
        raise TrainingEarly(
            f"round {round_id} is not revealed yet: {info.phase.value}",
            hint="again once updates are revealed",
        )
    mine = info.aggregator == wallet.address
    if info.phase not in _OPEN or (info.phase is TrainingPhase.AGGREGATE and not mine):
        raise TrainingTaken(f"round {round_id} takes no aggregator: {info.phase.value}")
    base = bases.of_round(network, info.terms, update)
    sent = end_overdue(network, wallet, info)
    info = rounds.show(network, round_id)
    missing = fetch_updates(network, info, base, wallet.address)
    if info.phase is TrainingPhase.SERVE:
        sent += _demand(network, wallet, info, missing)
        wait = "the same command, once the time to serve updates is over"
        return AggregationReport(info, missing, wait, tuple(sent))
    if missing:
        raise UpdatesMissing(
            f"nobody serves update {missing[0]} of round {round_id} ({len(missing)} are missing)",
            hint="updates can be demanded only before the time to serve them is over",
        )
    made = compute(network, info, base, update)
    if not mine:
        stake = info.terms.aggregator_bond
        balances.allow(network, wallet, network.training.address, stake)
        sent.append(send(wallet, network.training.claim(round_id))[0])
    sent.append(publish(network, wallet, round_id, made))
    after = "`tallystick train settle`, once nobody can challenge it any more"
    return AggregationReport(rounds.show(network, round_id), (), after, tuple(sent))


_OPEN = (
    TrainingPhase.SERVE, TrainingPhase.CLAIM, TrainingPhase.AGGREGATE, TrainingPhase.LATE,
)  # fmt: skip


def fetch_updates(
    network: Network, info: TrainingRoundInfo, base: TrainingBase, account: Address
) -> tuple[int, ...]:
    """Fetch every update that counts; return the numbers of those that nobody serves.

    What was made on this machine by the account is taken from its own folder.
    """
    missing = []
    for one in info.updates:
        if one.status is UpdateStatus.UNSERVED:
            continue
        path = update_path(network, info, one)
        if one.participant == account and not path.exists():
            kept = joining.update_file(network, account, info.round_id)
            if kept.exists():
                whole_file.write(path, kept.read_bytes())
                continue
        try:
            served_vectors.fetch_update(network.ipfs, one, base.update_bytes, path)
        except (CidUnresolved, DigestMismatch):
            missing.append(one.number)
    return tuple(missing)


def compute(
    network: Network, info: TrainingRoundInfo, base: TrainingBase, update: Update
) -> AggregateFiles:
    """Aggregate a round's updates, which lie in its folder (`fetch_updates`).

    Raises:
        DigestMismatch: a file is not what its participant revealed.
    """
    folder = bases.round_folder(network, info.round_id) / "aggregate"
    told = {**job(network, info, base), "most_sums": served_vectors.MOST_SUMS}
    said = bases.run(folder, "aggregate", told, update)
    return AggregateFiles(
        Bytes32(bytes.fromhex(said["sums_root"])),
        Bytes32(bytes.fromhex(said["state_root"])),
        Path(said["state"]),
        Path(said["sums"]) if said["sums"] else None,
    )


def job(network: Network, info: TrainingRoundInfo, base: TrainingBase) -> dict[str, Any]:
    """Return what the worker needs to know of a round to aggregate it."""
    counts = [one.status is not UpdateStatus.UNSERVED for one in info.updates]
    return {
        "base": str(base.path),
        "updates": [
            str(update_path(network, info, one)) if counted else None
            for one, counted in zip(info.updates, counts, strict=True)
        ],
        "roots": [one.root.hex() for one in info.updates],
        "weights": [
            one.weight if counted else 0 for one, counted in zip(info.updates, counts, strict=True)
        ],
        "clip": info.terms.clip,
        "rule": int(info.terms.rule),
        "trim": info.terms.trim,
    }


def update_path(network: Network, info: TrainingRoundInfo, one: RevealedUpdate) -> Path:
    """Return where the file of an update is kept once it is fetched."""
    return bases.round_folder(network, info.round_id) / f"update-{one.root.hex()}.safetensors"


def publish(network: Network, wallet: Wallet, round_id: int, made: AggregateFiles) -> Sent:
    """Put an aggregate on IPFS and name it on chain; only who claimed the round."""
    cid, digest = served_vectors.publish_aggregate(network.ipfs, made.state, made.sums)
    call = network.training.publish(round_id, made.sums_root, made.state_root, cid, digest)
    return send(wallet, call)[0]


def settle(network: Network, wallet: Wallet, round_id: int) -> AggregationReport:
    """End a round: settle it, or void it where nobody aggregated it; anyone may.

    Raises:
        NotFound: no such round. ContractError: it is not time.
    """
    info = rounds.show(network, round_id)
    sent = end_overdue(network, wallet, info)
    info = rounds.show(network, round_id)
    if info.phase is TrainingPhase.LATE:
        sent.append(send(wallet, network.training.lapse(round_id))[0])
    elif info.phase is TrainingPhase.EXPIRED:
        sent.append(send(wallet, network.training.void_round(round_id))[0])
    elif info.phase not in rounds.ENDED:
        sent.append(send(wallet, network.training.settle(round_id))[0])
    return AggregationReport(rounds.show(network, round_id), (), "", tuple(sent))


def next_state(network: Network, round_id: int) -> Path:
    """Return the weights that a settled round led to: a file that can be published as a version.

    Raises:
        NotFound: no such round, or it is not settled.
        AggregateUnserved: nobody serves the state, and it is not on this machine.
    """
    info = rounds.show(network, round_id)
    if info.phase is not TrainingPhase.SETTLED:
        raise NotFound(
            f"round {round_id} has no state to go on from: {info.phase.value}",
            hint="settle it first: `tallystick train settle`",
        )
    base = bases.of_round(network, info.terms, lambda _done, _total: None)
    path = bases.round_folder(network, round_id) / f"state-{info.next_root.hex()}.safetensors"
    served_vectors.fetch_state(network.ipfs, info, base.state_bytes, path)
    return bases.weights(network, base, path, info.terms)


def end_overdue(network: Network, wallet: Wallet, info: TrainingRoundInfo) -> list[Sent]:
    """End challenges in which somebody let its turn pass."""
    sent = []
    for call in vector_demands.overdue(network, info.round_id, info.attempt):
        try:
            sent.append(send(wallet, call)[0])
        except ContractError:  # somebody was faster
            continue
    return sent


def _demand(
    network: Network, wallet: Wallet, info: TrainingRoundInfo, missing: tuple[int, ...]
) -> list[Sent]:
    """Demand the roots of what nobody serves; its participant shows them or is excluded."""
    sent = []
    for number in missing:
        told = (info.round_id, info.attempt, number, wallet.address)
        if network.training_game.demand_of(*told).turn is TrainingMover.NONE:
            call = vector_demands.demand(network, info.round_id, TrainingPart.UPDATE, number)
            sent.append(send(wallet, call)[0])
    return sent
