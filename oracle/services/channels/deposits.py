"""Channels of payers: the money in them, put there and brought back."""

from dataclasses import dataclass
from enum import Enum

from oracle.chain.bindings.payment_channels import Channel, ChannelFunded, ChannelWithdrawn
from oracle.chain.wallet import Wallet
from oracle.errors import InputInvalid, Refused
from oracle.services import balances
from oracle.services.amounts import format_amount, format_time
from oracle.services.channels import offers
from oracle.services.channels.offers import OfferInfo, OfferState
from oracle.services.event_history import topic
from oracle.services.network import Network
from oracle.services.receipts import Sent, send
from oracle.types import Address, Amount, Bytes32, Timestamp

SOON = 0  # when a channel closes: as soon as the contract allows


class ChannelState(Enum):
    """Where a channel stands."""

    OPEN = "pays for answers"
    CLOSING = "the operator can claim what was signed until it closes"
    CLOSED = "what is left can be withdrawn"
    EMPTY = "everything is claimed or withdrawn"


@dataclass(frozen=True, slots=True)
class ChannelInfo:
    """What one payer gave for one offer."""

    channel_id: Bytes32
    state: ChannelState
    payer: Address
    signer: Address  # whose vouchers count
    deposit: Amount
    claimed: Amount  # of the deposit: paid to the operator, or held for it
    left: Amount
    closes_at: Timestamp  # 0 = not closing
    offer: OfferInfo


@dataclass(frozen=True, slots=True)
class PaidBack:
    """What a channel had left, now in its payer's prepaid balance."""

    transaction: Sent
    channel_id: Bytes32
    amount: Amount


# ── Reading ─────────────────────────────────────────────────────────────────────────────────────
def list_channels(
    network: Network, payer: Address, *, every: bool = True
) -> tuple[ChannelInfo, ...]:
    """Return a payer's channels, oldest first: all of them, or those that hold money."""
    found = network.history.read(
        network.channels.address, (ChannelFunded,), None, None, topic(payer)
    )
    funded = {h.event.channel_id: h.event for h in found if isinstance(h.event, ChannelFunded)}
    if not funded:
        return ()
    ids = tuple(dict.fromkeys(event.offer_id for event in funded.values()))
    by_id = {info.offer_id: info for info in offers.list_offers(network, offer_ids=ids)}
    now = network.history.now()
    infos = (
        _info(network, payer, event.signer, by_id[event.offer_id], now) for event in funded.values()
    )
    return tuple(info for info in infos if every or info.state is not ChannelState.EMPTY)


def find(network: Network, payer: Address, text: str) -> ChannelInfo:
    """Return the payer's channel of this id, or of its beginning.

    Raises:
        InputInvalid: no id, or several channels begin so. NotFound: the payer has none of it.
    """
    known = {offers.name(c.channel_id): c for c in list_channels(network, payer)}
    return offers.pick(text, known, "channel", "`tallystick channel list` shows yours")


def state_of(channel: Channel, now: Timestamp) -> ChannelState:
    """Return where a channel stands. Pure."""
    if channel.closes_at == 0:
        return ChannelState.EMPTY if channel.deposit == channel.claimed else ChannelState.OPEN
    return ChannelState.CLOSING if now < channel.closes_at else ChannelState.CLOSED


# ── Acting ──────────────────────────────────────────────────────────────────────────────────────
def fund(
    network: Network,
    wallet: Wallet,
    offer: OfferInfo,
    amount: Amount,
    *,
    payer: Address | None = None,
    signer: Address | None = None,
) -> ChannelInfo:
    """Open a channel or top it up, out of the prepaid balance; what it lacks is brought in first.

    Args:
        offer: what the channel pays for.
        amount: to add to the deposit.
        payer: whose channel it is; None = the wallet's.
        signer: whose vouchers count; None = the payer's.

    Raises:
        Refused: the offer takes no money, the channel is closing, or the wallet has too little.
        InputInvalid: the channel could not pay for one answer.
    """
    payer = payer or wallet.address
    channel = _info(network, payer, signer or payer, offer, network.history.now())
    if offer.state is not OfferState.OPEN:
        raise Refused(
            f"the offer is {offer.state.name.lower()}: {offer.state.value}", hint=offers.LIST
        )
    if channel.closes_at:
        raise Refused(
            f"the channel closes at {format_time(channel.closes_at)} and takes no money until what "
            "is left was withdrawn",
            hint=f"`tallystick channel withdraw {offers.name(channel.channel_id)[:10]}`",
        )
    if channel.left + amount < offer.fee:
        raise InputInvalid(
            f"{format_amount(amount)} does not pay for one answer: that costs "
            f"{format_amount(offer.fee)}",
            hint="put in as much as all answers together will cost; what is left comes back",
        )
    _bring_in(network, wallet, amount)
    send(wallet, network.channels.open(payer, channel.signer, offer.offer, amount))
    return _again(network, channel)


def close(network: Network, wallet: Wallet, channel: ChannelInfo) -> ChannelInfo:
    """Start closing a channel of the wallet.

    Raises:
        ContractError: it is closing already, or holds nothing.
    """
    send(wallet, network.channels.close(channel.signer, channel.offer.offer, SOON))
    return _again(network, channel)


def withdraw(network: Network, wallet: Wallet, channel: ChannelInfo) -> PaidBack:
    """Pay what a closed channel has left into its payer's prepaid balance; anyone may.

    Raises:
        ContractError: it was not closed, or not long enough ago.
    """
    call = network.channels.withdraw(channel.payer, channel.signer, channel.offer.offer)
    transaction, receipt = send(wallet, call)
    return PaidBack(transaction, channel.channel_id, receipt.one(ChannelWithdrawn).amount)


def _bring_in(network: Network, wallet: Wallet, amount: Amount) -> None:
    prepaid = network.market.balance_of(wallet.address)
    tokens = network.token.balance_of(wallet.address)
    if prepaid + tokens < amount:
        raise Refused(
            f"{wallet.address} has {format_amount(prepaid)} prepaid and {format_amount(tokens)} in "
            f"hand, less than {format_amount(amount)}",
            hint="send tokens there; on a development network, `tallystick wallet fund`",
        )
    if prepaid < amount:
        balances.deposit(network, wallet, Amount(amount - prepaid))


def _again(network: Network, channel: ChannelInfo) -> ChannelInfo:
    now = network.history.now()
    return _info(network, channel.payer, channel.signer, channel.offer, now)


def _info(
    network: Network, payer: Address, signer: Address, offer: OfferInfo, now: Timestamp
) -> ChannelInfo:
    channel_id = network.channels.channel_id_of(payer, signer, offer.offer_id)
    channel = network.channels.channel_of(channel_id)
    return ChannelInfo(
        channel_id=channel_id,
        state=state_of(channel, now),
        payer=payer,
        signer=signer,
        deposit=channel.deposit,
        claimed=Amount(channel.claimed),
        left=Amount(channel.deposit - channel.claimed),
        closes_at=channel.closes_at,
        offer=offer,
    )
