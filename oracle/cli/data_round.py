"""`tallystick data round …`: open a round for data, follow it, reveal its test set."""

from pathlib import Path
from typing import Annotated, Any

import typer

from oracle.cli import commands, options, output
from oracle.cli.model import Model
from oracle.cli.session import Session, command
from oracle.errors import InputInvalid
from oracle.services import models
from oracle.services.amounts import format_amount, format_time
from oracle.services.data import files, rounds
from oracle.services.data.credits import format_credits
from oracle.services.data.rounds import RoundInfo, RoundPlan
from oracle.types import ZERO_ADDRESS, Amount

Round = Annotated[int, typer.Argument(metavar="ROUND", help="Number of the round.")]
Index = Annotated[int, typer.Argument(metavar="INDEX", help="Of the contribution in its round.")]
NOTHING = Amount(0)


def register(app: typer.Typer) -> None:
    """Add the group below `data`."""
    group = commands.group(
        app, "round", "Rounds in which a model takes data, and what it is worth is found out."
    )
    command(
        group, "open", spends=True,
        example="tallystick data round open digits held-out.csv --submit-for 7d --reward 20 "
        "--key owner",
    )(_open)  # fmt: skip
    command(group, "show", example="tallystick data round show 1")(_show)
    command(group, "list", example="tallystick data round list --model digits")(_list)
    command(group, "reveal", key=True, example="tallystick data round reveal 1 --key owner")(
        _reveal
    )
    command(group, "exclude", key=True, example="tallystick data round exclude 1 2 --key owner")(
        _exclude
    )


def _open(
    session: Session,
    model: Model,
    test: Annotated[
        list[Path], typer.Argument(metavar="TEST...", help="Files of the hidden test set.")
    ],
    *,
    schema: Annotated[
        Path | None,
        typer.Option("--schema", metavar="FILE", help="Schema of data; else the manifest's."),
    ] = None,
    neighbours: Annotated[int, typer.Option("--neighbours", help="K of the valuation.")] = 5,
    row_tolerance: Annotated[
        int, typer.Option("--row-tolerance", help="Squared distance of a near-duplicate.")
    ] = 0,
    test_tolerance: Annotated[
        int, typer.Option("--test-tolerance", help="Squared distance of a leaked test row.")
    ] = 0,
    submit_for: Annotated[
        int, options.duration("--submit-for", "How long data sets are taken.")
    ] = 86_400,
    reveal_for: Annotated[
        int, options.duration("--reveal-for", "How long they can be revealed.")
    ] = 86_400,
    test_for: Annotated[
        int, options.duration("--test-for", "How long the test set can be.")
    ] = 86_400,
    max_contributions: Annotated[int, typer.Option("--max-contributions")] = 64,
    max_rows: Annotated[int, typer.Option("--max-rows", help="Of one contribution.")] = 1 << 14,
    reward: Annotated[Amount, options.amount("--reward", "Part of the valuator's pay.")] = NOTHING,
) -> None:
    """Open a round; its test set is committed to now and hidden until data sets are revealed."""
    network, wallet = session.network, session.wallet
    model_id = models.select(network, model).model_id
    data = files.load(schema) if schema else files.of_model(network, model_id)
    if data is None:
        raise InputInvalid(
            f"model {model_id} has no schema of data in its manifest",
            hint="say --schema FILE; `tallystick data schema FILE.csv` writes one",
        )
    with session.bars() as bars:
        held = files.read(test, data, say=bars.say)
    plan = RoundPlan(
        neighbours=neighbours,
        row_tolerance=row_tolerance,
        test_tolerance=test_tolerance,
        max_contributions=max_contributions,
        max_rows=max_rows,
        submit_period=submit_for,
        reveal_period=reveal_for,
        test_period=test_for,
        reward=reward,
    )
    session.confirm(f"Open a round with a reward of {format_amount(reward)}?")
    done = rounds.open_round(network, wallet, model_id, test=held, data=data, plan=plan)
    session.show(done, facts(rounds.show(network, done.round_id)))


def _show(session: Session, round_id: Round) -> None:
    """Show a round and what happened in it."""
    found = rounds.show(session.network, round_id)
    moves = [(format_time(m.time), m.event, m.detail) for m in found.moves]
    told = facts(found)
    told.add_row("history", output.table(("time", "event", ""), moves))
    session.show(found, told)


def _list(
    session: Session,
    model: Annotated[str, typer.Option("--model", metavar="MODEL", help="Of this model.")] = "",
) -> None:
    """List rounds."""
    model_id = models.select(session.network, model).model_id if model else None
    found = rounds.list_rounds(session.network, model_id)
    rows = [
        (one.round_id, one.model_id, one.phase.value, format_time(one.until) if one.until else "",
         one.contributions, one.rows or "", format_amount(one.terms.reward))
        for one in found
    ]  # fmt: skip
    columns = ("round", "model", "phase", "until", "contributions", "rows", "reward")
    session.show(found, output.table(columns, rows, "no rounds"))


def _reveal(session: Session, round_id: Round) -> None:
    """Publish the test set that this machine committed to."""
    done = rounds.reveal_test(session.network, session.wallet, round_id)
    session.show(done, facts(rounds.show(session.network, round_id)))


def _exclude(
    session: Session,
    round_id: Round,
    index: Index,
) -> None:
    """Leave out a contribution whose data nobody serves, together with the test set."""
    done = rounds.exclude(session.network, session.wallet, round_id, index)
    session.show(done, facts(rounds.show(session.network, round_id)))


def facts(found: RoundInfo) -> Any:
    """Return a round for people to read."""
    terms = found.terms
    valuator = "none yet" if found.valuator == ZERO_ADDRESS else found.valuator
    return output.facts(
        [
            ("round", f"{found.round_id} of model {found.model_id}"),
            ("phase", _phase(found)),
            ("opened by", found.opener),
            ("data sets until", format_time(found.submit_until)),
            ("revealed until", format_time(found.reveal_until)),
            ("test set until", format_time(found.test_until)),
            ("takes", f"{terms.features} columns, at most {terms.max_rows:,} rows each"),
            ("costs", f"{format_amount(found.fee)}, and a deposit of {format_amount(found.deposit)}"
             " or less by tier"),
            ("reward", format_amount(terms.reward)),
            ("contributions", f"{found.contributions}, {found.revealed} revealed, "
             f"{found.rows:,} rows"),
            ("valuator", valuator),
            ("gets", "what it is worth" if found.most is None else
             f"what it is worth, at most {format_credits(found.most)} credits"),
            ("credits", format_credits(found.credits)),
        ]
    )  # fmt: skip


def _phase(found: RoundInfo) -> str:
    until = f" until {format_time(found.until)}" if found.until else ""
    return found.phase.value + until
