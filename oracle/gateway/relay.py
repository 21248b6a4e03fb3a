"""Requests that a wallet pays for itself: what it has to sign, and passing on what it signed.

The gateway pays the gas and can do nothing else: order, nonce and deadline are under the signature.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from oracle.chain.bindings.inference_market import InferenceMarket
from oracle.chain.codec import interface
from oracle.chain.contract import Call
from oracle.chain.outbox import OutboxEntry
from oracle.errors import Refused
from oracle.gateway.catalogue import AskableVersion
from oracle.gateway.sponsor import KIND
from oracle.protocol import eip712
from oracle.services.inputs import PreparedInput
from oracle.services.network import Network
from oracle.services.quoting import LIFETIME, PRIORITY
from oracle.store import Store, Transaction
from oracle.store.gateway_repository import Ticket
from oracle.store.outbox import add_in
from oracle.types import Address, Bytes32, Order, RequestId, Timestamp

SIGNED_FOR = 600  # seconds that a signature is good for
MAX_GAS = 600_000  # of a request: what a contract takes to check its signature is the wallet's


class SignatureTooDear(Refused):
    """A wallet's contract takes more gas to check its signature than the gateway spends."""


@dataclass(frozen=True, slots=True)
class Prepaid:
    """An order that a wallet can sign, or send itself."""

    order: Order
    nonce: int
    deadline: Timestamp
    typed_data: dict[str, Any]  # for eth_signTypedData_v4
    transaction: Call  # to send instead of signing


def is_relayed(entry: OutboxEntry) -> bool:
    """Return whether a transaction passes on what a wallet signed."""
    return entry.data[:4] == interface(InferenceMarket.NAME)["requestFor"].selector


class Relay:
    """Prepares orders for wallets and sends what they signed."""

    def __init__(
        self,
        network: Network,
        store: Store,
        *,
        simulate: Callable[[Call], int],
        accepted: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take the collaborators; they are those of the `Sponsor`."""
        self._network = network
        self._store = store
        self._simulate = simulate
        self._accepted = accepted
        self._clock = clock

    def prepare(
        self, requester: Address, listing: AskableVersion, prepared: PreparedInput, params: Bytes32
    ) -> Prepaid:
        """Publish an input and return the order; spends nothing.

        Raises:
            ContractError: the wallet has no access, or the parameters are out of bounds.
        """
        network = self._network
        network.access.check(listing.served.model_id, requester, params)
        network.ipfs.publish_bytes(prepared.data)
        order = Order(
            model_id=listing.served.model_id,
            version=listing.served.version,
            lane=network.lens.free_lane(requester, 0),
            input_root=prepared.root,
            input_cid=prepared.locator,
            params=params,
            max_fee=listing.terms.fee,
            priority_window=PRIORITY,
            lifetime=LIFETIME,
            operator=listing.operator,
        )
        nonce = network.market.nonce_of(requester)
        deadline = Timestamp(network.history.now() + SIGNED_FOR)
        return Prepaid(
            order,
            nonce,
            deadline,
            self._typed(requester, order, nonce, deadline),
            network.market.request(order),
        )

    def relay(
        self,
        requester: Address,
        order: Order,
        nonce: int,
        deadline: Timestamp,
        signature: bytes,
    ) -> Ticket:
        """Take on what a wallet signed; the same signature twice is the same request.

        Raises:
            ContractError: forged, replayed, expired, or the market refuses for another reason.
            SignatureTooDear: it takes too much gas.
        """
        digest = eip712.digest(self._typed(requester, order, nonce, deadline))
        with self._store.read() as tx:
            pending = [t for t in tx.open_tickets() if t.key_id is None and t.digest == digest]
        if pending:
            return pending[0]
        call = self._network.market.request_for(requester, order, nonce, deadline, signature)
        gas = self._simulate(call)
        if gas > MAX_GAS:
            raise SignatureTooDear(
                f"the request takes {gas:,} gas, and at most {MAX_GAS:,} are spent on one",
                hint="send the transaction yourself: POST /api/requests/prepare has it",
            )
        ticket = Ticket(
            id=RequestId(secrets.token_bytes(32)),
            key_id=None,
            idempotency=None,
            digest=digest,
            model_id=order.model_id,
            version=order.version,
            lane=None,
            fee=order.max_fee,
            created_at=self._clock(),
        )

        def commit(tx: Transaction) -> None:
            tx.add_ticket(ticket)
            add_in(tx, KIND, [ticket.id], call, gas=gas, estimated_at=ticket.created_at)

        self._store.write(commit)
        self._accepted()
        return ticket

    def _typed(
        self, requester: Address, order: Order, nonce: int, deadline: Timestamp
    ) -> dict[str, Any]:
        return eip712.request_authorization(
            chain_id=self._network.contracts.chain_id,
            market=self._network.market.address,
            requester=requester,
            order=order,
            nonce=nonce,
            deadline=deadline,
        )
