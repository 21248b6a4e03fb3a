"""Puts the commands together and is the one place where errors become text and exit codes."""

import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from typing import Annotated

import typer

from oracle.cli import output
from oracle.errors import TallystickError

# in the order of --help; all but `devnet` are named like their command or group
MODULES = (
    "infer", "verify", "devnet", "wallet", "model", "access", "operator", "request", "challenger",
    "committee", "data", "valuator", "serve", "key",
)  # fmt: skip


def build(only: str = "") -> typer.Typer:
    """Return the command line; every module of commands has `register(app)`.

    Args:
        only: a module whose commands are enough: others are not imported (0.3 s for some).
    """
    app = typer.Typer(
        name="tallystick",
        help="AI models as a service on Ethereum: publish, ask, verify, get paid.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,  # its tracebacks show local variables: passwords
        rich_markup_mode=None,
    )
    app.callback()(_root)
    for name in (only,) if only in MODULES else MODULES:
        if find_spec(f"oracle.cli.{name}") is not None:
            importlib.import_module(f"oracle.cli.{name}").register(app)
    return app


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; return the exit code.

    0 done · 1 anything else · 2 wrong usage · 130 interrupted · otherwise `exit_code` of the error
    (oracle/errors.py): 65 bad input, 66 not found, 69 unavailable, 75 try again, 76 digest
    mismatch, 77 refused by a contract, 78 configuration.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        returned = build(given[0] if given else "")(
            args=given, prog_name="tallystick", standalone_mode=False
        )
    except TallystickError as error:
        return _report(error, "--json" in given)
    except typer.TyperException as error:  # wrong usage: its text says which option
        if "--json" in given:
            output.print_json(
                {"error": "Usage", "message": error.format_message(), "hint": "", "exit_code": 2}
            )
        else:
            getattr(error, "show", lambda: None)()
        return error.exit_code
    except typer.Abort:
        sys.stderr.write("Nothing was done.\n")
        return 1
    return returned if isinstance(returned, int) else 0


def _report(error: TallystickError, as_json: bool) -> int:
    if as_json:
        output.print_json(output.error_document(error))
    else:
        console = output.console(stderr=True)
        console.print(f"error: {error}", markup=False, style="red")
        if error.hint:
            console.print(f"  → {error.hint}", markup=False)
    return error.exit_code


def _version(wanted: bool) -> None:
    if wanted:
        output.console().print(f"tallystick {version('tallystick')}", markup=False)
        raise typer.Exit


def _root(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Say which one this is."),
    ] = False,
) -> None:
    """AI models as a service on Ethereum: publish, ask, verify, get paid."""
