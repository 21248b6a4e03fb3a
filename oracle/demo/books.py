"""Where every unit of the token is: read from the contracts, and added up.

```
  supply = Σ wallets + Σ prepaid + Σ stakes + Σ owed + escrow + rounds + uncollected + burned
```
Each term is read or folded on its own, so the sum can come out wrong, and a match means something.
Escrow comes from the requests that are open. Rounds come from the deposits, fees and rewards of
those that did not end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oracle.chain.bindings.data_credits import RevenueClaimed, RevenueCredited
from oracle.chain.bindings.data_rounds import ContributionStatus, RoundStage
from oracle.chain.bindings.inference_market import (
    Annulled,
    Cancelled,
    Convicted,
    Finalized,
    Requested,
)
from oracle.services.amounts import decimal
from oracle.services.network import Network
from oracle.types import Address, Amount


@dataclass(frozen=True, slots=True)
class Holding:
    """What one account has, in token units."""

    wallet: Amount
    prepaid: Amount
    stake: Amount  # as operator and as valuator; locked and unbonding parts included
    owed: Amount = Amount(0)  # noqa: RUF009 -- deposits, pay and rewards that wait for it

    @property
    def total(self) -> Amount:
        """Everything it has."""
        return Amount(self.wallet + self.prepaid + self.stake + self.owed)


@dataclass(frozen=True, slots=True)
class Books:
    """The whole token at one moment."""

    block: int
    holdings: Mapping[str, Holding]
    escrow: Amount  # fees of open requests
    rounds: Amount  # deposits, fees and rewards of rounds for data that did not end
    uncollected: Amount  # earnings of models and of the protocol, and of data
    burned: Amount
    supply: Amount

    @property
    def sum(self) -> Amount:
        """What can be accounted for; equal to `supply` when every unit is."""
        held = sum(holding.total for holding in self.holdings.values())
        return Amount(held + self.escrow + self.rounds + self.uncollected + self.burned)


def take(network: Network, accounts: Mapping[str, Address], models: Sequence[int] = ()) -> Books:
    """Read all balances at the newest block."""
    block = int(network.rpc.call("eth_blockNumber"), 16)
    token, market, operators = network.token, network.market, network.operators
    data, valuations = network.data_rounds, network.valuations

    sink = network.game.burn_address(block=block)

    def holding(account: Address) -> Holding:
        stake = operators.stake_of(account, block=block)
        unbonding = operators.unbonding_of(account, block=block)
        seat = valuations.seat_of(account, block=block)
        rewards = valuations.reward_of(account, block=block)
        return Holding(
            wallet=token.balance_of(account, block=block),
            prepaid=market.balance_of(account, block=block),
            stake=Amount(stake.staked + unbonding.amount + seat.staked),
            owed=Amount(data.balance_of(account, block=block) + rewards),
        )

    earnings = [market.model_earnings(model, block=block) for model in models]
    return Books(
        block=block,
        holdings={name: holding(account) for name, account in accounts.items()},
        escrow=_escrow(network, block),
        rounds=_rounds(network, block),
        uncollected=Amount(
            sum(e.owner_fee + e.data_fee for e in earnings) + _unclaimed(network, block)
        ),
        burned=Amount(
            token.balance_of(sink, block=block)
            + operators.burned(block=block)
            + data.balance_of(sink, block=block)
            + valuations.reward_of(sink, block=block)
        ),
        supply=token.total_supply(block=block),
    )


def tabulate(before: Books, after: Books) -> dict[str, object]:
    """Return both states as the report has them: decimal dollars."""

    def side(books: Books) -> dict[str, object]:
        return {
            "block": books.block,
            "accounts": {
                name: {
                    "wallet": decimal(held.wallet),
                    "prepaid": decimal(held.prepaid),
                    "stake": decimal(held.stake),
                    "owed": decimal(held.owed),
                    "total": decimal(held.total),
                }
                for name, held in books.holdings.items()
            },
            "escrow": decimal(books.escrow),
            "rounds": decimal(books.rounds),
            "uncollected": decimal(books.uncollected),
            "burned": decimal(books.burned),
            "sum": decimal(books.sum),
            "supply": decimal(books.supply),
        }

    return {
        "before": side(before),
        "after": side(after),
        "equal": before.sum == after.sum == before.supply == after.supply,
    }


def _escrow(network: Network, block: int) -> Amount:
    """Fold the market's log: fees of requests that were made and did not end."""
    fees: dict[bytes, int] = {}
    ends = (Finalized, Cancelled, Convicted, Annulled)
    for happened in network.history.read(network.market.address, (Requested, *ends)):
        if happened.block > block:
            break
        event = happened.event
        if isinstance(event, Requested):
            fees[event.request_id] = event.request.terms.fee
        elif isinstance(event, ends):
            fees.pop(event.request_id, None)
    return Amount(sum(fees.values()))


def _rounds(network: Network, block: int) -> Amount:
    """Add up what rounds hold: rewards and fees until they end, deposits until they are dealt with.

    Fees of a void round are given back with its deposits.
    """
    data, held = network.data_rounds, 0
    fee = data.config(block=block).fee
    for round_id in range(1, data.round_count(block=block) + 1):
        round_ = data.round_of(round_id, block=block)
        if round_.stage in (RoundStage.COLLECTING, RoundStage.VALUING):
            held += round_.reward + round_.contributions * fee
        for index in range(round_.contributions):
            one = data.contribution_of(round_id, index, block=block)
            if one.status is not ContributionStatus.CLOSED:
                held += one.deposit
                held += fee if round_.stage is RoundStage.VOID else 0
    return Amount(held)


def _unclaimed(network: Network, block: int) -> Amount:
    """Fold what data earned and nobody claimed; what rounding left with the pool is part of it."""
    held = 0
    kinds = (RevenueCredited, RevenueClaimed)
    for happened in network.history.read(network.credits.address, kinds):
        event = happened.event
        if happened.block <= block and isinstance(event, RevenueCredited):
            held += event.amount
        elif happened.block <= block and isinstance(event, RevenueClaimed):
            held -= event.amount
    return Amount(held)
