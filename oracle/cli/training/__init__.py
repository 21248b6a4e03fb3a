"""`tallystick train …`: models trained on one machine, or by many."""

import typer

from oracle.cli import commands
from oracle.cli.training import run


def register(app: typer.Typer) -> None:
    """Add the group."""
    run.register(commands.group(app, "train"))
