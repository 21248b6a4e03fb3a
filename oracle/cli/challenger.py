"""`tallystick challenger …`: re-execute what others deliver, and dispute what is wrong."""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from oracle import logs
from oracle.agents.challenger.challenger import Challenger, ChallengerReport, folder_of
from oracle.agents.challenger.deliveries import Scope
from oracle.agents.challenger.engine import Budget
from oracle.cli import commands, options, output
from oracle.cli.session import Session, command
from oracle.errors import ConfigInvalid, InputInvalid, NotFound
from oracle.queue.broker import CeleryQueue
from oracle.services import amounts, disputes, models, wallets
from oracle.services.amounts import format_ether, format_time, parse_ether
from oracle.services.audits import Audits
from oracle.services.disputes import Game
from oracle.services.served_traces import EndpointTraces, SignedReceipt, parse_receipt
from oracle.stopping import on_signals
from oracle.store.store import Store
from oracle.types import Address, Amount, RequestId

_NOTHING = Amount(0)

Id = Annotated[RequestId, options.request_argument("Id of the request.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = commands.group(app, "challenger")
    some = "0x" + "ab" * 32
    command(
        group, "run", key=True,
        example="tallystick challenger run --key carol --password-file carol.pw\n"
        "tallystick challenger run --fraction 0.1 --model 3 --max-bond 0.05 --key carol\n"
        f"tallystick challenger run --request {some} --once --key alice\n"
        "tallystick challenger run --audits op1 --key op1 --password-file op1.pw",
    )(_run)  # fmt: skip
    command(
        group, "list", key=True,
        example="tallystick challenger list --key carol\ntallystick challenger list --all --json",
    )(_list)  # fmt: skip
    command(group, "show", example=f"tallystick challenger show {some}")(_show)
    command(group, "lapse", key=True, example=f"tallystick challenger lapse {some} --key op1")(
        _lapse
    )
    command(group, "withdraw", key=True, example="tallystick challenger withdraw --key carol")(
        _withdraw
    )


def _run(
    session: Session,
    *,
    fraction: Annotated[
        float | None,
        typer.Option(
            "--fraction",
            metavar="0…1",
            help="Of deliveries; a secret draws which. 1 unless --audits is given.",
        ),
    ] = None,
    model: Annotated[str, typer.Option("--model", metavar="MODEL", help="Only of this one.")] = "",
    request: Annotated[
        list[str] | None,
        typer.Option("--request", metavar="REQUEST", help="Only this one; may be repeated."),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Do what can be done now, then stop.")
    ] = False,
    audits: Annotated[
        str,
        typer.Option("--audits", metavar="OPERATOR", help="Have this operator of yours audit."),
    ] = "",
    max_bond: Annotated[
        str, typer.Option("--max-bond", metavar="ETH", help="Never bind more in one game.")
    ] = "",
    min_bounty: Annotated[
        Amount, options.amount("--min-bounty", "Leave games alone that pay less.")
    ] = _NOTHING,
    receipt: Annotated[
        list[Path] | None,
        typer.Option("--receipt", metavar="FILE", help="A receipt you were given, for --request."),
    ] = None,
) -> None:
    """Re-execute deliveries of exact models and dispute what is wrong, to the end.

    May be stopped and started at any time; what was begun is gone on with.
    """
    settings = session.settings
    if not settings.key:
        raise ConfigInvalid("no wallet was named", hint="say --key NAME")
    if fraction is None:
        fraction = 0.0 if audits else 1.0
    if not 0 <= fraction <= 1:
        raise InputInvalid(f"--fraction {fraction:g} is not between 0 and 1")
    requests = [
        options.named("--request", amounts.parse_request_id)(text) for text in request or []
    ]
    scope = Scope(
        fraction=fraction,
        model_id=models.select(session.network, model).model_id if model else None,
        requests=tuple(requests),
    )
    most = options.named("--max-bond", parse_ether)(max_bond) if max_bond else None
    receipts = [_receipt(path) for path in receipt or []]
    if receipts and len(requests) != 1:
        raise InputInvalid("--receipt goes with exactly one --request")
    watched = sys.stderr.isatty() and settings.log_level == "info"  # the bars say the same
    logs.configure(
        replace(settings, log_level="warning") if watched else settings, role="challenger"
    )
    with session.bars() as bars, _audits(session, audits) as shared:
        opened = Challenger(
            session.network,
            session.account,
            EndpointTraces(),
            folder=folder_of(session.network, Path(settings.key).stem),
            scope=scope,
            budget=Budget(most, min_bounty),
            audits=shared,
            say=bars.say,
        )
        with opened as running:
            for signed in receipts:
                running.keep_receipt(requests[0], signed)
            report = running.once() if once else _forever(running, settings.poll_interval)
    session.show(report, _report(report))


@contextmanager
def _audits(session: Session, operator: str) -> Iterator[Audits | None]:
    """Open an operator's store and queue."""
    if not operator:
        yield None
        return
    settings = replace(session.settings, operator=operator)
    address = wallets.find(settings, operator).address
    queue = CeleryQueue(settings)
    with closing(Store.open(settings.database_url)) as store, closing(queue):
        yield Audits(session.network, store, queue, address)


def _forever(running: Challenger, pause: float) -> ChallengerReport:
    with on_signals() as stopped:
        running.run(stopped.is_set, stopped.wait, max(pause, 1.0))
        return running.report()


def _list(
    session: Session,
    every: Annotated[bool, typer.Option("--all", help="Of all challengers.")] = False,
) -> None:
    """List games: whose turn it is, until when, and the bond."""
    mine: Address | None = None
    if not every:
        if not session.settings.key:
            raise ConfigInvalid("no wallet was named", hint="say --key NAME, or --all")
        mine = wallets.resolve(session.settings, session.settings.key)
    found = disputes.list_games(session.network, mine)
    columns = ("request", "challenger", "turn", "until", "bond")
    rows = [
        (output.hexed(g.request_id), g.challenger, g.turn_of, _until(g), format_ether(g.bond))
        for g in found
    ]
    session.show(found, output.table(columns, rows, "no games"))


def _show(session: Session, request_id: Id) -> None:
    """Show the games about one answer, move by move."""
    found = disputes.show(session.network, request_id)
    moves = [(format_time(m.time), m.event, m.detail) for m in found.moves]
    games = [
        (g.challenger, g.turn_of, _until(g), str(g.demands), format_ether(g.bond))
        for g in found.games
    ]
    session.show(
        found,
        output.facts(
            [
                ("request", output.hexed(found.request_id)),
                ("state", found.state.value),
                ("trace", "on chain" if found.trace_committed else "not on chain"),
                (
                    "games",
                    output.table(
                        ("challenger", "turn", "until", "demands", "bond"), games, "none is open"
                    ),
                ),
                ("history", output.table(("time", "event", ""), moves, "nothing happened")),
            ]
        ),
    )


def _lapse(
    session: Session,
    request_id: Id,
    challenger_: Annotated[
        str, typer.Option("--challenger", metavar="WALLET", help="Whose; all by default.")
    ] = "",
) -> None:
    """End challenges whose challenger let its turn pass; anyone may."""
    only = wallets.resolve(session.settings, challenger_) if challenger_ else None
    sent = disputes.lapse(session.network, session.wallet, request_id, only)
    session.show(sent, f"ended {len(sent)} challenge(s)")


def _withdraw(session: Session) -> None:
    """Release the bonds of games that are over, and pay out what is yours."""
    done = disputes.withdraw(session.network, session.wallet)
    session.show(done, f"{format_ether(done.amount)} paid out, {done.released} bond(s) released")


def _until(game: Game) -> str:
    return format_time(game.deadline) + (" (over)" if game.over else "")


def _report(report: ChallengerReport) -> Any:
    lines: list[tuple[str, Any]] = [
        ("re-executed", report.looked_at),
        ("right", report.right),
        ("wrong", report.wrong),
    ]
    sent = [
        (output.hexed(t.request_id) if t.request_id else "", t.what, t.error or f"block {t.block}")
        for t in report.transactions
    ]
    games = [(output.hexed(c.request_id), c.state.value, c.note) for c in report.games]
    lines += [
        ("sent", output.table(("request", "transaction", ""), sent, "nothing")),
        ("games", output.table(("request", "state", ""), games, "none")),
    ]
    return output.facts(lines)


def _receipt(path: Path) -> SignedReceipt:
    try:
        body = path.read_bytes()
    except OSError as error:
        raise NotFound(f"cannot read {path}: {error.strerror}") from error
    return parse_receipt(body)
