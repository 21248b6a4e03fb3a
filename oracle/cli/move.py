"""`tallystick move …`: a model, its credits and an operator's stake go to another deployment."""

from pathlib import Path
from typing import Annotated, Any

import typer

from oracle.cli import commands, output
from oracle.cli.model import Model
from oracle.cli.session import Session, command
from oracle.config import Settings
from oracle.errors import NotFound
from oracle.services import models, moving, publishing
from oracle.services.amounts import format_amount, format_time
from oracle.services.data.credits import format_credits
from oracle.services.network import Network

DIFFERS = 3  # exit code
To = Annotated[
    Path, typer.Option("--to", metavar="FILE", help="network.json of the new deployment.")
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = commands.group(app, "move")
    command(
        group, "model", key=True,
        example="tallystick move model digits --to new/network.json --key owner",
    )(_model)  # fmt: skip
    command(
        group, "credits", key=True,
        example="tallystick move credits digits --to new/network.json --key owner",
    )(_credits)  # fmt: skip
    command(group, "check", example="tallystick move check digits --to new/network.json")(_check)
    command(
        group, "stake", key=True, example="tallystick move stake --to new/network.json --key op1"
    )(_stake)  # fmt: skip


def _model(session: Session, model: Model, to: To) -> None:
    """Publish a model's newest version at the new deployment: same bytes, same terms.

    The owner's step; may be repeated.
    """
    model_id = models.select(session.network, model).model_id
    there, done = moving.move_model(session.network, _new(session, to), session.wallet, model_id)
    session.show(done, f"model {model_id} is model {there} at the new deployment")


def _credits(session: Session, model: Model, to: To) -> None:
    """Let the credits of a model's data come to the new deployment, then each holder's arrive.

    The model leaves first: no round opens at the old deployment any more. That step and the second
    are the owner's; what is left after them anyone may do. The new contract reads the old one.
    """
    old, new = session.network, _new(session, to)
    model_id = models.select(old, model).model_id
    there = _there(old, new, model_id)
    done = moving.move_credits(old, new, session.wallet, model_id, there)
    session.show(done, _told(moving.arrived(old, new, model_id, there)))


def _check(session: Session, model: Model, to: To) -> None:
    """Compute who holds which credits at both deployments, and compare the roots.

    Exits with 3 when somebody's have not arrived.
    """
    old, new = session.network, _new(session, to)
    model_id = models.select(old, model).model_id
    held = moving.snapshot(old, model_id)
    came = moving.arrived(old, new, model_id, _there(old, new, model_id))
    rows = [
        (where, one.model_id, len(one.held), format_credits(one.total), output.hexed(one.root))
        for where, one in (("old", held), ("new", came))
    ]
    columns = ("deployment", "model", "holders", "credits", "root")
    session.show((held, came), output.table(columns, rows, "nobody holds credits"))
    if held.root != came.root:
        raise typer.Exit(DIFFERS)


def _stake(session: Session, to: To) -> None:
    """Do what is due of the move of an operator's stake: unbond, wait, then stake there.

    Call it again when the delay is over.
    """
    moved = moving.move_stake(session.network, _new(session, to), session.wallet)
    session.show(
        moved,
        output.facts(
            [
                ("unbonding", format_amount(moved.unbonding)),
                ("until", format_time(moved.release_at) if moved.unbonding else "–"),
                ("staked at the new deployment", format_amount(moved.staked)),
            ]
        ),
    )
    if not moved.unbonding and not moved.staked:
        session.note("no stake is left; what was paid out is in the wallet: `operator stake` there")


def _new(session: Session, path: Path) -> Network:
    """Open the deployment that a network file names, for the same home."""
    return Network.open(Settings.load({}, session.settings.home, path))


def _there(old: Network, new: Network, model_id: int) -> int:
    owner, name = old.registry.owner_of(model_id), old.registry.name_of(model_id)
    there = publishing.own_model(new, owner, name)
    if there is None:
        raise NotFound(
            f"model {name!r} is not at the new deployment", hint="`tallystick move model` first"
        )
    return there


def _told(came: moving.Snapshot) -> Any:
    return output.facts(
        [
            ("model", came.model_id),
            ("credits", format_credits(came.total)),
            ("holders that have arrived", len(came.held)),
            ("root", output.hexed(came.root)),
        ]
    )
