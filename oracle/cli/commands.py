"""The tree of commands. Listing it imports no command's module: each is imported at first use."""

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

# Name: its module below oracle.cli, and its line in `tallystick --help`; in the order shown there
TOP = {
    "infer": ("asking.infer", "Ask a model; price and assurance are shown before you pay."),
    "chat": ("asking.chat", "Talk with a model that writes text."),
    "search": ("search", "Indexes of texts, and the passages that answer a question."),
    "verify": ("verify", "Re-execute an answer of an exact version, and check signed receipts."),
    "up": ("devnet", "Run a network on this machine."),
    "down": ("devnet", "Stop the network that runs in the background."),
    "status": ("devnet", "Show which processes of the network run."),
    "demo": ("devnet", "Play a paid, verified answer on a network of its own."),
    "doctor": ("devnet", "Check every server and setting, and say how to mend it."),
    "serve": ("serve", "Answer REST clients and show the web page."),
    "wallet": ("wallet", "Keys, and the money behind them."),
    "model": ("model", "Models and their versions."),
    "access": ("access", "Who may use a model, and how."),
    "operator": ("operator", "Serve models and be paid for it."),
    "channel": ("channel", "Pay one operator for many answers, off the chain."),
    "receipts": ("receipts", "Signed receipts of channels, as they are kept here."),
    "request": ("request", "Requests and their answers."),
    "challenger": ("challenger", "Re-execute exact answers and convict wrong ones."),
    "committee": ("committee", "Have disputed answers of float models decided by a draw."),
    "data": ("data", "Contribute data that improves a model, and earn from it."),
    "train": ("training", "Train models: on one machine, in exact steps, or in rounds of many."),
    "valuator": ("valuator", "Compute what contributed data is worth."),
    "move": ("move", "Take a model, its credits and stakes to another deployment."),
    "key": ("key", "API keys of the REST gateway."),
    "x402": ("x402", "Payments to the REST gateway by x402."),
}


class Command(TyperCommand):
    """A command whose help names no types of Python."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the tables of arguments and options."""
        found: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for param in self.get_params(ctx):
            if (record := param.get_help_record(ctx)) is None:
                continue
            name, text = record
            if param.param_type_name == "argument":
                found["Arguments"].append((name.partition(" <")[0], text))
            else:
                plain = name.replace("<int>", "N").replace("<str>", "TEXT")
                found["Options"].append((plain, text))
        for title, rows in found.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


class Group(TyperGroup):
    """A group that prints its help and ends with 0 when no command follows."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the group's own options; see `click.Command.parse_args`."""
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)


class Root(Group):
    """The group above all others, which knows names and summaries without their modules."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = TopCommands()  # type: ignore[assignment]  # typer only reads it

    def format_commands(self, _ctx: Any, formatter: Any) -> None:
        """Write the table of commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in TOP.items()])

    def list_commands(self, _ctx: Any) -> list[str]:
        """Return the names, in the order of the help."""
        return list(TOP)


class TopCommands(Mapping[str, Any]):
    """The commands by name. Taking one out imports its module, and no other."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            app = typer.Typer(rich_markup_mode=None)
            importlib.import_module(f"oracle.cli.{TOP[name][0]}").register(app)
            self._loaded |= typer.main.get_group(app).commands
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in TOP

    def __iter__(self) -> Iterator[str]:
        return iter(TOP)

    def __len__(self) -> int:
        return len(TOP)


def group(app: typer.Typer, name: str, text: str = "") -> typer.Typer:
    """Add a group of commands and return it; below the root its help is its line in TOP."""
    made = typer.Typer(cls=Group, rich_markup_mode=None, help=text or TOP[name][1])
    app.add_typer(made, name=name)
    return made
