"""`tallystick train …`: models trained on one machine, or by many."""

import typer

from oracle.cli import commands
from oracle.cli.training import exact, rounds, run, taking_part


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = commands.group(app, "train")
    run.register(group)
    exact.register(group)
    rounds.register(group)
    taking_part.register(group)
