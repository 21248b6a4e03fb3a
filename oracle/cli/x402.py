"""`tallystick x402 …`: what was paid to the gateway by x402, and what it owes."""

from contextlib import closing
from typing import Annotated

import typer
from rich.console import Group

from oracle.cli import commands, output
from oracle.cli.session import Session, command
from oracle.services.amounts import format_amount, format_time
from oracle.types import Amount, Timestamp


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = commands.group(app, "x402")
    command(group, "list", example="tallystick x402 list --open --json")(_list)


def _list(
    session: Session,
    still_open: Annotated[
        bool, typer.Option("--open", help="Only payments that are not at their end.")
    ] = False,
) -> None:
    """List payments, the newest last, with what goes back to their payers."""
    from oracle.gateway import gateway  # noqa: PLC0415 - web3 takes 0.3 s to import
    from oracle.store import Store  # noqa: PLC0415
    from oracle.store.payment_repository import OVER, PaymentState  # noqa: PLC0415

    with closing(Store.open(gateway.store_url(session.settings))) as store, store.read() as tx:
        found = tx.payments(set(PaymentState) - OVER if still_open else PaymentState)
    rows = [
        (
            one.payer,
            format_amount(one.amount),
            one.state.value,
            format_amount(Amount(one.refund)) if one.refund else "",
            format_time(Timestamp(int(one.created_at))),
            one.error,
        )
        for one in found
    ]
    owed = sum(o.refund for o in found if o.state in (PaymentState.OWED, PaymentState.REFUNDING))
    columns = ("payer", "paid", "state", "back", "since", "why")
    table = output.table(columns, rows, "no payments")
    session.show(found, Group(table, f"owed: {format_amount(Amount(owed))}") if owed else table)
