"""All versions of all models, by place and by manifest: one query of logs."""

from collections import defaultdict

from oracle.chain.bindings.model_registry import VersionPublished
from oracle.services.network import Network
from oracle.types import Bytes32, VersionRecord


class PublishedVersions:
    """What a registry holds, in the order in which it was published."""

    def __init__(self, records: list[VersionRecord]) -> None:
        self.records = records
        self._order = {(one.model_id, one.version): n for n, one in enumerate(records)}
        self._by_digest: dict[Bytes32, list[VersionRecord]] = defaultdict(list)
        for one in records:
            self._by_digest[one.manifest_digest].append(one)

    @classmethod
    def read(cls, network: Network) -> "PublishedVersions":
        """Read the registry's log."""
        happened = network.history.read(network.registry.address, (VersionPublished,))
        return cls([h.event.record for h in happened if isinstance(h.event, VersionPublished)])

    def at(self, model_id: int, version: int) -> VersionRecord | None:
        """Return a version's record."""
        number = self._order.get((model_id, version))
        return None if number is None else self.records[number]

    def with_digest(self, digest: Bytes32, before: VersionRecord | None) -> VersionRecord | None:
        """Return the first version with this manifest that was published before another one."""
        held = self._by_digest.get(digest, [])
        return next((one for one in held if before is None or self.before(one, before)), None)

    def before(self, one: VersionRecord, other: VersionRecord) -> bool:
        """Return whether a version was published before another one."""
        places = ((it.model_id, it.version) for it in (one, other))
        first, second = (self._order.get(place, len(self.records)) for place in places)
        return first < second
