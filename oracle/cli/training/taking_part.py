"""`tallystick train join|aggregate|challenge|claim`: what people of a round do, step by step."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oracle import logs
from oracle.cli import options, output
from oracle.cli.session import Session, command
from oracle.cli.training.rounds import NOTHING, Round, facts
from oracle.errors import ConfigInvalid
from oracle.services.amounts import format_amount, format_time
from oracle.stopping import on_signals
from oracle.types import Amount

if TYPE_CHECKING:
    from oracle.agents.agent import Agent
    from oracle.services.training.challenging import ChallengeReport

WRONG = 3  # exit code
PAUSE = 0.5  # seconds between two looks
OneRound = Annotated[
    int | None, typer.Argument(metavar="[ROUND]", min=1, help="Else all, with --watch.")
]
Watch = Annotated[bool, typer.Option("--watch", help="Look at every round until stopped.")]


def register(group: typer.Typer) -> None:
    """Add the commands to `tallystick train`."""
    command(
        group, "join", spends=True,
        example="tallystick train join 1 --data rows.npz --steps 100 --key alice\n"
        "tallystick train join 1 --key alice",
    )(_join)  # fmt: skip
    command(
        group, "aggregate", spends=True,
        example="tallystick train aggregate 1 --key dave\n"
        "tallystick train aggregate --watch --least-fee 1 --key dave --password-file dave.pw --yes",
    )(_aggregate)  # fmt: skip
    command(
        group, "challenge", key=True,
        example="tallystick train challenge 1 --key carol\n"
        "tallystick train challenge --watch --key carol --password-file carol.pw",
    )(_challenge)  # fmt: skip
    command(group, "claim", key=True, example="tallystick train claim 1 --key alice")(_claim)


def _join(
    session: Session,
    round_id: Round,
    *,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="FILE", help="Own rows, .npz or .safetensors; at first."),
    ] = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Of SGD on own rows.")] = 50,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", metavar="RATE", help="Of a step.")
    ] = 0.1,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Rows of a step.")] = 32,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the order of rows.")] = 0,
) -> None:
    """Train on your own rows and take part; the same command reveals, and collects at the end.

    The update and its salt are on the disk before the commitment is sent, so what was stopped goes
    on. Rows stay here; the update is published when it is revealed.
    """
    from oracle.services.training import joining, rounds  # noqa: PLC0415 - numpy

    network, wallet = session.network, session.wallet
    info = rounds.show(network, round_id)
    if data is not None:
        session.confirm(f"Bond {format_amount(info.terms.participant_bond)} behind an update?")
    plan = joining.LocalPlan(steps, learning_rate, batch, seed)
    with session.bars() as bars:
        done = joining.join(
            network, wallet, round_id, data=data, plan=plan,
            update=lambda done, total: bars.bytes_done("steps", done, total),
        )  # fmt: skip
    lines = [
        ("round", f"{done.round_id}: {done.phase.value}"),
        ("update", f"0x{done.root.hex()}, weight {done.weight:,}"),
        ("loss", f"{done.losses[0]:.4f} at first, {done.losses[1]:.4f} at the end"),
    ]
    if done.number is not None:
        lines.append(("number", str(done.number)))
    if done.paid:
        lines.append(("paid", format_amount(done.paid)))
    if done.next:
        after = f", after {format_time(done.until)}" if done.until else ""
        lines.append(("next", done.next + after))
    session.show(done, output.facts(lines))


def _aggregate(
    session: Session,
    round_id: OneRound = None,
    *,
    watch: Watch = False,
    least_fee: Annotated[
        Amount, options.amount("--least-fee", "With --watch: leave rounds that pay less.")
    ] = NOTHING,
) -> None:
    """Add a round's updates up and publish the next state, with a bond behind it.

    While updates can be demanded it demands those that nobody serves; run it again afterwards.
    With --watch it aggregates every round, answers what is demanded, and settles.
    """
    from oracle.services.training import aggregating, rounds  # noqa: PLC0415 - numpy

    _one_or_all(round_id, watch, "aggregate")
    if round_id is None:
        session.confirm("Bond what each round asks behind its aggregate?")
        _watch(session, "aggregators", least_fee)
        return
    network, wallet = session.network, session.wallet
    info = rounds.show(network, round_id)
    session.confirm(f"Bond {format_amount(info.terms.aggregator_bond)} behind the aggregate?")
    with session.bars() as bars:
        bars.say("fetching updates, and adding them up")
        done = aggregating.aggregate(
            network, wallet, round_id,
            update=lambda done, total: bars.bytes_done("files", done, total),
        )  # fmt: skip
    if done.missing:
        session.note(f"demanded: update(s) {', '.join(map(str, done.missing))}")
    if done.next:
        session.note(f"next: {done.next}")
    session.show(done, facts(done.round))


def _challenge(session: Session, round_id: OneRound = None, *, watch: Watch = False) -> None:
    """Compute an aggregate again; when it is wrong, prove where, or have it shown on chain.

    Exits with 3 when it is wrong or not served, and its aggregator is not convicted yet: the same
    command goes on. With --watch it checks every aggregate until it is stopped.
    """
    from oracle.services.training import challenging  # noqa: PLC0415 - numpy

    _one_or_all(round_id, watch, "challenge")
    if round_id is None:
        _watch(session, "challengers", NOTHING)
        return
    with session.bars() as bars:
        bars.say("computing the aggregate again")
        found = challenging.challenge(
            session.network, session.wallet, round_id,
            update=lambda done, total: bars.bytes_done("files", done, total),
        )  # fmt: skip
    session.show(found, _facts(found))
    stand = challenging.AggregateStand
    if found.stand in (stand.WRONG, stand.UNSERVED):
        raise typer.Exit(WRONG)


def _one_or_all(round_id: int | None, watch: bool, name: str) -> None:
    if (round_id is None) is not watch:
        raise ConfigInvalid(
            "name a round, or say --watch", hint=f"tallystick train {name} 1 --key NAME"
        )


def _watch(session: Session, role: str, least_fee: Amount) -> None:
    """Let an agent work until it is stopped."""
    # celery and sqlalchemy: a second that the other commands of the group need not wait
    from oracle.agents.training.aggregator import TrainingAggregator  # noqa: PLC0415
    from oracle.agents.training.challenger import AggregateChallenger  # noqa: PLC0415

    network, account = session.network, session.account
    logs.configure(session.settings, role=role.removesuffix("s"))
    folder = session.settings.home / role / account.address / "training"
    opened: Agent  # of either kind
    if role == "aggregators":
        opened = TrainingAggregator(network, account, folder, least_fee=least_fee, say=session.note)
    else:
        opened = AggregateChallenger(network, account, folder, say=session.note)
    with on_signals() as stopped, opened as agent:
        session.note(f"{account.address} works until it is stopped")
        agent.run(stopped.is_set, stopped.wait, PAUSE)
    session.show({"stopped": True}, "stopped")


def _facts(found: "ChallengeReport") -> object:
    lines = [
        ("round", f"{found.round_id}, aggregate {found.attempt}"),
        ("aggregate", found.stand.value),
    ]
    if found.fault is not None:
        what = f"running sum {found.fault.number}" if found.fault.number else "the next state"
        lines.append(("wrong", f"{what} at coordinate {found.fault.coordinate:,}"))
    if found.note:
        lines.append(("note", found.note))
    if found.unclipped:
        lines.append(("out of bounds", f"update(s) {', '.join(map(str, found.unclipped))}"))
    for sent in found.transactions:
        lines.append((sent.what, f"0x{sent.transaction.hex()}, {sent.gas_used:,} gas"))
    return output.facts(lines)


def _claim(session: Session, round_id: Round) -> None:
    """Pay out what a round brought: bond and share, fee, bounties, bonds of demands."""
    from oracle.services.training import joining  # noqa: PLC0415 - numpy

    paid, sent = joining.claim(session.network, session.wallet, round_id)
    body = {"round_id": round_id, "paid": paid, "transactions": sent}
    session.show(body, f"{format_amount(paid)} paid out" if sent else "nothing is owed")
