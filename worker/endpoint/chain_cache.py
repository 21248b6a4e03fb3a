"""What an endpoint asks the chain, kept for a few seconds: deposits, covers, access.

An answer takes milliseconds and a question to a node as long: so most answers ask none. What is
kept is refused or granted a few seconds late, which is less than a payer needs to withdraw.
"""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any, TypeVar

from oracle.chain.bindings.model_access import GrantStatus
from oracle.chain.bindings.payment_channels import Channel, Cover
from oracle.chain.revert import ContractError
from oracle.services.network import Network
from oracle.types import Address, Bytes32

FRESH = 5.0  # seconds
_KEPT = 8192

T = TypeVar("T")


class ChainCache:
    """The chain's answers of the last seconds. For one event loop."""

    def __init__(self, network: Network, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the network; nothing is asked yet."""
        self._network, self._clock = network, clock
        self._kept: dict[object, tuple[float, asyncio.Future[Any]]] = {}

    async def close_delay(self) -> int:
        """Return how many seconds an operator has to claim from a channel that closes."""
        config = await self._ask("config", math.inf, self._network.channels.config)
        return config.close_delay

    async def channel(self, channel: Bytes32, at_most: float = FRESH) -> Channel:
        """Return what a channel holds, as it was so many seconds ago at most."""
        return await self._ask(
            ("channel", channel), at_most, lambda: self._network.channels.channel_of(channel)
        )

    async def cover(self, offer: Bytes32) -> Cover:
        """Return the stake behind an offer."""
        return await self._ask(
            ("cover", offer), FRESH, lambda: self._network.channels.cover_of(offer)
        )

    async def require_access(
        self, model_id: int, payer: Address, params: Bytes32, at_most: float = FRESH
    ) -> None:
        """Return if the model's owner lets this payer ask so, or did so many seconds ago at most.

        Raises:
            ContractError: the contract's refusal.
        """
        await self._ask(
            ("access", model_id, payer, params),
            at_most,
            lambda: self._network.access.check(model_id, payer, params),
        )

    async def rate_limit(self, model_id: int, payer: Address) -> tuple[int, int]:
        """Return how many requests a payer has in how many seconds; 0 of them: any number."""
        return await self._ask(
            ("rate", model_id, payer), FRESH, lambda: self._rate_limit(model_id, payer)
        )

    def _rate_limit(self, model_id: int, payer: Address) -> tuple[int, int]:
        grant = self._network.access.grant_of(model_id, payer)
        if grant.status is GrantStatus.GRANTED:
            return grant.max_per_window, grant.window
        policy = self._network.access.policy_of(model_id)
        return policy.max_per_window, policy.window

    async def _ask(self, question: object, at_most: float, read: Callable[[], T]) -> T:
        """Return a kept answer, or ask; who asks the same meanwhile waits for the same answer."""
        now = self._clock()
        asked_at, answer = self._kept.get(question, (0.0, None))
        if answer is None or (answer.done() and now - asked_at > at_most):
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            answer = asyncio.ensure_future(asyncio.to_thread(read))
            self._kept[question] = now, answer
        try:
            found: T = await asyncio.shield(answer)
        except ContractError:
            raise
        except BaseException:  # an outage is no answer
            if self._kept.get(question, (0.0, None))[1] is answer and answer.done():
                self._kept.pop(question, None)
            raise
        return found
