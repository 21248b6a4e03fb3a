"""Publishes a folder as a model version: files to IPFS, manifest to IPFS, digest to the chain.

Order of work, the cheapest refusal first:

```
  read model.json ─▶ hash files ─▶ check manifest ─▶ run it ─▶ ask the registry ─▶ upload ─▶ publish
       │                │               │               │           │                │
     missing         unreadable    bad path, pickle   other     not owner,        resumes:
                                                      outputs   too soon          by digest
```
An exact version's program is validated on chain first, once (`registerProgram`); its root, not the
files' digest, is the version's model root.
```
  program + constants ─▶ roots fit ─▶ registered? ─▶ registerProgram
```
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from oracle import whole_file
from oracle.chain.bindings.model_access import Policy
from oracle.chain.bindings.model_registry import ModelRegistered, Publication, VersionPublished
from oracle.chain.contract import Call
from oracle.chain.wallet import Wallet
from oracle.errors import DigestMismatch, InputInvalid, Refused
from oracle.exact import version
from oracle.ipfs.port import CidUnresolved
from oracle.private_files import make_folder
from oracle.protocol import canonical
from oracle.protocol.cid import raw_cid
from oracle.protocol.manifest import SPREADS, FileEntry, Manifest, real
from oracle.services import folders, honesty, metering, models, operators, parents
from oracle.services.amounts import format_amount
from oracle.services.event_history import topic
from oracle.services.folders import BytesProgress
from oracle.services.model_files.model_check import ModelCheck
from oracle.services.network import Network
from oracle.services.receipts import Sent, send
from oracle.types import Address, Amount, Assurance, Bytes32, Cid, Say

MAX_TRANSACTION = 131_072  # bytes that transaction pools take (geth: txMaxSize)
_ENVELOPE = 150  # bytes of a transaction beside its data: fees, addresses, signature
MIN_TOLERANCE = 1_000  # 1e-6: instruction sets that are not here move float32 by 1e-7
Check = Callable[[Manifest, Path], ModelCheck]
DEFAULT_WINDOW = 60  # seconds; moved into the range that the registry allows


@dataclass(frozen=True, slots=True)
class SaleTerms:
    """What an owner asks for a version, and how the model is registered when it is new."""

    fee: Amount = Amount(10_000)  # noqa: RUF009 - a number with a name
    per: int | None = None  # units that it is the price of; None = as many as an answer may have
    operator_bps: int = 7000
    data_bps: int = 0
    insured_multiple: int = 10
    challenge_window: int | None = None  # seconds
    update_interval: int = 0  # seconds between two versions; fixed at registration


@dataclass(frozen=True, slots=True)
class PublishedVersion:
    """A version that is on the chain."""

    model_id: int
    version: int
    name: str
    head: Bytes32
    manifest_digest: Bytes32
    manifest_cid: Cid
    model_root: Bytes32
    files: tuple[FileEntry, ...]
    unchanged: bool  # it had been published before; nothing was done
    differs: tuple[str, ...]  # what programs rely on and the version before had otherwise
    registered: Sent | None  # the transaction that registered the model, if it was new
    transaction: Sent | None


def publish(
    network: Network,
    wallet: Wallet,
    folder: Path,
    sale: SaleTerms,
    *,
    model_id: int | None = None,
    say: Say | None = None,
    progress: BytesProgress | None = None,
    check: Check | None = None,
) -> PublishedVersion:
    """Publish the folder as the next version of a model.

    Without `model_id` it is the wallet's own model of the manifest's name, registered now if
    there is none yet. May be repeated after a failure at any point: what is done stays done.

    Args:
        check: runs the model in a worker's process (`model_check.check`).

    Raises:
        NotFound, InputInvalid: the folder is not a model that can be published, the model does not
            do what its manifest says, or its tolerance is below four times what was measured.
        Refused: under these terms lying pays, or the program does not fit into a transaction.
        ContractError: the registry refuses (not the owner, too soon, terms out of range).
        DigestMismatch: a file changed while it was published, or the version that a smaller one was
            made from is another one.
    """
    say, progress = say or (lambda _: None), progress or (lambda *_: None)
    draft = folders.read(folder, progress)
    if sale.per is not None:
        sale = replace(sale, fee=metering.cap(sale.fee, sale.per, _max_units(draft)), per=None)
    if model_id is None:
        model_id = own_model(network, wallet.address, draft.name)
    elif (owner := network.registry.owner_of(model_id)) != wallet.address:
        raise Refused(
            f"model {model_id} belongs to {owner}, not to {wallet.address}",
            hint="sign with --key of its owner, or publish under another name",
        )
    draft = parents.named(network, draft, model_id)
    honesty.require(network, sale.fee, sale.operator_bps, sale.insured_multiple)
    known = _remembered(network, draft)
    if model_id is not None and (done := _published_before(network, model_id, known)):
        return done
    if check is not None:
        say("running the model as an operator will")
        found = check(draft, folder)
        if draft.exact is None:
            draft = _tolerant(draft, found.spread, say)
        known = _remembered(network, draft)
        if model_id is not None and (done := _published_before(network, model_id, known)):
            return done
    root, assurance = _assured(network, wallet, folder, draft, say)
    offered = _Offered(root, assurance, sale)
    if model_id is not None:
        _rehearse(network, wallet, model_id, draft, offered)
    differs = () if model_id is None else _differences(network, model_id, draft)
    if differs:
        say(f"{', '.join(differs)} differ from the version before: who asks by name gets the new")
    manifest = upload(network, folder, draft, progress)
    if model_id is not None and (done := _published_before(network, model_id, manifest)):
        return done
    digest = network.ipfs.publish_bytes(manifest.to_bytes()).sha256
    registered = None
    if model_id is None:
        say(f"registering {manifest.name!r}")
        call = network.registry.register_model(manifest.name, sale.update_interval)
        registered, receipt = send(wallet, call)
        model_id = receipt.one(ModelRegistered).model_id
    say(f"publishing a version of model {model_id}")
    head = network.registry.head_of(model_id)
    publication = _publication(network, manifest, digest, offered)
    transaction, receipt = send(
        wallet, network.registry.publish_version(model_id, head, publication)
    )
    record = receipt.one(VersionPublished).record
    return PublishedVersion(
        model_id=model_id,
        version=record.version,
        name=manifest.name,
        head=record.head,
        manifest_digest=digest,
        manifest_cid=raw_cid(digest),
        model_root=record.model_root,
        files=manifest.files,
        unchanged=False,
        differs=differs,
        registered=registered,
        transaction=transaction,
    )


def _tolerant(draft: Manifest, spread: int, say: Say) -> Manifest:
    """Return the draft with a tolerance that covers four times the measured spread.

    Raises:
        InputInvalid: the tolerance that it names is lower.
    """
    needed = _round_up(max(SPREADS * spread, MIN_TOLERANCE))
    if not draft.tolerance:
        say(f"honest answers differ by {real(spread)}; the tolerance is {real(needed)}")
        return replace(draft, tolerance=needed)
    if draft.tolerance < needed:
        raise InputInvalid(
            f"the tolerance is {real(draft.tolerance)}, "
            f"but honest answers differ by {real(spread)}",
            hint=f"raise it to {needed} (in 1e-9) in model.json, or leave it out: it is measured",
        )
    return draft


def _round_up(tolerance: int) -> int:
    """Return the next 1, 2 or 5 times a power of ten: a second measurement says the same."""
    power = int("1" + "0" * (len(str(tolerance)) - 1))
    return next(n * power for n in (1, 2, 5, 10) if n * power >= tolerance)


def upload(network: Network, folder: Path, draft: Manifest, progress: BytesProgress) -> Manifest:
    """Publish the files that the node does not have yet; return the manifest with their CIDs."""
    memory = _Memory(network.settings.home / "published")
    return replace(
        draft, files=tuple(_upload(network, folder, e, memory, progress) for e in draft.files)
    )


def missing(network: Network, model_id: int, version: int) -> tuple[str, ...]:
    """Return what still keeps a version from being asked, with the command that mends it."""
    found = []
    lock = network.market.lock_of(network.registry.terms_of(model_id, version)).total
    candidates = operators.candidates(network, model_id)
    if not candidates:
        found.append(
            "nobody may serve it yet: "
            f"`tallystick operator authorize {model_id} OPERATOR --key OWNER`"
        )
    elif all(one.free_stake < lock for one in candidates):
        found.append(
            f"no operator has the {format_amount(lock)} of free stake that an answer locks: "
            "`tallystick operator stake AMOUNT --key OPERATOR`, or a lower --insured"
        )
    if network.access.policy_of(model_id).policy is not Policy.OPEN:
        found.append(
            "only wallets with a grant may ask: "
            f"`tallystick access grant {model_id} WALLET --key OWNER`"
        )
    return tuple(found)


def own_model(network: Network, owner: Address, name: str) -> int | None:
    """Return the newest model of that name that the account registered and still owns."""
    found = network.history.read(network.registry.address, (ModelRegistered,), None, topic(owner))
    for happened in reversed(found):
        event = happened.event
        assert isinstance(event, ModelRegistered)
        if event.name == name and network.registry.owner_of(event.model_id) == owner:
            return event.model_id
    return None


# ── Files ───────────────────────────────────────────────────────────────────────────────────────
def _upload(
    network: Network, folder: Path, entry: FileEntry, memory: "_Memory", progress: BytesProgress
) -> FileEntry:
    cid = memory.recall(entry.sha256)
    if cid is not None:
        try:
            network.ipfs.pin(cid)
        except CidUnresolved:
            cid = None  # another node, or one that forgot
    if cid is None:
        published = network.ipfs.publish_file(
            folder / entry.path, lambda done, total: progress(entry.path, done, total)
        )
        if published.sha256 != entry.sha256:
            raise DigestMismatch(
                f"{entry.path} changed while it was published", hint="publish again"
            )
        cid = published.cid
        memory.keep(entry.sha256, cid)
    return replace(entry, cid=cid)


class _Memory:
    """Which files this user has published: a file per SHA-256 that holds the CID."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def recall(self, sha256: Bytes32) -> Cid | None:
        """Return the CID under which the bytes were published, if they were."""
        try:
            return Cid((self._folder / sha256.hex()).read_text().strip())
        except OSError:
            return None

    def keep(self, sha256: Bytes32, cid: Cid) -> None:
        """Remember that the bytes are published."""
        whole_file.write(make_folder(self._folder) / sha256.hex(), cid + "\n")


