"""Valuators' money: stake, and how an account stands."""

from dataclasses import dataclass

from oracle.chain.bindings.data_rounds import RoundSettled
from oracle.chain.bindings.valuation_game import ClaimLapsed, ValuationPublished, ValuatorConvicted
from oracle.chain.contract import Call
from oracle.chain.wallet import Wallet
from oracle.services.balances import allow
from oracle.services.event_history import topic
from oracle.services.network import Network
from oracle.services.receipts import Sent, send
from oracle.types import Address, Amount, Wei


@dataclass(frozen=True, slots=True)
class ValuatorInfo:
    """One valuator: money, and what it did.

    Attributes:
        needed: stake that is locked for one valuation.
        balance: deposits and pay in DataRounds; reward and bond: of challenges.
        published, settled, convicted, lapsed: rounds.
    """

    valuator: Address
    staked: Amount
    locked: Amount
    free: Amount
    needed: Amount
    balance: Amount
    reward: Amount
    bond: Wei
    published: tuple[int, ...]
    settled: tuple[int, ...]
    convicted: tuple[int, ...]
    lapsed: tuple[int, ...]


def stake(network: Network, wallet: Wallet, amount: Amount) -> tuple[Sent, ...]:
    """Move tokens of the wallet into its stake as a valuator.

    Raises:
        ContractError: the wallet has not so many tokens.
    """
    allowed = allow(network, wallet, network.valuations.address, amount)
    return (*allowed, send(wallet, network.valuations.stake(amount))[0])


def unstake(network: Network, wallet: Wallet, amount: Amount) -> Sent:
    """Pay out free stake; what stands behind a valuation is locked until it is settled.

    Raises:
        ContractError: there is not so much free stake.
    """
    return send(wallet, network.valuations.unstake(amount))[0]


def payouts(network: Network, valuator: Address) -> list[Call]:
    """Return the calls that pay out what valuations and challenges brought."""
    chain = network.valuations
    owed = (
        (network.data_rounds.balance_of(valuator), network.data_rounds.withdraw),
        (chain.reward_of(valuator), chain.withdraw_reward),
        (chain.bond_of(valuator), chain.withdraw_bond),
    )
    return [call() for amount, call in owed if amount]


def withdraw(network: Network, wallet: Wallet) -> tuple[Sent, ...]:
    """Pay out what valuations and challenges brought; nothing is no error."""
    return tuple(send(wallet, call)[0] for call in payouts(network, wallet.address))


def status(network: Network, valuator: Address) -> ValuatorInfo:
    """Return what the chain knows of a valuator; an account that never was one has zeros."""
    chain, history = network.valuations, network.history
    seat = chain.seat_of(valuator)
    kinds = (ValuationPublished, ClaimLapsed, ValuatorConvicted)
    found = history.read(chain.address, kinds, None, topic(valuator))
    ended = history.read(network.data_rounds.address, (RoundSettled,), None, topic(valuator))

    def rounds(kind: type) -> tuple[int, ...]:
        named = [h.event.round_id for h in (*found, *ended) if isinstance(h.event, kind)]  # type: ignore[attr-defined]  # all have one
        return tuple(dict.fromkeys(named))

    return ValuatorInfo(
        valuator=valuator,
        staked=seat.staked,
        locked=seat.locked,
        free=Amount(seat.staked - seat.locked),
        needed=chain.config().stake,
        balance=network.data_rounds.balance_of(valuator),
        reward=chain.reward_of(valuator),
        bond=chain.bond_of(valuator),
        published=rounds(ValuationPublished),
        settled=rounds(RoundSettled),
        convicted=rounds(ValuatorConvicted),
        lapsed=rounds(ClaimLapsed),
    )
