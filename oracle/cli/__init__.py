"""The command line: each command parses, calls one service, formats. `main` is the entry point."""

import os
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code (imports nothing until it is called)."""
    # Keccak in C. By itself eth-hash takes pycryptodome's, which imports a parser of C first
    os.environ.setdefault("ETH_HASH_BACKEND", "pysha3")
    from oracle.cli.app import run  # noqa: PLC0415 - importing a package does no work

    return run(arguments)
