"""Models as their registry tells: who owns them, which versions, on which terms, what they earned.

Publishing is in `publishing.py`, checking history and bytes in `verification.py`.
"""

from dataclasses import dataclass, replace

from oracle.chain.bindings.inference_market import ModelEarningsCollected
from oracle.chain.bindings.model_access import Policy
from oracle.chain.bindings.model_registry import ModelRegistered, VersionPublished
from oracle.chain.wallet import Wallet
from oracle.errors import NotFound, did_you_mean
from oracle.protocol.cid import raw_cid
from oracle.protocol.manifest import MAX_BYTES, Manifest
from oracle.services.event_history import topic
from oracle.services.lineage import tree
from oracle.services.lineage.tree import Family
from oracle.services.network import Network
from oracle.services.receipts import Sent, send
from oracle.types import Address, Amount, Assurance, Bytes32, Cid, Terms, Timestamp, VersionRecord


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model."""

    model_id: int
    name: str
    owner: Address
    versions: int
    fee: Amount | None  # of the newest version in use; None = there is none
    max_units: int  # that it is the price of; 0 = flat
    head: Bytes32
    policy: Policy
    update_interval: int  # seconds
    owner_earnings: Amount  # not collected yet
    data_earnings: Amount


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """One version: its record, and its terms as they are now."""

    model_id: int
    version: int
    manifest_digest: Bytes32
    manifest_cid: Cid
    model_root: Bytes32
    assurance: Assurance
    tolerance: int  # absolute, in 1e-9
    publisher: Address
    timestamp: Timestamp
    head: Bytes32
    fee: Amount
    max_units: int  # that it is the price of; 0 = flat
    operator_bps: int
    data_bps: int
    insured_multiple: int
    challenge_window: int  # seconds
    retired: bool


@dataclass(frozen=True, slots=True)
class ModelDetail:
    """A model, its versions, and the manifest of one of them."""

    model: ModelInfo
    versions: tuple[VersionInfo, ...]
    version: int | None  # whose manifest this is
    manifest: Manifest | None
    family: Family | None = None  # None: it says nothing of its history, and nothing was made of it


@dataclass(frozen=True, slots=True)
class Collected:
    """Earnings that were paid out, and to whom."""

    transaction: Sent
    to: Address
    owner_fee: Amount
    data_fee: Amount


@dataclass(frozen=True, slots=True)
class Selected:
    """What a person means by `MODEL` or `MODEL@VERSION`."""

    model_id: int
    version: int | None


# ── Reading ─────────────────────────────────────────────────────────────────────────────────────
def select(network: Network, text: str) -> Selected:
    """Find a model by its id or its name, with or without `@VERSION`.

    Raises:
        NotFound: no such model or version.
    """
    name, _, tail = text.partition("@")
    if tail and not tail.isdecimal():
        raise NotFound(f"{tail!r} is not a version", hint="write MODEL@3 for version 3")
    model_id = int(name) if name.isdecimal() else _by_name(network, name)
    count = network.registry.model_count()
    if not 1 <= model_id <= count:
        raise NotFound(f"there is no model {model_id}", hint=_known(count))
    version = int(tail) if tail else None
    if version is not None and not 1 <= version <= network.registry.version_count(model_id):
        raise NotFound(
            f"model {model_id} has no version {version}",
            hint=f"`tallystick model versions {model_id}` lists them",
        )
    return Selected(model_id, version)


def list_models(network: Network, owner: Address | None = None) -> tuple[ModelInfo, ...]:
    """Return all models, or those of one owner."""
    every = (info(network, i) for i in range(1, network.registry.model_count() + 1))
    return tuple(model for model in every if owner in (None, model.owner))


def name_holder(network: Network, model_id: int) -> ModelInfo | None:
    """Return the earlier model that has this one's name; None: the name means this one."""
    holder = _by_name(network, network.registry.name_of(model_id))
    return None if holder == model_id else info(network, holder)


def holder_of(network: Network, name: str) -> ModelInfo | None:
    """Return the model that a name means; None: nobody has registered it."""
    try:
        return info(network, _by_name(network, name))
    except NotFound:
        return None


def info(network: Network, model_id: int) -> ModelInfo:
    """Return one model."""
    earnings = network.market.model_earnings(model_id)
    try:
        version = current_version(network, Selected(model_id, None))
        terms = network.registry.terms_of(model_id, version)
    except NotFound:
        terms = None
    return ModelInfo(
        model_id=model_id,
        name=network.registry.name_of(model_id),
        owner=network.registry.owner_of(model_id),
        versions=network.registry.version_count(model_id),
        fee=terms.fee if terms else None,
        max_units=terms.max_units if terms else 0,
        head=network.registry.head_of(model_id),
        policy=network.access.policy_of(model_id).policy,
        update_interval=network.registry.update_interval_of(model_id),
        owner_earnings=earnings.owner_fee,
        data_earnings=earnings.data_fee,
    )


def records(network: Network, model_id: int) -> list[VersionRecord]:
    """Return the records of a model's versions as the registry logged them, oldest first."""
    found = network.history.read(network.registry.address, (VersionPublished,), topic(model_id))
    return [h.event.record for h in found if isinstance(h.event, VersionPublished)]


