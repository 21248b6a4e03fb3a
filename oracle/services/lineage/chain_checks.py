"""What a manifest says of its version's history, held to what the chain says."""

from collections.abc import Callable, Iterator, Mapping

from oracle.chain.bindings.training_rounds import (
    TrainingOpened,
    TrainingSettled,
    TrainingTerms,
    UpdateRevealed,
)
from oracle.protocol.manifest import DerivedFrom, Manifest
from oracle.protocol.training_history import BaseVersion, MadeByRounds, MadeByRun
from oracle.services.event_history import topic
from oracle.services.lineage.findings import HistoryCheck, fits, hexed, unknown, wrong
from oracle.services.lineage.records import PublishedVersions
from oracle.services.network import Network
from oracle.types import Bytes32, VersionRecord

ManifestOf = Callable[[Bytes32], Manifest | None]  # by digest; None: nobody has it


def check(
    network: Network,
    published: PublishedVersions,
    record: VersionRecord,
    manifest: Manifest,
    manifest_of: ManifestOf,
) -> tuple[HistoryCheck, ...]:
    """Return what the chain says of a version's history; () of one without.

    Args:
        published: all versions.
        record: of the version.
        manifest_of: fetches the base's manifest.
    """
    found: list[HistoryCheck] = []
    if manifest.derived_from is not None:
        found += _parent(published, record, manifest.derived_from)
    if (history := manifest.history) is None:
        return tuple(found)
    if history.base is not None:
        found.append(base(network, published, record, history.base))
    if isinstance(history.made, MadeByRun) and history.made.begun_with and history.base:
        found.append(_begun(history.made.begun_with, manifest_of(history.base.manifest_digest)))
    if isinstance(history.made, MadeByRounds) and history.base:
        found += _rounds(network, history.base, history.made)
    return tuple(found)


def base(
    network: Network, published: PublishedVersions, record: VersionRecord | None, named: BaseVersion
) -> HistoryCheck:
    """Return what the registry says of the version that training is said to have begun from.

    Args:
        record: of the version that came out; None = it is not published yet.
    """
    if named.model_id is None or named.version is None:
        return _by_digest(published, record, named.manifest_digest)
    if (named.chain_id, named.registry) != (
        network.contracts.chain_id, network.contracts.model_registry.lower(),
    ):  # fmt: skip
        return unknown(
            "base", "lineage.base.elsewhere", chain=named.chain_id, registry=named.registry
        )
    return _by_place(published, record, (named.model_id, named.version), named.manifest_digest)


def _parent(
    published: PublishedVersions, record: VersionRecord, derived: DerivedFrom
) -> Iterator[HistoryCheck]:
    if derived.manifest_digest is None:
        yield unknown("base", "lineage.base.weights", root=hexed(derived.model_root))
    elif derived.model_id is None or derived.version is None:
        yield _by_digest(published, record, derived.manifest_digest)
    else:
        place = derived.model_id, derived.version
        yield _by_place(published, record, place, derived.manifest_digest)


def _by_digest(
    published: PublishedVersions, record: VersionRecord | None, digest: Bytes32
) -> HistoryCheck:
    if (held := published.with_digest(digest, record)) is None:
        return unknown("base", "lineage.base.nowhere", digest=hexed(digest))
    return fits("base", "lineage.base.found", model=held.model_id, version=held.version)


def _by_place(
    published: PublishedVersions,
    record: VersionRecord | None,
    place: tuple[int, int],
    digest: Bytes32,
) -> HistoryCheck:
    model, version = place
    if (held := published.at(model, version)) is None:
        return wrong("base", "lineage.base.missing", model=model, version=version)
    if held.manifest_digest != digest:
        return wrong(
            "base", "lineage.base.other",
            model=model, version=version, digest=hexed(held.manifest_digest),
        )  # fmt: skip
    if record is not None and not published.before(held, record):
        return wrong("base", "lineage.base.later", model=model, version=version)
    return fits("base", "lineage.base.fits", model=model, version=version)


def _begun(digest: Bytes32, base_manifest: Manifest | None) -> HistoryCheck:
    if base_manifest is None:
        return unknown("base", "lineage.base.unread")
    if digest in {entry.sha256 for entry in base_manifest.files}:
        return fits("base", "lineage.base.begun")
    return wrong("base", "lineage.base.not_begun", digest=hexed(digest))


def _rounds(network: Network, named: BaseVersion, made: MadeByRounds) -> Iterator[HistoryCheck]:
    own = network.contracts.chain_id, network.contracts.training_rounds.lower()
    if (made.chain_id, made.contract) != own:
        yield unknown(
            "rounds", "lineage.rounds.elsewhere", contract=made.contract, chain=made.chain_id
        )
        return
    happened = network.history.read(
        network.contracts.training_rounds,
        (TrainingOpened, TrainingSettled, UpdateRevealed),
        [topic(one) for one in made.rounds],
    )
    events = [one.event for one in happened]
    opened = {e.round_id: e.terms for e in events if isinstance(e, TrainingOpened)}
    settled = {e.round_id: e.next_root for e in events if isinstance(e, TrainingSettled)}
    if (fault := _fault_of(named, made, opened, settled)) is not None:
        yield fault
        return
    yield fits("rounds", "lineage.rounds.fits", root=hexed(made.state_root))
    people = sorted({e.participant for e in events if isinstance(e, UpdateRevealed)})
    if made.names(people):
        yield fits("participants", "lineage.people.fits", count=len(people))
    else:
        yield wrong("participants", "lineage.people.other", count=len(people))


def _fault_of(
    named: BaseVersion,
    made: MadeByRounds,
    opened: Mapping[int, TrainingTerms],
    settled: Mapping[int, Bytes32],
) -> HistoryCheck | None:
    """Return the first thing that the chain says otherwise of the rounds."""
    state: Bytes32 | None = None
    for number in made.rounds:
        key, values = "", dict[str, object]()
        terms = opened.get(number)
        if terms is None:
            key = "missing"
        elif terms.model_id != named.model_id or (state is None and terms.version != named.version):
            key, values = "model", {"model": terms.model_id, "version": terms.version}
        elif number not in settled:
            key = "unsettled"
        elif terms.scale_bits != made.scale_bits:
            key, values = "scale", {"bits": terms.scale_bits, "said": made.scale_bits}
        elif state not in (None, terms.state_root):
            key = "broken"
        if key:
            return wrong("rounds", f"lineage.rounds.{key}", round=number, **values)
        state = settled[number]
    if state == made.state_root or state is None:
        return None
    return wrong(
        "rounds", "lineage.rounds.root",
        round=made.rounds[-1], root=hexed(state), said=hexed(made.state_root),
    )  # fmt: skip
