"""Puts the commands together and is the one place where errors become text and exit codes."""

import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer
from typer.core import TyperGroup

from oracle.cli import commands, output
from oracle.errors import DiskUnusable, TallystickError


def build() -> TyperGroup:
    """Return the command line; commands are imported when they are used."""
    app = typer.Typer(
        name="tallystick",
        cls=commands.Root,
        help="AI models as a service on Ethereum: publish, ask, verify, get paid.",
        add_completion=False,
        pretty_exceptions_enable=False,  # its tracebacks show local variables: passwords
        rich_markup_mode=None,
    )
    app.callback()(_root)
    return typer.main.get_group(app)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; return the exit code.

    0 done · 1 anything else · 2 wrong usage · 130 interrupted · otherwise `exit_code` of the error
    (oracle/errors.py): 65 bad input, 66 not found, 69 unavailable, 74 disk, 75 try again, 76 digest
    mismatch, 77 refused by a contract, 78 configuration.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        returned = build().main(given, prog_name="tallystick", standalone_mode=False)
    except TallystickError as error:
        return _report(error, "--json" in given)
    except OSError as error:
        if (trouble := DiskUnusable.of(error)) is None:
            raise
        return _report(trouble, "--json" in given)
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
