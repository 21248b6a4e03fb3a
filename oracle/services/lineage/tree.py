"""A version's family on this chain: what it was made from, and what was made of it.

```
 1@1 ─▶ 1@2 ─▶ [1@3] ─▶ 1@4        a base counts when its record has the digest that is named,
                  └───▶ 2@1        and was published before: so there is no circle
```
A manifest that nobody has says nothing; its version stands alone.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from oracle.protocol.manifest import Manifest
from oracle.protocol.training_history import MadeByJob, MadeByRounds, MadeByRun, Told
from oracle.services.lineage import chain_checks
from oracle.services.lineage.findings import HistoryCheck, english
from oracle.services.lineage.records import PublishedVersions
from oracle.services.network import Network
from oracle.types import Bytes32, VersionRecord

SEARCHED = 500  # newest versions whose manifests are asked what they were made from
MISSING = 8  # manifests that nobody has, each of which takes time; then the search ends
MEMBERS = 60  # that are shown, at the most
GENERATIONS = 12

Place = tuple[int, int]  # model, version


@dataclass(frozen=True, slots=True)
class FamilyMember:
    """A version in a family.

    Attributes:
        depth: generations below the first that is shown.
        key, values, how: what made it from its base (`findings.SENTENCES`), and that in English;
            "" of a version that says nothing.
        rounds: of training, on this network.
        shown: whether the family is this version's.
    """

    model_id: int
    version: int
    name: str
    manifest_digest: Bytes32
    depth: int
    key: str
    values: Mapping[str, object]
    how: str
    rounds: tuple[int, ...]
    shown: bool


@dataclass(frozen=True, slots=True)
class Family:
    """A version with its ancestors and descendants, each after what it was made from.

    Attributes:
        checks: what the chain says of the version's own history.
        left_out: members that are known and not listed.
        searched: whether every version of the chain was asked what it was made from.
    """

    members: tuple[FamilyMember, ...]
    checks: tuple[HistoryCheck, ...]
    left_out: int
    searched: bool


def family(network: Network, model_id: int, version: int) -> Family | None:
    """Return a version's family; None when it says nothing and nothing was made of it."""
    manifest_of = network.manifests.get
    published = PublishedVersions.read(network)
    record = published.at(model_id, version)
    manifest = manifest_of(record.manifest_digest) if record else None
    if record is None or manifest is None:
        return None
    children, searched = _children(network, published)
    line = [record]  # from the version back to the first
    while len(line) < GENERATIONS and (parent := _parent(network, published, line[-1])):
        line.append(parent)
    below = _below(record, children, len(line))
    listed = [*((one, len(line) - 1 - n) for n, one in reversed(list(enumerate(line)))), *below]
    checks = chain_checks.check(network, published, record, manifest, manifest_of)
    told = manifest.history is not None or manifest.derived_from is not None
    if len(listed) == 1 and not told:
        return None
    members = tuple(
        _member(network, one, depth, manifest_of(one.manifest_digest), shown=one is record)
        for one, depth in listed[:MEMBERS]
    )
    return Family(members, checks, len(listed) - len(members), searched)


def _children(
    network: Network, published: PublishedVersions
) -> tuple[Mapping[Place, list[VersionRecord]], bool]:
    """Return what was made of each version, oldest first, and whether all versions were asked."""
    found, missing = defaultdict[Place, list[VersionRecord]](list), 0
    newest = published.records[-SEARCHED:]
    for one in reversed(newest):
        if (manifest := network.manifests.get(one.manifest_digest)) is None:
            missing += 1
            if missing > MISSING:
                return found, False
        elif parent := _base_of(network, published, one, manifest):
            found[_place(parent)].insert(0, one)
    return found, len(newest) == len(published.records)


def _parent(
    network: Network, published: PublishedVersions, record: VersionRecord
) -> VersionRecord | None:
    manifest = network.manifests.get(record.manifest_digest)
    return _base_of(network, published, record, manifest) if manifest else None


def _base_of(
    network: Network, published: PublishedVersions, record: VersionRecord, manifest: Manifest
) -> VersionRecord | None:
    """Return the version on this chain that a manifest names, when it is the one that is meant."""
    if manifest.derived_from is not None:
        derived = manifest.derived_from
        digest, place = derived.manifest_digest, (derived.model_id, derived.version)
    elif manifest.history is not None and manifest.history.base is not None:
        base = manifest.history.base
        digest, place = base.manifest_digest, (base.model_id, base.version)
        here = network.contracts.chain_id, network.contracts.model_registry.lower()
        if base.chain_id is not None and (base.chain_id, base.registry) != here:
            return None
    else:
        return None
    if digest is None:
        return None
    if place[0] is None or place[1] is None:
        return published.with_digest(digest, record)
    held = published.at(place[0], place[1])
    if held is None or held.manifest_digest != digest or not published.before(held, record):
        return None
    return held


def _below(
    record: VersionRecord, children: Mapping[Place, list[VersionRecord]], depth: int
) -> list[tuple[VersionRecord, int]]:
    """Return the descendants with their depths, each after what it was made from."""
    found: list[tuple[VersionRecord, int]] = []
    waiting = [(one, depth) for one in reversed(children.get(_place(record), []))]
    while waiting:
        one, level = waiting.pop()
        found.append((one, level))
        if level < depth + GENERATIONS:
            below = children.get(_place(one), [])
            waiting += [(child, level + 1) for child in reversed(below)]
    return found


def _place(record: VersionRecord) -> Place:
    return record.model_id, record.version


def _member(
    network: Network, record: VersionRecord, depth: int, manifest: Manifest | None, *, shown: bool
) -> FamilyMember:
    key, values, rounds = ("", {}, ()) if manifest is None else step(network, manifest)
    return FamilyMember(
        model_id=record.model_id,
        version=record.version,
        name=network.registry.name_of(record.model_id),
        manifest_digest=record.manifest_digest,
        depth=depth,
        key=key,
        values=values,
        how=english(key, **values) if key else "",
        rounds=rounds,
        shown=shown,
    )


def step(network: Network, manifest: Manifest) -> tuple[str, Mapping[str, object], tuple[int, ...]]:
    """Return what made a version as a sentence's key and values, and its rounds on this network."""
    if manifest.derived_from is not None:
        return "lineage.step.compression", {"method": manifest.derived_from.method}, ()
    if manifest.history is None:
        return "", {}, ()
    values: dict[str, object] = {}
    rounds: tuple[int, ...] = ()
    match made := manifest.history.made:
        case MadeByRounds():
            own = network.contracts.chain_id, network.contracts.training_rounds.lower()
            rounds = made.rounds if (made.chain_id, made.contract) == own else ()
            values = {"count": len(made.rounds), "people": made.participants}
        case MadeByJob():
            values = {"steps": made.steps}
        case MadeByRun():
            values = {"steps": made.steps, "ranks": made.ranks}
        case Told():
            values = {"text": made.text}
    return f"lineage.step.{made.kind if made else 'unknown'}", values, rounds
