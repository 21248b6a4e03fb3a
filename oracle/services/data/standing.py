"""What data earned its owners: tiers, endorsements, credits, and the share of fees."""

from dataclasses import dataclass

from oracle.chain.bindings.data_credits import RevenueClaimed
from oracle.chain.bindings.data_rounds import BalanceWithdrawn, Standing
from oracle.chain.wallet import Wallet
from oracle.errors import Refused
from oracle.services.network import Network
from oracle.services.receipts import Sent, send
from oracle.types import Address, Amount, Credits


class NothingOwed(Refused):
    """There is nothing to pay out."""


@dataclass(frozen=True, slots=True)
class Tier:
    """What a tier asks and gives (libraries/Tiers.sol)."""

    tier: int
    earned: Credits  # at the least; 2⁴⁰ are a test row
    kept: int  # deposits, at the least
    kept_per_forfeited: int
    deposit_bps: int  # of the full deposit
    cap: int  # contributions to one round


TIERS = (
    Tier(0, Credits(0), 0, 0, 10_000, 2),
    Tier(1, Credits(1 << 40), 1, 2, 5_000, 4),
    Tier(2, Credits(1 << 44), 3, 4, 2_500, 8),
    Tier(3, Credits(1 << 47), 8, 10, 1_000, 16),
)


@dataclass(frozen=True, slots=True)
class StandingInfo:
    """An account at one model.

    Attributes:
        deposit, cap: of its next contribution, and how many it may bring to a round.
        claimable: what its credits earned and were told of; `pending` is its part of what the
            market still holds for the model, by the credits as they are now.
        balance: deposits and rewards that came back, of all models.
    """

    model_id: int
    account: Address
    tier: int
    deposit: Amount
    cap: int
    standing: Standing
    credits: Credits
    total_credits: Credits
    claimable: Amount
    pending: Amount
    balance: Amount


@dataclass(frozen=True, slots=True)
class RevenueClaim:
    """What was paid out, and by which transactions."""

    model_id: int
    account: Address
    revenue: Amount
    deposits: Amount
    transactions: tuple[Sent, ...]


def standing(network: Network, model_id: int, account: Address) -> StandingInfo:
    """Return what an account has done for a model, and what that is worth."""
    credits, data = network.credits, network.data_rounds
    deposit, cap = data.requirements_of(model_id, account)
    held, total = credits.credits_of(model_id, account), credits.total_credits(model_id)
    waiting = network.market.model_earnings(model_id).data_fee if total else 0
    return StandingInfo(
        model_id=model_id,
        account=account,
        tier=data.tier_of(model_id, account),
        deposit=deposit,
        cap=cap,
        standing=data.standing_of(model_id, account),
        credits=held,
        total_credits=total,
        claimable=credits.claimable(model_id, account),
        pending=_part(waiting, held, total),
        balance=data.balance_of(account),
    )


def claim(network: Network, wallet: Wallet, model_id: int) -> RevenueClaim:
    """Pay what the wallet's credits of a model earned, and its deposits and rewards.

    What the market still holds for the model is divided first; anyone may ask for that.

    Raises:
        NothingOwed: there is nothing to pay.
    """
    account, sent = wallet.address, []
    found = standing(network, model_id, account)
    if found.pending:
        sent.append(send(wallet, network.market.collect_model_earnings(model_id))[0])
    revenue = deposits = Amount(0)
    if network.credits.claimable(model_id, account):
        transaction, receipt = send(wallet, network.credits.claim(model_id))
        revenue = receipt.one(RevenueClaimed).amount
        sent.append(transaction)
    if network.data_rounds.balance_of(account):
        transaction, receipt = send(wallet, network.data_rounds.withdraw())
        deposits = receipt.one(BalanceWithdrawn).amount
        sent.append(transaction)
    if not revenue and not deposits:
        raise NothingOwed(
            f"model {model_id} owes {account} nothing",
            hint="credits earn when answers are paid; what was claimed is not claimed twice",
        )
    return RevenueClaim(model_id, account, revenue, deposits, tuple(sent))


def endorse(network: Network, wallet: Wallet, round_id: int, index: int, amount: Credits) -> Sent:
    """Stake own credit on somebody else's revealed contribution.

    Raises:
        ContractError: no tier, not so many credits, own contribution, or not the phase.
    """
    return send(wallet, network.credits.endorse(round_id, index, amount))[0]


def _part(amount: int, held: int, total: int) -> Amount:
    """Return what credits would get of an amount, rounded as libraries/Accumulator.sol does."""
    return Amount(held * ((amount << 128) // total) >> 128 if total else 0)
