"""What pages show, gathered from the services."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from oracle.chain.bindings.model_access import Policy
from oracle.chain.bindings.model_registry import ModelRegistered, VersionPublished
from oracle.protocol import text
from oracle.protocol.manifest import Image, Manifest, Tokenizer
from oracle.services import access, models, operators
from oracle.services.access import AccessInfo, Limit
from oracle.services.lineage import tree
from oracle.services.lineage.tree import Family
from oracle.services.models import ModelInfo, Selected, VersionInfo
from oracle.services.network import Network
from oracle.types import ZERO_ADDRESS, Address, Assurance, Bytes32, Terms, VersionRecord
from oracle.web.readiness import Readiness, ReadinessReader

PAGE = 24  # models on one page


@dataclass(frozen=True, slots=True)
class Card:
    """A model in the list, with its newest version in use (else its newest)."""

    model_id: int
    name: str
    owner: Address | None  # shown where other models have this name
    versions: int
    policy: Policy
    record: VersionRecord | None  # None: nothing was published
    terms: Terms | None
    manifest: Manifest | None  # None: nobody has the bytes
    kind: str  # what it takes; "" = not known
    ready: Readiness | None  # None: nothing was published


@dataclass(frozen=True, slots=True)
class ModelsPage:
    """One page of the models that fit a search."""

    cards: tuple[Card, ...]
    total: int
    page: int
    pages: int


@dataclass(frozen=True, slots=True)
class ModelView:
    """Everything about one model."""

    model: ModelInfo
    versions: tuple[VersionInfo, ...]  # newest first
    version: VersionInfo | None  # that is shown: as asked for, else as in `Card`
    manifest: Manifest | None
    access: AccessInfo
    operators: tuple[Address, ...]
    limits: tuple[Limit, ...]
    protocol_bps: int  # of every fee; the owner gets the rest of the shares
    disputable: bool  # a module judges wrong answers of this version
    ready: Readiness | None  # None: nothing was published
    name_holder: ModelInfo | None  # the earlier model that has this name
    family: Family | None  # None: it says nothing of its history, and nothing was made of it


def input_kind(manifest: Manifest) -> str:
    """Return what a person would call the input: chat, image, text, table or tensor."""
    if manifest.runtime.format == text.FORMAT:
        return "chat"
    match manifest.preprocess:
        case Image():
            return "image"
        case Tokenizer():
            return "text"
    ranks = {len(spec.shape) for spec in manifest.inputs}
    return "table" if len(manifest.inputs) == 1 and ranks <= {1, 2} else "tensor"


class Views:
    """Gathers; safe to share between threads."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._readiness = ReadinessReader(network)

    def manifest(self, digest: Bytes32) -> Manifest | None:
        """Return the manifest of this digest, or None when nobody has (right) bytes."""
        return self._network.manifests.get(digest)

    def listing(self, search: str = "", page: int = 1) -> ModelsPage:
        """Return the models whose name, description or id fits a search, newest first.

        Two queries of logs tell of all models; only those that are shown cost more.
        """
        registry, history = self._network.registry.address, self._network.history
        registered = history.read(registry, (ModelRegistered,))
        records: dict[int, list[VersionRecord]] = defaultdict(list)
        for happened in history.read(registry, (VersionPublished,)):
            assert isinstance(happened.event, VersionPublished)
            records[happened.event.record.model_id].append(happened.event.record)
        every = [h.event for h in registered if isinstance(h.event, ModelRegistered)]
        words = search.lower().split()
        found = [e for e in reversed(every) if self._fits(e, records[e.model_id], words)]
        pages = max(1, -(-len(found) // PAGE))
        page = min(max(1, page), pages)
        shown = found[(page - 1) * PAGE : page * PAGE]
        names = Counter(event.name for event in every)
        cards = tuple(self._card(e, records[e.model_id], names[e.name] > 1) for e in shown)
        return ModelsPage(cards, len(found), page, pages)

    def model(self, model_id: int, version: int | None = None) -> ModelView:
        """Return one model.

        Raises:
            NotFound: there is no such model or version.
        """
        named = f"{model_id}" if version is None else f"{model_id}@{version}"
        selected = models.select(self._network, named)
        versions = models.versions(self._network, model_id)
        offered = [v for v in versions if version in (None, v.version)]
        shown = next((v for v in reversed(offered) if not v.retired), None)
        shown = shown or (offered[-1] if offered else None)
        manifest = self.manifest(shown.manifest_digest) if shown else None
        limits: tuple[Limit, ...] = ()
        if shown and manifest and manifest.parameters:
            of_version = Selected(selected.model_id, shown.version)
            limits = access.limits(self._network, of_version).parameters
        return ModelView(
            model=models.info(self._network, model_id),
            versions=tuple(reversed(versions)),
            version=shown,
            manifest=manifest,
            access=access.show(self._network, model_id),
            operators=operators.authorized_for(self._network, model_id),
            limits=limits,
            protocol_bps=self._network.market.config().protocol_bps,
            disputable=shown is not None and self.disputable(shown.assurance),
            ready=self._ready(model_id, shown.version) if shown else None,
            name_holder=models.name_holder(self._network, model_id),
            family=tree.family(self._network, model_id, shown.version) if shown else None,
        )

    def _ready(self, model_id: int, version: int) -> Readiness:
        terms = self._network.registry.terms_of(model_id, version)
        return self._readiness.of(model_id, terms)

    def disputable(self, assurance: Assurance) -> bool:
        """Return whether this deployment has a module that judges wrong answers."""
        config = self._network.market.config()
        exact = assurance is Assurance.EXACT
        return (config.exact_module if exact else config.committee_module) != ZERO_ADDRESS

    def _fits(
        self, event: ModelRegistered, records: Sequence[VersionRecord], words: Sequence[str]
    ) -> bool:
        if not words:
            return True
        known = f"{event.model_id} {event.name}"
        if records and (manifest := self.manifest(records[-1].manifest_digest)):
            known += f" {manifest.description}"
        return all(word in known.lower() for word in words)

    def _card(
        self, event: ModelRegistered, records: Sequence[VersionRecord], namesakes: bool
    ) -> Card:
        model_id, registry = event.model_id, self._network.registry
        record = records[-1] if records else None
        terms = registry.terms_of(model_id, record.version) if record else None
        if terms and terms.retired:
            for older in reversed(records[:-1]):
                other = registry.terms_of(model_id, older.version)
                if not other.retired:
                    record, terms = older, other
                    break
        manifest = self.manifest(record.manifest_digest) if record else None
        return Card(
            model_id=model_id,
            name=event.name,
            owner=registry.owner_of(model_id) if namesakes else None,
            versions=len(records),
            policy=self._network.access.policy_of(model_id).policy,
            record=record,
            terms=terms,
            manifest=manifest,
            kind=input_kind(manifest) if manifest else "",
            ready=self._readiness.of(model_id, terms) if terms else None,
        )