def record_of(network: Network, model_id: int, version: int) -> VersionRecord:
    """Return the record of one version.

    Raises:
        NotFound: it was never published.
    """
    found = (one for one in records(network, model_id) if one.version == version)
    if (record := next(found, None)) is None:
        raise NotFound(f"model {model_id} has no version {version}")
    return record


def versions(network: Network, model_id: int) -> tuple[VersionInfo, ...]:
    """Return the versions of a model, oldest first."""
    result = []
    for record in records(network, model_id):
        terms = network.registry.terms_of(model_id, record.version)
        result.append(
            VersionInfo(
                model_id=model_id,
                version=record.version,
                manifest_digest=record.manifest_digest,
                manifest_cid=raw_cid(record.manifest_digest),
                model_root=record.model_root,
                assurance=record.assurance,
                tolerance=record.tolerance,
                publisher=record.publisher,
                timestamp=record.timestamp,
                head=record.head,
                fee=terms.fee,
                max_units=terms.max_units,
                operator_bps=terms.operator_bps,
                data_bps=terms.data_bps,
                insured_multiple=terms.insured_multiple,
                challenge_window=terms.challenge_window,
                retired=terms.retired,
            )
        )
    return tuple(result)


def current_version(network: Network, selected: Selected) -> int:
    """Return the version that was named, or the newest one that is not retired.

    Raises:
        NotFound: nothing was published, or everything is retired.
    """
    if selected.version is not None:
        return selected.version
    newest = network.registry.version_count(selected.model_id)
    for version in range(newest, 0, -1):
        if not network.registry.terms_of(selected.model_id, version).retired:
            return version
    raise NotFound(
        f"model {selected.model_id} has no version in use",
        hint="all are retired" if newest else "nothing was published yet",
    )


def manifest(network: Network, model_id: int, version: int) -> Manifest:
    """Fetch the manifest of a version; its bytes are those that the chain names.

    Raises:
        NotFound: no such version. CidUnresolved: nobody has the bytes.
        DigestMismatch, InputInvalid: they are not what they should be.
    """
    digest = network.registry.manifest_of(model_id, version)
    if not any(digest):
        raise NotFound(f"model {model_id} has no version {version}")
    return Manifest.parse(network.ipfs.fetch_bytes(raw_cid(digest), MAX_BYTES))


def show(network: Network, selected: Selected) -> ModelDetail:
    """Return a model with its versions and, when something is published, a manifest."""
    model = info(network, selected.model_id)
    listed = versions(network, selected.model_id)
    if not listed:
        return ModelDetail(model, (), None, None)
    version = selected.version or listed[-1].version
    told = manifest(network, selected.model_id, version)
    return ModelDetail(
        model, listed, version, told, tree.family(network, selected.model_id, version)
    )


# ── Owner's acts ────────────────────────────────────────────────────────────────────────────────
def retire(network: Network, wallet: Wallet, model_id: int, version: int) -> Sent:
    """Refuse new requests of a version, for ever."""
    return send(wallet, network.registry.retire_version(model_id, version))[0]


def set_terms(network: Network, wallet: Wallet, model_id: int, version: int, terms: Terms) -> Sent:
    """Set price and shares for later requests; assurance, tolerance and units stay."""
    call = network.registry.set_terms(
        model_id,
        version,
        fee=terms.fee,
        operator_bps=terms.operator_bps,
        data_bps=terms.data_bps,
        insured_multiple=terms.insured_multiple,
        challenge_window=terms.challenge_window,
    )
    return send(wallet, call)[0]


def changed_terms(
    terms: Terms,
    *,
    fee: Amount | None = None,
    operator_bps: int | None = None,
    data_bps: int | None = None,
    insured_multiple: int | None = None,
    challenge_window: int | None = None,
) -> Terms:
    """Return terms with those fields replaced that are not None."""
    given = {
        "fee": fee,
        "operator_bps": operator_bps,
        "data_bps": data_bps,
        "insured_multiple": insured_multiple,
        "challenge_window": challenge_window,
    }
    return replace(terms, **{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]


def collect(network: Network, wallet: Wallet, model_id: int) -> Collected:
    """Pay the model's earnings to whom they belong; anyone may ask for it."""
    sent, receipt = send(wallet, network.market.collect_model_earnings(model_id))
    paid = receipt.one(ModelEarningsCollected)
    return Collected(sent, paid.to, paid.owner_fee, paid.data_fee)


def _by_name(network: Network, name: str) -> int:
    registered = [
        h.event
        for h in network.history.read(network.registry.address, (ModelRegistered,))
        if isinstance(h.event, ModelRegistered)
    ]
    # Anyone may register a name again. The first model keeps it, whoever asks: a later one can
    # then neither take the name's questions nor make them fail, and a name means one thing to all.
    first = min((event.model_id for event in registered if event.name == name), default=None)
    if first is not None:
        return first
    raise NotFound(
        f"there is no model called {name!r}",
        hint=did_you_mean(name, (event.name for event in registered)) + _known(len(registered)),
    )


def _known(count: int) -> str:
    if not count:
        return "nobody has registered a model here yet"
    return f"models are 1 to {count}; `tallystick model list` shows them"
