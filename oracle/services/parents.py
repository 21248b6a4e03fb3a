"""The version that a smaller one was made from: named when it is published, held to the registry.

`tallystick model compress` knows the weights alone. Where the owner's own model has a version with
these weights, publishing names it.
"""

from dataclasses import replace

from oracle.errors import DigestMismatch, NotFound
from oracle.protocol.manifest import DerivedFrom, Manifest
from oracle.protocol.training_history import BaseVersion
from oracle.services import models
from oracle.services.lineage import chain_checks
from oracle.services.lineage.findings import HistoryFinding
from oracle.services.lineage.records import PublishedVersions
from oracle.services.network import Network


def named(network: Network, draft: Manifest, model_id: int | None) -> Manifest:
    """Return a draft whose `derived_from` names a version, if one is known; others as they are.

    Args:
        model_id: the model that the draft is to be a version of; None = it is not registered yet.

    Raises:
        DigestMismatch: the version that it names as parent or as base is another one.
    """
    if draft.history is not None and draft.history.base is not None:
        _require_base(network, draft.history.base)
    derived = draft.derived_from
    if derived is None:
        return draft
    if derived.version is not None:
        if fault := fault_of(network, derived):
            raise DigestMismatch(
                f"derived_from: {fault}",
                hint="`tallystick model compress PATH --of MODEL@VERSION` names it again",
            )
        return draft
    for record in models.records(network, model_id) if model_id is not None else ():
        fits = derived.manifest_digest in (None, record.manifest_digest)
        if fits and record.model_root == derived.model_root:
            found = replace(
                derived, manifest_digest=record.manifest_digest,
                model_id=model_id, version=record.version,
            )  # fmt: skip
            return replace(draft, derived_from=found)
    return draft


def _require_base(network: Network, named_base: BaseVersion) -> None:
    found = chain_checks.base(network, PublishedVersions.read(network), None, named_base)
    if found.finding is HistoryFinding.WRONG:
        raise DigestMismatch(
            f"history: base: {found.why}",
            hint="`tallystick model init FILE --base MODEL@VERSION` names it again",
        )


def fault_of(network: Network, derived: DerivedFrom) -> str:
    """Return what the registry says otherwise of the version that is named; "" = nothing."""
    if derived.model_id is None or derived.version is None:
        return ""
    place = f"model {derived.model_id} version {derived.version}"
    try:
        record = models.record_of(network, derived.model_id, derived.version)
    except NotFound:
        return f"there is no {place}"
    if record.manifest_digest != derived.manifest_digest:
        return f"{place} has another manifest, 0x{record.manifest_digest.hex()}"
    if record.model_root != derived.model_root:
        return f"{place} has other weights, 0x{record.model_root.hex()}"
    return ""


def named_base(network: Network, text: str) -> BaseVersion:
    """Return the published version that a person names as MODEL or MODEL@VERSION.

    Raises:
        NotFound: there is none.
    """
    selected = models.select(network, text)
    version = models.current_version(network, selected)
    record = models.record_of(network, selected.model_id, version)
    return BaseVersion(
        manifest_digest=record.manifest_digest,
        chain_id=network.contracts.chain_id,
        registry=network.contracts.model_registry.lower(),
        model_id=selected.model_id,
        version=version,
    )
