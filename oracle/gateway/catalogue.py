"""What can be asked, remembered for a moment: a request need not ask the chain ten questions.

Nothing here decides: the contract is asked again before money moves. Manifests and tokenizers are
kept for good, since their digests are on chain; terms and operators for `FRESH` seconds, and read
again in the background until `STALE`.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from oracle.errors import Refused
from oracle.exact import form
from oracle.exact.form import Form
from oracle.protocol.manifest import FileEntry, Manifest
from oracle.scheduling import placement
from oracle.services import inputs, models, operators, quoting
from oracle.services.inputs import Encoder
from oracle.services.network import Network
from oracle.types import Address, Amount, Bytes32, Terms

FRESH = 2.0  # seconds
STALE = 30.0  # seconds
_MANIFESTS = 256


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What never changes about a version."""

    model_id: int
    version: int
    digest: Bytes32  # of the manifest
    manifest: Manifest
    form: Form


@dataclass(frozen=True, slots=True)
class AskableVersion:
    """A version as it can be asked now."""

    served: VersionFacts
    name: str  # of the model
    terms: Terms
    insured: Amount
    meaning: str  # of the assurance
    operator: Address
    reason: str  # for that operator

    @property
    def manifest(self) -> Manifest:
        """The version's manifest."""
        return self.served.manifest


class Versions:
    """Versions with tokenizers and thresholds, kept for good. Safe to share between threads."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.version = lru_cache(_MANIFESTS)(self._version)
        self.encoder = lru_cache(16)(self._encoder)

    def _version(self, model_id: int, version: int) -> VersionFacts:
        digest = self._network.registry.manifest_of(model_id, version)
        manifest = models.manifest(self._network, model_id, version)
        return VersionFacts(model_id, version, digest, manifest, form.of(manifest, self._fetch))

    def _encoder(self, model_id: int, version: int) -> Encoder:
        manifest = self.version(model_id, version).manifest
        return inputs.encoder(manifest, self._fetch)

    def _fetch(self, entry: FileEntry) -> Path:
        return quoting.fetch_file(self._network, entry, None)


class Catalogue(Versions):
    """Versions by name. Safe to share between threads."""

    def __init__(
        self, network: Network, background: Executor, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(network)
        self._background = background
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], tuple[float, AskableVersion]] = {}
        self._renewing: set[tuple[str, str]] = set()

    def find(self, name: str, version: str = "") -> AskableVersion:
        """Return a version by the model's name or id; the newest in use when none is named.

        Raises:
            NotFound: no such model or version, or nobody can serve it.
            Refused: it is retired.
            CidUnresolved, DigestMismatch, InputInvalid: its manifest cannot be had.
        """
        return self.peek(name, version) or self._read((name, version))

    def peek(self, name: str, version: str = "") -> AskableVersion | None:
        """Return what is remembered of a version, without waiting for anything."""
        kept = self._kept.get((name, version))
        if kept is None:
            return None
        age = self._clock() - kept[0]
        if age >= STALE:
            return None
        if age >= FRESH:
            self._renew((name, version))
        return kept[1]

    def _renew(self, wanted: tuple[str, str]) -> None:
        with self._lock:
            if wanted in self._renewing:
                return
            self._renewing.add(wanted)

        def renew() -> None:
            try:
                self._read(wanted)
            except Exception:  # whoever asks next is told why
                self._kept.pop(wanted, None)
            finally:
                self._renewing.discard(wanted)

        self._background.submit(renew)

    def _read(self, wanted: tuple[str, str]) -> AskableVersion:
        name, version = wanted
        began, network = self._clock(), self._network
        selected = models.select(network, f"{name}@{version}" if version else name)
        number = models.current_version(network, selected)
        terms = network.registry.terms_of(selected.model_id, number)
        if terms.retired:
            raise Refused(f"version {number} of model {name} is retired and takes no new requests")
        served = self.version(selected.model_id, number)
        lock = network.market.lock_of(terms)
        choice = placement.choose(operators.candidates(network, selected.model_id), lock.total)
        listing = AskableVersion(
            served=served,
            name=network.registry.name_of(selected.model_id),
            terms=terms,
            insured=lock.compensation,
            meaning=quoting.assurance_meaning(network, terms.assurance),
            operator=choice.operator,
            reason=choice.reason,
        )
        if len(self._kept) > 4 * _MANIFESTS:  # names that nobody asks for any more
            self._kept.clear()
        self._kept[wanted] = (began, listing)
        return listing
