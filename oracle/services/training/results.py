"""What a settled round led to, as a folder to publish: the next version, with its history."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from oracle import whole_file
from oracle.errors import ConfigInvalid
from oracle.private_files import make_folder
from oracle.protocol.manifest import Manifest
from oracle.protocol.training_history import LISTED, MadeByRounds, TrainingHistory, digest_of
from oracle.services import parents
from oracle.services.folders import DESCRIPTION
from oracle.services.network import Network
from oracle.services.training import aggregating, bases, rounds
from oracle.services.training.rounds import TrainingRoundInfo


@dataclass(frozen=True, slots=True)
class RoundResult:
    """A folder that `publishing.publish` takes.

    Attributes:
        model_id, version: that the round began with.
        participants: accounts that revealed an update.
    """

    round_id: int
    folder: Path
    model_id: int
    version: int
    participants: int


def write(network: Network, round_id: int, folder: Path) -> RoundResult:
    """Write the round's next state as weights, described as its version, beside its other files.

    Raises:
        NotFound: no such round, or it is not settled.
        AggregateUnserved: nobody serves the state, and it is not on this machine.
        ConfigInvalid: something else is in the folder.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ConfigInvalid(f"{folder} is not empty", hint="name a new folder by --out")
    weights = aggregating.next_state(network, round_id)
    info = rounds.show(network, round_id)
    base = bases.of_round(network, info.terms, lambda _done, _total: None)
    manifest = Manifest.parse(base.manifest.read_bytes())
    for entry in manifest.files:
        place = folder / entry.path
        make_folder(place.parent)
        is_weights = entry.path == manifest.runtime.entry
        shutil.copyfile(weights if is_weights else base.files / entry.path, place)
    described = json.loads(manifest.to_bytes())
    described.pop("derived_from", None)  # the base names what it was made from itself
    described["files"] = [entry.path for entry in manifest.files]
    described["history"] = _history(network, info).to_json()
    whole_file.write(folder / DESCRIPTION, json.dumps(described, indent=2) + "\n")
    participants = len({one.participant for one in info.updates})
    return RoundResult(round_id, folder, info.model_id, info.version, participants)


def _history(network: Network, info: TrainingRoundInfo) -> TrainingHistory:
    people = tuple(sorted({one.participant.lower() for one in info.updates}))
    few = len(people) <= LISTED
    made = MadeByRounds(
        chain_id=network.contracts.chain_id,
        contract=network.contracts.training_rounds.lower(),
        rounds=(info.round_id,),
        participants=len(people),
        addresses=people if few else None,
        addresses_digest=None if few else digest_of(people),
        state_root=info.next_root,
        scale_bits=info.terms.scale_bits,
    )
    base = parents.named_base(network, f"{info.model_id}@{info.version}")
    return TrainingHistory(base=base, made=made)