# ── Chain ───────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class _Offered:
    """What a version's record will say beside its manifest."""

    model_root: Bytes32
    assurance: Assurance
    sale: SaleTerms


def _assured(
    network: Network, wallet: Wallet, folder: Path, draft: Manifest, say: Say
) -> tuple[Bytes32, Assurance]:
    """Return model root and assurance; an exact version's program is registered if it is new.

    Raises:
        ProgramInvalid, ConstantMismatch, InputInvalid: program and constants do not fit.
        ContractError: the registry of programs refuses.
    """
    if draft.exact is None:
        return draft.model_root(), Assurance.COMMITTEE
    files = {entry.path: folder / entry.path for entry in draft.files}
    program = version.read(draft, files).program
    root = program.model_root
    if not network.programs.is_program(root):
        say(f"having {len(program.ops)} operations validated on chain")
        call = network.programs.register_program(program.words)
        require_sendable(call, len(program.ops))
        send(wallet, call)
    return root, Assurance.EXACT


def require_sendable(call: Call, operations: int) -> None:
    """Refuse a program that no transaction pool would take.

    Raises:
        Refused: it is too large.
    """
    size = len(call.data) + _ENVELOPE
    if size > MAX_TRANSACTION:
        raise Refused(
            f"the program has {operations} operations, {size} bytes as a transaction; transaction "
            f"pools take {MAX_TRANSACTION}",
            hint="compile a smaller model: 454 operations fit",
        )


