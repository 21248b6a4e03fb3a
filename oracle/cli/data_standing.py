"""`tallystick data tiers|endorse|claim`: what own data was worth, and what it pays."""

from typing import Annotated, Any

import typer

from oracle.cli import options, output
from oracle.cli.data_round import Index, Round
from oracle.cli.model import Model
from oracle.cli.session import Session, command
from oracle.errors import NotFound
from oracle.services import models, wallets
from oracle.services.amounts import format_amount
from oracle.services.data import listing, standing
from oracle.services.data.credits import format_credits
from oracle.services.data.standing import TIERS, StandingInfo
from oracle.types import Amount, Credits


def register(group: typer.Typer) -> None:
    """Add the commands to `data`."""
    command(
        group, "tiers", key=True,
        example="tallystick data tiers\ntallystick data tiers digits --wallet alice",
    )(_tiers)  # fmt: skip
    command(group, "endorse", spends=True, example="tallystick data endorse 2 0 0.05 --key bob")(
        _endorse
    )
    command(group, "claim", key=True, example="tallystick data claim digits --key alice")(_claim)


def _tiers(
    session: Session,
    model: Annotated[
        str, typer.Argument(metavar="[MODEL]", help="With it: an account's standing there.")
    ] = "",
    wallet: Annotated[
        str, typer.Option("--wallet", metavar="WALLET", help="Name or address; else --key.")
    ] = "",
) -> None:
    """Show what tiers ask and give, or where an account stands at a model."""
    if not model:
        columns = ("tier", "credits", "deposits kept", "per forfeited", "deposit", "cap")
        rows = [
            (t.tier, format_credits(t.earned), t.kept, t.kept_per_forfeited,
             f"{t.deposit_bps / 100:g}%", t.cap)
            for t in TIERS
        ]  # fmt: skip
        session.show(TIERS, output.table(columns, rows))
        return
    model_id = models.select(session.network, model).model_id
    name = wallet or session.settings.key
    if not name:
        raise NotFound("no account was named", hint="`tallystick data tiers MODEL --wallet NAME`")
    account = wallets.resolve(session.settings, name)
    found = standing.standing(session.network, model_id, account)
    session.show(found, _standing(found))


def _endorse(
    session: Session,
    round_id: Round,
    index: Index,
    amount: Annotated[Credits, options.credits_argument("Own credits to stake, like 0.05.")],
) -> None:
    """Stake own credits on somebody else's contribution: win and lose with it."""
    session.confirm(f"Stake {format_credits(amount)} credits, lost when it is worthless?")
    standing.endorse(session.network, session.wallet, round_id, index, amount)
    found = listing.show(session.network, round_id, index)
    session.show(
        found, f"endorsed contribution {index} with {format_credits(found.endorsed)} in all"
    )


def _claim(session: Session, model: Model) -> None:
    """Be paid what own credits of a model earned, and deposits and rewards that came back."""
    model_id = models.select(session.network, model).model_id
    done = standing.claim(session.network, session.wallet, model_id)
    session.show(
        done,
        output.facts(
            [
                ("share of fees", format_amount(done.revenue)),
                ("deposits, rewards", format_amount(done.deposits)),
            ]
        ),
    )


def _standing(found: StandingInfo) -> Any:
    record = found.standing
    return output.facts(
        [
            ("account", found.account),
            ("tier", found.tier),
            ("next deposit", f"{format_amount(found.deposit)}; {found.cap} contributions a round"),
            ("earned", format_credits(record.earned)),
            ("deposits", f"{record.kept} kept, {record.forfeited} forfeited"),
            ("credits", f"{format_credits(found.credits)} of "
             f"{format_credits(found.total_credits)}"),
            ("to claim", format_amount(Amount(found.claimable + found.pending))),
            ("to withdraw", format_amount(found.balance)),
        ]
    )  # fmt: skip
