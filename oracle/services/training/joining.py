"""A participant's way through a round, resumable: what is hidden is on the disk before it is sent.

```
 COMMIT   train ─▶ update and salt kept ─▶ commit
 REVEAL   update on IPFS ─▶ reveal
 ended    collect ─▶ withdraw
```
Kept below the home, one folder a round and account, readable by nobody else:
```
 home/training/<chain id>-<contract>/<round>-<account>/   update.safetensors, secret.json
```
"""

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from oracle import whole_file
from oracle.chain.bindings.training_rounds import UpdateStatus
from oracle.chain.codec import encode
from oracle.chain.wallet import Wallet
from oracle.errors import ConfigInvalid, NotFound, PermanentError
from oracle.merkle import keccak
from oracle.private_files import make_folder
from oracle.services import balances
from oracle.services.builders import Update
from oracle.services.network import Network
from oracle.services.receipts import Sent, send
from oracle.services.training import bases, rounds, served_vectors
from oracle.services.training.rounds import RevealedUpdate, TrainingPhase, TrainingRoundInfo
from oracle.types import ZERO32, Address, Amount, Bytes32, Timestamp


class TrainingClosed(PermanentError):
    """A round takes no updates any more."""


@dataclass(frozen=True, slots=True)
class LocalPlan:
    """How a participant trains: its own choice, which nobody judges.

    Attributes:
        batch: rows of a step. seed: of the order of rows.
    """

    steps: int = 50
    learning_rate: float = 0.1
    batch: int = 32
    seed: int = 0


@dataclass(frozen=True, slots=True)
class HiddenUpdate:
    """What a commitment hides, as it is kept.

    Attributes:
        rows: that it was trained on; losses: of the first step and of the last.
    """

    root: Bytes32
    weight: int
    salt: Bytes32
    rows: int
    losses: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Participated:
    """Where a participant stands in a round.

    Attributes:
        number: of its update, once it is revealed.
        next: what is to be done next, in words; empty when nothing is left.
        until: by when; 0 = whenever.
        paid: token units that were paid out now.
    """

    round_id: int
    account: Address
    phase: TrainingPhase
    weight: int
    root: Bytes32
    losses: tuple[float, float]
    number: int | None
    next: str
    until: Timestamp
    paid: Amount
    transactions: tuple[Sent, ...]


def join(
    network: Network,
    wallet: Wallet,
    round_id: int,
    *,
    data: Path | None,
    plan: LocalPlan,
    update: Update = lambda _done, _total: None,
) -> Participated:
    """Do what is due of a participant now: train and commit, reveal, or collect.

    Args:
        data: own rows, .npz or .safetensors; needed until the commitment is made.
        update: is told the steps that are done.

    Raises:
        NotFound: no such round, or no rows where they are needed.
        BaseMismatch: the round begins with another state than its version has.
        TrainingClosed: it is too late to commit, or the reveal was missed.
        ContractError: the contract refused.
    """
    info = rounds.show(network, round_id)
    folder = _folder(network, wallet.address, round_id)
    hidden = _kept(folder)
    sent: list[Sent] = []
    if hidden is None:
        if info.phase is not TrainingPhase.COMMIT:
            raise TrainingClosed(
                f"round {round_id} takes no more updates: {info.phase.value}",
                hint="join the next one",
            )
        hidden = _train(network, info, folder, data=data, plan=plan, update=update)
    mine = own_update(info, wallet.address)
    committed = network.training.commitment_of(round_id, wallet.address)
    if mine is None and committed == ZERO32 and info.phase is TrainingPhase.COMMIT:
        sent.append(_commit(network, wallet, info, hidden))
    elif mine is None and info.phase is TrainingPhase.REVEAL:
        sent.append(_reveal(network, wallet, info, hidden, folder))
        info = rounds.show(network, round_id)
        mine = own_update(info, wallet.address)
    elif mine is None and info.phase is not TrainingPhase.COMMIT:
        raise TrainingClosed(
            f"the update of {wallet.address} to round {round_id} was not revealed in time",
            hint="its bond is lost; join the next round, and stay near while updates are revealed",
        )
    paid = Amount(0)
    if info.phase in rounds.ENDED:
        paid, more = claim(network, wallet, round_id)
        sent += more
    return Participated(
        round_id, wallet.address, info.phase, hidden.weight, hidden.root, hidden.losses,
        mine.number if mine else None, *_next(info), paid, tuple(sent),
    )  # fmt: skip


