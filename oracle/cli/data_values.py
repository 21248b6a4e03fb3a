"""`tallystick data values`: what a valuation says each contribution is worth, and why."""

from typing import Annotated, Any

import typer

from oracle.cli import output
from oracle.cli.session import Session, command
from oracle.services.data import valuation_report
from oracle.services.data.valuation_report import ValuationInfo

_ONE = 1 << 40


def register(group: typer.Typer) -> None:
    """Add the command to the group `data`."""
    command(group, "values", example="tallystick data values 1")(_values)


def _values(
    session: Session, round_id: Annotated[int, typer.Argument(metavar="ROUND", min=1)]
) -> None:
    """Show what the last published valuation gives, before and after it is clamped at zero.

    Second opinions (leave-one-out, Data Shapley) are the valuator's; they are reported, not paid.
    """
    found = valuation_report.show(session.network, round_id)
    session.show(found, _table(found))


def _table(found: ValuationInfo) -> Any:
    unit = found.test_rows * _ONE

    def signed(value: float | None) -> str:
        return "" if value is None else f"{value:+.4f}"

    rows = [
        (
            one.number, one.owner, one.rows, f"{one.value / unit:.4f}",
            signed(None if one.total is None else one.total / unit),
            signed(one.leave_one_out), signed(one.data_shapley),
        )
        for one in found.contributions
    ]  # fmt: skip
    columns = ("number", "owner", "rows", "paid for", "unclamped", "leave one out", "Data Shapley")
    return output.table(columns, rows, "no contributions")
