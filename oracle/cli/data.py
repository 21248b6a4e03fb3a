"""`tallystick data …`: bring data to a model, see what it was worth, and be paid for it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from oracle.cli import (
    commands,
    data_challenge,
    data_inspect,
    data_round,
    data_standing,
    data_values,
    options,
    output,
)
from oracle.cli.data_round import Index, Round
from oracle.cli.model import Model
from oracle.cli.session import Session, command
from oracle.errors import NotFound, TransientError
from oracle.services import models
from oracle.services.amounts import counted, format_amount, format_time
from oracle.services.data import advancing, contributions, files, listing, records
from oracle.services.data.contributions import Brought, SignedSubmission
from oracle.services.data.credits import format_credits
from oracle.services.data.listing import ContributionInfo
from oracle.stopping import Stop, on_signals

WATCH = 2.0  # seconds between two looks


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = commands.group(app, "data")
    command(
        group, "submit", spends=True,
        example="tallystick data submit 1 mine.csv --key alice\n"
        "tallystick data submit digits more.npz pictures/ --drop-repeats --key alice\n"
        "tallystick data submit 1 mine.csv --sign for-bob.json --key alice",
    )(_submit)  # fmt: skip
    command(group, "relay", spends=True, example="tallystick data relay for-bob.json --key bob")(
        _relay
    )
    command(group, "reveal", key=True, example="tallystick data reveal 1 --key alice")(_reveal)
    command(group, "show", example="tallystick data show 1 0")(_show)
    command(group, "list", example="tallystick data list 1")(_list)
    command(
        group, "advance", key=True,
        example="tallystick data advance 1 --key alice\n"
        "tallystick data advance 1 --watch --key alice",
    )(_advance)  # fmt: skip
    data_standing.register(group)
    command(group, "schema", example="tallystick data schema mine.csv --label digit")(_schema)
    command(group, "verify", example="tallystick data verify digits")(_verify)
    data_round.register(group)
    data_challenge.register(group)
    data_values.register(group)
    data_inspect.register(group)


def _submit(
    session: Session,
    model: Model,
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="FILES...", help="CSV, Parquet, NPZ, or a folder of pictures."),
    ],
    *,
    drop_repeats: Annotated[
        bool, typer.Option("--drop-repeats", help="Leave out rows that stand twice.")
    ] = False,
    endorsers: Annotated[
        int, options.share("--endorsers", "Part of the credit for who endorses it; at most 50%.")
    ] = 0,
    sign: Annotated[
        Path | None,
        typer.Option("--sign", metavar="OUT", help="Only sign; somebody else relays and pays."),
    ] = None,
) -> None:
    """Commit to a data set for a model's round; its rows stay hidden until the round closes."""
    wallet, network = session.wallet, session.network
    model_id = models.select(network, model).model_id
    with session.bars() as bars:
        prepared = contributions.prepare(
            network, wallet.address, model_id, paths, drop_repeats=drop_repeats, say=bars.say
        )
    if sign is not None:
        signed = contributions.sign(network, wallet, prepared, endorser_bps=endorsers)
        sign.write_text(signed.to_json())
        session.show(signed, f"{sign}: relay it before {format_time(signed.submission.deadline)}")
        return
    if prepared.on_chain is None:
        session.confirm(
            f"Bring {counted(prepared.data.rows, 'row')} to round {prepared.round_id} for a fee of "
            f"{format_amount(prepared.fee)} and a deposit of {format_amount(prepared.deposit)}, "
            "which is lost when they are worth nothing?"
        )
    done = contributions.submit(network, wallet, prepared, endorser_bps=endorsers)
    session.show(done, _brought(done))


def _relay(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `submit --sign` wrote.")],
) -> None:
    """Send and pay for a submission that its owner signed; deposit and credit stay the owner's."""
    try:
        signed = SignedSubmission.from_json(file.read_text())
    except OSError as error:
        raise NotFound(f"cannot read {file}: {error.strerror}") from error
    session.confirm(f"Pay fee and deposit for {signed.submission.owner}?")
    done = contributions.relay(session.network, session.wallet, signed)
    session.show(done, _told(done))