def claim(network: Network, wallet: Wallet, round_id: int) -> tuple[Amount, tuple[Sent, ...]]:
    """Credit the wallet's update of an ended round, and pay out all that the wallet is owed.

    Returns:
        Token units that were paid out, and what was sent for it.

    Raises:
        NotFound: no such round. ContractError: the round has not ended.
    """
    info = rounds.show(network, round_id)
    mine = own_update(info, wallet.address)
    sent = []
    if mine is not None and mine.status is UpdateStatus.REVEALED:
        sent.append(send(wallet, network.training.collect(round_id, mine.number))[0])
    owed = network.training.balance_of(wallet.address)
    if owed:
        sent.append(send(wallet, network.training.withdraw())[0])
    if network.training_game.bond_of(wallet.address):
        sent.append(send(wallet, network.training_game.withdraw_bond())[0])
    return owed, tuple(sent)


def own_update(info: TrainingRoundInfo, account: Address) -> RevealedUpdate | None:
    """Return an account's update of a round, if it revealed one."""
    return next((one for one in info.updates if one.participant == account), None)


def update_file(network: Network, account: Address, round_id: int) -> Path:
    """Return where an account keeps its update of a round; it may not be there."""
    return _folder(network, account, round_id) / "update.safetensors"


def commitment(hidden: HiddenUpdate, account: Address, round_id: int) -> Bytes32:
    """Return what hides an update (`ITrainingRounds.commit`)."""
    types = ("bytes32", "uint256", "bytes32", "address", "uint256")
    return keccak(encode(types, [hidden.root, hidden.weight, hidden.salt, account, round_id]))


# ── Inside ──────────────────────────────────────────────────────────────────────────────────────
def _train(
    network: Network,
    info: TrainingRoundInfo,
    folder: Path,
    *,
    data: Path | None,
    plan: LocalPlan,
    update: Update,
) -> HiddenUpdate:
    """Train on own rows; update and salt are on the disk when this returns."""
    if data is None or not data.is_file():
        raise NotFound(
            f"there is no file {data}" if data else "no rows were named",
            hint="say --data FILE: .npz or .safetensors with the model's inputs and `labels`",
        )
    base = bases.of_round(network, info.terms, update)
    job: dict[str, Any] = {
        "manifest": str(base.manifest), "base": str(base.path), "data": str(data.resolve()),
        "scale_bits": info.terms.scale_bits, "clip": info.terms.clip, **asdict(plan),
    }  # fmt: skip
    said = bases.run(folder, "update", job, update)
    rows = int(said["rows"])
    body = {
        "root": said["root"], "weight": min(rows, info.terms.max_weight), "rows": rows,
        "salt": secrets.token_bytes(32).hex(), "losses": said["losses"],
    }  # fmt: skip
    whole_file.write(folder / "secret.json", json.dumps(body))
    kept = _kept(folder)
    assert kept is not None
    return kept


def _commit(
    network: Network, wallet: Wallet, info: TrainingRoundInfo, hidden: HiddenUpdate
) -> Sent:
    bond = info.terms.participant_bond
    balances.allow(network, wallet, network.training.address, bond)
    hides = commitment(hidden, wallet.address, info.round_id)
    return send(wallet, network.training.commit(info.round_id, hides))[0]


def _reveal(
    network: Network,
    wallet: Wallet,
    info: TrainingRoundInfo,
    hidden: HiddenUpdate,
    folder: Path,
) -> Sent:
    told = (info.round_id, hidden.root, hidden.weight, hidden.salt)
    # Nothing becomes public that the contract would refuse
    wallet.simulate(network.training.reveal(*told, ZERO32, ZERO32))
    cid, digest = served_vectors.publish_update(network.ipfs, folder / "update.safetensors")
    return send(wallet, network.training.reveal(*told, cid, digest))[0]


def _next(info: TrainingRoundInfo) -> tuple[str, Timestamp]:
    match info.phase:
        case TrainingPhase.COMMIT:
            return "reveal: the same command, once commitments are closed", info.until
        case TrainingPhase.SETTLED | TrainingPhase.VOID:
            return "", Timestamp(0)
        case _:
            return "collect: the same command, once the round has ended", Timestamp(0)


def _folder(network: Network, account: Address, round_id: int) -> Path:
    contracts = network.contracts
    place = f"{contracts.chain_id}-{contracts.training_rounds}"
    return make_folder(network.settings.home / "training" / place / f"{round_id}-{account}")


def _kept(folder: Path) -> HiddenUpdate | None:
    path = folder / "secret.json"
    if not path.exists():
        return None
    try:
        body = json.loads(path.read_text())
        root, salt = (Bytes32(bytes.fromhex(body[name])) for name in ("root", "salt"))
        first, last = body["losses"]
        return HiddenUpdate(
            root, int(body["weight"]), salt, int(body["rows"]), (float(first), float(last))
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigInvalid(f"{path} is damaged: {error!r:.200}") from error
