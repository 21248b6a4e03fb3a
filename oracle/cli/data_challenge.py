"""`tallystick data challenge …`: compute values again, convict who published others."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oracle import logs
from oracle.cli import output
from oracle.cli.session import Session, command
from oracle.errors import ConfigInvalid
from oracle.stopping import on_signals
from oracle.valuation.faults import Code

if TYPE_CHECKING:
    from oracle.agents.valuation.report import ValuationReport

WRONG = 3  # exit code
PAUSE = 0.5  # seconds between two looks

_SAID = {  # by `Stand.value`
    "none": "no valuation is open",
    "right": "right: computed again, it is the same",
    "ours": "this wallet's own",
    "wrong": "WRONG: a conviction is under way",
    "unserved": "not served: its valuator has to show it on chain",
    "convicted": "its valuator is convicted",
    "late": "wrong, and the challenge window has passed",
}


def register(group: typer.Typer) -> None:
    """Add the command to the group `data`."""
    command(
        group, "challenge", key=True,
        example="tallystick data challenge 1 --key carol\n"
        "tallystick data challenge --watch --key carol --password-file carol.pw",
    )(_challenge)  # fmt: skip


def _challenge(
    session: Session,
    round_id: Annotated[
        int | None, typer.Argument(metavar="[ROUND]", min=1, help="Else all, with --watch.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look at every round until stopped.")
    ] = False,
) -> None:
    """Compute a round again; when its valuation is false, prove where, or convict for silence.

    Exits with 3 when it is false and its valuator was not convicted: too late, or interrupted
    (again with the same --key it goes on where it was).
    """
    # celery and sqlalchemy: a second that the other commands of the group need not wait
    from oracle.agents.valuation import checking  # noqa: PLC0415
    from oracle.agents.valuation.challenger import ValuationChallenger  # noqa: PLC0415
    from oracle.agents.valuation.report import Stand  # noqa: PLC0415

    if (round_id is None) is not watch:
        raise ConfigInvalid("name a round, or say --watch", hint="tallystick data challenge 1")
    network, account = session.network, session.account
    logs.configure(session.settings, role="challenger")
    folder = session.settings.home / "challengers" / account.address / "valuations"
    recompute = checking.Recomputer(session.settings)

    opened = ValuationChallenger(network, account, recompute, folder, session.note)
    with on_signals() as stopped, opened as challenger:
        if round_id is None:
            session.note(f"{account.address} computes again what is published")
            challenger.run(stopped.is_set, stopped.wait, PAUSE)
            session.show({"stopped": True}, "stopped")
            return
        report = challenger.settle_round(round_id, stopped.is_set, partial(stopped.wait, PAUSE))
    session.show(_document(report), _facts(report))
    if report.stand in (Stand.WRONG, Stand.UNSERVED, Stand.LATE):
        raise typer.Exit(WRONG)


def _document(report: "ValuationReport") -> dict[str, Any]:
    return {
        "round_id": report.round_id,
        "attempt": report.attempt,
        "stand": report.stand.value,
        "note": report.note,
        "fault": Code(report.fault.code).name if report.fault else None,
        "transactions": [
            {"hash": "0x" + r.tx_hash.hex(), "block": r.block_number, "gas": r.gas_used}
            for r in report.transactions
        ],
    }


def _facts(report: "ValuationReport") -> Any:
    rows = [("round", report.round_id), ("valuation", _SAID[report.stand.value])]
    if report.fault is not None:
        code = Code(report.fault.code)
        rows.append(("fault", f"{code.value}: {code.name.lower().replace('_', ' ')}"))
    if report.note:
        rows.append(("note", report.note))
    for sent in report.transactions:
        rows.append(("transaction", f"0x{sent.tx_hash.hex()}, {sent.gas_used:,} gas"))
    return output.facts(rows)