def _reveal(session: Session, round_id: Round) -> None:
    """Publish the rows that this machine committed to, once the round takes no more."""
    with session.bars() as bars:
        bars.say("publishing the rows")
        done = contributions.reveal(session.network, session.wallet, round_id)
    rows = [(one.index, output.hexed(one.data_root)) for one in done]
    session.show(done, output.table(("contribution", "data set"), rows))


def _show(session: Session, round_id: Round, index: Index) -> None:
    """Show one contribution and what became of it."""
    found = listing.show(session.network, round_id, index)
    session.show(found, _told(found))


def _list(session: Session, round_id: Round) -> None:
    """List the contributions to a round."""
    found = listing.list_contributions(session.network, round_id)
    columns = ("index", "owner", "status", "rows", "deposit", "endorsed", "credit")
    rows = [
        (one.index, one.owner, _status(one), one.rows or "", format_amount(one.deposit),
         format_credits(one.endorsed), _credit(one))
        for one in found
    ]  # fmt: skip
    session.show(found, output.table(columns, rows, "nobody brought anything"))


def _advance(
    session: Session,
    round_id: Round,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on until the round has ended.")
    ] = False,
) -> None:
    """Do what is due in a round: reveal what is kept here, number, settle, credit, refund."""
    if watch:
        with on_signals() as stopped:
            done = _until_ended(session, round_id, stopped)
    else:
        done = _advance_once(session, round_id)
    session.show(done, data_round.facts(done.round))


def _until_ended(session: Session, round_id: int, stopped: Stop) -> advancing.Advanced:
    while True:
        try:
            done = _advance_once(session, round_id)
        except TransientError as error:
            if stopped.wait(WATCH):
                raise
            session.note(f"once more: {error}")
            continue
        if done.round.phase in advancing.ENDED or stopped.wait(WATCH):
            return done


def _advance_once(session: Session, round_id: int) -> advancing.Advanced:
    done = advancing.advance(session.network, session.wallet, round_id)
    for sent in done.transactions:
        session.note(sent.what)
    for text in done.refused:
        session.note(f"refused: {text}")
    return done


def _schema(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV with a header.")],
    label: Annotated[
        str, typer.Option("--label", metavar="COLUMN", help="Column of the labels.")
    ] = "label",
    labels: Annotated[
        str, typer.Option("--labels", metavar="A,B,…", help="Names of the classes 0, 1 …")
    ] = "",
) -> None:
    """Write a schema of data that spans a file's values: `data` of model.json, or --schema."""
    found = files.fit(file, label, tuple(labels.split(",")) if labels else ())
    output.print_json(found)


def _verify(session: Session, model: Model) -> None:
    """Recompute a model's chain of contributions and compare its head with the chain's."""
    model_id = models.select(session.network, model).model_id
    found = records.verify(session.network, model_id)
    session.show(
        found,
        output.facts(
            [
                ("rounds", found.rounds),
                ("submitted", found.submitted),
                ("revealed", found.revealed),
                ("head", output.hexed(found.head)),
            ]
        ),
    )


def _status(one: ContributionInfo) -> str:
    return "forfeited" if one.lost else one.status.name.lower()


def _credit(one: ContributionInfo) -> str:
    return "" if one.credit is None else format_credits(one.credit)


def _brought(done: Brought) -> Any:
    return output.facts(
        [
            ("round", done.round_id),
            ("contribution", done.index),
            ("data set", output.hexed(done.data_root)),
            ("rows", done.rows),
            ("fee", format_amount(done.fee)),
            ("deposit", format_amount(done.deposit)),
            ("reveal from", format_time(done.reveal_from)),
            ("reveal until", format_time(done.reveal_until)),
            ("by", f"`tallystick data advance {done.round_id} --watch`"),
        ]
    )


def _told(found: ContributionInfo) -> Any:
    return output.facts(
        [
            ("contribution", f"{found.index} of round {found.round_id}"),
            ("status", _status(found)),
            ("owner", found.owner),
            ("submitted", format_time(found.submitted_at)),
            ("data set", output.hexed(found.data_root) if found.data_root else "hidden"),
            ("rows", found.rows or "hidden"),
            ("deposit", format_amount(found.deposit)),
            ("offered", f"{found.endorser_bps / 100:g}% to endorsers"),
            ("endorsed", format_credits(found.endorsed)),
            ("credit", _credit(found) or "none yet"),
        ]
    )
