"""The last chapter: everybody takes out what is theirs, and the books are compared."""

from oracle.demo import books, gas
from oracle.demo.books import Books, Holding
from oracle.demo.stage import DemoContext
from oracle.services import balances, models
from oracle.services.amounts import decimal, format_amount
from oracle.types import Amount

CLAIMANTS = ("requester", "challenger")


def pay_out(stage: DemoContext) -> None:
    """Models, protocol, operators and requester take their money out of the market."""
    network, owner = stage.network, stage.wallet("owner")
    for model in stage.models.values():
        paid = models.collect(network, owner, model.model_id)
        data = (
            f"{format_amount(paid.data_fee)} went to who holds its data credits"
            if paid.data_fee
            else "its data share included, as nobody holds data credits"
        )
        stage.screen.tell(
            f"{model.name} paid {stage.name_of(paid.to)} {format_amount(paid.owner_fee)}, {data}"
        )
    treasury = network.market.config().treasury
    protocol = network.market.balance_of(treasury)
    stage.screen.tell(f"{stage.name_of(treasury)} has {format_amount(protocol)} prepaid")
    for name in (*stage.devnet.plan.operators, *stage.devnet.plan.faults, *CLAIMANTS):
        prepaid = network.market.balance_of(stage.address(name))
        if prepaid:
            balances.withdraw(network, stage.wallet(name), None, None)
            stage.screen.tell(f"{name} withdrew {format_amount(prepaid)}")


def compare_books(stage: DemoContext, before: Books) -> None:
    """State that no unit of the token appeared or vanished."""
    network = stage.network
    ids = [model.model_id for model in stage.models.values()]
    after = books.take(network, stage.devnet.accounts, ids)
    nothing = Holding(Amount(0), Amount(0), Amount(0))
    rows: list[tuple[object, ...]] = []
    for name, held in after.holdings.items():
        was = before.holdings.get(name, nothing).total
        change = Amount(held.total - was)
        sign = "+" if change > 0 else ""
        rows.append((name, decimal(was), decimal(held.total), f"{sign}{decimal(change)}"))
    for name in ("escrow", "rounds", "uncollected", "burned"):
        was, now = getattr(before, name), getattr(after, name)
        rows.append((name, decimal(was), decimal(now), decimal(Amount(now - was))))
    rows.append(
        ("sum", decimal(before.sum), decimal(after.sum), decimal(Amount(after.sum - before.sum)))
    )
    rows.append(("token supply", decimal(before.supply), decimal(after.supply), ""))
    stage.screen.table(("USD", "before", "after", "change"), rows)
    stage.record.books = books.tabulate(before, after)
    stage.expect("the sum of all balances before and after is equal", before.sum == after.sum)
    stage.expect("and equal to the token's supply", after.sum == after.supply == before.supply)
    stage.expect(
        "nothing is left in escrow, in rounds or uncollected, but for a unit that cannot be split",
        not after.escrow and not after.rounds and after.uncollected <= 1,
    )


def list_gas(stage: DemoContext) -> None:
    """Show what each function cost in gas."""
    stage.record.transactions = list(gas.read(stage.network, stage.devnet.accounts))
    rows = [
        (used.function, used.calls, f"{used.least:,}", f"{used.most:,}")
        for used in gas.by_function(stage.record.transactions)
    ]
    stage.screen.table(("transaction", "calls", "least gas", "most gas"), rows)
    failed = [t for t in stage.record.transactions if not t.succeeded]
    stage.screen.tell(
        f"{len(stage.record.transactions)} transactions, {len(failed)} of them reverted", "dim"
    )
