"""Takes x402 payments: verified, and settled before anything is asked.

```
 payment ─▶ verified ─▶ ┌ one commit ──────┐ ─mined─▶ request ─▶ answer
            (refused    │ payment + intent │             └─ none, or convicted ─▶ refund
             free)      └──────────────────┘
```
A payment lands in the gateway's wallet, and the gateway asks on chain with its prepaid balance, so
the fee is escrowed and the answer can be disputed like any other. `payment_follower.py` does what
follows.
"""

import secrets
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from oracle.chain.contract import Call
from oracle.chain.revert import ContractError
from oracle.chain.rpc import quantity
from oracle.errors import Refused, TransientError, Unavailable
from oracle.gateway import api_keys
from oracle.gateway.notifier import Notifier
from oracle.gateway.signed_transfers import SignedTransfers
from oracle.gateway.sponsor import Question, Sponsor
from oracle.protocol import x402
from oracle.protocol.x402 import Authorization, PaymentInvalid, PaymentRequirements, Token
from oracle.services.network import Network
from oracle.store import Store, Transaction
from oracle.store.gateway_repository import ApiKey, BudgetExhausted, Ticket, TicketState
from oracle.store.outbox import add_in
from oracle.store.payment_repository import Payment, PaymentState
from oracle.types import ZERO32, Address, Amount, Bytes32, RequestId

KEY = "x402"  # name of the API key on which payers ask; nobody has its secret
SETTLE = "x402-settle"  # kind of the outbox entries
_BACK = 5_000  # blocks in which a transfer that somebody else sent is looked for
_UNDER_WAY = (PaymentState.SETTLING,)
_FOR_EVER = 2**63 - 1  # unix seconds: the last that a database counts
_UNLIMITED = Amount(2**62)


