"""The command line: each command parses, calls one service, formats. `main` is the entry point."""

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code (imports nothing until it is called)."""
    from oracle.cli.app import run  # noqa: PLC0415 - importing a package does no work

    return run(arguments)
