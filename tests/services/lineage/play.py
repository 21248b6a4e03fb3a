"""Versions with histories, and rounds of training played on a chain; knows nothing of checks."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from oracle.chain.bindings.training_rounds import TrainingOpened, TrainingRule, TrainingTerms
from oracle.chain.wallet import Wallet
from oracle.merkle import keccak
from oracle.protocol.manifest import Manifest
from oracle.protocol.training_history import BaseVersion, Made, MadeByRounds, TrainingHistory
from oracle.services import balances, models, parents, publishing
from oracle.services.publishing import PublishedVersion, SaleTerms
from oracle.services.receipts import send
from oracle.training.aggregation import Aggregation, AggregationRule, RunningSums
from oracle.training.vectors import STATE, SUMS, VectorTree
from oracle.types import ZERO32, Amount, Assurance, Bytes32
from tests.services.conftest import DESCRIPTION, DOLLAR, World

BITS, CLIP = 16, 1_000
SALT = Bytes32(b"\x5a" * 32)
WEIGHTS = {"layer.bias": np.array([0.5, -0.25], np.float32),
           "layer.weight": np.arange(6, dtype=np.float32).reshape(2, 3) / 8}  # fmt: skip
SAFETENSORS: dict[str, Any] = {
    **DESCRIPTION,
    "runtime": {"format": "safetensors", "entry": "model.safetensors", "architecture": "mlp"},
}


def state_of(weights: dict[str, Any]) -> Any:
    """Return weights as a round's state."""
    flat = np.concatenate([weights[name].ravel() for name in sorted(weights)])
    return np.rint(flat.astype(np.float64) * 2**BITS).astype(np.int32)


def weights_of(state: Any) -> dict[str, Any]:
    """Return a state as the weights of the two tensors."""
    floats = (state / 2**BITS).astype(np.float32)
    return {"layer.bias": floats[:2], "layer.weight": floats[2:].reshape(2, 3)}


def write(
    folder: Path, weights: dict[str, Any], history: TrainingHistory | None = None, **more: Any
) -> Path:
    """Write a folder to publish."""
    folder.mkdir(exist_ok=True, parents=True)
    save_file(weights, folder / "model.safetensors")
    told = {} if history is None else {"history": history.to_json()}
    files = ["model.safetensors", *more.pop("files", ())]
    body = {**SAFETENSORS, **more, **told, "files": files}
    (folder / "model.json").write_text(json.dumps(body))
    return folder


def publish(world: World, folder: Path) -> PublishedVersion:
    """Publish a folder as a version of the owner's model of its name."""
    return publishing.publish(
        world.network, world.owner, folder, SaleTerms(Amount(DOLLAR), challenge_window=60)
    )


def smuggle(world: World, manifest: Manifest, model_id: int) -> None:
    """Publish a manifest as a publisher with a program of its own does: nothing is checked."""
    digest = world.ipfs.publish_bytes(manifest.to_bytes()).sha256
    offered = publishing._Offered(manifest.model_root(), Assurance.COMMITTEE, SaleTerms())
    publication = publishing._publication(world.network, manifest, digest, offered)
    registry = world.network.registry
    send(world.owner, registry.publish_version(model_id, registry.head_of(model_id), publication))


def draft(world: World, folder: Path, **changes: Any) -> Manifest:
    """Return a folder's manifest, its files uploaded."""
    read = publishing.folders.read(folder, lambda *_: None)
    return publishing.upload(world.network, folder, replace(read, **changes), lambda *_: None)


def based(world: World, made: Made | None, name: str = "1@1") -> TrainingHistory:
    """Return a history that begins from a published version."""
    return TrainingHistory(base=parents.named_base(world.network, name), made=made)


def play_round(
    world: World, state: Any, *, model_id: int = 1, version: int = 1, settle: bool = True
) -> tuple[int, Any]:
    """Play a round in which the operator and the requester take part; return id and next state."""
    rounds, token = world.network.training, world.network.token
    people = (world.operator, world.requester)
    for who in (world.owner, world.stranger, *people):
        balances.fund(world.network, who.address, Amount(100 * DOLLAR))
        who.send(token.approve(rounds.address, 100 * DOLLAR))
    size = len(state)
    terms = TrainingTerms(
        model_id=model_id, version=version, parameters=size, clip=CLIP, rule=TrainingRule.MEAN,
        trim=0, scale_bits=BITS, max_weight=10, least_clients=2, most_clients=4,
        state_root=VectorTree(state, STATE).root, commit_period=100, reveal_period=100,
        serve_period=100, aggregate_period=100, challenge_period=100, aggregator_bond=DOLLAR,
        participant_bond=DOLLAR, reward=Amount(DOLLAR), fee=Amount(DOLLAR),
    )  # fmt: skip
    number = send(world.owner, rounds.open(terms))[1].one(TrainingOpened).round_id
    updates = [np.arange(size, dtype=np.int32) * (n + 1) + number for n in range(len(people))]
    roots = [VectorTree(update, STATE).root for update in updates]
    for who, root in zip(people, roots, strict=True):
        who.send(rounds.commit(number, _commitment(root, who, number)))
    world.pass_time(100)
    for who, root in zip(people, roots, strict=True):
        who.send(rounds.reveal(number, root, 1, SALT, ZERO32, ZERO32))
    world.pass_time(250)
    aggregation = Aggregation(size, CLIP, (1,) * len(people), AggregationRule.MEAN)
    following = aggregation.next_state(state, np.stack(updates))
    sums = RunningSums(aggregation, updates)[: size * len(people)]
    world.stranger.send(rounds.claim(number))
    world.stranger.send(
        rounds.publish(
            number, VectorTree(sums, SUMS).root, VectorTree(following, STATE).root, ZERO32, ZERO32
        )
    )
    if settle:
        world.pass_time(150)
        world.stranger.send(rounds.settle(number))
    return number, following


def made_by(world: World, *rounds: int, state: Any, **changes: Any) -> MadeByRounds:
    """Return what a manifest says of rounds that `play_round` played."""
    people = tuple(sorted(who.address.lower() for who in (world.operator, world.requester)))
    told: dict[str, Any] = {
        "chain_id": world.network.contracts.chain_id,
        "contract": world.network.contracts.training_rounds.lower(), "rounds": rounds,
        "participants": 2, "addresses": people, "scale_bits": BITS,
        "state_root": VectorTree(state, STATE).root,
    }  # fmt: skip
    return MadeByRounds(**{**told, **changes})


def elsewhere(world: World, **changes: Any) -> BaseVersion:
    """Return the first version of model 1 as a base, with some of it changed."""
    record = models.record_of(world.network, 1, 1)
    told: dict[str, Any] = {
        "manifest_digest": record.manifest_digest,
        "chain_id": world.network.contracts.chain_id,
        "registry": world.network.contracts.model_registry.lower(), "model_id": 1, "version": 1,
    }  # fmt: skip
    return BaseVersion(**{**told, **changes})


def _commitment(root: Bytes32, who: Wallet, number: int) -> Bytes32:
    address = bytes.fromhex(who.address[2:]).rjust(32, b"\0")
    return keccak(root + (1).to_bytes(32) + SALT + address + number.to_bytes(32))