class PaymentRequired(Refused):
    """An answer costs money, and no payment came along that could be taken."""

    def __init__(self, message: str, document: Mapping[str, Any], *, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.document = document  # of the PAYMENT-REQUIRED header


class PaymentReused(Refused):
    """A payment was used before for another question, or its nonce for another payment."""


class PaymentReturned(Refused):
    """Nothing was served for a payment; it goes back to its payer."""

    def __init__(self, payment: Payment, why: str) -> None:
        super().__init__(
            f"nothing was served for this payment: {why}",
            hint=f"{payment.refund or payment.amount} token units go back to {payment.payer}; "
            "sign a new payment",
        )


class SettlementPending(TransientError):
    """A payment's transfer is not final yet."""


class Facilitator:
    """Takes x402 payments of one gateway."""

    def __init__(
        self,
        network: Network,
        account: Address,
        store: Store,
        notifier: Notifier,
        sponsor: Sponsor,
        *,
        simulate: Callable[[Call], int],
        accepted: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take the collaborators; those of the `Sponsor`, and it.

        Args:
            account: is paid.
        """
        self._network = network
        self._account = account
        self.transfers = SignedTransfers(network, account, simulate)
        self._store = store
        self._notifier = notifier
        self._sponsor = sponsor
        self._accepted = accepted
        self._clock = clock

    @cached_property
    def key(self) -> ApiKey:
        """The API key on which payers ask; one that was revoked too, because it has debts."""
        found = next((key for key in api_keys.listed(self._store) if key.name == KEY), None)
        return found or api_keys.mint(self._store, KEY, _UNLIMITED).key

    @cached_property
    def token(self) -> Token:
        """What is paid in."""
        token = self._network.token
        return Token(token.address, self._network.contracts.chain_id, token.name(), token.version())

    def requirements(self, price: Amount) -> PaymentRequirements:
        """Return how an answer of this price is paid now."""
        # The clock of a development chain may be ahead of the payer's
        ahead = max(0, self._network.history.now() - int(self._clock()))
        return PaymentRequirements(self.token, self._account, price, x402.TIMEOUT + ahead)

    def take(
        self, authorization: Authorization, requirements: PaymentRequirements, question: Question
    ) -> Payment:
        """Take a payment on; from here on its transfer is sent, whatever dies.

        The same payment for the same question is the same payment.

        Raises:
            PaymentInvalid: it cannot be settled; nothing is paid.
            PaymentReused: it is for another question.
            Unavailable: this gateway's API key of payers was revoked; nothing is paid.
            ContractError: the payer may not use the model, or the market would refuse; nothing is
                paid.
            PaymentReturned: somebody else has sent the transfer, and it does not pay the question.
        """
        digest = self.token.digest(authorization)
        call = self.transfers.signed(authorization, digest)
        if (known := self._kept(authorization.id)) is not None:
            return _same(known, digest, question)
        now = max(self._network.history.now(), int(self._clock()))
        head = quantity(self._network.rpc.call("eth_blockNumber"))
        # A transfer that is not sent yet can still be in a block that is not final
        block = max(0, head - self._network.settings.finality_depth)
        served = question.listing.served
        self._require_key(question)
        gas, why = 0, ""
        try:
            requirements.check(authorization, now)
            gas = self.transfers.gas_of(call)
        except PaymentInvalid as error:
            # Taken and settled meanwhile, for who sent it as well?
            if (known := self._kept(authorization.id)) is not None:
                return _same(known, digest, question)
            block = max(0, block - _BACK)
            if not self.transfers.sent(authorization, block, error.code):
                raise
            if authorization.value != requirements.amount:
                why = str(error)
        try:
            self._network.access.check(served.model_id, authorization.payer, question.params)
            self._sponsor.check(question)
        except ContractError as error:
            if gas:
                raise
            why = why or str(error)
        payment = Payment(
            id=authorization.id,
            payer=authorization.payer,
            nonce=authorization.nonce,
            amount=authorization.value,
            valid_before=min(authorization.valid_before, _FOR_EVER),
            digest=digest,
            question=Bytes32(ZERO32) if why else question.digest,
            model_id=served.model_id,
            version=served.version,
            block=block,
            created_at=self._clock(),
            error=why,
        )
        held, done = self._means(payment.payer)

        def commit(tx: Transaction) -> Payment:
            if (kept := tx.payment(payment.id)) is not None:
                return kept
            others = tx.payments(_UNDER_WAY, payer=payment.payer)
            promised = sum(one.amount for one in others if one.id not in done)
            if gas and promised + payment.amount > held:
                raise PaymentInvalid(
                    "invalid_exact_evm_insufficient_balance",
                    f"{payment.payer} has {held} token units, and {promised} of them are promised "
                    "to payments that are under way",
                )
            tx.add_payment(payment)
            add_in(tx, SETTLE, [payment.id], call, gas=gas, estimated_at=payment.created_at)
            return payment

        kept = self._store.write(commit)
        self._accepted()
        return _same(kept, digest, question)

    def _means(self, payer: Address) -> tuple[Amount, set[RequestId]]:
        """Return what a payer has, and which payments under way it has paid by then, or later.

        Each alone could be paid; the gateway pays gas for every transfer that comes too late.
        """
        token = self._network.token
        held = token.balance_of(payer)  # first: what is paid in between counts for the payer
        with self._store.read() as tx:
            known = tx.payments(_UNDER_WAY, payer=payer)
        return held, {one.id for one in known if token.authorization_state(payer, one.nonce)}

    def _require_key(self, question: Question) -> None:
        try:
            with self._store.read() as tx:
                tx.require_budget(self.key.id, question.listing.terms.fee)
        except BudgetExhausted as error:
            raise Unavailable("this gateway takes no payments by x402 any more") from error

    async def settled(self, payment: Payment, timeout: float) -> Payment:
        """Wait until a payment's transfer is final; return the payment.

        Raises:
            PaymentInvalid: the token refused it. PaymentReturned: nothing was served for it.
            SettlementPending: it takes longer.
        """
        try:
            found = await self._notifier.until(
                payment.id, lambda: self._concluded(payment.id), timeout
            )
        except TimeoutError:
            raise SettlementPending(
                "the payment is not final yet",
                hint="repeat the request with the same payment: it is paid once",
            ) from None
        if found.state in (PaymentState.REFUSED, PaymentState.VOID):
            raise PaymentInvalid("transaction_failed", f"the transfer failed: {found.error}")
        if found.state not in (PaymentState.SETTLED, PaymentState.SERVED):
            raise PaymentReturned(found, found.error)
        return found

    def require_enough(self, payment: Payment, price: Amount) -> None:
        """Return if a settled payment pays this price, or its question was asked before.

        A fee may rise between payment and request. The gateway would pay the difference out of its
        own balance, and the model's owner, who raised it, would get it.

        Raises:
            PaymentReturned: it does not, and goes back.
        """
        if payment.amount >= price:
            return
        why = f"the answer costs {price} by now, and {payment.amount} token units were paid"
        if self.give_up(payment, why):
            raise PaymentReturned(payment, why)

    def give_up(self, payment: Payment, why: str) -> bool:
        """Owe a settled payment that was not asked for; False: it was, and takes its course."""

        def change(tx: Transaction) -> bool:
            if tx.ticket_for(self.key.id, payment.id.hex()) is not None:
                return False
            failed = Ticket(  # takes the place of the request, so that nobody can ask any more
                id=RequestId(secrets.token_bytes(32)),
                key_id=self.key.id,
                idempotency=payment.id.hex(),
                digest=payment.question,
                model_id=payment.model_id,
                version=payment.version,
                lane=None,
                fee=Amount(0),
                created_at=self._clock(),
                state=TicketState.FAILED,
                error=why,
            )
            tx.add_ticket(failed)
            return tx.move_payment(
                payment.id,
                PaymentState.SETTLED,
                PaymentState.OWED,
                refund=int(payment.amount),
                error=why,
            )

        return self._store.write(change)

    def _concluded(self, payment_id: RequestId) -> Payment | None:
        payment = self._kept(payment_id)
        return payment if payment and payment.state is not PaymentState.SETTLING else None

    def _kept(self, payment_id: RequestId) -> Payment | None:
        with self._store.read() as tx:
            return tx.payment(payment_id)


def _same(known: Payment, digest: Bytes32, question: Question) -> Payment:
    if known.digest == digest and known.question == ZERO32:
        raise PaymentReturned(known, known.error)
    if known.digest != digest or known.question != question.digest:
        raise PaymentReused(
            "this payment was used for another request",
            hint="sign a new payment for each question; repeat one only with the very same body",
        )
    return known
