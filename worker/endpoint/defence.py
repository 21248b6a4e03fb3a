"""Stands by an answer that was summoned: its bytes go to IPFS, and on chain when they are demanded.

A payer may summon a right answer, show its question to nobody, and demand the output or challenge
it. Whoever stays silent is convicted. So question and answer are kept for as long as an answer can
be summoned. Once one is, they are published: the operator's responder re-executes from there. Of
endpoints that share their books the one that leads does so.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from oracle.chain.wallet import Wallet
from oracle.services.channels import summons
from oracle.services.channels.summons import OpenSummons
from oracle.services.network import Network
from oracle.types import ZERO_ADDRESS, Bytes32, RequestId
from worker.endpoint.beside import running, tell
from worker.endpoint.books import KeptAnswer, ReceiptBooks
from worker.endpoint.recorder import Recorder

LATE = 600  # seconds after an answer's window in which its summons is still looked for


class Defender:
    """The summoned answers of one operator's offers."""

    def __init__(
        self,
        network: Network,
        wallet: Wallet,
        recorder: Recorder,
        sold: Collection[Bytes32],
        log: Any,
    ) -> None:
        """Take the collaborators; nothing is sent yet.

        Args:
            sold: ids of offers, which may grow. Those that are no longer sold, the books know.
        """
        self._network, self._wallet, self._recorder = network, wallet, recorder
        self._sold, self._log = sold, log
        self._published: set[RequestId] = set()

    @asynccontextmanager
    async def every(self, seconds: float, sending: asyncio.Lock) -> AsyncIterator[None]:
        """Look at what is summoned now and then; `sending` keeps others from using the wallet."""
        async with running(self._for_ever(seconds, sending)):
            yield

    async def _for_ever(self, seconds: float, sending: asyncio.Lock) -> None:
        while True:
            try:
                await self.look(sending)
            except Exception as error:  # the next look brings it
                tell(self._log, "defence.failed", error)
            await asyncio.sleep(seconds)

    async def look(self, sending: asyncio.Lock) -> None:
        """Publish, and post what is demanded, of every answer that is summoned now.

        Raises:
            TransientError, RpcError: the chain cannot be read.
        """
        if not await self._recorder.leads():
            return
        offers = {*self._sold, *await self._recorder.read(ReceiptBooks.offers)}
        open_ = await asyncio.to_thread(summons.open_summons, self._network, *offers)
        for one in (one for one in open_ if one.info.open):
            read = partial(ReceiptBooks.answer, channel=one.channel_id, index=one.index)
            kept = await self._recorder.read(read)
            if kept is None:
                self._log.error(
                    "defence.bytes_missing", request_id=one.info.request_id, index=one.index
                )
                continue
            try:
                async with sending:
                    await asyncio.to_thread(self._defend, one, kept)
            except Exception as error:  # it does not keep the others from being defended
                tell(self._log, "defence.failed", error, request_id=one.info.request_id)
        before = await asyncio.to_thread(self._network.history.now) - LATE
        doubted = {(one.channel_id, one.index) for one in open_}
        await self._recorder.read(lambda books: books.forget(before, doubted))

    def _defend(self, one: OpenSummons, kept: KeptAnswer) -> None:
        network, request_id = self._network, one.info.request_id
        if request_id not in self._published:
            for data in (kept.input, kept.output):
                network.ipfs.publish_bytes(data)
            self._published.add(request_id)
        demand = network.market.demand_of(request_id)
        if demand.challenger == ZERO_ADDRESS or network.history.now() >= demand.deadline:
            return
        assert one.info.delivery is not None, "a summons delivers"
        call = network.market.post_output(one.info.request, one.info.delivery, kept.output)
        self._wallet.send(call)
        self._log.info("output.posted", request_id=request_id)
