"""`tallystick train open|show|list|settle|result`: rounds in which several trainers take part."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oracle.chain.bindings.training_rounds import TrainingRule
from oracle.cli import options, output
from oracle.cli.model import Model
from oracle.cli.session import Session, command
from oracle.services import models
from oracle.services.amounts import format_amount, format_time
from oracle.types import ZERO_ADDRESS, Amount

if TYPE_CHECKING:
    from oracle.services.training.rounds import TrainingRoundInfo

Round = Annotated[int, typer.Argument(metavar="ROUND", min=1, help="Number of the round.")]
RULES = {rule.name.lower(): rule for rule in TrainingRule}
_HOUR = 3600
NOTHING, BOND, STAKE = Amount(0), Amount(10 * 10**6), Amount(50 * 10**6)


def register(group: typer.Typer) -> None:
    """Add the commands to `tallystick train`."""
    command(
        group, "open", spends=True,
        example="tallystick train open digits --commit-for 1d --reward 30 --fee 3 --key owner\n"
        "tallystick train open digits --rule median --least 5 --key owner",
    )(_open)  # fmt: skip
    command(group, "show", example="tallystick train show 1\ntallystick train show 1 --json")(_show)
    command(group, "list", example="tallystick train list --model digits")(_list)
    command(group, "settle", key=True, example="tallystick train settle 1 --key anyone")(_settle)
    command(
        group, "result",
        example="tallystick train result 1 --out build/digits-2\n"
        "tallystick model publish build/digits-2 --fee 1 --key owner",
    )(_result)  # fmt: skip


def _open(
    session: Session,
    model: Model,
    *,
    rule: Annotated[
        TrainingRule,
        typer.Option(
            "--rule", parser=options.choice("--rule", RULES), metavar="RULE",
            help="mean, median or trimmed.",
        ),
    ] = TrainingRule.MEAN,
    trim: Annotated[int, typer.Option("--trim", min=0, help="Cut on each side, of trimmed.")] = 0,
    clip: Annotated[
        int, typer.Option("--clip", min=1, max=2**15 - 1, help="Bound of an update's coordinates.")
    ] = 2**15 - 1,
    scale_bits: Annotated[
        int, typer.Option("--scale-bits", min=0, max=30, help="A coordinate of 1 is 2^-N.")
    ] = 16,
    max_weight: Annotated[
        int, typer.Option("--max-weight", min=1, max=2**16 - 1, help="Rows that count, of one.")
    ] = 2**16 - 1,
    least: Annotated[int, typer.Option("--least", min=1, help="Updates; with fewer: void.")] = 2,
    most: Annotated[int, typer.Option("--most", min=1, help="Updates.")] = 16,
    commit_for: Annotated[
        int, options.duration("--commit-for", "How long updates are committed to.", "1d")
    ] = 24 * _HOUR,
    reveal_for: Annotated[
        int, options.duration("--reveal-for", "How long they can be revealed.", "6h")
    ] = 6 * _HOUR,
    serve_for: Annotated[
        int, options.duration("--serve-for", "How long they can be demanded.", "6h")
    ] = 6 * _HOUR,
    aggregate_for: Annotated[
        int, options.duration("--aggregate-for", "How long an aggregator has.", "1d")
    ] = 24 * _HOUR,
    challenge_for: Annotated[
        int, options.duration("--challenge-for", "How long an aggregate can be challenged.", "1d")
    ] = 24 * _HOUR,
    bond: Annotated[Amount, options.amount("--bond", "Of each participant.")] = BOND,
    stake: Annotated[Amount, options.amount("--stake", "Of the aggregator.")] = STAKE,
    reward: Annotated[Amount, options.amount("--reward", "Of all participants.")] = NOTHING,
    fee: Annotated[Amount, options.amount("--fee", "The aggregator's.")] = NOTHING,
) -> None:  # fmt: skip
    """Open a round that begins with a version's weights; only the model's holder.

    The version is safetensors of an architecture that workers know, and gives scores of classes.
    """
    from oracle.services.training import rounds  # noqa: PLC0415 - numpy takes a while to import

    network = session.network
    selected = models.select(network, model)
    version = models.current_version(network, selected)
    plan = rounds.TrainingPlan(
        clip=clip, rule=rule, trim=trim, scale_bits=scale_bits, max_weight=max_weight,
        least_clients=least, most_clients=most, commit_period=commit_for,
        reveal_period=reveal_for, serve_period=serve_for, aggregate_period=aggregate_for,
        challenge_period=challenge_for, aggregator_bond=stake, participant_bond=bond,
        reward=reward, fee=fee,
    )  # fmt: skip
    wallet = session.wallet
    session.confirm(f"Open a round that pays {format_amount(Amount(reward + fee))}?")
    with session.bars() as bars:
        done = rounds.open_round(
            network, wallet, selected.model_id, version, plan=plan,
            update=lambda done, total: bars.bytes_done("files", done, total),
        )  # fmt: skip
    session.show(done, facts(rounds.show(network, done.round_id)))


def _show(session: Session, round_id: Round) -> None:
    """Show a round of training and its updates."""
    from oracle.services.training import rounds  # noqa: PLC0415

    found = rounds.show(session.network, round_id)
    session.show(found, facts(found))


def _list(
    session: Session,
    model: Annotated[str, typer.Option("--model", metavar="MODEL", help="Of this model.")] = "",
) -> None:
    """List rounds of training."""
    from oracle.services.training import rounds  # noqa: PLC0415

    model_id = models.select(session.network, model).model_id if model else None
    found = rounds.list_rounds(session.network, model_id)
    rows = [
        (one.round_id, f"{one.model_id} v{one.version}", one.phase.value,
         format_time(one.until) if one.until else "", one.committed, len(one.updates),
         format_amount(one.terms.reward))
        for one in found
    ]  # fmt: skip
    columns = ("round", "model", "phase", "until", "committed", "revealed", "reward")
    session.show(found, output.table(columns, rows, "no rounds"))


def _settle(session: Session, round_id: Round) -> None:
    """End a round whose time has come: settle it, or void it; anyone may."""
    from oracle.services.training import aggregating  # noqa: PLC0415

    done = aggregating.settle(session.network, session.wallet, round_id)
    session.show(done, facts(done.round))


def _result(
    session: Session,
    round_id: Round,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="To write into; round-ROUND by default."),
    ] = None,
) -> None:
    """Write what a settled round led to as a folder to publish, with its history."""
    from oracle.services.training import results  # noqa: PLC0415

    done = results.write(session.network, round_id, out or Path(f"round-{round_id}"))
    lines = [
        ("folder", str(done.folder)),
        ("trained", f"from model {done.model_id} version {done.version} by {done.participants}"),
        ("then", f"`tallystick model publish {done.folder} --fee AMOUNT --key WALLET`"),
    ]
    session.show(done, output.facts(lines))


def facts(found: "TrainingRoundInfo") -> Any:
    """Return a round for people to read."""
    terms = found.terms
    until = f" until {format_time(found.until)}" if found.until else ""
    aggregator = "none yet" if found.aggregator == ZERO_ADDRESS else found.aggregator
    trimmed = f", {terms.trim} cut on each side" if terms.trim else ""
    updates = [
        (one.number, one.participant, one.weight, one.status.name.lower()) for one in found.updates
    ]
    lines = [
        ("round", f"{found.round_id} of model {found.model_id} version {found.version}"),
        ("phase", found.phase.value + until),
        ("opened by", found.opener),
        ("state", f"{terms.parameters:,} parameters, root 0x{terms.state_root.hex()}"),
        ("rule", terms.rule.name.lower() + trimmed),
        ("clip", f"{terms.clip:,} · 2^-{terms.scale_bits}"),
        ("takes", f"{terms.least_clients} to {terms.most_clients} updates"),
        ("committed", str(found.committed)),
        ("bond of each", format_amount(terms.participant_bond)),
        ("reward", format_amount(terms.reward)),
        ("fee", f"{format_amount(terms.fee)} to the aggregator"),
        ("aggregator", f"{aggregator}, {format_amount(terms.aggregator_bond)} bond"),
    ]  # fmt: skip
    if found.attempt:
        lines.append(("aggregates", f"{found.attempt}, {found.challenges} open challenge(s)"))
    if found.share:
        lines.append(("share", format_amount(found.share)))
    told = output.facts(lines)
    columns = ("", "participant", "weight", "status")
    told.add_row("updates", output.table(columns, updates, "none revealed"))
    return told