def _publication(
    network: Network, manifest: Manifest, digest: Bytes32, offered: _Offered
) -> Publication:
    sale = offered.sale
    window = sale.challenge_window
    if window is None:
        shortest, longest = network.registry.challenge_window_range()
        window = min(max(DEFAULT_WINDOW, shortest), longest)
    return Publication(
        manifest_digest=digest,
        model_root=offered.model_root,
        assurance=offered.assurance,
        tolerance=manifest.tolerance,
        fee=sale.fee,
        operator_bps=sale.operator_bps,
        data_bps=sale.data_bps,
        insured_multiple=sale.insured_multiple,
        challenge_window=window,
        max_units=_max_units(manifest),
    )


def _max_units(manifest: Manifest) -> int:
    return manifest.unit.maximum if manifest.unit else 0


def _rehearse(
    network: Network, wallet: Wallet, model_id: int, draft: Manifest, offered: _Offered
) -> None:
    """Let the registry refuse before gigabytes are uploaded."""
    digest = canonical.sha256(draft.to_bytes())  # stands for the one that is not known yet
    head = network.registry.head_of(model_id)
    publication = _publication(network, draft, digest, offered)
    wallet.simulate(network.registry.publish_version(model_id, head, publication))


def _differences(network: Network, model_id: int, draft: Manifest) -> tuple[str, ...]:
    """Return which of inputs, outputs and labels the newest version has otherwise."""
    records = models.records(network, model_id)
    if not records:
        return ()
    try:
        last = models.manifest(network, model_id, records[-1].version)
    except CidUnresolved:
        return ()  # nobody has it any more: nobody can rely on it
    fields = ("inputs", "outputs", "labels")
    return tuple(name for name in fields if getattr(last, name) != getattr(draft, name))


def _remembered(network: Network, draft: Manifest) -> Manifest:
    """Return the draft with the CIDs under which its files were published before."""
    memory = _Memory(network.settings.home / "published")
    files = [replace(e, cid=memory.recall(e.sha256) or e.cid) for e in draft.files]
    return replace(draft, files=tuple(files))


def _published_before(
    network: Network, model_id: int, manifest: Manifest
) -> PublishedVersion | None:
    """Return the newest version if it has this very manifest."""
    records = models.records(network, model_id)
    if not records or canonical.sha256(manifest.to_bytes()) != records[-1].manifest_digest:
        return None
    record = records[-1]
    return PublishedVersion(
        model_id=model_id,
        version=record.version,
        name=manifest.name,
        head=record.head,
        manifest_digest=record.manifest_digest,
        manifest_cid=raw_cid(record.manifest_digest),
        model_root=record.model_root,
        files=manifest.files,
        unchanged=True,
        differs=(),
        registered=None,
        transaction=None,
    )
