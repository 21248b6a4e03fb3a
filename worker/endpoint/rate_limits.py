"""How often a model's owner lets a payer ask here: counted as ModelAccess counts requests.

The contract sees no answer of a channel, so the endpoint counts them: the first one begins a window
of the owner's length, and the next window begins with the first one after it. Endpoints that share
their books count there. One alone counts in its memory, and after a restart the receipts of the
last window count, as if they were all of one. Requests on chain count apart.
"""

from collections.abc import Callable
from dataclasses import dataclass

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from oracle.chain import revert
from oracle.types import Address, Bytes32
from worker.endpoint.chain_cache import ChainCache
from worker.endpoint.recorder import Recorder

_EXCEEDED = keccak(text="RateLimitExceeded(uint256,address,uint256)")[:4]
_KEPT = 8192  # payers; the receipts tell about others


@dataclass(slots=True)
class _Window:
    begins: int  # unix seconds
    used: int


class RateLimits:
    """Counts for one event loop."""

    def __init__(self, chain: ChainCache, recorder: Recorder, now: Callable[[], float]) -> None:
        """Take the collaborators; nothing is asked yet."""
        self._chain, self._recorder, self._now = chain, recorder, now
        self._windows: dict[tuple[int, Address], _Window] = {}

    async def admit(self, model_id: int, payer: Address, offers: list[Bytes32]) -> None:
        """Count a question of a payer in.

        Args:
            offers: all that sell the model here.

        Raises:
            ContractError: `RateLimitExceeded`, as the contract says it.
        """
        most, length = await self._chain.rate_limit(model_id, payer)
        if not most:
            return
        now = int(self._now())
        if self._recorder.shared:
            counted = await self._recorder.read(
                lambda books: books.count_question(model_id, payer, now, length)
            )
        else:
            window = await self._window(model_id, payer, offers, length)
            if now >= window.begins + length:
                window.begins, window.used = now, 0
            window.used += 1
            counted = window.begins, window.used
        begins, used = counted
        if used > most:
            words = encode(["uint256", "address", "uint256"], [model_id, payer, begins + length])
            raise revert.decode(_EXCEEDED + words)

    async def _window(
        self, model_id: int, payer: Address, offers: list[Bytes32], length: int
    ) -> _Window:
        who = model_id, payer
        if who not in self._windows:
            since = int(self._now()) - length
            begins, used = await self._recorder.read(
                lambda books: books.answered_since(payer, offers, since)
            )
            if len(self._windows) >= _KEPT:
                self._windows.clear()
            self._windows.setdefault(who, _Window(begins, used))  # several may have asked
        return self._windows[who]
