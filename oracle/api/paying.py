"""Who pays for an answer: an API key's budget, or the client itself by x402.

```
 no key, no payment ─▶ 402 with the price
 a payment ─▶ question checked ─▶ settled ─▶ asked ─▶ answer with PAYMENT-RESPONSE
```
"""

from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Request

from oracle.api import asking
from oracle.api.asking import ServedAnswer, Stopwatch
from oracle.api.problems import Rejected
from oracle.api.state import AppState, StateDep, key_of
from oracle.chain.revert import ContractError
from oracle.errors import PermanentError, Refused
from oracle.gateway.catalogue import AskableVersion
from oracle.gateway.facilitator import PaymentRequired, PaymentReturned
from oracle.gateway.sponsor import Question
from oracle.protocol import x402
from oracle.protocol.pieces import PieceTeller
from oracle.protocol.x402 import Authorization, PaymentInvalid, PaymentRequirements
from oracle.services.amounts import decimal
from oracle.store.gateway_repository import ApiKey
from oracle.store.payment_repository import Payment
from oracle.types import Amount


async def key_or_none(request: Request, state: StateDep) -> ApiKey | None:
    """Return the API key that came along; None = the client is to pay by x402.

    Raises:
        As `key_of`, where x402 is off.
    """
    if state.gateway is None or not state.config.x402 or "authorization" in request.headers:
        return await key_of(request, state)
    return None


MaybeKeyDep = Annotated[ApiKey | None, Depends(key_or_none)]
Payer = ApiKey | Authorization


async def payer_of(
    request: Request, state: AppState, key: ApiKey | None, listing: AskableVersion
) -> Payer:
    """Return who pays; before work is put into the question.

    Raises:
        PaymentRequired: neither a key nor a payment came along.
        Refused: the version is metered, and no key came along.
        Rejected: too many payments came from one address.
    """
    if key is not None:
        return key
    if listing.terms.max_units:
        raise Refused(
            f"{listing.name} is paid by units, and what x402 pays is fixed beforehand",
            hint="send an API key, or ask from a wallet: `tallystick infer`",
        )
    if (header := request.headers.get(x402.SIGNATURE)) is None:
        if x402.OLD_SIGNATURE in request.headers:
            raise await _required(request, state, listing, x402.version_unknown(1))
        raise await _required(request, state, listing)
    state.limit(request, "payment", state.config.payments_per_minute)
    facilitator = state.asking.facilitator
    try:
        return await state.blocking(lambda: x402.read(header, facilitator.token))
    except PaymentInvalid as error:
        raise await _required(request, state, listing, error) from error


async def ask(
    request: Request, state: AppState, payer: Payer, question: Question, watch: Stopwatch,
    *, pieces: PieceTeller | None = None,
) -> ServedAnswer:  # fmt: skip
    """Pay for an answer and wait for it.

    Args:
        pieces: are told how a text grows.

    Raises:
        PaymentRequired: the payment that came along cannot be taken; nothing was paid.
        PaymentReused, PaymentReturned: it was used before.
        SettlementPending: it is not final in time.
        Whatever `asking.ask_all` raises; what was paid goes back when nothing is served.
    """
    if isinstance(payer, ApiKey):
        channels = asking.over_channels(request)
        return await asking.ask(state, payer, question, watch, channels=channels, pieces=pieces)
    gateway, facilitator = state.asking, state.asking.facilitator

    def take() -> Payment:
        return facilitator.take(payer, requirements(state, question.listing), question)

    try:
        payment = await gateway.blocking(take)
        payment = await facilitator.settled(payment, state.config.answer_timeout)
    except PaymentInvalid as error:
        raise await _required(request, state, question.listing, error) from error
    except ContractError as error:
        if error.name == "BalanceInsufficient":  # ours, so a 402 would mislead
            raise Rejected(
                503, "GatewayBalance", "this gateway cannot pay; nothing was charged"
            ) from None
        raise
    watch.mark("settle")
    assert payment.transaction is not None
    request.scope["state"]["payment_response"] = x402.encode(
        x402.settled(facilitator.token, payment.payer, payment.amount, payment.transaction)
    )
    asked, cost = replace(question, idempotency=payment.id.hex()), price(state, question.listing)
    await gateway.blocking(lambda: facilitator.require_enough(payment, cost))
    try:
        return await asking.ask(state, facilitator.key, asked, watch, pieces=pieces)
    except PermanentError as error:
        why = str(error)
        if await gateway.blocking(lambda: facilitator.give_up(payment, why)):
            raise PaymentReturned(payment, why) from error
        raise


def price(state: AppState, listing: AskableVersion) -> Amount:
    """Return what an answer costs by x402."""
    return Amount(listing.terms.fee + state.config.x402_surcharge)


def requirements(state: AppState, listing: AskableVersion) -> PaymentRequirements:
    """Return how an answer is paid now."""
    return state.asking.facilitator.requirements(price(state, listing))


def description(listing: AskableVersion) -> str:
    """Return what is paid for, in a sentence."""
    return f"{listing.name} version {listing.served.version}: {listing.meaning}"


async def _required(
    request: Request,
    state: AppState,
    listing: AskableVersion,
    refusal: PaymentInvalid | None = None,
) -> PaymentRequired:
    amount = price(state, listing)
    accepts = await state.memory.of(
        state, ("x402", amount), lambda: state.asking.facilitator.requirements(amount)
    )
    message, said = f"an answer of {listing.name} costs ${decimal(amount)}", ""
    todo = f"send an API key, or pay by x402 (scheme {x402.SCHEME})"
    if refusal is not None:
        message, said, todo = str(refusal), refusal.code, refusal.hint
    url = str(request.url)
    document = x402.payment_required(accepts, url, description(listing), said or message)
    return PaymentRequired(
        message,
        document,
        hint=f"{todo}: {accepts.amount} units of {accepts.token.address} on "
        f"{accepts.token.network}. Clients take a token that is no default asset when their "
        "spend_controls name it in allowed_assets",
    )
