"""Moves a model, the credits of its data and an operator's stake to another deployment.

```
 old deployment                              new deployment (names the old DataCredits)
 version, terms  ────────── the owner ─────▶ registered, published with the same bytes
 leave: no more rounds ──── the owner ─────▶ come: all credits at once
 creditsOf(holder) ──────── anyone ────────▶ arrive: read from the old contract
 unstake, wait ──────────── the operator ──▶ register, stake
```
No key can move what belongs to another: the new contract reads the old one itself. Every step may
be repeated; what is done stays done (docs/migration.md).
"""

from dataclasses import dataclass

from oracle.chain.bindings.data_credits import CreditsArrived, Endorsed
from oracle.chain.bindings.data_rounds import CreditGranted
from oracle.chain.bindings.model_registry import ModelRegistered, Publication
from oracle.chain.wallet import Wallet
from oracle.errors import NotFound, Refused
from oracle.merkle import keccak, log, tree_root
from oracle.services import models, operators, publishing
from oracle.services.balances import allow
from oracle.services.data import rounds
from oracle.services.event_history import topic
from oracle.services.network import Network
from oracle.services.receipts import Sent, send
from oracle.types import ZERO32, Address, Amount, Assurance, Bytes32, Credits, Timestamp


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Who holds how many credits of a model, in the order of addresses, under one root.

    Attributes:
        total: of the pool; what was not granted yet is more than the holders' sum.
    """

    model_id: int
    root: Bytes32
    total: Credits
    held: tuple[tuple[Address, Credits], ...]


@dataclass(frozen=True, slots=True)
class MovedStake:
    """An operator's stake on its way.

    Attributes:
        unbonding: what has left the old contract at `release_at`.
        staked: what it has in the new one.
    """

    unbonding: Amount
    release_at: Timestamp
    staked: Amount
    transactions: tuple[Sent, ...]


# ── The model ───────────────────────────────────────────────────────────────────────────────────
def move_model(old: Network, new: Network, wallet: Wallet, model_id: int) -> tuple[int, list[Sent]]:
    """Publish the newest version of a model at the new deployment, with the same bytes and terms.

    Returns:
        The model's number there, and what was sent.

    Raises:
        NotFound: the model has no version.
        Refused: an exact version whose program nobody registered there.
        ContractError: not the owner, or terms that the new deployment refuses.
    """
    records = models.records(old, model_id)
    if not records:
        raise NotFound(f"model {model_id} has no version to move")
    record, name = records[-1], old.registry.name_of(model_id)
    exact = record.assurance is Assurance.EXACT
    if exact and not new.programs.is_program(record.model_root):
        raise Refused(
            f"the program of model {model_id} is not registered at the new deployment",
            hint="`tallystick model publish FOLDER` there registers it and publishes the model",
        )
    done: list[Sent] = []
    there = publishing.own_model(new, wallet.address, name)
    if there is None:
        interval = old.registry.update_interval_of(model_id)
        sent, receipt = send(wallet, new.registry.register_model(name, interval))
        there, done = receipt.one(ModelRegistered).model_id, [sent]
    published = models.records(new, there)
    if published and published[-1].manifest_digest == record.manifest_digest:
        return there, done
    terms = old.registry.terms_of(model_id, record.version)
    publication = Publication(
        manifest_digest=record.manifest_digest,
        model_root=record.model_root,
        assurance=record.assurance,
        tolerance=terms.tolerance,
        fee=terms.fee,
        operator_bps=terms.operator_bps,
        data_bps=terms.data_bps,
        insured_multiple=terms.insured_multiple,
        challenge_window=terms.challenge_window,
        max_units=terms.max_units,
    )
    head = new.registry.head_of(there)
    done.append(send(wallet, new.registry.publish_version(there, head, publication))[0])
    return there, done


# ── Its credits ─────────────────────────────────────────────────────────────────────────────────
def move_credits(
    old: Network, new: Network, wallet: Wallet, model_id: int, there: int
) -> list[Sent]:
    """Let a model's credits come to the new deployment; holders that have arrived are left alone.

    The first two steps are the owner's; once they are done, anyone lets holders arrive.

    Raises:
        ContractError: a round is live, or the wallet is not the owner of both models.
    """
    done = []
    if not new.credits.former_of(there):
        if not old.credits.has_left(model_id):
            done.append(send(wallet, old.credits.leave(model_id))[0])
        done.append(send(wallet, new.credits.come(there, model_id))[0])
    for holder, credits in snapshot(old, model_id).held:
        if new.credits.arrived_of(there, holder) < credits:
            done.append(send(wallet, new.credits.arrive(there, holder))[0])
    return done


def snapshot(network: Network, model_id: int) -> Snapshot:
    """Return who holds credits now, found in events and read from the contract.

    The leaf of a holder is keccak256(address ‖ uint256 credits); a leaf that is absent is zero.
    """
    place, credits = network.credits.address, network.credits
    ids = [topic(one.round_id) for one in rounds.list_rounds(network, model_id)]
    found: set[Address] = set()
    if ids:
        granted = network.history.read(network.data_rounds.address, (CreditGranted,), ids)
        found |= {h.event.owner for h in granted if isinstance(h.event, CreditGranted)}
        staked = network.history.read(place, (Endorsed,), ids)
        found |= {h.event.endorser for h in staked if isinstance(h.event, Endorsed)}
    arrived = network.history.read(place, (CreditsArrived,), topic(model_id))
    found |= {h.event.holder for h in arrived if isinstance(h.event, CreditsArrived)}
    held = [(one, credits.credits_of(model_id, one)) for one in sorted(found, key=str.lower)]
    return _snapshot(model_id, credits.total_credits(model_id), held)


def arrived(old: Network, new: Network, model_id: int, there: int) -> Snapshot:
    """Return the snapshot of what has arrived; its root is the old one's when everybody has."""
    held = snapshot(old, model_id).held
    came = [(holder, Credits(new.credits.arrived_of(there, holder))) for holder, _ in held]
    return _snapshot(there, new.credits.total_credits(there), came)


def _snapshot(model_id: int, total: Credits, held: list[tuple[Address, Credits]]) -> Snapshot:
    kept = tuple((holder, amount) for holder, amount in held if amount)
    leaves = [keccak(bytes.fromhex(one[2:]) + amount.to_bytes(32)) for one, amount in kept]
    root = tree_root(leaves, log(len(leaves))) if leaves else ZERO32
    return Snapshot(model_id, root, total, kept)


# ── An operator's stake ─────────────────────────────────────────────────────────────────────────
def move_stake(old: Network, new: Network, wallet: Wallet) -> MovedStake:
    """Do what is due of a stake's move: unbond there, wait for the delay, stake here.

    Raises:
        ContractError: stake is locked behind deliveries that are not settled.
    """
    me, done = wallet.address, []
    unbonding = old.operators.unbonding_of(me)
    if unbonding.amount and old.history.now() >= unbonding.release_at:
        if not new.operators.stake_of(me).registered:  # what may fail comes before the payout
            done.append(operators.register(new, wallet, operators.endpoint_of(old, me)))
        done += allow(new, wallet, new.operators.address, unbonding.amount)
        done.append(operators.finish_unstake(old, wallet))
        done += operators.stake(new, wallet, unbonding.amount)
    elif not unbonding.amount and (free := old.operators.free_stake_of(me)):
        done.append(operators.start_unstake(old, wallet, free))
    left = old.operators.unbonding_of(me)
    staked = new.operators.stake_of(me).staked
    return MovedStake(left.amount, left.release_at, staked, tuple(done))
