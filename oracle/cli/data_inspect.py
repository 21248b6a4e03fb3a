"""`tallystick data inspect`: are the rows of a round there, and what was committed to?"""

from typing import Annotated

import typer

from oracle.cli import output
from oracle.cli.session import Session, command
from oracle.services.data import inspect

PROBLEMS = 3  # exit code


def register(group: typer.Typer) -> None:
    """Add the command to the group `data`."""
    command(
        group, "inspect", key=True,
        example="tallystick data inspect 1\ntallystick data inspect 1 --demand --key bob",
    )(_inspect)  # fmt: skip


def _inspect(
    session: Session,
    round_id: Annotated[int, typer.Argument(metavar="ROUND", min=1)],
    exclude: Annotated[
        bool, typer.Option("--exclude", help="Leave out what cannot be valued; the opener may.")
    ] = False,
    demand: Annotated[
        bool, typer.Option("--demand", help="Demand rows of it on chain, with a bond.")
    ] = False,
) -> None:
    """Fetch all revealed data sets and hold them against their roots.

    One that nobody serves, or that is not what its root says, keeps every valuator away. While the
    test set is due anyone may demand its rows: they are shown, or it is left out and its deposit
    is lost. The opener may leave it out, too, which gives the deposit back. Exits with 3 when there
    is one and nothing was done.
    """
    folder = session.settings.home / "cache" / "rounds" / str(round_id)
    found = inspect.inspect(session.network, round_id, folder)
    if exclude:
        inspect.exclude(session.network, session.wallet, round_id, found)
    if demand:
        inspect.demand(session.network, session.wallet, round_id, found)
    rows = [(one.index, one.owner, one.rows, one.problem or "fine") for one in found]
    columns = ("index", "owner", "rows", "problem")
    session.show(found, output.table(columns, rows, "nothing is revealed"))
    if not (exclude or demand) and any(one.problem for one in found):
        raise typer.Exit(PROBLEMS)
