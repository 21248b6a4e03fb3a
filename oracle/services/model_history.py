"""Recomputes a model's whole history from events and from the bytes on IPFS.

```
  event 1      event 2      event 3       recomputed heads must link up and end in `headOf`
    │            │            │
  manifest     manifest     manifest      SHA-256 = what the record says; model root recomputed;
    │            │            │           what it was made from has the digest that it names
    │  files     │  files     │  files    every byte fetched: SHA-256 and size as the manifest says
    │            │            │           how it was trained: held to chain and weights
```
Stops at the first thing that does not fit and names it: what follows would rest on it.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from oracle.errors import DigestMismatch, InputInvalid
from oracle.exact import version as exact
from oracle.ipfs.port import CidUnresolved
from oracle.private_files import make_folder
from oracle.protocol import records
from oracle.protocol.cid import raw_cid
from oracle.protocol.manifest import MAX_BYTES, FileEntry, Manifest
from oracle.services import models, parents
from oracle.services.lineage import chain_checks, weights
from oracle.services.lineage.findings import HistoryCheck, HistoryFinding
from oracle.services.lineage.records import PublishedVersions
from oracle.services.network import Network
from oracle.types import ZERO32, Assurance, Bytes32, VersionRecord

BytesProgress = Callable[[str, int, int], None]  # (file, bytes done, bytes in total)


class HistoryBroken(DigestMismatch):
    """The first record or file of a model that does not fit. `subject` names it."""

    def __init__(self, subject: str, message: str, *, hint: str = "") -> None:
        super().__init__(f"{subject}: {message}", hint=hint)
        self.subject = subject


@dataclass(frozen=True, slots=True)
class CheckedVersion:
    """One version of which everything fits."""

    version: int
    head: Bytes32
    manifest_digest: Bytes32
    files: int
    size: int  # bytes of all files
    history: tuple[HistoryCheck, ...]  # of what its manifest says of its training; none is wrong


@dataclass(frozen=True, slots=True)
class VerifiedHistory:
    """A model whose history fits, and its bytes too if they were fetched."""

    model_id: int
    head: Bytes32
    bytes_checked: bool
    versions: tuple[CheckedVersion, ...]


def verify(
    network: Network,
    model_id: int,
    *,
    with_bytes: bool = True,
    progress: BytesProgress | None = None,
) -> VerifiedHistory:
    """Check all versions of a model, oldest first.

    Raises:
        HistoryBroken: a record, a manifest or a file does not fit; it is named.
        CidUnresolved: bytes that nobody has; the file is named.
    """
    chain = models.records(network, model_id)
    check_records(model_id, chain)
    _check_against_state(network, model_id, chain)
    make_folder(network.cache)
    checked = []
    with tempfile.TemporaryDirectory(dir=network.cache, prefix="verify-") as folder:
        files = _Files(network, Path(folder), progress)
        published = PublishedVersions.read(network)
        for record in chain:
            manifest = _check_manifest(network, record)
            for entry in manifest.files if with_bytes else ():
                files.check(record.version, entry)
            if with_bytes and manifest.exact is not None:
                files.check_program(record, manifest)
            told = _check_training(
                network, published, record, manifest, files if with_bytes else None
            )
            size = sum(entry.size for entry in manifest.files)
            digest, count = record.manifest_digest, len(manifest.files)
            checked.append(CheckedVersion(record.version, record.head, digest, count, size, told))
    head = chain[-1].head if chain else ZERO32
    return VerifiedHistory(model_id, head, with_bytes, tuple(checked))


def check_records(model_id: int, chain: list[VersionRecord]) -> None:
    """Recompute the hash chain. Pure.

    Raises:
        HistoryBroken: the first record that does not follow from the one before it.
    """
    head = ZERO32
    for number, record in enumerate(chain, 1):
        subject = f"record of version {record.version}"
        if record.model_id != model_id or record.version != number:
            raise HistoryBroken(subject, f"stands where version {number} belongs")
        if record.prev_head != head:
            raise HistoryBroken(
                subject, f"continues 0x{record.prev_head.hex()}, but the head was 0x{head.hex()}"
            )
        head = records.version_head(
            prev_head=head,
            model_id=model_id,
            version=number,
            manifest_digest=record.manifest_digest,
            model_root=record.model_root,
            assurance=record.assurance,
            tolerance=record.tolerance,
            publisher=record.publisher,
            timestamp=record.timestamp,
        )
        if head != record.head:
            raise HistoryBroken(
                subject, f"its fields hash to 0x{head.hex()}, it says 0x{record.head.hex()}"
            )


def _check_against_state(network: Network, model_id: int, chain: list[VersionRecord]) -> None:
    count = network.registry.version_count(model_id)
    if count != len(chain):
        raise HistoryBroken(
            f"record of version {min(count, len(chain)) + 1}",
            f"the registry counts {count} versions, the events {len(chain)}",
            hint="does the node keep all logs since the deployment?",
        )
    for record in chain:
        if (head := network.registry.head_at(model_id, record.version)) != record.head:
            raise HistoryBroken(
                f"record of version {record.version}",
                f"the registry says head 0x{head.hex()}, the event 0x{record.head.hex()}",
            )


def _check_manifest(network: Network, record: VersionRecord) -> Manifest:
    subject = f"manifest of version {record.version}"
    cid = raw_cid(record.manifest_digest)
    try:
        manifest = Manifest.parse(network.ipfs.fetch_bytes(cid, MAX_BYTES))
    except CidUnresolved as error:
        raise CidUnresolved(f"{subject}: {error}", hint=error.hint) from error
    except (DigestMismatch, InputInvalid) as error:
        raise HistoryBroken(subject, str(error), hint=error.hint) from error
    if manifest.tolerance != record.tolerance:
        raise HistoryBroken(
            subject, f"its tolerance is {manifest.tolerance}, the record's {record.tolerance}"
        )
    if (manifest.exact is None) != (record.assurance is Assurance.COMMITTEE):
        raise HistoryBroken(subject, f"is not that of a version of {record.assurance.name}")
    if manifest.exact is None and manifest.model_root() != record.model_root:
        raise HistoryBroken(
            subject,
            f"its weights hash to 0x{manifest.model_root().hex()}, the record says "
            f"0x{record.model_root.hex()}",
        )
    if manifest.derived_from and (fault := parents.fault_of(network, manifest.derived_from)):
        raise HistoryBroken(subject, f"what it was made from does not fit: {fault}")
    return manifest


def _check_training(
    network: Network,
    published: PublishedVersions,
    record: VersionRecord,
    manifest: Manifest,
    files: "_Files | None",
) -> tuple[HistoryCheck, ...]:
    found = chain_checks.check(network, published, record, manifest, network.manifests.get)
    paths = files.held(record.version, manifest, weights.files_of(manifest)) if files else None
    found += tuple(weights.check(manifest, paths))
    faults = [f"{one.subject}: {one.why}" for one in found if one.finding is HistoryFinding.WRONG]
    if faults:
        raise HistoryBroken(f"history of version {record.version}", "; ".join(faults))
    return found


class _Files:
    """Fetches every file once, however many versions list it."""

    def __init__(self, network: Network, folder: Path, progress: BytesProgress | None) -> None:
        self._network = network
        self._folder = folder
        self._progress = progress
        self._seen: set[Bytes32] = set()

    def check(self, version: int, entry: FileEntry) -> None:
        """Fetch one file; what is not what the manifest promises raises."""
        if entry.sha256 in self._seen:
            return
        target = self._folder / entry.sha256.hex()
        try:
            self._fetch(version, entry, target)
        finally:
            target.unlink(missing_ok=True)
        self._seen.add(entry.sha256)

    def check_program(self, record: VersionRecord, manifest: Manifest) -> None:
        """Recompute an exact version's root from its weights up."""
        assert manifest.exact is not None
        wanted = (manifest.runtime.entry, manifest.exact.constants)
        paths = self.held(record.version, manifest, wanted)
        try:
            exact.read(manifest, paths, record.model_root)
        except (DigestMismatch, InputInvalid) as error:
            raise HistoryBroken(
                f"program of version {record.version}", str(error), hint=error.hint
            ) from error

    def held(self, version: int, manifest: Manifest, paths: tuple[str, ...]) -> dict[str, Path]:
        """Fetch files that are read again, and return where they lie."""
        found = {path: self._folder / manifest.file(path).sha256.hex() for path in paths}
        for path, target in found.items():
            self._fetch(version, manifest.file(path), target)
        return found

    def _fetch(self, version: int, entry: FileEntry, target: Path) -> None:
        subject = f"file {entry.path} of version {version}"

        def report(done: int, total: int) -> None:
            if self._progress:
                self._progress(entry.path, done, total)

        try:
            self._network.ipfs.fetch_file(entry.cid, target, entry.sha256, entry.size, report)
        except CidUnresolved as error:
            raise CidUnresolved(f"{subject}: {error}", hint=error.hint) from error
        except DigestMismatch as error:
            raise HistoryBroken(subject, str(error), hint=error.hint) from error
