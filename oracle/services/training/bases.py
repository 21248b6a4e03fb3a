"""States of a round as files: its base from a version's weights, and weights from its next state.

Both are computed by the worker in a process of its own, and kept below the user's cache:
```
 cache/training/base-<manifest digest>-<scale bits>/   base.safetensors, base.json
```
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oracle import whole_file
from oracle.chain.bindings.training_rounds import TrainingTerms
from oracle.errors import DigestMismatch, NotFound
from oracle.private_files import make_folder
from oracle.services import models
from oracle.services.builders import Update
from oracle.services.network import Network
from oracle.services.training.running import run_program
from oracle.types import Bytes32

PROGRAM = "worker.training"


class BaseMismatch(DigestMismatch):
    """The state that a round names is not that of the version that it names."""


@dataclass(frozen=True, slots=True)
class TrainingBase:
    """The state that a round begins with.

    Attributes:
        path: of its file; manifest: of its version's manifest; files: the folder of its files.
        update_bytes, state_bytes: sizes of the files of an update and of a state.
    """

    path: Path
    manifest: Path
    files: Path
    root: Bytes32
    parameters: int
    update_bytes: int
    state_bytes: int


def make(
    network: Network, model_id: int, version: int, scale_bits: int, update: Update
) -> TrainingBase:
    """Return the state of a version, from its files on IPFS.

    Raises:
        NotFound: no such version. CidUnresolved: nobody has its files.
        InputInvalid, PermanentError: it is no safetensors of an architecture that is known.
    """
    record = models.record_of(network, model_id, version)
    folder = work_folder(network) / f"base-{record.manifest_digest.hex()[:32]}-{scale_bits}"
    manifest, kept = folder / "manifest.json", folder / "base.json"
    if not kept.exists():
        described = models.manifest(network, model_id, version)
        make_folder(folder)
        whole_file.write(manifest, described.to_bytes())
        files = {}
        for entry in described.files:
            path = folder / "files" / entry.path
            make_folder(path.parent)
            network.ipfs.fetch_file(entry.cid, path, entry.sha256, entry.size, update)
            files[entry.path] = str(path)
        job = {"manifest": str(manifest), "files": files, "scale_bits": scale_bits}
        said = run(folder, "base", job, update)
        whole_file.write(kept, json.dumps(said))
    said = json.loads(kept.read_text())
    return TrainingBase(
        folder / "base.safetensors", manifest, folder / "files",
        Bytes32(bytes.fromhex(said["root"])), said["parameters"], said["update_bytes"],
        said["state_bytes"],
    )  # fmt: skip


def of_round(network: Network, terms: TrainingTerms, update: Update) -> TrainingBase:
    """Return the base of a round, held against what the round says.

    Raises:
        BaseMismatch: the round names another state than its version has: take no part in it.
        NotFound, CidUnresolved, InputInvalid, PermanentError: as `make`.
    """
    base = make(network, terms.model_id, terms.version, terms.scale_bits, update)
    if (base.root, base.parameters) != (terms.state_root, terms.parameters):
        raise BaseMismatch(
            f"model {terms.model_id} version {terms.version} has state 0x{base.root.hex()} of "
            f"{base.parameters} parameters, the round says 0x{terms.state_root.hex()} of "
            f"{terms.parameters}",
            hint="its opener named a state that is not the version's: take no part",
        )
    return base


def weights(network: Network, base: TrainingBase, state: Path, terms: TrainingTerms) -> Path:
    """Return a state as a file of weights that can be published as a version."""
    if not state.exists():
        raise NotFound(f"there is no state {state}")
    job = {"manifest": str(base.manifest), "state": str(state), "scale_bits": terms.scale_bits}
    said = run(state.parent, "weights", job, lambda _done, _total: None)
    return Path(said["weights"])


def work_folder(network: Network) -> Path:
    """Return the folder of what is computed and fetched for rounds."""
    return network.cache / "training"


def round_folder(network: Network, round_id: int) -> Path:
    """Return the folder of one round, made; it is of one deployment."""
    contracts = network.contracts
    name = f"{contracts.chain_id}-{contracts.training_rounds}-{round_id}"
    return make_folder(work_folder(network) / name)


def run(folder: Path, do: str, job: dict[str, Any], update: Update) -> dict[str, Any]:
    """Have the worker compute; return what it says.

    Raises:
        TallystickError: what the worker refused, of the nearest kind (see `run_program`).
    """
    make_folder(folder)
    path = folder / f"{do}.job.json"
    whole_file.write(path, json.dumps({"do": do, **job}))
    said: dict[str, Any] = json.loads(run_program(PROGRAM, folder, source=path, update=update))
    return said
