"""What pages show, gathered from the services; manifests are remembered: digests name them."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from oracle.errors import DigestMismatch, InputInvalid
from oracle.ipfs.port import CidUnresolved
from oracle.protocol.cid import raw_cid
from oracle.protocol.manifest import MAX_BYTES, Image, Manifest, Tokenizer
from oracle.services import access, models, operators
from oracle.services.access import AccessInfo, Limit
from oracle.services.context import Context
from oracle.services.models import ModelInfo, Selected, VersionInfo
from oracle.types import ZERO_ADDRESS, Address, Assurance, Bytes32

PAGE = 24  # models on one page
_MANIFESTS = 256  # remembered


@dataclass(frozen=True, slots=True)
class Card:
    """A model in the list."""

    model: ModelInfo
    version: VersionInfo | None  # the newest in use, else the newest
    manifest: Manifest | None  # None: nothing published, or nobody has the bytes

    @property
    def kind(self) -> str:
        """What it takes."""
        return "" if self.manifest is None else input_kind(self.manifest)


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of the models that fit a search."""

    cards: tuple[Card, ...]
    total: int
    page: int
    pages: int


@dataclass(frozen=True, slots=True)
class ModelView:
    """Everything about one model."""

    card: Card
    versions: tuple[VersionInfo, ...]  # newest first
    access: AccessInfo
    operators: tuple[Address, ...]
    limits: tuple[Limit, ...]
    disputable: bool  # a module judges wrong answers of the card's version


def input_kind(manifest: Manifest) -> str:
    """Return what a person would call the input: image, text, table or tensor."""
    match manifest.preprocess:
        case Image():
            return "image"
        case Tokenizer():
            return "text"
    ranks = {len(spec.shape) for spec in manifest.inputs}
    return "table" if len(manifest.inputs) == 1 and ranks <= {1, 2} else "tensor"


class Views:
    """Gathers; safe to share between threads."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._manifests: OrderedDict[Bytes32, Manifest] = OrderedDict()
        self._lock = threading.Lock()

    def manifest(self, digest: Bytes32) -> Manifest | None:
        """Return the manifest of this digest, or None when nobody has (right) bytes."""
        with self._lock:
            if digest in self._manifests:
                self._manifests.move_to_end(digest)
                return self._manifests[digest]
        try:
            data = self._context.ipfs.fetch_bytes(raw_cid(digest), MAX_BYTES)
            found = Manifest.parse(data)
        except (CidUnresolved, DigestMismatch, InputInvalid):
            return None
        with self._lock:
            self._manifests[digest] = found
            while len(self._manifests) > _MANIFESTS:
                self._manifests.popitem(last=False)
        return found

    def listing(self, search: str = "", page: int = 1) -> Listing:
        """Return the models whose name, description or id fits a search, newest first."""
        words = search.lower().split()
        every = [self.card(model) for model in models.list_models(self._context)]
        found = [card for card in reversed(every) if _fits(card, words)]
        pages = max(1, -(-len(found) // PAGE))
        page = min(max(1, page), pages)
        return Listing(tuple(found[(page - 1) * PAGE : page * PAGE]), len(found), page, pages)

    def card(self, model: ModelInfo, versions: Sequence[VersionInfo] | None = None) -> Card:
        """Return a model with its newest version."""
        if versions is None:
            versions = models.versions(self._context, model.model_id)
        if not versions:
            return Card(model, None, None)
        version = next((v for v in reversed(versions) if not v.retired), versions[-1])
        return Card(model, version, self.manifest(version.manifest_digest))

    def model(self, model_id: int, version: int | None = None) -> ModelView:
        """Return one model.

        Raises:
            NotFound: there is no such model or version.
        """
        named = f"{model_id}" if version is None else f"{model_id}@{version}"
        selected = models.select(self._context, named)
        info = models.info(self._context, selected.model_id)
        versions = models.versions(self._context, selected.model_id)
        card = self.card(info, [v for v in versions if version in (None, v.version)])
        return ModelView(
            card=card,
            versions=tuple(reversed(versions)),
            access=access.show(self._context, selected.model_id),
            operators=operators.authorized_for(self._context, selected.model_id),
            limits=self._limits(card),
            disputable=card.version is not None and self.disputable(card.version.assurance),
        )

    def disputable(self, assurance: Assurance) -> bool:
        """Return whether this deployment has a module that judges wrong answers."""
        config = self._context.market.config()
        exact = assurance is Assurance.EXACT
        return (config.exact_module if exact else config.committee_module) != ZERO_ADDRESS

    def _limits(self, card: Card) -> tuple[Limit, ...]:
        if card.version is None or card.manifest is None or not card.manifest.parameters:
            return ()
        selected = Selected(card.model.model_id, card.version.version)
        return access.limits(self._context, selected).parameters


def _fits(card: Card, words: Sequence[str]) -> bool:
    text = f"{card.model.model_id} {card.model.name} {card.model.owner}".lower()
    if card.manifest is not None:
        text += f" {card.manifest.name} {card.manifest.description}".lower()
    return all(word in text for word in words)
