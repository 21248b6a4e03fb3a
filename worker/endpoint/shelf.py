"""What an endpoint sells: the operator's covered offers, found again and again while it serves.

```
 models named     ─▶ their offers, once; one without is refused
 no model named   ─▶ every few seconds: authorised? ─▶ covered, or `locks` put behind a new offer
                     ─▶ model loaded ─▶ sold
```
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

from oracle.chain.wallet import Wallet
from oracle.errors import TallystickError
from oracle.services import models, operators
from oracle.services.channels import offers
from oracle.services.channels.offers import OfferInfo, OfferState
from oracle.services.models import Selected
from oracle.services.network import Network
from oracle.types import Bytes32
from worker.endpoint.beside import running, tell
from worker.endpoint.desk import Desk, Sold
from worker.models import ModelPool

LOOK_EVERY = 5.0  # seconds
_SHARE = 4  # at most the fourth part of free stake goes behind one offer: answers need some too


class Shelf:
    """The offers of one operator that have stake and cost something."""

    def __init__(
        self,
        network: Network,
        wallet: Wallet,
        pool: Callable[[], ModelPool],
        log: Any,
        *,
        locks: int = 0,
    ) -> None:
        """Take the collaborators.

        Args:
            pool: of models; asked for when there is one to load.
            locks: convictions to put stake behind where there is no offer; 0 = cover none.
        """
        self._network, self._wallet, self._pool, self._log = network, wallet, pool, log
        self._locks = locks
        self._told: dict[int, str] = {}  # why a model is not sold, by its id

    def offered(self, name: str) -> list[Sold]:
        """Return the offers of a model's current version, newest first.

        Raises:
            NotFound: there is none.
        """
        found = offers.sold(self._network, self._wallet.address, name)
        return [self._sold(info) for info in found]

    @asynccontextmanager
    async def watched(self, desk: Desk, every: float = LOOK_EVERY) -> AsyncIterator[None]:
        """Look for what else can be sold, now and then, and sell it."""
        async with running(self._for_ever(desk, every)):
            yield

    async def _for_ever(self, desk: Desk, every: float) -> None:
        while True:
            try:
                covers = await desk.leads()
                for sold in await asyncio.to_thread(self.look, frozenset(desk.sold), covers):
                    desk.sell(sold)
                    self._log.info("offer.sold", model=sold.name, fee=sold.offer.terms.fee)
            except Exception as error:
                tell(self._log, "look.failed", error)
            await asyncio.sleep(every)

    def look(self, known: Collection[Bytes32], covers: bool = True) -> list[Sold]:
        """Return what can be sold beside the offers that are known.

        Args:
            covers: put stake behind what has no offer; of several endpoints one does.
        """
        found = []
        for model_id in operators.models_of(self._network, self._wallet.address):
            try:
                version = models.current_version(self._network, Selected(model_id, None))
                covered = offers.covered(self._network, self._wallet.address, model_id, version)
                if covers and not any(info.current for info in covered):
                    covered = (*self._cover(model_id), *covered)
                found += [self._sold(info) for info in covered if info.offer_id not in known]
            except TallystickError as error:
                if self._told.get(model_id) != str(error):
                    self._log.warning("model.not_sold", model_id=model_id, error=str(error))
                self._told[model_id] = str(error)
        return found

    def _cover(self, model_id: int) -> list[OfferInfo]:
        """Put stake behind an offer at the present terms, as far as there is enough."""
        draft = offers.draft(self._network, self._wallet.address, str(model_id))
        free = self._network.operators.free_stake_of(self._wallet.address)
        locks = min(self._locks, free // _SHARE // draft.lock)
        if not draft.fee or not locks or draft.state is not OfferState.UNCOVERED:
            return []
        offers.cover(self._network, self._wallet, draft, locks)
        self._log.info("offer.covered", model=draft.model, version=draft.version, locks=locks)
        return [offers.show(self._network, draft.offer_id)]

    def _sold(self, info: OfferInfo) -> Sold:
        record = models.record_of(self._network, info.model_id, info.version)
        model = self._pool().get(record.manifest_digest, record.model_root)
        return Sold(info.offer, model)
